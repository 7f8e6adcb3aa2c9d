// What operators ask of the cluster: how it is, that it should have another size, that a node lets go of its clients.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { App, NatsServer, Node, Topology, arrivals, eventually, fresh, noFasterThan, twoNodes } from './harness.mjs';

const get = async (node, path) => {
  const response = await fetch(`${node.url}${path}`);
  assert.equal(response.status, 200, path);
  return response.json();
};

async function post(node, path, body, key = 'test-api-key') {
  const response = await fetch(`${node.url}${path}`, { method: 'POST', headers: { 'x-api-key': key }, body: JSON.stringify(body) });
  const text = await response.text();
  return { status: response.status, body: text && JSON.parse(text) };
}

describe('the cluster as its operators see it', { timeout: 120_000 }, () => {
  const takes = response => response.end();
  let topology, hook, told, answers;
  before(async () => {
    told = [];
    answers = takes;
    hook = createServer(async (request, response) => {
      let text = '';
      for await (const chunk of request) text += chunk;
      told.push(JSON.parse(text));
      answers(response);
    }).listen(0, '127.0.0.1');
    await eventually('the webhook listens', () => hook.address());
    topology = await twoNodes({ MAX_CONNECTIONS: '10', MIDPLANE_SCALING__WEBHOOK: `http://127.0.0.1:${hook.address().port}/` });
  }, { timeout: 60_000 });
  after(async () => {
    hook?.close();
    hook?.closeAllConnections();
    await topology?.stop();
  });

  test('every node tells how it is, what the others do, and what all do together', async () => {
    const apps = await Promise.all([0, 0, 1].map(index => new App('json', topology.nodes[index]).connect()));
    try {
      const channel = fresh('chat');
      for (const app of apps) await app.subscribe(channel);
      for (const node of topology.nodes) {
        const connections = node === topology.first ? 2 : 1;
        const status = await eventually('the node counts', async () => {
          const status = await get(node, '/cluster/status');
          return status.connections === connections && status;
        });
        const { uptime, version, ...rest } = status;
        assert.deepEqual(rest, { serverId: node.name, status: 'healthy', connections, clusterSize: 2, ready: true, reasons: [] });
        assert.ok(Number.isInteger(uptime) && version);
        // Advice is weighed every second, and may be of when there was one node.
        const metrics = await eventually('the node knows the other', async () => {
          const metrics = await get(node, '/cluster/metrics');
          return metrics.totalConnections === 3 && metrics.totalServers === 2 && metrics.recommendedInstances === 2 && metrics;
        });
        assert.equal(metrics.totalCapacity, 20);
        assert.equal(metrics.recommendedAction, 'maintain');
        assert.ok(metrics.averageLoad >= 0.15 && metrics.averageLoad <= 1, `${metrics.averageLoad}`);
        assert.ok(Math.abs(Date.parse(metrics.timestamp) - Date.now()) < 60_000);
        const { nodes } = await get(node, '/cluster/nodes');
        assert.deepEqual(nodes.map(({ serverId, status, ready, connections, capacity }) => [serverId, status, ready, connections, capacity]), [
          ['node-0', 'up', true, 2, 10], ['node-1', 'up', true, 1, 10],
        ]);
        const stats = await get(node, '/api/stats');
        assert.equal(stats.serverId, node.name);
        assert.equal(stats.subscriptions, connections);
      }
    } finally {
      for (const app of apps) app.close();
    }
  });

  test('who looks how the cluster is needs the key where that is set', async t => {
    const guarded = await Node.start('guarded', { MIDPLANE_HTTP_API__GUARD_CLUSTER: 'true' });
    t.after(() => guarded.stop());
    for (const path of ['/cluster/status', '/cluster/metrics', '/cluster/nodes', '/api/stats']) {
      const ask = async (node, headers = {}) => (await fetch(`${node.url}${path}`, { headers })).status;
      assert.deepEqual([await ask(guarded), await ask(guarded, { 'x-api-key': 'another' })], [401, 401], path);
      assert.deepEqual([await ask(guarded, { 'x-api-key': 'test-api-key' }), await ask(topology.first)], [200, 200], path);
    }
    for (const path of ['/health', '/ready', '/metrics']) assert.equal((await fetch(guarded.url + path)).status, 200, path);
  });

  test('every node tells of all: which channels are busiest, and what namespaces there are and how they are used', async () => {
    const [first, second] = topology.nodes;
    const [loud, quiet, unheard] = [fresh('chat'), fresh('room'), fresh('chat')];
    const apps = await Promise.all([first, first, second].map(node => new App('json', node).connect()));
    try {
      for (const app of apps) await app.subscribe(loud);
      await apps[2].subscribe(quiet);
      await Promise.all(Array.from({ length: 60 }, (_, index) => topology.nodes[index % 2].publish(loud, index)));
      for (let each = 0; each < 5; each += 1) {
        await first.publish(quiet, each);
        await first.publish(unheard, each);
      }
      for (const node of topology.nodes) {
        const channels = await eventually('both are counted', async () => {
          const { channels } = (await node.api('busiest_channels')).result;
          return channels.filter(({ channel }) => channel === loud || channel === quiet).length === 2 && channels;
        });
        assert.deepEqual(channels.slice(0, 2).map(({ channel, num_clients }) => [channel, num_clients]), [[loud, 3], [quiet, 1]]);
        const [busiest] = channels;
        assert.ok(busiest.deliveries_per_second > busiest.publications_per_second && busiest.publications_per_second > 0, JSON.stringify(busiest));
        assert.ok(channels.every(({ channel }) => channel !== unheard), 'nobody listens there');
        assert.equal((await node.api('busiest_channels', { limit: 1 })).result.channels.length, 1);

        const { namespaces } = (await node.api('namespaces')).result;
        assert.deepEqual(namespaces.chat, {
          history: { size: 3000, ttl_ms: 300_000, meta_ttl_ms: namespaces.chat.history.meta_ttl_ms },
          recovery: 'stream', presence: false, join_leave: false, slow_reader: 'close', num_channels: 2, num_subs: 3,
        });
        assert.deepEqual([namespaces.room.num_channels, namespaces.room.num_subs, namespaces.room.presence], [1, 1, true]);
        assert.deepEqual([namespaces.latest.recovery, namespaces[''].recovery], ['cache', null]);
      }
    } finally {
      for (const app of apps) app.close();
    }
  });

  test('what changes something wants the key, and says what is wrong with it', async () => {
    const [node] = topology.nodes;
    for (const path of ['/cluster/scale', '/cluster/drain']) {
      assert.equal((await post(node, path, { action: 'maintain', serverId: node.name }, 'another')).status, 401, path);
      assert.equal((await fetch(`${node.url}${path}`)).status, 405, path);
    }
    const refused = async (path, body, status, words) => {
      const answer = await post(node, path, body);
      assert.equal(answer.status, status, JSON.stringify(answer));
      assert.match(answer.body.error.message, words);
    };
    await refused('/cluster/scale', { action: 'explode' }, 400, /scale_up/);
    await refused('/cluster/scale', { action: 'scale_up', targetInstances: 1 }, 400, /contradicts/);
    await refused('/cluster/scale', { action: 'scale_up', targetInstances: 1000 }, 400, /max_nodes/);
    await refused('/cluster/scale', { action: 'scale_up', instances: 3 }, 400, /instances/);
    await refused('/cluster/drain', {}, 400, /serverId/);
    await refused('/cluster/drain', { serverId: 'nobody' }, 404, /nobody/);
  });

  test('a wish is known to all nodes, to the webhook and on NATS', async () => {
    const client = await topology.backend();
    const heard = [];
    const subscription = client.subscribe('midplane.scale', { callback: (_, message) => heard.push(message.json()) });
    await client.flush();
    const { status, body } = await post(topology.first, '/cluster/scale', { action: 'scale_up', targetInstances: 5, reason: 'high_load' });
    assert.equal(status, 202);
    assert.deepEqual(body, { accepted: true, currentInstances: 2, desiredInstances: 5, draining: [], webhook: true });
    await eventually('it is told', () => told.length === 1 && heard.length === 1);
    for (const { timestamp, ...wish } of [told[0], heard[0]]) {
      assert.deepEqual(wish, { targetInstances: 5, reason: 'high_load', askedAt: 'node-0', currentInstances: 2, draining: [] });
      assert.ok(Date.parse(timestamp));
    }
    for (const node of topology.nodes) {
      await eventually('it is known', async () => (await get(node, '/cluster/metrics')).desiredInstances === 5);
      assert.equal(await node.metric('midplane_cluster_desired_nodes'), 5);
    }
    subscription.unsubscribe();
  });

  test('a wish that the webhook refuses, or never answers, is recorded all the same, and it is said', async () => {
    const failures = { refuses: response => response.writeHead(500).end(), hangs: () => {} };
    for (const [index, [way, failure]] of Object.entries(failures).entries()) {
      answers = failure;
      const targetInstances = 6 + index;
      const { status, body } = await post(topology.first, '/cluster/scale', { action: 'scale_up', targetInstances });
      assert.deepEqual([status, body.accepted, body.webhook], [202, true, false], way);
      assert.equal(told.at(-1).targetInstances, targetInstances);
      await eventually('it is known', async () => (await get(topology.other, '/cluster/metrics')).desiredInstances === targetInstances);
    }
    answers = takes;
  });

  test('on the way down the node with the fewest clients lets them go, and the last one is kept', async () => {
    const [first, second] = topology.nodes;
    const apps = await Promise.all([first, first, second].map(node => new App('json', node).connect()));
    try {
      await eventually('they are counted', async () => (await get(first, '/cluster/metrics')).totalConnections === 3);
      const [, , moving] = apps;
      moving.node = first;
      const { status, body } = await post(first, '/cluster/scale', { action: 'scale_down', targetInstances: 1 });
      assert.equal(status, 202);
      assert.deepEqual(body.draining, ['node-1']);
      await eventually('its client has moved', () => moving.connected.length === 2);
      assert.ok(apps.slice(0, 2).every(app => app.connected.length === 1), 'the others stayed');
      assert.equal((await get(second, '/cluster/status')).status, 'draining');
      assert.equal((await fetch(`${second.url}/ready`)).status, 503);
      const { totalServers, drainingServers } = await get(first, '/cluster/metrics');
      assert.deepEqual([totalServers, drainingServers], [1, 1]);
      const last = await post(second, '/cluster/drain', { serverId: 'node-0' });
      assert.equal(last.status, 409);
      assert.match(last.body.error.message, /no other node/);
    } finally {
      for (const app of apps) app.close();
    }
  });
});

