// Clients of Socket.IO that come back to their sessions: at the same node, at another one, and after their node was killed.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { NatsServer, Node, eventually, fresh, token } from './harness.mjs';
import { breakOff, count, goTo, heard, open, returns } from './harness/sessions.mjs';

const namespaces = [
  { name: '/', rooms: 'chat', join: ['lobby'], recovery: '2m' },
  { name: '/five', rooms: 'short', join: ['lobby'], recovery: '2m' },
  { name: '/brief', rooms: 'brief', join: ['lobby'], recovery: '1s' },
];
const environment = { MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(namespaces) };

let nats;
let nodes;

before(async () => {
  nats = await NatsServer.start();
  nodes = await Promise.all(['ada', 'bob', 'cleo'].map(start));
});

after(async () => {
  await Promise.all((nodes ?? []).map(node => node.stop()));
  await nats?.kill();
});

const start = name => Node.start(name, { NATS_URL: nats.url, ...environment });

/** Calls the server API at the first node. */
async function call(method, params) {
  const { result, error } = await nodes[0].api(method, params);
  if (error) throw Object.assign(new Error(JSON.stringify(error)), error);
  return result;
}

const emit = params => call('socketio_emit', params);
const publish = (room, ...event) => nodes[0].publish(`chat:${room}`, event);

const join = (socket, ...rooms) => call('socketio_join', { to: { sockets: [socket.id] }, rooms });
const where = async socket => Object.keys((await call('socketio_sockets', { to: { sockets: [socket.id] } })).sockets);

test('at the same node a client is the same socket in the same rooms, and gets what it missed, once and in order', async t => {
  const socket = await open(t, nodes[0]);
  const [red, blue] = ['red', 'blue'].map(fresh);
  await join(socket, red, blue);
  await publish(red, 'before', 1);
  await heard(socket, ['before', 1]);
  await returns(socket, nodes[0], nodes[0], async () => {
    for (let n = 0; n < 10; n += 1) await publish([red, blue, 'elsewhere'][n % 3], 'missed', n);
  });
  await publish(blue, 'after');
  const missed = [0, 1, 3, 4, 6, 7, 9].map(n => ['missed', n]);
  await heard(socket, ['before', 1], ...missed, ['after']);
  assert.equal((await where(socket)).length, 1);
});

test('at another node too', async t => {
  const socket = await open(t, nodes[0]);
  const room = fresh('room');
  await join(socket, room);
  await publish(room, 'before');
  await heard(socket, ['before']);
  await returns(socket, nodes[0], nodes[1], async () => {
    for (let n = 0; n < 5; n += 1) await publish(room, 'missed', n);
  });
  await publish(room, 'after');
  await heard(socket, ['before'], ...[0, 1, 2, 3, 4].map(n => ['missed', n]), ['after']);
});

test('what others missed does not count against it', async t => {
  const socket = await open(t, nodes[0]);
  const room = fresh('room');
  await join(socket, room);
  await publish(room, 'before');
  await heard(socket, ['before']);
  await returns(socket, nodes[0], nodes[1], async () => {
    const large = 'x'.repeat(80_000);
    for (let n = 0; n < 8; n += 1) await emit({ to: { users: [fresh('other')] }, event: ['large', large] });
    await emit({ to: { rooms: [room, fresh('room')] }, event: ['missed'] });
  });
  await heard(socket, ['before'], ['missed']);
});

test('whoever left a room with what it may not have got there is another socket', async t => {
  const socket = await open(t, nodes[0]);
  const [busy, quiet] = ['busy', 'quiet'].map(fresh);
  const leave = room => call('socketio_leave', { to: { sockets: [socket.id] }, rooms: [room] });
  await join(socket, busy, quiet);
  await publish(busy, 'first');
  await heard(socket, ['first']);
  await leave(quiet);
  await returns(socket, nodes[0], nodes[1]);
  const first = socket._lastOffset;
  await publish(busy, 'second');
  await heard(socket, ['first'], ['second']);
  await leave(busy);
  // As where the second had been on its way when the connection broke off.
  socket._lastOffset = first;
  const before = await count(nodes[2], 'left');
  await breakOff(socket);
  await goTo(socket, nodes[2]);
  assert.equal(socket.recovered, false);
  assert.equal(await count(nodes[2], 'left'), before + 1);
});

test('whoever names an offset that is still to come is another socket', async t => {
  const socket = await open(t, nodes[0]);
  const room = fresh('room');
  await join(socket, room);
  await publish(room, 'first');
  await heard(socket, ['first']);
  socket._lastOffset = socket._lastOffset.replace(/\d+$/, '9007199254740000');
  const before = await count(nodes[1], 'offset');
  await breakOff(socket);
  await goTo(socket, nodes[1]);
  assert.equal(socket.recovered, false);
  assert.equal(await count(nodes[1], 'offset'), before + 1);
});

