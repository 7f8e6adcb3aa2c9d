// A node that is told to stop: what it acknowledged is not lost.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Raw, embedded, eventually, fresh } from './harness.mjs';
import { withApps } from './suite.mjs';

describe('a node that stands alone and is stopped under publishing', { timeout: 120_000 }, () => {
  let topology;
  // Publications keep this process busy: pongs may be late.
  before(async () => (topology = await embedded({ MIDPLANE_CLIENT__PING_INTERVAL: '25s', MIDPLANE_CLIENT__PONG_TIMEOUT: '20s' })));
  after(() => topology?.stop());

  test('gives its clients everything that it acknowledged before it sends them away', withApps(async keep => {
    const node = topology.first;
    const channel = fresh('chat');
    const audience = await Promise.all(Array.from({ length: 50 }, async () => keep(await Raw.connect(node))));
    for (const client of audience) await client.ask({ id: 2, subscribe: { channel } });
    const acknowledged = [];
    const publisher = async index => {
      for (let number = 0; ; number += 1) {
        const data = index * 1_000_000 + number;
        try {
          const { error } = await node.api('publish', { channel, data });
          if (error) return error;
          acknowledged.push(data);
        } catch (error) {
          return error; // nobody listens any more
        }
      }
    };
    const publishers = Array.from({ length: 8 }, (_, index) => publisher(index));
    await eventually('publications flow', () => acknowledged.length > 200);
    node.process.signal('SIGTERM');
    await Promise.all(publishers);
    for (const client of audience) {
      assert.equal(await client.closeCode(), 3001);
      const heard = new Set(client.publications(channel).map(({ data }) => data));
      assert.deepEqual(acknowledged.filter(data => !heard.has(data)), []);
    }
    await node.process.ended;
    assert.deepEqual(node.process.outcome, { code: 0, signal: null });
  }));
});
