// The bridge: two nodes of midplane, a server of Socket.IO in Node, and an emitter, all in the same rooms by a real Redis.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Emitter } from '@socket.io/redis-emitter';
import { connect } from '@nats-io/transport-node';
import { decode } from 'notepack.io';
import { io } from 'socket.io-client';

import { NatsServer, Node, NodeTier, RedisServer, eventually, fresh, openSocket } from './harness.mjs';

/** Rooms with history and without, and a namespace without any. */
const spaces = ['/', '/plain', '/none'];
const namespaces = [
  { name: '/', rooms: 'chat', join: ['lobby'], join_on: 'join', leave_on: 'leave', may_join: ['*'], relay: { say: '{1}' } },
  { name: '/plain', rooms: 'plain', join: ['lobby'], join_on: 'join', leave_on: 'leave', may_join: ['*'] },
  { name: '/none' },
];

let nats;
let redis;
let watcher;
let emitting;
let nodes;
let tier;
let backend;
const seen = []; // everything that crosses Redis

before(async () => {
  [nats, redis] = await Promise.all([NatsServer.start(), RedisServer.start()]);
  const environment = {
    NATS_URL: nats.url, REDIS_URL: redis.url, MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(namespaces),
  };
  nodes = await Promise.all(['ada', 'bob'].map(name => Node.start(name, environment)));
  tier = await NodeTier.start(redis, { namespaces: spaces });
  [watcher, emitting] = [await redis.client(), await redis.client()];
  await watcher.pSubscribe('socket.io*', (message, channel) => seen.push({ channel: `${channel}`, message }), true);
  backend = await connect({ servers: nats.url });
  await bridged();
});

after(async () => {
  await tier?.stop();
  for (const client of [watcher, emitting]) client?.destroy();
  await backend?.close();
  await Promise.all((nodes ?? []).map(node => node.stop()));
  await Promise.all([nats, redis].map(server => server?.kill()));
});

/** Which node is the bridge; once it is, and reaches Redis. */
const bridge = () => eventually('a node is the bridge', async () => {
  for (const node of nodes.filter(({ process }) => !process.outcome)) {
    if (await node.metric('midplane_bridge_connected')) return node;
  }
}, 30);

/** Both tiers know of each other. */
async function bridged() {
  await bridge();
  const counter = await redis.client();
  await eventually('both tiers are counted', async () => {
    const counts = await Promise.all(spaces.map(space => redis.servers(counter, space)));
    return counts.every(count => count === 2);
  });
  counter.destroy();
}

/** A connected socket at a server, with the events that it has heard, in the lobby; closed after the test. */
async function open(t, server, path = '/') {
  const socket = await openSocket(t, io, server.url + path);
  if (path !== '/none' && server === tier) await socket.emitWithAck('join', 'lobby');
  return socket;
}

/** Two of Node's tier, then one of each node. */
const four = (t, path) => Promise.all([tier, tier, ...nodes].map(server => open(t, server, path)));
const join = async (room, ...sockets) => { for (const socket of sockets) await socket.emitWithAck('join', room); };
const api = async (method, params) => {
  const { result, error } = await nodes[0].api(method, params);
  if (error) throw Object.assign(new Error(JSON.stringify(error)), error);
  return result;
};

/** Whatever was sent before, either way and by either path, has arrived: so have marks that are sent now. */
async function settled(sockets, namespace = '/') {
  const marks = [fresh('mark'), fresh('mark'), fresh('mark'), fresh('mark')];
  const space = tier.io.of(namespace);
  space.emit(marks[0]);
  await api('socketio_emit', { namespace, event: [marks[1]] });
  if (namespace !== '/none') {
    space.to('lobby').emit(marks[2]);
    await api('socketio_emit', { namespace, to: { rooms: ['lobby'] }, event: [marks[3]] });
  }
  const wanted = namespace === '/none' ? marks.slice(0, 2) : marks;
  for (const socket of sockets) {
    await eventually('marks arrive', () => wanted.every(mark => socket.heard.some(([name]) => name === mark)));
    for (const mark of wanted) {
      assert.equal(socket.heard.filter(([name]) => name === mark).length, 1, `${mark} came once`);
    }
    socket.heard = socket.heard.filter(([name]) => !marks.includes(name));
  }
}

