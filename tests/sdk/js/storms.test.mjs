// Many clients at once, and little room for them: what is too much for the moment comes again, and nothing is lost.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, afterEach, before, describe, test } from 'node:test';

import { App, embedded, eventually, fresh, twoNodes, wires } from './harness.mjs';

const CLIENTS = 60;
const overflows = (node, queue) => node.metric(`midplane_queue_overflows_total{queue="${queue}"}`);
const busy = node => node.metric('midplane_handshakes_rejected_total{reason="busy"}');

describe('a storm of clients', { timeout: 300_000 }, () => {
  let topology, application;
  const apps = [];
  const keep = app => {
    apps.push(app);
    return app;
  };
  before(async () => {
    application = createServer((request, response) => {
      request.resume();
      setTimeout(() => response.end(JSON.stringify({ result: { user: 'ann' } })), 20);
    });
    await new Promise(resolve => application.listen(0, '127.0.0.1', resolve));
  });
  after(() => application.close());
  afterEach(async () => {
    for (const app of apps.splice(0)) app.close();
    await topology.stop();
  });

  test('all are connected at last, and hear everything from then on', async () => {
    topology = await embedded({
      MIDPLANE_CLIENT__CONNECTS__CONCURRENCY: '2',
      MIDPLANE_CLIENT__CONNECTS__QUEUE: '4',
      MIDPLANE_CLIENT__CONNECTS__WAIT: '500ms',
      MIDPLANE_CLIENT__USER_CONNECT_RATE: 'off',
      MIDPLANE_HOOKS__CONNECT__ENDPOINT: `http://127.0.0.1:${application.address().port}/connect`,
    });
    const channel = fresh('chat');
    const listeners = Array.from({ length: CLIENTS }, (_, index) => {
      const app = keep(new App(wires[index % 2], topology.first));
      app.centrifuge.connect();
      return app.listen(channel);
    });
    await Promise.all(listeners.map(listener => listener.ready()));
    for (let number = 1; number <= 20; number += 1) await topology.first.publish(channel, number);
    for (const listener of listeners) {
      assert.deepEqual(await listener.received(20), Array.from({ length: 20 }, (_, index) => index + 1));
    }
    assert.ok((await overflows(topology.first, 'connect')) + (await busy(topology.first)) > 0, 'nothing was bounded');
  });

  test('each recovers everything on another node, however few may recover at a time', async () => {
    topology = await twoNodes({
      MIDPLANE_CLIENT__RECOVERIES__CONCURRENCY: '1',
      MIDPLANE_CLIENT__RECOVERIES__QUEUE: '1',
      MIDPLANE_CLIENT__RECOVERIES__WAIT: '500ms',
    });
    const listeners = await Promise.all(
      Array.from({ length: CLIENTS }, async (_, index) => {
        const app = await keep(new App(wires[index % 2], topology.first)).connect();
        return app.subscribe(fresh('chat'));
      }),
    );
    for (const { app } of listeners) {
      app.node = { websocket: 'ws://127.0.0.1:1' }; // nowhere
      app.breakConnection();
    }
    for (const { channel } of listeners) {
      await Promise.all(Array.from({ length: 10 }, (_, index) => topology.first.publish(channel, index)));
    }
    for (const { app } of listeners) app.node = topology.other;
    for (const listener of listeners) {
      const numbers = await listener.received(10, 60);
      assert.deepEqual([...numbers].sort((a, b) => a - b), Array.from({ length: 10 }, (_, index) => index));
      assert.deepEqual(listener.offsets, [...listener.offsets].sort((a, b) => a - b));
      assert.equal(listener.subscribed.at(-1).recovered, true);
    }
    assert.ok((await overflows(topology.other, 'recovery')) > 0, 'nothing was bounded');
  });
});
