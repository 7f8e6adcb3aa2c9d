// An application's backend that answers hooks, by HTTP or by NATS.
import { createServer } from 'node:http';

import { freePort } from './process.mjs';

export const hooks = ['connect', 'refresh', 'subscribe', 'publish', 'sub_refresh'];

/** What a question is about: the channel, else the user, else what the client says it came for. */
const subject = ({ channel, user, data }) => channel ?? user ?? data?.plan;

/** Answers as tests tell it to, and remembers what it was asked. Whatever nobody planned for is allowed. */
class Backend {
  plans = new Map();
  questions = [];

  /** From now on `event` about `about` is answered by `answer(question)`; by silence where that is undefined. */
  plan(event, about, answer) {
    this.plans.set(`${event} ${about}`, answer);
  }

  /** What was asked so far. */
  asked(event, about) {
    return this.questions.filter(each => each.event === event && subject(each.question) === about).map(({ question }) => question);
  }

  answer(event, question) {
    this.questions.push({ event, question });
    const planned = this.plans.get(`${event} ${subject(question)}`);
    return planned ? planned(question, this.asked(event, subject(question)).length) : { result: {} };
  }

  /** The settings of a node that asks it. */
  get environment() {
    return Object.fromEntries(hooks.map(event => [`MIDPLANE_HOOKS__${event.toUpperCase()}__ENDPOINT`, this.endpoint(event)]));
  }
}

/** Each hook has a path. */
export class HttpBackend extends Backend {
  static async start() {
    const backend = new HttpBackend();
    backend.port = await freePort();
    await backend.back();
    return backend;
  }

  endpoint(event) {
    return `http://127.0.0.1:${this.port}/${event}`;
  }

  async back() {
    this.server = createServer(async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const answer = this.answer(request.url.slice(1), JSON.parse(Buffer.concat(chunks).toString()));
      if (answer === undefined) return;
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(answer));
    });
    await new Promise((resolve, reject) => this.server.once('error', reject).listen(this.port, '127.0.0.1', resolve));
  }

  async away() {
    if (!this.server.listening) return;
    this.server.closeAllConnections();
    await new Promise(closed => this.server.close(closed));
  }
}

/** Each hook has a subject below `midplane.hooks`. */
export class NatsBackend extends Backend {
  /** `client` is a connection to NATS. */
  static async start(client) {
    const backend = new NatsBackend();
    backend.client = client;
    await backend.back();
    return backend;
  }

  endpoint(event) {
    return `nats:hooks.${event}`;
  }

  async back() {
    this.subscriptions = hooks.map(event => this.client.subscribe(`midplane.hooks.${event}`, {
      queue: 'backend',
      callback: (_, message) => {
        const answer = this.answer(event, message.json());
        if (answer !== undefined) message.respond(JSON.stringify(answer));
      },
    }));
    await this.client.flush();
  }

  async away() {
    for (const subscription of this.subscriptions) subscription.unsubscribe();
    await this.client.flush();
  }
}