for (const space of spaces) {
  test(`an event for everybody reaches everybody once, whoever emits it (${space})`, async t => {
    const all = await four(t, space);
    tier.io.of(space).emit('by node', 1, { two: [2, 'ü', null], at: new Date(0) });
    await api('socketio_emit', { namespace: space, event: ['by midplane', 1, { two: [2, 'ü', null] }] });
    await settled(all, space);
    for (const socket of all) {
      assert.deepEqual(socket.heard.toSorted(), [
        ['by midplane', 1, { two: [2, 'ü', null] }],
        ['by node', 1, { two: [2, 'ü', null], at: '1970-01-01T00:00:00.000Z' }],
      ]);
    }
  });
}

for (const space of ['/', '/plain']) {
  test(`whoever is in one of the rooms, and in none of the others, gets it once (${space})`, async t => {
    const [eve, kim, ada, bob] = await four(t, space);
    const [red, blue, out] = ['red', 'blue', 'out'].map(fresh);
    await join(red, eve, ada);
    await join(blue, eve, kim, ada, bob);
    await join(out, kim, bob);
    const all = tier.io.of(space);
    all.to(red).emit('red of node');
    all.to(red).to(blue).emit('both of node');
    all.to(blue).except(out).emit('not out, of node');
    const to = rooms => ({ namespace: space, to: { rooms } });
    await api('socketio_emit', { ...to([red]), event: ['red of midplane'] });
    await api('socketio_emit', { ...to([red, blue]), event: ['both of midplane'] });
    await api('socketio_emit', { ...to([blue]), except: { rooms: [out] }, event: ['not out, of midplane'] });
    await settled([eve, kim, ada, bob], space);
    const names = socket => socket.heard.map(([name]) => name).toSorted();
    const both = ['both of midplane', 'both of node'];
    const everything = [...both, 'not out, of midplane', 'not out, of node', 'red of midplane', 'red of node'];
    assert.deepEqual([eve, ada].map(names), [everything, everything]);
    assert.deepEqual([kim, bob].map(names), [both, both]);
  });
}

test('buffers come where they stood, both ways', async t => {
  const all = await four(t);
  tier.io.emit('by node', Buffer.from([1, 2, 3]), { in: Buffer.from([4]) });
  const event = ['by midplane', { _placeholder: true, num: 0 }, { in: { _placeholder: true, num: 1 } }];
  await api('socketio_emit', { event, attachments: ['AQID', 'BA=='] });
  await settled(all);
  for (const socket of all) {
    const plain = socket.heard.map(([name, first, second]) => [name, [...new Uint8Array(first)], [...new Uint8Array(second.in)]]);
    assert.deepEqual(plain.toSorted(), [['by midplane', [1, 2, 3], [4]], ['by node', [1, 2, 3], [4]]]);
  }
});

test('sockets are reached by their ids from the other side, and left out', async t => {
  const [eve, kim, ada, bob] = await four(t);
  tier.io.to(ada.id).emit('for ada');
  tier.io.except(bob.id).emit('all but bob');
  await api('socketio_emit', { to: { rooms: [eve.id] }, event: ['for eve'] });
  await settled([eve, kim, ada, bob]);
  const names = [eve, kim, ada, bob].map(socket => socket.heard.map(([name]) => name).toSorted());
  assert.deepEqual(names, [['all but bob', 'for eve'], ['all but bob'], ['all but bob', 'for ada'], []]);
});

test('rooms whose names are numbers are one here and two in Node, and both are reached', async t => {
  const [eve, kim, ada] = await four(t);
  const number = 10_000 + Math.floor(Math.random() * 1e9);
  await join(number, eve);
  await join(`${number}`, kim, ada);
  tier.io.to(number).emit('of a number');
  await api('socketio_emit', { to: { rooms: [`${number}`] }, event: ['of midplane'] });
  await settled([eve, kim, ada]);
  const names = [eve, kim, ada].map(socket => socket.heard.map(([name]) => name));
  assert.deepEqual(names.map(each => each.toSorted()), [['of a number', 'of midplane'], ['of midplane'], ['of a number', 'of midplane']]);
});