test('where nothing was missed, where no event came before, and twice in a row', async t => {
  const socket = await open(t, nodes[0]);
  const room = fresh('room');
  await join(socket, room);
  await returns(socket, nodes[0], nodes[1]);
  await returns(socket, nodes[1], nodes[0], () => publish(room, 'first'));
  await heard(socket, ['first']);
  await returns(socket, nodes[0], nodes[1], () => publish(room, 'second'));
  await returns(socket, nodes[1], nodes[1], () => publish(room, 'third'));
  await heard(socket, ['first'], ['second'], ['third']);
});

test('a client is told that it is back before what it missed, which would come twice if its connection ended in between', async t => {
  const socket = await open(t, nodes[0]);
  const room = fresh('room');
  await join(socket, room);
  await publish(room, 'before');
  await heard(socket, ['before']);
  const missed = Array.from({ length: 20 }, (_, number) => ['missed', number]);
  const packets = [];
  await returns(socket, nodes[0], nodes[1], async () => {
    for (const event of missed) await publish(room, ...event);
    socket.io.once('open', () => socket.io.engine.on('message', packet => packets.push(packet)));
  });
  await heard(socket, ['before'], ...missed);
  assert.equal(packets.map(packet => packet[0]).join(''), `0${'2'.repeat(missed.length)}`);
});

test('events for a union of rooms, for users, and not for others are not missed either, and come once', async t => {
  const socket = await open(t, nodes[0], { auth: { token: token({ sub: 'ada' }) } });
  const [red, blue, out] = ['red', 'blue', 'out'].map(fresh);
  await join(socket, red, blue);
  const { id } = socket;
  const to = { rooms: [red, blue] };
  await emit({ to, event: ['before'] });
  await heard(socket, ['before']);
  await returns(socket, nodes[0], nodes[1], async () => {
    await emit({ to, event: ['union', 1] });
    await publish(red, 'room', 2);
    await emit({ to, except: { rooms: [blue] }, event: ['except', 3] });
    await emit({ to: { rooms: [out] }, event: ['other room', 4] });
    await emit({ to: { users: ['ada'] }, event: ['user', 5] });
    await emit({ except: { users: ['ada'] }, event: ['not for ada', 6] });
    await emit({ event: ['all', 7] });
    await emit({ to: { sockets: [id] }, event: ['file', { _placeholder: true, num: 0 }], attachments: ['AQI='] });
  });
  await heard(socket, ['before'], ['union', 1], ['room', 2], ['user', 5], ['all', 7], ['file', Buffer.from([1, 2])]);
});

test('whoever joined a room late was taken for somebody who had been there before', async t => {
  const [early, late] = [await open(t, nodes[0]), await open(t, nodes[0])];
  const [red, blue] = ['red', 'blue'].map(fresh);
  await join(early, red, blue);
  await publish(red, 'quiet since');
  await emit({ to: { rooms: [red, blue] }, event: ['before it was there'] });
  await emit({ except: { rooms: [red] }, event: ['for the others'] });
  await heard(early, ['quiet since'], ['before it was there']);
  await heard(late, ['for the others']);
  await join(late, red);
  // As if its connection had ended before that came.
  late.heard = [];
  delete late._lastOffset;
  await returns(late, nodes[0], nodes[1]);
  await heard(late, ['for the others']);
});

test('a volatile event with a text behind it does not stand in the way', async t => {
  const socket = await open(t, nodes[0]);
  const room = fresh('room');
  await join(socket, room);
  await publish(room, 'stored');
  await heard(socket, ['stored']);
  await emit({ to: { rooms: [room] }, volatile: true, event: ['volatile', 'a text'] });
  await heard(socket, ['stored'], ['volatile', 'a text']);
  await returns(socket, nodes[0], nodes[1], () => publish(room, 'missed'));
  await heard(socket, ['stored'], ['volatile', 'a text'], ['missed']);
});

test('a connection that has not noticed gives its session up, and takes nothing from who has it', async t => {
  for (const to of [nodes[0], nodes[1]]) {
    const old = await open(t, nodes[0]);
    const room = fresh('room');
    await join(old, room);
    const { id, _pid: pid } = old; // its client forgets them where it notices that it has ended
    const next = await open(t, to, { auth: { pid } });
    assert.deepEqual([next.id, next._pid], [id, pid]);
    await eventually('the old connection has ended', () => !old.connected);
    await publish(room, 'news');
    await heard(next, ['news']);
    assert.deepEqual(old.heard, []);
  }
});

