// Clients of the official JavaScript SDK, in one process. What they see goes to stdout as entries of the journal; they go
// once stdin ends. Argument: {"nodes": [{"name", "url"}], "clients": [{"name", "channels"}], "modules": directory}.
import { createRequire } from 'node:module';

const { nodes, clients, modules } = JSON.parse(process.argv[2]);
const require = createRequire(`${modules}/`);
const { Centrifuge } = require('centrifuge');
const WebSocket = require('ws');

const tell = (what, entry) => process.stdout.write(`${JSON.stringify({ what, ...entry })}\n`);
const position = (at) => (at ? { offset: at.offset, epoch: at.epoch } : null);

function enter({ name, channels }) {
  let node = nodes[0];
  // As behind a load balancer: each connection goes to any node.
  class Any extends WebSocket {
    constructor(_, ...rest) {
      const chosen = nodes[Math.floor(Math.random() * nodes.length)];
      super(chosen.url, ...rest);
      node = chosen;
    }
  }
  const client = new Centrifuge('ws://any', {
    websocket: Any,
    minReconnectDelay: 100,
    maxReconnectDelay: 3000,
    maxServerPingDelay: 8000,
    timeout: 8000,
  });
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
    const subscription = client.newSubscription(channel, { minResubscribeDelay: 100, maxResubscribeDelay: 3000 });
    let stood = null;
    const here = { client: name, channel };
    subscription.on('subscribed', (context) => {
      const since = context.wasRecovering ? stood : null;
      stood = position(context.streamPosition);
      tell('subscribed', { ...here, since, recovered: context.recovered, position: stood });
    });
    subscription.on('publication', ({ data, offset }) => {
      if (stood && offset) stood.offset = offset;
      tell('received', { ...here, id: data.id, offset: offset ?? null, how: 'live', barrier: data.barrier });
    });
    subscription.on('join', ({ info }) => tell('joined', { ...here, uuid: info.client }));
    subscription.on('leave', ({ info }) => tell('left', { ...here, uuid: info.client }));
    subscription.on('subscribing', ({ code, reason }) => {
      // Of the connection's own comings and goings the client tells.
      if (code >= 2500) tell('unsubscribed', { ...here, code, reason });
    });
    subscription.on('unsubscribed', ({ code, reason }) => {
      if (!leaves) tell('unsubscribed', { ...here, code, reason });
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
