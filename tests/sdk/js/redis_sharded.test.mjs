// The bridge to servers with the sharded adapter, in each of its modes.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Emitter } from '@socket.io/redis-emitter';

import { App, Bridged, eventually, fresh } from './harness.mjs';
import bridging from './scenarios/bridging.mjs';
import { withApps } from './suite.mjs';

for (const mode of ['dynamic', 'static', 'dynamic-private']) {
  describe(mode, () => {
    let bridged;
    let emitting;

    before(async () => {
      bridged = await Bridged.start(mode);
      emitting = await bridged.redis.client();
    });

    after(async () => {
      emitting?.destroy();
      await bridged?.stop();
    });

    bridging(() => bridged);

    test('what cannot be read is counted, and nothing else comes of it', async t => {
      const sockets = await bridged.four(t);
      const node = await bridged.bridge();
      const count = result => node.metric(`midplane_bridge_events_total{way="in",result="${result}"}`);
      const [malformed, unfit] = [await count('malformed'), await count('unfit')];
      // Servers in Node leave it out, as they do with what is of no namespace of theirs.
      await emitting.sPublish('socket.io#/#', '{"no": "message"}');
      await emitting.sPublish('socket.io#/#', JSON.stringify({ type: 99, uid: 'x', nsp: '/', data: {} }));
      await emitting.sPublish('socket.io#/#', JSON.stringify({ type: 3, uid: 'x', nsp: '/elsewhere', data: {} }));
      // For two rooms, which goes where all hear it; clients of Node that got it would be closed.
      const many = Array.from({ length: 11 }, () => Buffer.from([1]));
      bridged.tier.io.to(['nobody-is-in-this', 'nor-in-this']).emit('many', ...many);
      await eventually('one is refused', async () => await count('unfit') === unfit + 1);
      await bridged.settled(sockets);
      assert.ok(await count('malformed') > malformed);
      assert.ok(sockets.every(({ heard }) => heard.length === 0));
    });

    test('emitters speak to servers with the other adapter only', async t => {
      const sockets = await bridged.four(t);
      new Emitter(emitting).emit('by emitter');
      await bridged.settled(sockets);
      assert.ok(sockets.every(({ heard }) => heard.length === 0));
    });

    test('clients of another protocol hear what is said in their rooms', withApps(async keep => {
      const room = fresh('room');
      const app = await keep(new App('json', bridged.nodes[1])).connect();
      const listener = await app.subscribe(`chat:${room}`);
      await bridged.hearing(1, room);
      bridged.tier.io.to(room).emit('said', 1);
      assert.deepEqual(await listener.received(1), [['said', 1]]);
    }));
  });
}
