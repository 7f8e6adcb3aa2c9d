// Whom orders of backends are about, where one connection of Socket.IO has clients of two users, and how long and for whom rooms are open.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';

import { Node, eventually, fresh, now, openSocket, token, within } from './harness.mjs';
import * as sessions from './harness/sessions.mjs';

const namespaces = [
  { name: '/', rooms: 'chat', join_on: 'join', may_join: ['*'] },
  { name: '/admin', rooms: 'desk' },
  { name: '/kept', rooms: 'kept', recovery: '1m' },
];

let node;

before(async () => {
  node = await Node.start('rights', {
    MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(namespaces),
    MIDPLANE_CHANNEL__NAMESPACES: JSON.stringify([
      { name: 'chat', allow_user_limited_channels: true, channel_regex: '^[a-z0-9-]+(#[a-z0-9,-]+)?$' },
      { name: 'desk' },
      { name: 'personal' },
      { name: 'kept', history_size: 100, history_ttl: '5m' },
    ]),
  });
});

after(() => node?.stop());

async function call(method, params) {
  const { result, error } = await node.api(method, params);
  if (error) throw Object.assign(new Error(JSON.stringify(error)), error);
  return result;
}

const auth = (sub, exp = now(60)) => ({ auth: { token: token({ sub, exp }) } });
const open = (t, user, path = '/') => openSocket(t, io, node.url + path, auth(user));
const disconnected = socket => new Promise(resolve => socket.once('disconnect', resolve));

/** One connection with a client of one user in the main namespace, and of another one in `/admin`. */
async function shared(t, user, admin, exp) {
  const main = await open(t, user);
  const desk = main.io.socket('/admin', auth(admin, exp));
  desk.heard = [];
  desk.onAny((...event) => desk.heard.push(event));
  t.after(() => desk.close());
  await eventually('both are in', () => desk.connected);
  return [main, desk];
}

/** The rooms that a socket is in, or nothing where it is not there. */
async function rooms(socket, namespace = '/') {
  const { sockets } = await call('socketio_sockets', { namespace, to: { sockets: [socket.id] } });
  return sockets[socket.id]?.rooms.toSorted();
}

test('what a backend asks of one user does not reach the socket of another on the same connection', async t => {
  const [low, root] = ['low', 'root'].map(fresh);
  const [main, desk] = await shared(t, low, root);
  const into = async (user, channel) => {
    await call('subscribe', { user, channel });
    // What is asked of one connection is done in order.
    const mark = fresh('mark');
    await call('subscribe', { user: low, channel: `chat:${mark}` });
    await eventually('it is done', async () => (await rooms(main)).includes(mark));
    await call('socketio_leave', { to: { sockets: [main.id] }, rooms: [mark] });
  };
  await into(root, 'chat:secret');
  assert.deepEqual(await rooms(main), [], 'it is not its room');
  await into(low, 'chat:mine');
  await into(root, 'desk:one');
  assert.deepEqual([await rooms(main), await rooms(desk, '/admin')], [['mine'], ['one']]);
  await call('unsubscribe', { user: root });
  await eventually('root has left', async () => (await rooms(desk, '/admin')).length === 0);
  assert.deepEqual(await rooms(main), ['mine']);
});

test('a token is over in its time, whatever becomes of another one on the same connection', async t => {
  const [low, root] = ['low', 'root'].map(fresh);
  const [main, desk] = await shared(t, low, root, now(4));
  const over = disconnected(desk);
  await call('refresh', { user: low, expire_at: now(3600) });
  main.io.reconnection(false);
  assert.equal(await within('its token is over', over), 'transport close');
});

