// What backends ask of clients of Socket.IO, over HTTP and NATS, of two nodes.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect } from '@nats-io/transport-node';
import { io as newest } from 'socket.io-client';
import { io as oldest } from 'socket.io-client-oldest';

import { NatsServer, Node, eventually, fresh, now, openSocket, token } from './harness.mjs';

const namespaces = [{ name: '/', rooms: 'chat', join: ['lobby'] }, { name: '/plain' }];

let nats;
let nodes;
let backend;

before(async () => {
  nats = await NatsServer.start();
  const environment = { NATS_URL: nats.url, MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(namespaces) };
  nodes = await Promise.all(['ada', 'bob'].map(name => Node.start(name, environment)));
  backend = await connect({ servers: nats.url });
});

after(async () => {
  await backend?.close();
  await Promise.all((nodes ?? []).map(node => node.stop()));
  await nats?.kill();
});

/** Calls the server API at the first node over HTTP; its result. */
async function call(method, params) {
  const { result, error } = await nodes[0].api(method, params);
  if (error) throw Object.assign(new Error(JSON.stringify(error)), error);
  return result;
}

const open = (t, node, { path = '/', io = newest, ...options } = {}) => openSocket(t, io, node.url + path, options);

/** The newest client at the first node on a WebSocket, and the oldest at the second by long-polling. */
const pair = (t, options) => Promise.all([
  open(t, nodes[0], options),
  open(t, nodes[1], { io: oldest, transports: ['polling'], ...options }),
]);
const join = (socket, ...rooms) => call('socketio_join', { to: { sockets: [socket.id] }, rooms });
const heard = (socket, ...events) => eventually(`${JSON.stringify(events)} is heard`, () => {
  assert.deepEqual(socket.heard, events);
  return true;
});
/** Everything emitted so far has been delivered: what is emitted later, on the same way, has. */
async function settled(...sockets) {
  const mark = fresh('mark');
  await call('socketio_emit', { to: { sockets: sockets.map(socket => socket.id) }, event: [mark] });
  for (const socket of sockets) {
    await eventually(`${mark} is heard`, () => socket.heard.some(([name]) => name === mark));
    socket.heard = socket.heard.filter(([name]) => name !== mark);
  }
}

test('an event reaches everybody of a namespace, on every node, and nobody else', async t => {
  const [ada, bob] = await pair(t);
  const plain = await open(t, nodes[0], { path: '/plain' });
  assert.deepEqual(await call('socketio_emit', { event: ['news', 1, { two: [2, 'ü'] }] }), {});
  for (const socket of [ada, bob]) await heard(socket, ['news', 1, { two: [2, 'ü'] }]);
  await call('socketio_emit', { namespace: '/plain', event: ['plain'] });
  await heard(plain, ['plain']);
});

test('whoever is in several rooms gets an event once, and those left out do not', async t => {
  const [ada, bob] = await pair(t);
  const eve = await open(t, nodes[1]);
  const [red, blue, out] = ['red', 'blue', 'out'].map(fresh);
  assert.deepEqual(await join(ada, red, blue), { sockets: 1 });
  await join(bob, blue);
  await join(eve, red, out);
  await call('socketio_emit', { to: { rooms: [red, blue] }, except: { rooms: [out] }, event: ['colours'] });
  await call('socketio_emit', { to: { rooms: [red, blue], sockets: [ada.id] }, except: { sockets: [bob.id] }, event: ['again'] });
  await settled(ada, bob, eve);
  assert.deepEqual(ada.heard, [['colours'], ['again']]);
  assert.deepEqual(bob.heard, [['colours']]);
  assert.deepEqual(eve.heard, [['again']]);
});

