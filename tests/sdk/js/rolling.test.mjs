// A deploy: every node behind a proxy is stopped and started anew, one after the other, while messages flow.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { App, NatsServer, Nginx, Node, eventually, fresh, token, watch, wires } from './harness.mjs';
import { freePort } from './harness/process.mjs';

const CLIENTS = 60;
const RATE = 5;

describe('three nodes behind nginx, restarted one after the other', { timeout: 180_000 }, () => {
  let nats, nodes, nginx, front;
  before(async () => {
    nats = await NatsServer.start();
    nodes = await Promise.all(['a', 'b', 'c'].map(async name => Node.start(name, {
      NATS_URL: nats.url,
      MIDPLANE_HTTP__BIND: `127.0.0.1:${await freePort()}`,
      MIDPLANE_NODE__DRAIN_RATE: `${RATE}`,
    })));
    nginx = await Nginx.start(nodes, { environment: { ADMIN_NETWORKS: '127.0.0.1' } }); // backends publish through it
    front = { url: nginx.url, websocket: `${nginx.url.replace('http', 'ws')}/connection/websocket` };
  }, { timeout: 60_000 });
  after(async () => {
    await nginx?.stop();
    for (const node of nodes ?? []) await node.stop();
    await nats?.kill();
  });

  test('lose nothing, make nobody leave, and take the clients of the others at their pace', async () => {
    const [channel, desk] = [fresh('chat'), fresh('desk')];
    const apps = [];
    try {
      const ear = await new App('json', front, { token: token({ sub: 'ear' }) }).connect();
      apps.push(ear);
      const watcher = await watch(ear, desk, { joinLeave: true });
      const listeners = await Promise.all(Array.from({ length: CLIENTS }, async (_, index) => {
        const app = new App(wires[index % 2], front, { token: token({ sub: `user-${index}` }) });
        apps.push(app);
        await app.connect();
        await app.subscribe(desk);
        return app.subscribe(channel);
      }));
      await eventually('all have joined', () => watcher.told.length >= CLIENTS + 1);
      const joined = watcher.told.length;

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
      const opened = async node => {
        const text = await (await fetch(`${node.url}/metrics`)).text();
        const lines = text.split('\n').filter(line => line.startsWith('midplane_connections_opened_total'));
        return lines.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
      };
      for (const node of nodes) {
        const others = nodes.filter(each => each !== node);
        const [seen, before] = [[], published];
        let watching = true;
        const watched = (async () => {
          for (; watching; await setTimeout(100)) seen.push([performance.now(), await Promise.all(others.map(opened))]);
        })();
        await node.stop();
        assert.equal(node.process.outcome.code, 0);
        watching = false;
        await watched;
        for (const [from, earlier] of seen) {
          for (const [to, later] of seen.filter(([to]) => to >= from + 1000)) {
            const came = total(later) - total(earlier);
            const allowed = ((to - from) / 1000 + 0.25 + 1) * RATE * others.length;
            assert.ok(came <= allowed, `${came} handshakes in ${to - from} ms`);
          }
        }
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
      // With who listens coming back it may miss joins and leaves, but is never told of one that was none.
      assert.deepEqual(watcher.told.slice(joined), []);
      const { result } = await nodes[0].api('presence_stats', { channel: desk });
      assert.equal(result.num_users, CLIENTS + 1);
    } finally {
      for (const app of apps) app.close();
    }
  });
});

const total = counts => counts.reduce((sum, count) => sum + count, 0);

/** Publishes through the proxy; whether it was accepted. */
async function publishThrough({ url }, params) {
  const response = await fetch(`${url}/api/publish`, {
    method: 'POST',
    headers: { 'x-api-key': 'test-api-key' },
    body: JSON.stringify(params),
  });
  return response.ok && !(await response.json()).error;
}
