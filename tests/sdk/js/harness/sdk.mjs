// The official SDK, unmodified, and records of what it reported.
import * as json from 'centrifuge';
import * as protobuf from 'centrifuge/build/protobuf';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';

import { eventually, final } from './wait.mjs';

/** The SDK's two builds, by the wire that they speak. */
export const builds = { json, protobuf };
export const wires = Object.keys(builds);

/** What an application hands to the SDK: JSON as it is, Protobuf as bytes. */
export const encode = (wire, value) => (wire === 'json' ? value : Buffer.from(JSON.stringify(value)));
export const decode = (wire, data) => (wire === 'json' ? data : JSON.parse(Buffer.from(data).toString()));

let names = 0;
/** A channel that no other test uses. */
export function fresh(namespace) {
  names += 1;
  return `${namespace}:t${process.pid}.${names}`;
}

let carrier = 'websocket';
let posted = app => app.node;

/**
 * From now on applications connect over `transport`: `websocket`, `http_stream` or `sse`. What they say on the latter
 * two goes to the node that `postTo(app)` names.
 */
export function carryBy(transport, postTo = app => app.node) {
  carrier = transport;
  posted = postTo;
}

/** One application: an SDK client that may be moved from node to node. */
export class App {
  /** `webSocket` are options of its sockets, all others the SDK's. */
  constructor(wire, node, { webSocket, ...options } = {}) {
    const app = this;
    this.wire = wire;
    this.node = node;
    this.sockets = [];
    this.streams = []; // what breaks them
    this.publications = []; // of server-side subscriptions
    this.probes = new Set(); // the same
    this.subscribed = []; // the same
    this.unsubscribedFrom = []; // the same
    this.errors = [];
    this.states = [];
    this.connected = [];
    this.disconnected = null;
    this.connecting = [];

    /** Goes to the node that the application is at now, and can be made slow. */
    class Socket extends WebSocket {
      constructor(_, protocols) {
        super(app.node.websocket, protocols, webSocket);
        app.sockets.push(this);
        this.on('error', () => {});
      }
    }

    /** The same for streams. */
    const request = (url, more = {}) => {
      const { pathname, search } = new URL(url);
      const posts = pathname === '/emulation';
      const to = (posts ? posted(app) : app.node).url ?? 'http://127.0.0.1:1';
      const line = new AbortController();
      if (!posts) app.streams.push(line);
      const signal = more.signal ? AbortSignal.any([more.signal, line.signal]) : line.signal;
      return fetch(`${to}${pathname}${search}`, { ...more, signal });
    };
    class Events extends EventSource {
      constructor(url, more) {
        super(url, { ...more, fetch: request });
      }
    }

    const endpoint = `${node.url}/connection/${carrier}`;
    this.centrifuge = new builds[wire].Centrifuge(carrier === 'websocket' ? node.websocket : [{ transport: carrier, endpoint }], {
      websocket: Socket,
      fetch: request,
      eventsource: Events,
      emulationEndpoint: `${node.url}/emulation`,
      minReconnectDelay: 20,
      maxReconnectDelay: 500,
      maxServerPingDelay: 3000,
      ...options,
    });
    this.centrifuge
      .on('state', ({ newState }) => this.states.push(newState))
      .on('connected', context => this.connected.push(context))
      .on('connecting', context => this.connecting.push(context))
      .on('disconnected', context => (this.disconnected = context))
      .on('error', context => this.errors.push(context))
      .on('subscribed', context => this.subscribed.push(context))
      .on('unsubscribed', ({ channel }) => this.unsubscribedFrom.push(channel))
      .on('publication', context => {
        if (context.tags?.probe) this.probes.add(context.tags.probe);
        else this.publications.push({ ...context, data: decode(wire, context.data) });
      });
  }

  /** Connects, and waits for it. */
  async connect() {
    this.centrifuge.connect();
    await eventually('the client is connected', () => {
      if (this.disconnected) throw final(`disconnected: ${JSON.stringify(this.disconnected)}`);
      return this.centrifuge.state === 'connected';
    });
    return this;
  }

