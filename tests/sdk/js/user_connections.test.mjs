// How many connections one user may have on all nodes, and who gives way.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';

import { io } from 'socket.io-client';

import { App, carryBy, eventually, fresh, listeningOn, listenings, token, twoNodes, wires } from './harness.mjs';
import { openSocket } from './harness/socketio.mjs';

const limit = (most, overflow) => ({
  ...listeningOn,
  HEARTBEAT_INTERVAL: '300',
  MIDPLANE_SOCKETIO__NAMESPACES: '[{"name": "/"}]',
  FAILURE_DETECTION_TIMEOUT: '2000',
  MIDPLANE_CLIENT__USER_CONNECTION_LIMIT: String(most),
  MIDPLANE_CLIENT__USER_CONNECTION_OVERFLOW: overflow,
});

describe('connections of one user on two nodes', { timeout: 300_000 }, () => {
  let topology, open;

  async function start(most, overflow) {
    [topology, open] = [await twoNodes(limit(most, overflow)), []];
  }
  afterEach(async () => {
    carryBy('websocket');
    open.forEach(each => (each.close || each.end).call(each));
    await topology.stop();
  });

  const keep = app => {
    open.push(app);
    return app;
  };
  const app = (user, node, index = 0) => keep(new App(wires[index % wires.length], node, { token: token({ sub: user }) }));
  const connected = each => each.centrifuge.state === 'connected';
  /** It is closed for good with the code of this limit. */
  async function refused(each) {
    await eventually('it is refused for good', () => each.disconnected);
    assert.equal(each.disconnected.code, 3504);
    assert.equal(each.disconnected.reason, 'connection limit');
  }

  test('one too many is refused for good, and whoever leaves makes room', async () => {
    await start(2, 'refuse');
    const [ann, there] = [await app('ann', topology.first).connect(), await app('ann', topology.other, 1).connect()];
    const [third, bob] = [app('ann', topology.first, 1), app('bob', topology.other)];
    third.centrifuge.connect();
    await refused(third);
    await bob.connect();
    there.close();
    await app('ann', topology.other).connect();
    assert.ok(connected(ann));
  });

  test('all transports count', async () => {
    await start(1, 'refuse');
    for (const carrier of ['http_stream', 'sse']) {
      carryBy(carrier);
      const user = fresh('user');
      await app(user, topology.first).connect();
      const other = app(user, topology.other);
      other.centrifuge.connect();
      await refused(other);
    }
    carryBy('websocket');
    for (const listen of Object.values(listenings)) {
      const user = fresh('user');
      await keep(listen(topology.first, { token: token({ sub: user }) })).connected();
      const other = app(user, topology.other);
      other.centrifuge.connect();
      await refused(other);
    }
  });

  test('clients of Socket.IO count too', async t => {
    await start(1, 'refuse');
    const enter = (user, node) => openSocket(t, io, node.url, { auth: { token: token({ sub: user }) }, reconnection: false });
    await enter('ann', topology.first);
    const ann = app('ann', topology.other);
    ann.centrifuge.connect();
    await refused(ann);
    await app('bob', topology.first).connect();
    await assert.rejects(enter('bob', topology.other), /too many connections/);
  });

  test('with a limit of one that replaces, the newest is the single connection, wherever it is', async () => {
    await start(1, 'replace');
    let before;
    for (let index = 0; index < 6; index += 1) {
      const next = await app('ann', topology.nodes[index % 2], index).connect();
      if (before) await refused(before);
      before = next;
    }
    const { result } = await topology.first.api('connections', { user: 'ann' });
    assert.deepEqual(Object.keys(result.connections), [before.id]);
  });

  for (const overflow of ['refuse', 'replace']) {
    test(`of many who come at once one is left: ${overflow}`, async () => {
      await start(1, overflow);
      const all = Array.from({ length: 10 }, (_, index) => app('ann', topology.nodes[index % 2], index));
      all.forEach(each => each.centrifuge.connect());
      await eventually('one is left', () => all.filter(each => each.disconnected).length === 9 && all.some(connected), 60);
      for (const each of all.filter(each => each.disconnected)) assert.equal(each.disconnected.code, 3504);
    });

    test(`clients of a node that is killed come back on the other at once: ${overflow}`, async () => {
      await start(1, overflow);
      const users = ['ann', 'bob', 'cay', 'dan', 'eva'];
      const apps = await Promise.all(users.map((user, index) => app(user, topology.first, index).connect()));
      apps.forEach(each => (each.node = topology.other));
      await topology.first.kill();
      await eventually('all are back', () => apps.every(each => each.connected.length >= 2 && connected(each)), 60);
      assert.ok(apps.every(each => !each.disconnected));
      topology.nodes.shift();
      for (const user of users) {
        await eventually(`${user} has one connection`, async () => {
          // Until the other node is known to be dead nobody can tell.
          const { result } = await topology.other.api('connections', { user });
          return result && Object.keys(result.connections).length === 1;
        });
      }
    });
  }
});
