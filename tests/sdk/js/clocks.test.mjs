// Nodes whose clocks are wrong, or are set while they run. What is stored has the store's time, so no node's clock matters.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Clock, NatsServer, Node, Raw, Topology, fresh, noClocks } from './harness.mjs';

const MONTH = 30 * 24 * 3600;

/** Publishes three at one node; at `odd` they are history, and a client that saw the first recovers the others. */
async function serves(publisher, odd) {
  const channel = fresh('chat');
  const { offset, epoch } = await publisher.publish(channel, 1);
  await publisher.publish(channel, 2);
  await publisher.publish(channel, 3);
  await recovers(odd, channel, { offset, epoch }, [2, 3]);
  return { channel, offset, epoch };
}

async function recovers(node, channel, { offset, epoch }, missed) {
  const { result } = await node.api('history', { channel, limit: 10 });
  assert.deepEqual(result.publications.map(({ data }) => data), [1, ...missed]);
  const client = await Raw.connect(node);
  const { subscribe } = await client.ask({ id: 2, subscribe: { channel, recover: true, offset, epoch } });
  client.end();
  assert.equal(subscribe.recovered, true);
  assert.deepEqual((subscribe.publications ?? []).map(({ data }) => data), missed);
}

describe('clocks', { skip: noClocks, timeout: 120_000 }, () => {
  test('a node whose clock is a month off recovers what is stored', async () => {
    const topology = await Topology.start(1, await NatsServer.start());
    try {
      const clock = new Clock();
      const odd = await Node.start('odd', { ...topology.environment, ...clock.environment });
      topology.nodes.push(odd);
      const before = await serves(topology.first, odd);
      for (const seconds of [MONTH, -MONTH]) {
        await clock.set(odd, seconds);
        await recovers(odd, before.channel, before, [2, 3]);
        await serves(topology.first, odd);
        await serves(odd, topology.first);
      }
    } finally {
      await topology.stop();
    }
  });

  test('a node alone keeps its history when its clock is set', async () => {
    const clock = new Clock();
    const topology = await Topology.start(1, null, clock.environment);
    try {
      const node = topology.first;
      const before = await serves(node, node);
      for (const seconds of [MONTH, -MONTH]) {
        await clock.set(node, seconds);
        await recovers(node, before.channel, before, [2, 3]);
        await serves(node, node);
      }
    } finally {
      await topology.stop();
    }
  });
});
