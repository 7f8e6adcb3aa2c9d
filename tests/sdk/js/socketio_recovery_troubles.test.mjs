// Sessions of Socket.IO while something fails: nobody loses one for it, and nobody has one who must not.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { NatsServer, Node, eventually, fresh, natsClient } from './harness.mjs';
import { breakOff, count, goTo, heard, open, returns } from './harness/sessions.mjs';

const namespaces = [
  { name: '/', rooms: 'chat', join: ['lobby'], join_on: 'join', leave_on: 'leave', may_join: ['*'], recovery: '2m' },
  { name: '/five', rooms: 'short', join: ['lobby'], tell: ['disconnect'], recovery: '2m' },
];
const environment = {
  MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(namespaces), HEARTBEAT_INTERVAL: '300', FAILURE_DETECTION_TIMEOUT: '3000',
};

let nats, first, other;

before(async () => {
  nats = await NatsServer.start();
  [first, other] = await Promise.all(['ada', 'bob'].map(name => Node.start(name, { NATS_URL: nats.url, ...environment })));
});

after(async () => {
  await Promise.all([first, other].map(node => node?.stop()));
  await nats?.kill();
});

const publish = (room, ...event) => other.publish(`chat:${room}`, event);
const said = (socket, event, room) => new Promise(resolve => socket.emit(event, room, resolve));

test('whoever said goodbye while NATS was away came back to a session that was over', async t => {
  const socket = await open(t, first);
  const { id, _pid: pid } = socket;
  await nats.kill();
  socket.disconnect();
  await eventually('it has gone', async () => (await first.metric('midplane_connections{transport="websocket",protocol="socketio"}')) === 0);
  await nats.run();
  await eventually('its session goes too', async () => {
    const next = await open(t, other, { auth: { pid } });
    const anew = next.id !== id;
    next.disconnect();
    return anew;
  }, 60);
});

test('whoever came while NATS did not answer lost its session for good', async t => {
  const socket = await open(t, first);
  await publish('lobby', 'before');
  await heard(socket, ['before']);
  const { id, _pid: pid } = socket;
  await breakOff(socket);
  const unavailable = await count(other, 'unavailable');
  await nats.process.hang();
  await assert.rejects(goTo(socket, other), /it is to come again/);
  nats.process.signal('SIGCONT');
  assert.equal(await count(other, 'unavailable'), unavailable + 1);
  await goTo(socket, other);
  assert.deepEqual([socket.recovered, socket.id, socket._pid], [true, id, pid]);
});

test('rooms that changed while NATS hung ended the connection', async t => {
  const socket = await open(t, first);
  const room = fresh('room');
  await said(socket, 'join', room);
  await nats.process.hang();
  const left = said(socket, 'leave', room);
  await pause(3000); // longer than one attempt to write
  nats.process.signal('SIGCONT');
  await left;
  await publish('lobby', 'goes on');
  await heard(socket, ['goes on']);
  await returns(socket, first, other, () => publish(room, 'it has left there'));
  await publish('lobby', 'still');
  await heard(socket, ['goes on'], ['still']);
});

test('a node that was taken for dead lost the sessions of everybody who was there still', async t => {
  const socket = await open(t, first);
  const room = fresh('room');
  await first.process.hang();
  await eventually('it is taken for dead', async () => (await (await fetch(`${other.url}/cluster/metrics`)).json()).failedServers === 1, 60);
  first.process.signal('SIGCONT');
  await eventually('it has joined anew', async () => (await first.metric('midplane_cluster_rejoins_total')) > 0, 60);
  await said(socket, 'join', room);
  await publish(room, 'before');
  await heard(socket, ['before']);
  await returns(socket, first, other, () => publish(room, 'missed'));
  await heard(socket, ['before'], ['missed']);
});

test('services were not told of whoever came again, had to go for that, and could not have its session', async t => {
  const backend = await natsClient(nats.url);
  t.after(() => backend.close());
  const gone = [];
  backend.subscribe('midplane.sio.five.disconnect', { callback: (_, message) => gone.push(message.headers.get('Midplane-Client')) });
  await backend.flush();
  const socket = await open(t, first, { path: '/five' });
  const { id, _pid: pid } = socket;
  let offset;
  socket.onAny((...event) => (offset ??= event.at(-1)));
  for (let n = 0; n < 20; n += 1) await other.publish('short:lobby', ['news', n]);
  await eventually('it has heard them', () => socket.heard.length === 20);
  const next = await open(t, other, { path: '/five', auth: { pid, offset } });
  assert.notEqual(next.id, id, 'what it had before is not kept');
  await eventually('it is told', () => gone.includes(id));
  await breakOff(next);
  await goTo(next, first);
  assert.equal(gone.filter(each => each === id).length, 1);
});