test('whoever has taken leave, or was sent away, does not come back', async t => {
  for (const leave of [
    socket => socket.disconnect(),
    socket => call('socketio_disconnect', { to: { sockets: [socket.id] } }),
  ]) {
    const socket = await open(t, nodes[0]);
    const { id, _pid: pid } = socket;
    await leave(socket);
    await eventually('it has gone', () => !socket.connected);
    await eventually('it is there no more', async () => (await where({ id })).length === 0);
    const known = await count(nodes[1], 'unknown');
    const next = await open(t, nodes[1], { auth: { pid } });
    assert.notEqual(next.id, id);
    assert.notEqual(next._pid, pid);
    assert.equal(await count(nodes[1], 'unknown'), known + 1);
  }
});

test('a session is only for its user, only with an offset of its own, and only while nobody else has it', async t => {
  const ada = await open(t, nodes[0], { auth: { token: token({ sub: 'ada' }) } });
  const pid = ada._pid;
  const refused = async (result, auth) => {
    const known = await count(nodes[1], result);
    const other = await open(t, nodes[1], { auth });
    assert.notEqual(other.id, ada.id, result);
    assert.notEqual(other._pid, pid, result);
    assert.equal(await count(nodes[1], result), known + 1, result);
  };
  await refused('identity', { pid, token: token({ sub: 'bob' }) });
  await refused('identity', { pid });
  await refused('unknown', { pid: 'anything', token: token({ sub: 'ada' }) });
  await refused('offset', { pid, offset: 'a text of the application', token: token({ sub: 'ada' }) });
  await refused('offset', { pid, offset: '17', token: token({ sub: 'ada' }) });
  await refused('doubtful', { pid, offset: '~mp.17?', token: token({ sub: 'ada' }) });
  await refused('epoch', { pid, offset: '~mpelsewhere.17', token: token({ sub: 'ada' }) });
  assert.equal(ada.connected, true, 'none of them took anything from it');
});

test('more than is kept is told, and not papered over', async t => {
  const socket = await open(t, nodes[0], { path: '/five' });
  const send = (...event) => nodes[0].publish('short:lobby', event);
  await send('before');
  await heard(socket, ['before']);
  const { id } = socket;
  await breakOff(socket);
  for (let n = 0; n < 10; n += 1) await send('missed', n);
  await goTo(socket, nodes[1]);
  assert.equal(socket.recovered, false);
  assert.notEqual(socket.id, id);
  assert.equal(await count(nodes[1], 'gone'), 1);
  // The offset that it keeps is of its last session: it stands in nobody's way.
  socket.heard = [];
  await returns(socket, nodes[1], nodes[0], () => send('later'));
  await heard(socket, ['later']);
});

test('after its time nobody comes back', async t => {
  const socket = await open(t, nodes[0], { path: '/brief' });
  const { _pid: pid, id } = socket;
  await breakOff(socket);
  // Whoever asks in time has it back, and breaks off again: in the end a second has passed between two.
  let pause = 0;
  await eventually('its time is over', async () => {
    pause += 300;
    await new Promise(resolve => setTimeout(resolve, pause));
    const next = await open(t, nodes[1], { path: '/brief', auth: { pid } });
    const anew = next.id !== id;
    await breakOff(next);
    return anew;
  }, 60);
});

// Last: until the others notice it, questions to all nodes are not answered by all.
test('a node that is killed takes no session with it', async t => {
  const victim = await start('dora');
  t.after(() => victim.stop());
  const sockets = await Promise.all([1, 2, 3].map(() => open(t, victim)));
  const room = fresh('room');
  await Promise.all(sockets.map(socket => join(socket, room)));
  await publish(room, 'before');
  for (const socket of sockets) await heard(socket, ['before']);
  const before = sockets.map(socket => [socket.id, socket._pid]);
  await victim.kill();
  await publish(room, 'missed');
  await emit({ to: { rooms: [room, 'other'] }, event: ['union'] });
  for (const [index, socket] of sockets.entries()) {
    await eventually('it has noticed', () => !socket.connected);
    await goTo(socket, nodes[index % 2]);
    assert.equal(socket.recovered, true);
    assert.deepEqual([socket.id, socket._pid], before[index]);
    await heard(socket, ['before'], ['missed'], ['union']);
  }
});

test('a node by itself has clients come back too', async t => {
  const alone = await Node.start('alone', environment);
  t.after(() => alone.stop());
  const socket = await open(t, alone);
  await alone.publish('chat:lobby', ['before']);
  await heard(socket, ['before']);
  await returns(socket, alone, alone, () => alone.publish('chat:lobby', ['missed']));
  await heard(socket, ['before'], ['missed']);
});
