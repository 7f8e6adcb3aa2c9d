// A deploy: every node behind a proxy is stopped and started anew, one after the other, while messages flow.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';

import { App, NatsServer, Nginx, Node, arrivals, eventually, fresh, noFasterThan, token, watch, wires } from './harness.mjs';
import { freePort } from './harness/process.mjs';

const CLIENTS = 60;
const RATE = 5;

describe('three nodes behind nginx, restarted one after the other', { timeout: 180_000 }, () => {
  let nats, nodes, nginx, front;
  async function start(environment) {
    nats = await NatsServer.start();
    nodes = await Promise.all(['a', 'b', 'c'].map(async name => Node.start(name, {
      NATS_URL: nats.url,
      MIDPLANE_HTTP__BIND: `127.0.0.1:${await freePort()}`,
      ...environment,
    })));
    nginx = await Nginx.start(nodes, { environment: { ADMIN_NETWORKS: '127.0.0.1' } }); // backends publish through it
    front = { url: nginx.url, websocket: nginx.websocket };
  }
  afterEach(async () => {
    await nginx?.stop();
    for (const node of nodes ?? []) await node.stop();
    await nats?.kill();
  });

  test('lose nothing, make nobody leave, and take the clients of the others at their pace', async () => {
    await start({ MIDPLANE_NODE__DRAIN_RATE: `${RATE}` });
    await roll(moments => noFasterThan(RATE * 2, moments));
  });

  test('lose nothing and make nobody leave at the default pace', async () => {
    await start({});
    await roll(() => {});
  });

  /** Restarts all nodes under clients that listen, are watched and watch; `judge` is told when the clients of each came back. */
  async function roll(judge) {
    const [channel, desk] = [fresh('chat'), fresh('desk')];
    const [moves, stays] = [new App('json', front, { token: token({ sub: 'moves' }) }), new App('json', nodes[2], { token: token({ sub: 'stays' }) })];
    const apps = [moves, stays];
    try {
      const watchers = await Promise.all(apps.map(async app => watch(await app.connect(), desk, { joinLeave: true })));
      const listeners = await Promise.all(Array.from({ length: CLIENTS }, async (_, index) => {
        const app = new App(wires[index % 2], front, { token: token({ sub: `user-${index}` }) });
        apps.push(app);
        await app.connect();
        await app.subscribe(desk);
        return app.subscribe(channel);
      }));
      for (const { told } of watchers) {
        await eventually('all have joined', () => told.filter(each => each.startsWith('+user-')).length === CLIENTS);
        told.length = 0;
      }

      let published = 0;
      let flowing = true;
      const flow = (async () => {
        while (flowing) {
          // The same key: an attempt that a stopping node broke off may have been stored.
          const params = { channel, data: published, idempotency_key: `${channel}.${published}` };
          const done = await publishThrough(front, params).catch(() => false);
          if (done) published += 1;
        }
      })();
      const moments = arrivals(apps);
      for (const node of nodes) {
        if (node === stays.node) {
          assert.equal(stays.connected.length, 1);
          assert.deepEqual(watchers[1].told, []);
          stays.node = front; // like everybody else
        }
        moments.length = 0;
        const before = published;
        await node.stop();
        assert.equal(node.process.outcome.code, 0);
        await eventually('its clients are elsewhere', () => apps.every(app => app.node === node || app.centrifuge.state === 'connected'));
        judge(moments);
        await node.run();
        assert.ok(published > before, 'messages flow meanwhile');
      }
      flowing = false;
      await flow;
      for (const listener of listeners) {
        assert.deepEqual(await listener.received(published), Array.from({ length: published }, (_, index) => index));
        assert.ok(listener.subscribed.slice(1).every(({ recovered }) => recovered));
      }
      assert.ok(apps.some(({ connected }) => connected.length > 1));
      assert.ok(apps.every(({ disconnected }) => !disconnected), 'nobody was sent away for good');
      // Who watches and comes back may miss joins and leaves, but is never told of one that was none.
      for (const { told } of watchers) assert.deepEqual(told, []);
      const { result } = await nodes[0].api('presence_stats', { channel: desk });
      assert.equal(result.num_users, CLIENTS + 2);
    } finally {
      for (const app of apps) app.close();
    }
  }
});

/** Publishes through the proxy; whether it was accepted. */
async function publishThrough({ url }, params) {
  const response = await fetch(`${url}/api/publish`, {
    method: 'POST',
    headers: { 'x-api-key': 'test-api-key' },
    body: JSON.stringify(params),
  });
  return response.ok && !(await response.json()).error;
}
