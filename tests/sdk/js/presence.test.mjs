// Nodes and servers die: whoever is gone leaves once, whoever is there stays.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { App, eventually, fresh, threeNodes, token, watch, wires } from './harness.mjs';

const quick = { HEARTBEAT_INTERVAL: '300', FAILURE_DETECTION_TIMEOUT: '2000' };
const ROOMS = 5;

describe('presence on three nodes', { timeout: 300_000 }, () => {
  let topology, apps, rooms, listeners;

  /** Users of a node, each in all rooms. */
  async function crowd(node, names) {
    const come = names.map(async (name, index) => {
      const app = await new App(wires[index % wires.length], node, { token: token({ sub: name }) }).connect();
      apps.push(app);
      await Promise.all(rooms.map(room => app.subscribe(room)));
      return app;
    });
    return Promise.all(come);
  }

  /** What every listener was told, once it is as much as that. */
  async function told(count) {
    for (const listener of listeners) {
      await eventually(`${count} joins and leaves are told, ${listener.told} so far`, () => listener.told.length >= count, 60);
    }
    return listeners.map(listener => listener.told);
  }

  async function seenBy(node, users) {
    for (const channel of rooms) {
      await eventually(`${users} are seen by ${node.name}`, async () => {
        const { result } = await node.api('presence', { channel });
        return Object.values(result.presence).map(({ user }) => user).sort().join() === users.join();
      }, 60);
    }
  }

  beforeEach(async () => {
    [topology, apps] = [await threeNodes(quick), []];
    rooms = Array.from({ length: ROOMS }, () => fresh('room'));
    const ear = await new App('json', topology.nodes[0], { token: token({ sub: 'ear' }) }).connect();
    apps.push(ear);
    listeners = await Promise.all(rooms.map(room => watch(ear, room, { joinLeave: true })));
    await told(1);
  });
  afterEach(async () => {
    apps.forEach(app => app.close());
    await topology.stop();
  });

  for (const [how, end] of [['killed', node => node.kill()], ['stopped', node => node.stop()]]) {
    test(`each client of a node that is ${how} leaves once`, async () => {
      const staying = ['ann', 'bob', 'cay', 'dan'];
      await crowd(topology.nodes[1], staying);
      const leaving = await crowd(topology.nodes[2], ['eva', 'fin', 'gil', 'hal']);
      await told(9);
      leaving.forEach(app => (app.node = { websocket: 'ws://127.0.0.1:1' }));
      await end(topology.nodes[2]);
      for (const all of await told(13)) {
        assert.deepEqual(all.slice(9).sort(), ['-eva', '-fin', '-gil', '-hal']);
      }
      for (const node of topology.nodes.slice(0, 2)) await seenBy(node, [...staying, 'ear'].sort());
      assert.ok(listeners.every(listener => listener.told.length === 13), 'nothing is told twice');
    });
  }

  test('a NATS server that is killed, and all of them restarted, make nobody leave', async () => {
    const names = ['ann', 'bob', 'cay', 'dan'];
    await crowd(topology.nodes[1], names);
    await told(5);
    const [first] = topology.nats.servers;
    await first.kill();
    await crowd(topology.nodes[2], ['eva']);
    await told(6);
    await first.run();
    for (const server of topology.nats.servers) await server.kill();
    for (const server of topology.nats.servers) server.spawn();
    for (const server of topology.nats.servers) await server.ready();
    for (const node of topology.nodes) await node.ready(90);
    await crowd(topology.nodes[2], ['fin']);
    for (const all of await told(7)) {
      assert.deepEqual(all.slice(1).sort(), ['+ann', '+bob', '+cay', '+dan', '+eva', '+fin']);
    }
    for (const node of topology.nodes) await seenBy(node, [...names, 'ear', 'eva', 'fin'].sort());
  });

  test('a node that was paused for long finds its clients seen again', async () => {
    const names = ['ann', 'bob'];
    await crowd(topology.nodes[1], names);
    await told(3);
    await topology.nodes[1].process.hang();
    for (const all of await told(5)) assert.deepEqual(all.slice(3).sort(), ['-ann', '-bob']);
    topology.nodes[1].process.signal('SIGCONT');
    for (const node of topology.nodes) await seenBy(node, [...names, 'ear'].sort());
    for (const all of await told(7)) assert.deepEqual(all.slice(5).sort(), ['+ann', '+bob']);
  });
});