test('whoever is disconnected takes nobody along', async t => {
  const [low, root] = ['low', 'root'].map(fresh);
  const [main, desk] = await shared(t, low, root);
  const gone = disconnected(desk);
  await call('disconnect', { user: root });
  assert.equal(await gone, 'io server disconnect');
  assert.deepEqual(await rooms(main), [], 'it is there as before');
  const [last, ended] = [disconnected(main), new Promise(resolve => main.io.engine.once('close', resolve))];
  await call('disconnect', { user: low });
  assert.equal(await last, 'io server disconnect');
  await ended;
});

test('of the sockets of a user only those are disconnected that are not spared', async t => {
  const user = fresh('user');
  const [main, desk] = await shared(t, user, user);
  const gone = disconnected(main);
  await call('disconnect', { user, whitelist: [desk.id] });
  assert.equal(await gone, 'io server disconnect');
  await call('socketio_emit', { namespace: '/admin', to: { users: [user] }, event: ['still here?'] });
  await eventually('it is', () => desk.heard.length === 1);
});

test('whoever is let into a room for a time leaves it when that is over', async t => {
  const user = fresh('user');
  const main = await open(t, user);
  const { id } = main;
  const room = fresh('timed');
  await call('subscribe', { user, channel: `chat:${room}`, expire_at: now(3) });
  await call('subscribe', { user, channel: 'chat:lasting' });
  await eventually('it is in both', async () => (await rooms(main)).length === 2);
  await eventually('it has left the one', async () => (await rooms(main)).length === 1);
  await node.publish(`chat:${room}`, ['too late']);
  await node.publish('chat:lasting', ['in time']);
  await eventually('it is in the other', () => main.heard.length === 1);
  assert.deepEqual([main.heard, main.id], [[['in time']], id]);
});

test('whoever comes back to a room that it was in for a time leaves it in time', async t => {
  const user = fresh('user');
  const socket = await sessions.open(t, node, { path: '/kept', ...auth(user) });
  await call('subscribe', { user, channel: 'kept:timed', expire_at: now(6) });
  await eventually('it is in', async () => (await rooms(socket, '/kept')).length === 1);
  await sessions.returns(socket, node, node);
  assert.deepEqual(await rooms(socket, '/kept'), ['timed']);
  await eventually('it has left', async () => (await rooms(socket, '/kept')).length === 0);
});

test('nobody comes back to a room that it may not be in any more', async t => {
  const user = fresh('user');
  const socket = await sessions.open(t, node, { path: '/kept', ...auth(user) });
  const end = now(3);
  await call('subscribe', { user, channel: 'kept:timed', expire_at: end });
  await eventually('it is in', async () => (await rooms(socket, '/kept')).length === 1);
  await sessions.breakOff(socket);
  await eventually('its time is over', () => now() > end);
  await node.publish('kept:timed', ['not for it']);
  await sessions.goTo(socket, node);
  assert.equal(socket.recovered, false);
  assert.deepEqual([await rooms(socket, '/kept'), socket.heard], [[], []]);
});

test('clients join no rooms of other users, nor any whose name is none of the namespace', async t => {
  const [ada, mallory] = [await open(t, 'ada'), await open(t, 'mallory')];
  const joined = (socket, room) => new Promise(resolve => socket.emit('join', room, () => resolve(true)));
  const forbidden = () => node.metric('midplane_socketio_events_total{result="forbidden"}');
  const refused = async (socket, room) => {
    const before = await forbidden();
    socket.emit('join', room);
    await eventually(`${room} is refused`, async () => (await forbidden()) === before + 1);
  };
  await joined(ada, 'x#bob,ada');
  for (const room of ['x#bob,ada', '#ada', 'x#', 'Upper', 'a/b']) await refused(mallory, room);
  assert.deepEqual([await rooms(ada), await rooms(mallory)], [['x#bob,ada'], []]);
  // Whom a backend lets in is its own business.
  await call('socketio_join', { to: { sockets: [mallory.id] }, rooms: ['x#bob,ada', 'Upper'] });
  assert.deepEqual(await rooms(mallory), ['Upper', 'x#bob,ada']);
});