  /** The client id that the node gave. */
  get id() {
    return this.connected.at(-1).client;
  }

  get socket() {
    return this.sockets.at(-1);
  }

  /** Breaks the connection as a bad network does, without a farewell. */
  breakConnection() {
    if (carrier === 'websocket') this.socket.terminate();
    else this.streams.at(-1).abort(new TypeError('the line is cut')); // an AbortError would be the application's own wish
  }

  /** Breaks the connection and keeps the client away until `return`; meanwhile `during` runs. */
  async whileAway(node, during) {
    const connects = this.connected.length;
    this.centrifuge.disconnect();
    this.disconnected = null;
    const result = await during();
    this.node = node;
    this.centrifuge.connect();
    await eventually('the client is back', () => this.connected.length > connects);
    return result;
  }

  /** Subscribes, and waits for it. */
  async subscribe(channel, options = {}) {
    const listener = this.listen(channel, options);
    await listener.ready();
    return listener;
  }

  /** Subscribes without waiting. */
  listen(channel, options = {}) {
    return new Listener(this, channel, options);
  }

  publish(channel, value) {
    return this.centrifuge.publish(channel, encode(this.wire, value));
  }

  close() {
    this.centrifuge.disconnect();
  }
}

/** A subscription and all it saw. */
export class Listener {
  constructor(app, channel, options) {
    this.app = app;
    this.channel = channel;
    this.publications = [];
    this.probes = new Set();
    this.subscribed = [];
    this.subscribing = [];
    this.unsubscribed = null;
    this.errors = [];
    this.subscription = app.centrifuge.newSubscription(channel, {
      minResubscribeDelay: 20,
      maxResubscribeDelay: 500,
      ...options,
    });
    this.subscription
      .on('publication', context => this.#take(context))
      .on('subscribed', context => this.subscribed.push(context))
      .on('subscribing', context => this.subscribing.push(context))
      .on('unsubscribed', context => (this.unsubscribed = context))
      .on('error', context => this.errors.push(context));
    this.subscription.subscribe();
  }

  #take(context) {
    if (context.tags?.probe) this.probes.add(context.tags.probe);
    else this.publications.push({ ...context, data: decode(this.app.wire, context.data) });
  }

  async ready() {
    await eventually(`subscribed to ${this.channel}`, () => {
      if (this.unsubscribed) throw final(`unsubscribed: ${JSON.stringify(this.unsubscribed)}`);
      return this.subscription.state === 'subscribed';
    });
  }

  /** Waits until the subscription was refused, and returns the code. */
  async refusal() {
    await eventually(`${this.channel} is refused`, () => this.unsubscribed);
    return this.unsubscribed.code;
  }

  /** The data of all publications so far. */
  get data() {
    return this.publications.map(({ data }) => data);
  }

  get offsets() {
    return this.publications.map(({ offset }) => offset);
  }

  /** Waits for at least `count` publications. */
  async received(count, seconds = 20) {
    await eventually(`${count} publications in ${this.channel}, ${this.publications.length} so far`,
      () => this.publications.length >= count, seconds);
    return this.data;
  }
}

/** A subscription that notes who comes and who goes, in `told`: `+ann`, `-ann`. */
export async function watch(app, channel, options = {}) {
  const listener = app.listen(channel, options);
  listener.told = [];
  const note = sign => ({ info }) => listener.told.push(`${sign}${info.user}`);
  listener.subscription.on('join', note('+')).on('leave', note('-'));
  await listener.ready();
  return listener;
}

/**
 * Waits until `listeners` hear every node in `channel`. Without history nothing says when a subscription has reached all
 * of NATS' servers, and what is published before that is gone. Probes do not count as publications.
 */
export async function heard(topology, channel, ...listeners) {
  for (const listener of listeners) listener.probes.clear();
  await eventually(`${channel} hears every node`, async () => {
    if (listeners.every(({ probes }) => probes.size === topology.nodes.length)) return true;
    for (const node of topology.nodes) await node.publish(channel, 'probe', { tags: { probe: node.name } });
    return false;
  });
}
