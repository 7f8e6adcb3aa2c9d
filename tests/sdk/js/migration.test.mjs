// From a server of Socket.IO in Node to midplane, step by step as docs/migration.md says, with people who talk all the time.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Emitter } from '@socket.io/redis-emitter';
import { io } from 'socket.io-client';

import { NatsServer, Node, NodeTier, RedisServer, eventually, fresh } from './harness.mjs';

const namespaces = [{ name: '/', rooms: 'plain', join: ['lobby'], join_on: 'join', may_join: ['*'], relay: { say: 'lobby' } }];

let nats;
let redis;
let tier;
let emitting;
let nodes = [];
const people = [];

before(async () => {
  [nats, redis] = await Promise.all([NatsServer.start(), RedisServer.start()]);
});

after(async () => {
  for (const { socket } of people) socket.close();
  emitting?.destroy();
  await tier?.stop();
  await Promise.all(nodes.map(node => node.stop()));
  await Promise.all([nats, redis].map(server => server?.kill()));
});

const start = (names, environment) => Promise.all(names.map(name => Node.start(name, {
  NATS_URL: nats.url, MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(namespaces), ...environment,
})));

/** Somebody who is in the lobby. */
async function come(server) {
  const socket = io(server.url, { forceNew: true, transports: ['websocket'] });
  const person = { socket, server, heard: [] };
  socket.onAny((...event) => person.heard.push(event));
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  if (server === tier) await socket.emitWithAck('join', 'lobby');
  people.push(person);
  return person;
}

function go(person) {
  person.socket.close();
  people.splice(people.indexOf(person), 1);
}

/** Everybody says something, and everybody else hears it, once; so it is with what a backend says. */
async function talk(...backends) {
  const said = [];
  for (const person of people) {
    const words = fresh('words');
    said.push({ words, by: person });
    // In Node it is a handler that passes it on, and it does so to others.
    person.socket.emit(...(person.server === tier ? ['to', 'lobby', 'say', words] : ['say', words]));
  }
  for (const backend of backends) {
    const words = fresh('words');
    said.push({ words });
    await backend(words);
  }
  for (const person of people) {
    const owed = said.filter(({ by }) => by !== person || person.server !== tier).map(({ words }) => words).toSorted();
    await eventually('everything is heard', () => person.heard.length >= owed.length);
    assert.deepEqual(person.heard.map(([, words]) => words).toSorted(), owed);
    person.heard = [];
  }
}

test('the steps', async t => {
  let emitter;
  const byEmitter = words => emitter.to('lobby').emit('say', words);
  const byApi = async words => {
    const answer = await nodes[0].api('socketio_emit', { to: { rooms: ['lobby'] }, event: ['say', words] });
    assert.equal(answer.error, undefined);
  };
  let left = [];

  await t.test('Node alone', async () => {
    tier = await NodeTier.start(redis);
    emitting = await redis.client();
    emitter = new Emitter(emitting);
    left = [await come(tier), await come(tier)];
    await talk(byEmitter);
  });

  await t.test('both, and all clients in Node', async () => {
    nodes = await start(['ada', 'bob'], { REDIS_URL: redis.url });
    await eventually('the bridge is counted', async () => await redis.servers(emitting) === 2, 30);
    await talk(byEmitter, byApi);
  });

  await t.test('both, and clients on either side', async () => {
    for (const node of nodes) await come(node);
    await talk(byEmitter, byApi);
    assert.equal((await tier.io.fetchSockets()).length, 4);
  });

  await t.test('no clients in Node', async () => {
    left.forEach(go);
    await come(nodes[0]);
    await tier.stop();
    tier = undefined;
    await talk(byEmitter, byApi);
  });

  await t.test('midplane alone', async () => {
    // One after the other; clients come again at the one that stays.
    for (const [index, name] of ['ada', 'bob'].entries()) {
      for (const person of people.filter(({ server }) => server === nodes[index])) go(person);
      await nodes[index].stop();
      [nodes[index]] = await start([name], {});
    }
    for (const node of nodes) await come(node);
    await redis.kill();
    await talk(byApi);
    for (const node of nodes) assert.equal(await node.metric('midplane_bridge_enabled'), 0);
  });
});