test('what clients of either side say in a room, backends publish there, and services write to NATS crosses', async t => {
  const [eve, kim, ada, bob] = await four(t);
  const room = fresh('room');
  await join(room, eve, kim, ada, bob);
  await ada.emitWithAck('say', room, 'by rule');
  eve.emit('to', room, 'said', 'by handler');
  await api('publish', { channel: `chat:${room}`, data: { any: 'json' } });
  backend.publish(`midplane.pub.chat.${room}`, JSON.stringify(['plain', 'nats']));
  await backend.flush();
  await settled([eve, kim, ada, bob]);
  await eventually('all is heard', () => [kim, ada, bob].every(socket => socket.heard.length === 4));
  for (const socket of [kim, ada, bob]) {
    assert.deepEqual(socket.heard.toSorted(), [
      ['message', { any: 'json' }], ['plain', 'nats'], ['said', 'by handler'], ['say', room, 'by rule'],
    ]);
  }
  assert.equal(eve.heard.length, 3, 'a sender who broadcasts does not hear itself');
});

test('what comes from Redis is in the history of its channel, in order', async t => {
  const [ada] = [await open(t, nodes[0])];
  const room = fresh('room');
  await join(room, ada);
  for (let number = 0; number < 50; number += 1) tier.io.to(room).emit('n', number);
  await eventually('all is heard', () => ada.heard.length === 50);
  assert.deepEqual(ada.heard, Array.from({ length: 50 }, (_, number) => ['n', number]));
  const { publications } = await api('history', { channel: `chat:${room}`, limit: 100 });
  assert.deepEqual(publications.map(({ data }) => data), ada.heard);
});

test('the emitter is obeyed, in every namespace', async t => {
  const [eve, kim, ada, bob] = await four(t);
  const plain = await open(t, nodes[1], '/plain');
  const emitter = new Emitter(emitting);
  const room = fresh('room');
  await join(room, kim, bob);
  emitter.emit('all', 1);
  emitter.to(room).emit('some', Buffer.from([7]));
  emitter.except(room).emit('others');
  emitter.of('/plain').to('lobby').emit('elsewhere');
  await settled([eve, kim, ada, bob]);
  await settled([plain], '/plain');
  const names = [eve, kim, ada, bob].map(socket => socket.heard.map(([name]) => name).toSorted());
  assert.deepEqual(names, [['all', 'others'], ['all', 'some'], ['all', 'others'], ['all', 'some']]);
  assert.deepEqual(plain.heard, [['elsewhere']]);
});

const ids = sockets => sockets.map(({ id }) => id).toSorted();

test('a server in Node sees the sockets of all nodes, and can speak to each', async t => {
  const sockets = await four(t);
  const [, kim, ada, bob] = sockets;
  const room = fresh('room');
  await join(room, kim, ada, bob);
  const found = await tier.io.in(room).fetchSockets();
  assert.deepEqual(ids(found), ids([kim, ada, bob]));
  const remote = found.find(({ id }) => id === ada.id);
  assert.deepEqual([...remote.rooms].toSorted(), [ada.id, 'lobby', room].toSorted());
  assert.deepEqual([remote.data, remote.handshake.auth, remote.handshake.headers], [{}, {}, {}]);
  remote.emit('to you');
  await eventually('it is heard', () => ada.heard.length === 1);
  const all = ids(await tier.io.fetchSockets());
  assert.ok(ids(sockets).every(id => all.includes(id)));
  const rooms = await tier.io.of('/').adapter.allRooms();
  assert.ok([room, ada.id, kim.id].every(name => rooms.has(name)));
  assert.deepEqual(await tier.io.of('/none').fetchSockets(), []);
});

