// A chat by configuration alone: no backend, no NATS.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';

import { Node, eventually, fresh, now, openSocket, token } from './harness.mjs';

let node;

before(async () => {
  node = await Node.start('rules', {
    MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify([{
      name: '/',
      rooms: 'chat',
      join_on: 'join',
      leave_on: 'leave',
      may_join: ['public-*', 'of-{user}'],
      may_join_claim: 'rooms',
      relay: { message: '{1}', note: 'of-{user}' },
    }]),
  });
});

after(() => node?.stop());

const open = (t, sub, meta) => openSocket(t, io, node.url, { auth: sub ? { token: token({ sub, exp: now(60), meta }) } : {} });

const acked = (socket, ...event) => new Promise(resolve => socket.emit(...event, (...args) => resolve(args)));
const counted = result => node.metric(`midplane_socketio_events_total{result="${result}"}`);

/** Emits what is not allowed: it is counted, and not acknowledged. */
async function refused(socket, result, ...event) {
  const before = await counted(result);
  let answered = false;
  socket.emit(...event, () => { answered = true; });
  await eventually(`it counts as ${result}`, async () => (await counted(result)) === before + 1);
  assert.ok(!answered);
}

test('whoever joins a room talks to those who are there, until it leaves', async t => {
  const [ada, bob, eve] = [await open(t, 'ada'), await open(t, 'bob'), await open(t)];
  const room = fresh('public-');
  assert.deepEqual(await acked(ada, 'join', room), []);
  assert.deepEqual(await acked(bob, 'join', room), []);
  await refused(eve, 'not_in_room', 'message', room, 'let me in');
  assert.deepEqual(await acked(ada, 'message', room, 'hello', { deep: [1] }), []);
  for (const socket of [ada, bob]) {
    await eventually('it is heard', () => socket.heard.length === 1);
    assert.deepEqual(socket.heard[0], ['message', room, 'hello', { deep: [1] }]);
  }
  assert.deepEqual(await acked(bob, 'leave', room), []);
  await refused(bob, 'not_in_room', 'message', room, 'still here?');
  await refused(bob, 'not_in_room', 'leave', room);
  await acked(ada, 'message', room, 'alone');
  assert.deepEqual([bob.heard.length, eve.heard], [1, []]);
});

test('rooms are for whom rules and claims let in', async t => {
  const [ada, bob] = [await open(t, 'ada', { rooms: ['team-*', 'lobby'] }), await open(t, 'bob', { rooms: 'team-1' })];
  for (const room of ['of-ada', 'team-1', 'lobby', 'public-1']) assert.deepEqual(await acked(ada, 'join', room), []);
  for (const room of ['of-ada', 'team-1', 'lobby', 'of-', '', 7, null]) await refused(bob, 'forbidden', 'join', room);
  await refused(bob, 'forbidden', 'join');
  assert.deepEqual(await acked(ada, 'note', 'to myself'), []);
  await eventually('it is heard', () => ada.heard.length === 1);
  await refused(bob, 'not_in_room', 'note', 'nobody');
});

test('nobody joins more rooms than it may be in', async t => {
  const ada = await open(t, 'ada');
  for (let number = 0; number < 32; number += 1) await acked(ada, 'join', `public-${number}`);
  await refused(ada, 'forbidden', 'join', 'public-33');
  await acked(ada, 'leave', 'public-0');
  assert.deepEqual(await acked(ada, 'join', 'public-33'), []);
});
