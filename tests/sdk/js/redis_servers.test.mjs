// How the bridge finds Redis: by sentinels, and through any node of a Redis Cluster.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { io } from 'socket.io-client';

import { NatsServer, Node, NodeTier, RedisServer, Sentinel, eventually, openSocket } from './harness.mjs';

/** Ends what it is given after the test, the newest first. */
function keeping(t) {
  const kept = [];
  t.after(async () => {
    for (const each of kept.toReversed()) await (each.stop ? each.stop() : each.kill());
  });
  return each => {
    kept.push(each);
    return each;
  };
}

/** A node that bridges by the Redis of `environment`. */
async function bridging(keep, environment) {
  const nats = keep(await NatsServer.start());
  return keep(await Node.start('ada', {
    NATS_URL: nats.url, MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify([{ name: '/' }]), ...environment,
  }));
}

/** Events cross both ways between the node and a server at `redis`. */
async function crosses(t, keep, node, redis, { mode } = {}) {
  await eventually('the bridge is connected', async () => await node.metric('midplane_bridge_connected') === 1, 30);
  const tier = keep(await NodeTier.start(redis, { mode }));
  const counter = await redis.client();
  await eventually('the server hears', async () => {
    if (mode) return await redis.servers(counter, '/', { sharded: true }) === 2;
    return await counter.sendCommand(['PUBSUB', 'NUMPAT']) > 0;
  });
  counter.destroy();
  const [ada, eve] = [await openSocket(t, io, node.url), await openSocket(t, io, tier.url)];
  tier.io.emit('by node');
  await node.api('socketio_emit', { event: ['by midplane'] });
  for (const socket of [ada, eve]) {
    await eventually('both are heard', () => socket.heard.length === 2);
    assert.deepEqual(socket.heard.toSorted(), [['by midplane'], ['by node']]);
    socket.close(); // or its server would take its time to stop
  }
}

for (const mode of [undefined, 'dynamic']) {
  test(`sentinels name the master, and the next one when it has died (${mode ?? 'classic'})`, async t => {
    const keep = keeping(t);
    const master = keep(await RedisServer.start());
    const replica = keep(await RedisServer.start('--replicaof', '127.0.0.1', `${master.port}`));
    const sentinel = keep(await Sentinel.start('mymaster', master));
    await sentinel.knows(replica);
    // One that is not there is passed over.
    const servers = `redis://127.0.0.1:1,${sentinel.url}`;
    const adapter = mode ? { MIDPLANE_REDIS__ADAPTER: 'sharded', MIDPLANE_REDIS__SUBSCRIPTION_MODE: mode } : {};
    const node = await bridging(keep, { REDIS_URL: servers, MIDPLANE_REDIS__SENTINEL_MASTER: 'mymaster', ...adapter });
    const reached = port => node.process.log().includes(`the bridge is connected to Redis server=127.0.0.1:${port}`);
    await eventually('the bridge has found it', () => reached(master.port));
    await master.kill();
    await eventually('the replica is the master', async () => await sentinel.master() === replica.port, 30);
    await eventually('the bridge has found that', () => reached(replica.port), 30);
    await crosses(t, keep, node, replica, { mode });
  });
}

test('what is emitted at one node of a Redis Cluster reaches the bridge at another, and the other way round', async t => {
  const keep = keeping(t);
  const [one, two] = await RedisServer.cluster(2);
  [one, two].forEach(keep);
  await crosses(t, keep, await bridging(keep, { REDIS_URL: two.url }), one);
});

test('a Redis Cluster is refused for the sharded adapter, by the name of the key', async t => {
  const keep = keeping(t);
  const [one, two] = await RedisServer.cluster(2);
  [one, two].forEach(keep);
  const node = await bridging(keep, { REDIS_URL: one.url, MIDPLANE_REDIS__ADAPTER: 'sharded' });
  const said = 'redis.adapter = "sharded": 127.0.0.1:' + one.port + ' is of a Redis Cluster';
  await eventually('it is said', () => node.process.log().replaceAll('\\"', '"').includes(said), 30);
  assert.equal(await node.metric('midplane_bridge_connected'), 0);
  assert.ok((await fetch(`${node.url}/ready`)).ok, 'nodes deliver to each other all the same');
});
