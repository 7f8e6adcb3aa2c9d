// Real nats-server processes, one or three of them: killed and restarted on the same port and store.
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '@nats-io/transport-node';

import { Process, freePort, project, temporaryDirectory } from './process.mjs';
import { eventually, final } from './wait.mjs';

const pinned = join(project, '.tools/bin/nats-server');
const binary = process.env.NATS_SERVER || (existsSync(pinned) ? pinned : 'nats-server');

/** One server with JetStream. */
export class NatsServer {
  /** `more` goes into its configuration. */
  static async start(more = '') {
    const server = await NatsServer.prepare('single', undefined, more);
    await server.run();
    return server;
  }

  static async prepare(name, ports = undefined, more = '') {
    const server = new NatsServer();
    server.name = name;
    server.ports = ports || (await freePorts());
    server.url = `nats://127.0.0.1:${server.ports.client}`;
    const directory = temporaryDirectory();
    server.store = join(directory, 'store');
    server.config = join(directory, 'nats.conf');
    writeFileSync(
      server.config,
      `server_name: ${name}
listen: "127.0.0.1:${server.ports.client}"
http: "127.0.0.1:${server.ports.monitor}"
jetstream { store_dir: "${server.store}" }
${more}
`,
    );
    return server;
  }

  /** Starts the process without waiting for it. */
  spawn() {
    this.process = new Process(`nats-${this.name}`, binary, ['-c', this.config]);
  }

  async ready() {
    await eventually(`nats-server ${this.name} is ready`, async () => {
      if (this.process.outcome) throw final(`nats-server ended: ${this.process.log()}`);
      return (await fetch(`http://127.0.0.1:${this.ports.monitor}/healthz`)).ok;
    }, 60);
  }

  async run() {
    this.spawn();
    await this.ready();
  }

  /** SIGKILL. */
  async kill() {
    await this.process?.kill();
  }

  /** Throws the store away; only while the server is down. */
  wipe() {
    rmSync(this.store, { recursive: true, force: true });
  }

  /** Again on the same port and store. */
  async restart() {
    await this.kill();
    await this.run();
  }
}

/** Three servers that keep three copies of every stream. */
export class NatsCluster {
  static async start() {
    const cluster = new NatsCluster();
    const ports = [await freePorts(), await freePorts(), await freePorts()];
    const routes = ports.map(({ route }) => `"nats-route://127.0.0.1:${route}"`).join(', ');
    cluster.servers = [];
    for (const [index, own] of ports.entries()) {
      const more = `cluster { name: "c${ports[0].route}", listen: "127.0.0.1:${own.route}", routes: [ ${routes} ] }`;
      cluster.servers.push(await NatsServer.prepare(`n${index}`, own, more));
    }
    for (const server of cluster.servers) server.spawn();
    for (const server of cluster.servers) await server.ready();
    return cluster;
  }

  get urls() {
    return this.servers.map(server => server.url);
  }

  /** The server with this name, as streams name their leaders. */
  named(name) {
    return this.servers.find(server => server.name === name);
  }

  async kill() {
    await Promise.all(this.servers.map(server => server.kill()));
  }
}

/** A plain NATS client, as a backend has one. */
export async function natsClient(urls) {
  return connect({ servers: urls, reconnectTimeWait: 200, maxReconnectAttempts: -1, waitOnFirstConnect: true });
}

/** Calls the JetStream API of `client`: `jetstream(client, 'STREAM.INFO.x')`. */
export async function jetstream(client, method, body = undefined) {
  const answer = await client.request(`$JS.API.${method}`, body ? JSON.stringify(body) : '', { timeout: 5000 });
  const reply = answer.json();
  if (reply.error) throw new Error(`${method}: ${JSON.stringify(reply.error)}`);
  return reply;
}

/** The stream that captures a namespace's publications. */
export async function streamOf(client, namespace) {
  const { streams } = await jetstream(client, 'STREAM.NAMES', { subject: `midplane.pub.${namespace}.>` });
  return streams[0];
}

/** Ports of a server that nobody uses. */
export async function freePorts() {
  return { client: await freePort(), monitor: await freePort(), route: await freePort() };
}
