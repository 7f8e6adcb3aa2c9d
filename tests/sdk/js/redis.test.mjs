// The bridge to servers with the classic adapter, and to emitters.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Emitter } from '@socket.io/redis-emitter';
import { decode } from 'notepack.io';

import { Bridged, eventually, fresh, spaces } from './harness.mjs';
import bridging from './scenarios/bridging.mjs';

let bridged;
let watcher;
let emitting;
const seen = []; // everything that crosses Redis

before(async () => {
  bridged = await Bridged.start();
  [watcher, emitting] = [await bridged.redis.client(), await bridged.redis.client()];
  await watcher.pSubscribe('socket.io*', (message, channel) => seen.push({ channel: `${channel}`, message }), true);
});

after(async () => {
  for (const client of [watcher, emitting]) client?.destroy();
  await bridged?.stop();
});

bridging(() => bridged);

test('the emitter is obeyed, in every namespace', async t => {
  const [eve, kim, ada, bob] = await bridged.four(t);
  const plain = await bridged.open(t, bridged.nodes[1], '/plain');
  const emitter = new Emitter(emitting);
  const room = fresh('room');
  await bridged.join(room, kim, bob);
  emitter.emit('all', 1);
  emitter.to(room).emit('some', Buffer.from([7]));
  emitter.except(room).emit('others');
  emitter.of('/plain').to('lobby').emit('elsewhere');
  await bridged.settled([eve, kim, ada, bob]);
  await bridged.settled([plain], '/plain');
  const names = [eve, kim, ada, bob].map(socket => socket.heard.map(([name]) => name).toSorted());
  assert.deepEqual(names, [['all', 'others'], ['all', 'some'], ['all', 'others'], ['all', 'some']]);
  assert.deepEqual(plain.heard, [['elsewhere']]);
});

test('a server in Node sees the rooms of all nodes, and emitters have sockets here join and leave', async t => {
  const [, kim, ada, bob] = await bridged.four(t);
  const room = fresh('room');
  const emitter = new Emitter(emitting);
  await bridged.join(room, ada);
  for (const { id } of [kim, bob]) emitter.in(id).socketsJoin(room);
  const members = async () => (await bridged.tier.io.in(room).fetchSockets()).map(({ id }) => id).toSorted();
  await eventually('all are in', async () => (await members()).length === 3);
  emitter.in(room).except(kim.id).socketsLeave(room);
  await eventually('two have left', async () => (await members()).length === 1);
  assert.deepEqual(await members(), [kim.id]);
  const rooms = await bridged.tier.io.of('/').adapter.allRooms();
  assert.ok([room, ada.id, kim.id, bob.id].every(name => rooms.has(name)));
});

test('what cannot be read is counted, and nothing else comes of it', async t => {
  const ada = await bridged.open(t, bridged.nodes[0]);
  const node = await bridged.bridge();
  const malformed = () => node.metric('midplane_bridge_events_total{way="in",result="malformed"}');
  const unfit = () => node.metric('midplane_bridge_events_total{way="in",result="unfit"}');
  const large = () => node.metric('midplane_bridge_events_total{way="in",result="too_large"}');
  const [before, refused, unread] = [await malformed(), await unfit(), await large()];
  // To a channel that Node drops unread: it would not outlive this.
  await emitting.publish('socket.io#/#nobody-is-in-this#', '{"no": "msgpack"}');
  await eventually('it is counted', async () => await malformed() === before + 1);
  await emitting.publish('socket.io#/#nobody-is-in-this#', '{'.repeat((1 << 20) + 1));
  await eventually('it is counted', async () => await large() === unread + 1);
  bridged.tier.io.to('nobody-is-in-this').emit('many', ...Array.from({ length: 11 }, () => Buffer.from([1])));
  await eventually('it is counted', async () => await unfit() === refused + 1);
  await bridged.settled([ada]);
  assert.deepEqual(ada.heard, []);
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