test('servers in Node and emitters have sockets here join, leave and go', async t => {
  const sockets = await four(t);
  const [eve, kim, ada, bob] = sockets;
  const [red, blue] = ['red', 'blue'].map(fresh);
  const emitter = new Emitter(emitting);
  const members = async room => ids(await tier.io.in(room).fetchSockets());
  await join(red, eve, ada);
  tier.io.in(red).socketsJoin([blue]);
  tier.io.to(blue).emit('you are in'); // its own sockets a server in Node moves when it hears itself, which is later
  await eventually('it is heard', () => ada.heard.length === 1);
  await eventually('both are in', async () => (await members(blue)).length === 2);
  assert.deepEqual(await members(blue), ids([eve, ada]));
  emitter.in(kim.id).socketsJoin(blue);
  emitter.in(bob.id).socketsJoin(blue);
  await eventually('all are in', async () => (await members(blue)).length === 4);
  emitter.in(blue).except(red).socketsLeave(blue);
  await eventually('two have left', async () => (await members(blue)).length === 2);
  const gone = Promise.all([eve, ada].map(socket => new Promise(done => socket.once('disconnect', done))));
  tier.io.in(blue).disconnectSockets();
  assert.deepEqual(await gone, ['io server disconnect', 'io server disconnect']);
  await eventually('nobody is there any more', async () => (await members(blue)).length === 0);
  assert.ok(kim.connected && bob.connected);
});

test('backends of midplane have sockets there join, leave and go', async t => {
  const [eve, kim, ada] = await four(t);
  const [red, blue] = ['red', 'blue'].map(fresh);
  await join(red, eve, kim, ada);
  const members = async room => ids(await tier.io.in(room).fetchSockets());
  assert.deepEqual(await api('socketio_join', { to: { rooms: [red] }, except: { rooms: [kim.id] }, rooms: [blue] }), { sockets: 1 });
  await eventually('they are in', async () => (await members(blue)).length === 2);
  assert.deepEqual(await members(blue), ids([eve, ada]));
  await api('socketio_leave', { to: { rooms: [blue] }, rooms: [red] });
  await eventually('they have left', async () => (await members(red)).length === 1);
  const gone = new Promise(done => eve.once('disconnect', done));
  await api('socketio_disconnect', { to: { rooms: [blue] } });
  assert.equal(await gone, 'io server disconnect');
  assert.ok(kim.connected);
});

test('what a server in Node asks of clients is answered by those here too, each once', async t => {
  const sockets = await four(t);
  const room = fresh('room');
  await join(room, ...sockets);
  for (const [index, socket] of sockets.entries()) {
    socket.on('sum', (a, b, done) => done({ index, sum: a + b, bytes: Buffer.from([index]) }));
  }
  const answers = await tier.io.in(room).timeout(5000).emitWithAck('sum', 1, 2);
  const plain = answers.map(({ index, sum, bytes }) => [index, sum, [...new Uint8Array(bytes)]]);
  assert.deepEqual(plain.toSorted(), sockets.map((_, index) => [index, 3, [index]]));
  const nobody = await tier.io.in(fresh('room')).timeout(5000).emitWithAck('sum', 1, 2);
  assert.deepEqual(nobody, [], 'zero is an answer too');
});

test('who does not acknowledge in time is left out, and the others are told', async t => {
  const [eve, , ada, bob] = await four(t);
  const room = fresh('room');
  await join(room, eve, ada, bob);
  for (const socket of [eve, ada]) socket.on('ask', done => done(socket.id));
  const asked = tier.io.in(room).timeout(1500).emitWithAck('ask');
  const error = await asked.then(() => assert.fail('one did not answer'), reason => reason);
  assert.deepEqual(error.responses.toSorted(), ids([eve, ada]));
});

test('events for servers are answered by null, and none is waited for', async () => {
  assert.deepEqual(await tier.io.serverSideEmitWithAck('ping'), [null]);
});

test('what cannot be read is counted, and nothing else comes of it', async t => {
  const ada = await open(t, nodes[0]);
  const node = await bridge();
  const malformed = () => node.metric('midplane_bridge_events_total{way="in",result="malformed"}');
  const unfit = () => node.metric('midplane_bridge_events_total{way="in",result="unfit"}');
  const [before, refused] = [await malformed(), await unfit()];
  // To a channel that Node drops unread: it would not outlive this.
  await emitting.publish('socket.io#/#nobody-is-in-this#', '{"no": "msgpack"}');
  await eventually('it is counted', async () => await malformed() === before + 1);
  tier.io.to('nobody-is-in-this').emit('many', ...Array.from({ length: 11 }, () => Buffer.from([1])));
  await eventually('it is counted', async () => await unfit() === refused + 1);
  await settled([ada]);
  assert.deepEqual(ada.heard, []);
});