test('an event for one room is a publication in its channel', async t => {
  const [ada, bob] = await pair(t);
  const room = fresh('room');
  await join(ada, room);
  await call('socketio_emit', { to: { rooms: [room] }, event: ['hello', 1.50] });
  await heard(ada, ['hello', 1.5]);
  await call('socketio_leave', { to: { rooms: [room] }, rooms: [room] });
  await call('socketio_emit', { to: { rooms: [room] }, event: ['nobody'] });
  await settled(ada, bob);
  assert.deepEqual([ada.heard, bob.heard], [[['hello', 1.5]], []]);
});

test('users and sockets are reached wherever they are, over NATS too, with buffers', async t => {
  const user = fresh('user');
  const auth = { token: token({ sub: user, exp: now(60) }) };
  const [ada, bob] = await pair(t, { auth });
  const other = await open(t, nodes[0]);
  const event = ['bin', { _placeholder: true, num: 0 }, { in: { _placeholder: true, num: 1 } }];
  const asked = { to: { users: [user] }, event, attachments: ['AQID', 'BA=='] };
  const answer = await backend.request('midplane.api.socketio_emit', JSON.stringify(asked));
  assert.deepEqual(answer.json(), { result: {} });
  for (const socket of [ada, bob]) {
    await eventually('it is heard', () => socket.heard.length === 1);
    const [name, first, second] = socket.heard[0];
    assert.deepEqual([name, [...new Uint8Array(first)], [...new Uint8Array(second.in)]], ['bin', [1, 2, 3], [4]]);
  }
  assert.deepEqual(other.heard, []);
});

test('sockets are told of, with their rooms and users', async t => {
  const user = fresh('user');
  const [ada, bob] = await pair(t, { auth: { token: token({ sub: user, exp: now(60) }) } });
  const room = fresh('room');
  await join(bob, room);
  const { sockets } = await call('socketio_sockets', { to: { users: [user] } });
  const sorted = ({ user, rooms }) => ({ user, rooms: rooms.toSorted() });
  assert.deepEqual(Object.fromEntries(Object.entries(sockets).map(([id, socket]) => [id, sorted(socket)])), {
    [ada.id]: { user, rooms: ['lobby'] },
    [bob.id]: { user, rooms: ['lobby', room].toSorted() },
  });
  const one = await call('socketio_sockets', { to: { rooms: [room] } });
  assert.deepEqual(Object.keys(one.sockets), [bob.id]);
  ada.close();
  await eventually('one is left', async () => {
    const { sockets } = await call('socketio_sockets', { to: { users: [user] } });
    return Object.keys(sockets).length === 1;
  });
});

test('a backend disconnects sockets from a namespace, or with their connections', async t => {
  const main = await open(t, nodes[1]);
  const plain = main.io.socket('/plain');
  plain.connect();
  await eventually('it is in both', () => plain.connected);
  const left = new Promise(resolve => plain.once('disconnect', resolve));
  assert.deepEqual(await call('socketio_disconnect', { namespace: '/plain', to: { sockets: [plain.id] } }), { sockets: 1 });
  assert.equal(await left, 'io server disconnect');
  await settled(main);
  const gone = new Promise(resolve => main.once('disconnect', resolve));
  const ended = new Promise(resolve => main.io.engine.once('close', resolve));
  await call('socketio_disconnect', { to: { sockets: [main.id] }, close: true });
  assert.equal(await gone, 'io server disconnect');
  await ended;
});

test('clients of all nodes are asked, and what they answer comes back', async t => {
  const room = fresh('room');
  const sockets = await pair(t);
  for (const [index, socket] of sockets.entries()) {
    await join(socket, room);
    socket.on('ask', (question, answer) => answer(question + index, Uint8Array.of(index)));
  }
  const asked = { to: { rooms: [room] }, event: ['ask', 10], ack_timeout_ms: 10_000 };
  const { acks, ...rest } = await call('socketio_emit', asked);
  assert.deepEqual(rest, { asked: 2, complete: true });
  const answers = acks.toSorted((one, other) => one.args[0] - other.args[0]);
  assert.deepEqual(answers, sockets.map((socket, index) => ({
    socket: socket.id,
    args: [10 + index, { _placeholder: true, num: 0 }],
    attachments: [Buffer.of(index).toString('base64')],
  })));
});