test('more nodes are advised to a cluster that is nearly full, and fewer to one that is nearly empty', { timeout: 120_000 }, async () => {
  const topology = await twoNodes({
    MAX_CONNECTIONS: '5', MIDPLANE_SCALING__UP_CPU: '1.0', MIDPLANE_SCALING__UP_AFTER: '1s', MIDPLANE_SCALING__DOWN_AFTER: '1s',
  });
  const apps = [];
  const advised = (action, instances) => Promise.all(topology.nodes.map(async node => {
    const advice = await eventually(action, async () => {
      const metrics = await get(node, '/cluster/metrics');
      return metrics.recommendedAction === action && metrics;
    }, 40);
    assert.equal(advice.recommendedInstances, instances, JSON.stringify(advice));
    assert.equal(await node.metric('midplane_cluster_recommended_nodes'), instances);
  }));
  try {
    for (let index = 0; index < 9; index += 1) apps.push(await new App('json', topology.nodes[index % 2]).connect());
    await advised('scale_up', 3);
    for (const app of apps.splice(1)) app.close();
    await advised('scale_down', 1);
  } finally {
    for (const app of apps) app.close();
    await topology.stop();
  }
});

describe('a node of many clients that drains', { timeout: 120_000 }, () => {
  const CLIENTS = 120;
  const RATE = 20;
  let topology;
  before(async () => (topology = await Topology.start(3, await NatsServer.start(), { MIDPLANE_NODE__DRAIN_RATE: `${RATE}` })), { timeout: 60_000 });
  after(() => topology?.stop());

  test('sends them away no faster than the others can take them, and serves those who are still here', async () => {
    const [first, ...others] = topology.nodes;
    const channel = fresh('chat');
    const apps = await Promise.all(Array.from({ length: CLIENTS }, async (_, index) => {
      const app = await new App('json', first).connect();
      app.listener = await app.subscribe(channel);
      app.node = others[index % 2];
      return app;
    }));
    try {
      const moments = arrivals(apps);
      let published = 0;
      assert.equal((await post(others[0], '/cluster/drain', { serverId: 'node-0' })).status, 202);
      await eventually('everybody has moved', async () => {
        await first.publish(channel, published).then(() => (published += 1), () => {});
        return moments.length === CLIENTS;
      }, 60);
      noFasterThan(RATE * 2, moments);
      assert.ok(published > 0);
      for (const { listener } of apps) {
        assert.deepEqual(await listener.received(published), Array.from({ length: published }, (_, index) => index));
      }
      await eventually('nobody remains', async () => (await first.metric('midplane_drain_remaining_connections')) === 0);
      await first.stop();
      assert.equal(first.process.outcome.code, 0);
    } finally {
      for (const app of apps) app.close();
    }
  });
});

test('nodes that drain at once send their clients away no faster together than the others can take them', { timeout: 120_000 }, async () => {
  const RATE = 20;
  const topology = await Topology.start(3, await NatsServer.start(), { MIDPLANE_NODE__DRAIN_RATE: `${RATE}` });
  const [stays, ...leaving] = topology.nodes;
  const apps = [];
  try {
    for (let index = 0; index < 100; index += 1) apps.push(await new App('json', leaving[index % 2]).connect());
    for (const app of apps) app.node = stays;
    const moments = arrivals(apps);
    const names = ['node-1', 'node-2'];
    const drains = await Promise.all(names.map(serverId => post(stays, '/cluster/drain', { serverId })));
    assert.deepEqual(drains.map(({ status }) => status), [202, 202]);
    await eventually('everybody has moved', () => moments.length === apps.length, 60);
    noFasterThan(RATE, moments);
  } finally {
    for (const app of apps) app.close();
    await topology.stop();
  }
});