test('without Redis nodes deliver to each other, and afterwards everything crosses again, once', async t => {
  const [eve, kim, ada, bob] = await four(t);
  const node = await bridge();
  const away = () => node.metric('midplane_bridge_events_total{way="out",result="away"}');
  const before = await away();
  await redis.kill();
  await eventually('the loss is seen', async () => await node.metric('midplane_bridge_connected') === 0);
  assert.ok(await node.metric('midplane_bridge_interruptions_total{side="redis"}') >= 1);
  await api('socketio_emit', { event: ['meanwhile'] });
  await eventually('it is heard', () => [ada, bob].every(socket => socket.heard.length === 1));
  await eventually('that it does not cross is counted', async () => await away() === before + 1);
  for (const { url } of nodes) assert.ok((await fetch(`${url}/ready`)).ok);
  await redis.run();
  await bridged();
  await eventually('the subscriptions of both are back', async () => {
    const clients = await emitting.sendCommand(['CLIENT', 'LIST', 'TYPE', 'pubsub']);
    return clients.split('\n').filter(client => client.includes(` psub=${spaces.length} `)).length === 2;
  });
  tier.io.emit('after', 'node');
  await api('socketio_emit', { event: ['after', 'midplane'] });
  await settled([eve, kim, ada, bob]);
  const after = [['after', 'midplane'], ['after', 'node']];
  assert.deepEqual([eve, kim].map(socket => socket.heard.toSorted()), [after, after]);
  assert.deepEqual([ada, bob].map(socket => socket.heard.toSorted()), [[...after, ['meanwhile']], [...after, ['meanwhile']]]);
});

test('where the bridge dies another node is it, and nothing is doubled', async t => {
  const dies = await bridge();
  const lives = nodes.find(node => node !== dies);
  const [eve, ada] = [await open(t, tier), await open(t, lives)];
  await dies.kill();
  await eventually('another is the bridge', async () => await lives.metric('midplane_bridge_connected') === 1, 30);
  tier.io.emit('after', 'node');
  const { error } = await lives.api('socketio_emit', { event: ['after', 'midplane'] });
  assert.equal(error, undefined);
  await dies.run();
  await settled([eve, ada]);
  const after = [['after', 'midplane'], ['after', 'node']];
  assert.deepEqual([eve, ada].map(socket => socket.heard.toSorted()), [after, after]);
  assert.equal(await dies.metric('midplane_bridge_leading'), 0, 'there is one already');
});

test('a bridge that is stopped leaves at once', async () => {
  const leaves = await bridge();
  const stays = nodes.find(node => node !== leaves);
  await leaves.stop();
  // Sooner than its term would be over.
  await eventually('another is the bridge', async () => await stays.metric('midplane_bridge_connected') === 1, 5);
  await leaves.run();
});

test('everything that midplane sent is what the adapter sends', () => {
  const own = seen.filter(({ channel }) => `${channel}`.startsWith('socket.io#')).flatMap(({ channel, message }) => {
    if (message[0] === 0x7b) return []; // what a test sent on purpose
    const [uid, packet, opts] = decode(message);
    return uid.startsWith('mp-') ? [{ channel, packet, opts }] : [];
  });
  assert.ok(own.length > 20, `${own.length} are not all of them`);
  for (const { channel, packet, opts } of own) {
    assert.equal(packet.type, 2);
    assert.ok(Array.isArray(packet.data) && typeof packet.data[0] === 'string', JSON.stringify(packet));
    assert.ok(spaces.includes(packet.nsp));
    assert.ok(Array.isArray(opts.rooms) && Array.isArray(opts.except) && typeof opts.flags === 'object');
    const [room] = opts.rooms;
    const expected = opts.rooms.length === 1 ? `socket.io#${packet.nsp}#${room}#` : `socket.io#${packet.nsp}#`;
    assert.equal(channel, expected);
  }
});
