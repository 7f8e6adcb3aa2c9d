// A backend of Socket.IO clients, in Node: greets whoever comes, adds numbers, passes notes from user to user.
// npm install @nats-io/transport-node; NATS_URL=nats://localhost:4222 node backend.mjs
import { connect } from '@nats-io/transport-node';

const nats = await connect({ servers: process.env.NATS_URL ?? 'nats://localhost:4222' });
// Of several such processes one gets each event.
const queue = 'backend';

/** Emits to sockets, users or rooms of the main namespace. */
async function emit(to, ...event) {
  const { error } = (await nats.request('midplane.api.socketio_emit', JSON.stringify({ to, event }))).json();
  if (error) console.error('not emitted:', error);
}

/** Serves an event: `handler` gets its arguments and who emits; what it returns is the acknowledgement. */
async function on(event, handler) {
  for await (const message of nats.subscribe(`midplane.sio._.${event}`, { queue })) {
    const [, ...args] = message.json();
    const from = { socket: message.headers.get('Midplane-Client'), user: message.headers.get('Midplane-User') };
    const answer = await handler(args, from);
    if (message.reply) message.respond(JSON.stringify(answer ?? []));
  }
}

on('connect', (_, { socket, user }) => emit({ sockets: [socket] }, 'welcome', user || 'stranger'));
on('sum', numbers => [numbers.reduce((sum, number) => sum + number, 0)]);
on('note', async ([user, text], from) => {
  await emit({ users: [user] }, 'note', from.user, text);
  return ['sent'];
});
await nats.flush();
console.log('serving');
