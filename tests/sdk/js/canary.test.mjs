// Deliveries stop although every connection is open and every publication is acknowledged: a node says so.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { App, NatsServer, Node, Topology, eventually, fresh, jetstream, streamOf } from './harness.mjs';

describe('the delivery canary', { timeout: 120_000 }, () => {
  let topology;
  before(async () => {
    const nats = await NatsServer.start();
    // Nodes that may change streams would put right at once what is done to them here.
    await (await Node.start('provisioner', { NATS_URL: nats.url })).stop();
    topology = await Topology.start(2, nats,
      { MIDPLANE_CANARY__INTERVAL: '500ms', MIDPLANE_CANARY__FAIL_AFTER: '2s', MIDPLANE_NATS__PROVISION: 'false' });
  }, { timeout: 60_000 });
  after(() => topology?.stop());

  const failures = (node, reason) => node.metric(`midplane_canary_failures_total{reason="${reason}"}`);

  test('takes nodes out of service while nothing is delivered, and back when it is', async () => {
    const backend = await topology.backend();
    const [first, other] = topology.nodes;
    const app = await new App('json', first).connect();
    try {
      const listener = await app.subscribe(fresh('chat'));
      for (const node of topology.nodes) {
        await eventually('a word is delivered', async () => (await node.metric('midplane_canary_duration_seconds_count')) > 0);
        assert.equal(await failures(node, 'undelivered'), 0);
      }
      // The store keeps everything and passes nothing on.
      const configs = await Promise.all(['chat', '_canary'].map(async namespace => {
        const { config } = await jetstream(backend, `STREAM.INFO.${await streamOf(backend, namespace)}`);
        const { republish: _, ...mute } = config;
        await jetstream(backend, `STREAM.UPDATE.${config.name}`, mute);
        return config;
      }));
      for (const node of topology.nodes) {
        await eventually('it is not ready', async () => {
          const response = await fetch(`${node.url}/ready`);
          return response.status === 503 && (await response.json()).reasons.some(reason => /^canary: .*not been delivered/.test(reason));
        });
        assert.ok((await failures(node, 'undelivered')) > 0);
        assert.equal(await node.metric('midplane_ready'), 0);
        assert.equal((await fetch(`${node.url}/health`)).status, 200);
      }
      assert.ok((await other.publish(listener.channel, 'on its way')).offset > 0, 'it is acknowledged');
      assert.equal(app.centrifuge.state, 'connected');
      assert.equal(app.connected.length, 1);

      for (const config of configs) await jetstream(backend, `STREAM.UPDATE.${config.name}`, config);
      for (const node of topology.nodes) await node.ready();
      await other.publish(listener.channel, 'after it');
      assert.deepEqual(await listener.received(2), ['on its way', 'after it']);
    } finally {
      app.close();
    }
  });

  test('a word that somebody forged is not believed, and counted', async () => {
    const backend = await topology.backend();
    const word = (process, number) => JSON.stringify({ process, number, nonce: '00000000-0000-0000-0000-000000000000' });
    const { result } = await topology.first.api('info');
    for (const { uid } of result.nodes) backend.publish('midplane.pub._canary.word', word(uid, Number.MAX_SAFE_INTEGER));
    await backend.flush();
    const heard = 'midplane_canary_last_success_timestamp_seconds';
    for (const node of topology.nodes) {
      await eventually('it is counted', async () => (await failures(node, 'forged')) > 0);
      const before = await node.metric(heard);
      await eventually('its own words count as before', async () => (await node.metric(heard)) > before);
    }
  });

  test('its channel is nobody else\'s', async () => {
    const app = await new App('json', topology.first).connect();
    try {
      assert.equal(await app.listen('_canary:word').refusal(), 102);
      const { error } = await topology.first.api('publish', { channel: '_canary:word', data: 1 });
      assert.equal(error.code, 102);
      const { result } = await topology.first.api('channels');
      assert.ok(!Object.keys(result.channels).some(channel => channel.startsWith('_canary')));
    } finally {
      app.close();
    }
  });
});