test('who does not answer in time is not waited for', async t => {
  const [ada, bob] = await pair(t);
  const late = [];
  ada.on('ask', answer => answer('here'));
  bob.on('ask', answer => late.push(answer));
  const asked = { to: { sockets: [ada.id, bob.id] }, event: ['ask'], ack_timeout_ms: 500 };
  const { asked: count, acks, complete } = await call('socketio_emit', asked);
  assert.deepEqual([count, complete, acks.map(({ socket, args }) => [socket, args])], [2, false, [[ada.id, ['here']]]]);
  assert.equal(late.length, 1);
  const nobody = await call('socketio_emit', { to: { sockets: [] , users: [fresh('nobody')] }, event: ['ask'], ack_timeout_ms: 500 });
  assert.deepEqual(nobody, { asked: 0, acks: [], complete: true });
});

test('a volatile event is dropped for whom something waits, and counted', async t => {
  const node = nodes[0];
  // Long-polling without a request that waits: what is emitted first is kept, what is volatile behind it is not.
  const greeting = await (await fetch(`${node.url}/socket.io/?EIO=4&transport=polling`)).text();
  const { sid } = JSON.parse(greeting.slice(1));
  const url = `${node.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`;
  await fetch(url, { method: 'POST', body: '40' });
  const joined = await (await fetch(url)).text();
  const { sid: id } = JSON.parse(joined.slice(2));
  const to = { sockets: [id] };
  const dropped = () => node.metric('midplane_socketio_emits_total{result="dropped"}');
  const before = await dropped();
  await call('socketio_emit', { to, event: ['kept'] });
  await call('socketio_emit', { to, event: ['position'], volatile: true });
  await eventually('it was dropped', async () => (await dropped()) === before + 1);
  assert.equal(await (await fetch(url)).text(), '42["kept"]');
  await call('socketio_emit', { to, event: ['position', 2], volatile: true });
  assert.equal(await (await fetch(url)).text(), '42["position",2]');
});

test('what makes no sense is refused, and what is wrong is named', async () => {
  for (const [method, params, message] of [
    ['socketio_emit', { event: ['a'], namespace: '/nowhere' }, 'namespace: "/nowhere" is not one of socketio.namespaces'],
    ['socketio_emit', {}, 'event: not set (a JSON array, the event\'s name first)'],
    ['socketio_emit', { event: ['connect'] }, /^event: /],
    ['socketio_emit', { event: ['a'], attachments: ['%'] }, 'attachments: not base64'],
    ['socketio_emit', { event: ['a', { _placeholder: true, num: 1 }], attachments: ['AQ=='] }, /^event: /],
    ['socketio_emit', { event: ['a'], too: {} }, /^unknown field `too`/],
    ['socketio_emit', { event: ['a'], ack_timeout_ms: 60_000 }, 'ack_timeout_ms: 60000, at most 20000 is allowed'],
    ['socketio_emit', { event: ['a'], namespace: '/plain', to: { rooms: ['r'] } }, 'to.rooms: the namespace has no rooms (socketio.namespaces, rooms)'],
    ['socketio_disconnect', { to: { users: [] } }, 'to.users: nobody is in this list (left out, it means everybody)'],
    ['socketio_disconnect', { to: { users: null } }, /^invalid type: null/],
    ['socketio_join', { rooms: [] }, 'rooms: 0 given, 1 to 100 are allowed'],
    ['socketio_leave', { rooms: ['a\u0000'] }, /^rooms: .* cannot be a room's name$/],
  ]) {
    const { error } = await nodes[0].api(method, params);
    assert.equal(error.code, 107);
    const said = error.message.replace(/^bad request: /, '');
    if (typeof message === 'string') assert.equal(said, message);
    else assert.match(said, message);
  }
});
