// Clients of the official JavaScript SDK, in one process. What they see goes to stdout as entries of the journal; they go
// once stdin ends. Argument: {"nodes": [{"name", "address"}], "clients": [a listener of the scene, with its token],
// "modules": directory}.
import { createRequire } from 'node:module';

const { nodes, clients, modules } = JSON.parse(process.argv[2]);
const require = createRequire(`${modules}/`);
const builds = { json: require('centrifuge'), protobuf: require('centrifuge/build/protobuf') };
const { EventSource } = require('eventsource');
const WebSocket = require('ws');

const tell = (what, entry) => process.stdout.write(`${JSON.stringify({ what, ...entry })}\n`);
const position = (at) => (at ? { offset: at.offset, epoch: at.epoch } : null);
const any = () => nodes[Math.floor(Math.random() * nodes.length)];

/** As behind a load balancer: each connection goes to any node, and so does each post of a client on a stream. */
function ways(reached) {
  class Socket extends WebSocket {
    constructor(_, ...rest) {
      const chosen = any();
      super(`ws://${chosen.address}/connection/websocket`, ...rest);
      reached(chosen);
    }
  }
  const request = (url, options) => {
    const { pathname, search } = new URL(url);
    const chosen = any();
    if (pathname !== '/emulation') reached(chosen);
    return fetch(`http://${chosen.address}${pathname}${search}`, options);
  };
  class Events extends EventSource {
    constructor(url, options) {
      super(url, { ...options, fetch: request });
    }
  }
  return { websocket: Socket, fetch: request, eventsource: Events };
}

function enter({ name, channels, token, half, build: { transport, wire, delta } }) {
  let node = nodes[0];
  const endpoint = `http://any/connection/${transport}`;
  const client = new builds[wire].Centrifuge(transport === 'websocket' ? 'ws://any' : [{ transport, endpoint }], {
    ...ways((chosen) => (node = chosen)),
    emulationEndpoint: 'http://any/emulation',
    token: token ?? '',
    minReconnectDelay: 100,
    maxReconnectDelay: 3000,
    maxServerPingDelay: 8000,
    timeout: 8000,
  });
  const decode = (data) => (wire === 'json' ? data : JSON.parse(Buffer.from(data).toString()));
  let connected = false;
  client.on('connected', (context) => {
    connected = true;
    tell('connected', { client: name, node: node.name, uuid: context.client });
  });
  const over = ({ code, reason }) => {
    if (connected) tell('disconnected', { client: name, code, reason });
    connected = false;
  };
  client.on('connecting', over);
  let leaves = false;
  client.on('disconnected', (context) => {
    over(context);
    if (!leaves) tell('gave_up', { client: name, reason: `${context.code} ${context.reason}` });
  });
  for (const channel of channels) {
    const stored = /^(kept|parked):/.test(channel);
    const subscription = client.newSubscription(channel, {
      minResubscribeDelay: 100,
      maxResubscribeDelay: 3000,
      ...(delta && stored ? { delta: 'fossil' } : {}),
      ...(half && stored ? { tagsFilter: { op: '', cmp: 'eq', key: 'half', val: half } } : {}),
    });
    let stood = null;
    const here = { client: name, channel };
    const who = (info) => (channel.startsWith('lounge:') ? info.user : info.client);
    subscription.on('subscribed', (context) => {
      const since = context.wasRecovering ? stood : null;
      stood = position(context.streamPosition);
      tell('subscribed', { ...here, since, recovered: context.recovered, position: stood });
    });
    subscription.on('publication', ({ data, offset }) => {
      if (stood && offset) stood.offset = offset;
      const { id, barrier } = decode(data);
      tell('received', { ...here, id, offset: offset ?? null, how: 'live', barrier });
    });
    subscription.on('join', ({ info }) => tell('joined', { ...here, uuid: who(info) }));
    subscription.on('leave', ({ info }) => tell('left', { ...here, uuid: who(info) }));
    subscription.on('subscribing', ({ code, reason }) => {
      // Of the connection's own comings and goings the client tells.
      if (code >= 2500) tell('unsubscribed', { ...here, code, reason });
    });
    subscription.on('unsubscribed', ({ code, reason }) => {
      if (leaves) return;
      tell('unsubscribed', { ...here, code, reason });
      // Whom a backend puts out of it asks to come in again.
      if (code === 2000 && channel.startsWith('lounge:')) setTimeout(() => leaves || subscription.subscribe());
    });
    subscription.on('error', ({ error }) => {
      tell('subscribe_failed', { ...here, code: error.code, reason: error.message });
    });
    subscription.subscribe();
  }
  client.connect();
  return () => {
    leaves = true;
    client.disconnect();
  };
}

const goings = clients.map(enter);
process.stdin.resume();
process.stdin.on('end', () => {
  for (const go of goings) go();
  setTimeout(() => process.exit(0), 300);
});
