// Real kills under publishing: in the end every subscriber has what was acknowledged, in order, once.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { App, Publisher, Raw, eventually, fresh, jetstream, streamOf, threeNodes, twoNodes, wires } from './harness.mjs';

const CHANNELS = 24;

/** Which listener misses what, and whether history has it: tells a message that was not delivered from one not stored. */
async function whoMisses(publisher, listeners) {
  const lines = [];
  for (const { app, channel, data } of listeners) {
    const missing = publisher.expected(channel).filter(number => !data.includes(number));
    if (missing.length === 0) continue;
    const call = { signal: AbortSignal.timeout(10_000) };
    const newest = await app.node.api('history', { channel, limit: 1, reverse: true }, call).catch(error => error.message);
    lines.push(`${channel} on ${app.node.name} (${app.wire}) misses ${missing.slice(0, 20)} of ${publisher.acknowledged(channel)}; newest stored: ${JSON.stringify(newest.result ?? newest)}`);
  }
  for (const node of new Set(listeners.map(({ app }) => app.node))) {
    const metrics = await (await fetch(`${node.url}/metrics`)).text();
    const telling = metrics.split('\n').filter(line => /^midplane_[a-z_]*(gaps|heal|loss|lost|unhealed|reconnects|overflow|healing)[a-z_]*.* [1-9]/.test(line));
    lines.push(`${node.name}: ${telling.join('; ')}`, `${node.name} logs to ${node.process.logFile}`);
  }
  return lines.join('\n');
}

/** Everybody in every channel has exactly what was acknowledged. */
async function nothingLost(publisher, listeners) {
  await publisher.finish();
  for (const listener of listeners) {
    const expected = publisher.expected(listener.channel);
    try {
      await listener.received(expected.length, 60);
    } catch (error) {
      throw new Error(`${await whoMisses(publisher, listeners)}\n${error.message}`);
    }
    assert.deepEqual(listener.data, expected, `${listener.channel} on ${listener.app.node.name}`);
    for (const each of listener.subscribed.slice(1)) {
      assert.ok(each.wasRecovering && each.recovered, `${listener.channel}: ${JSON.stringify(each)}`);
    }
  }
  return publisher.total;
}

/** Apps of both wires on every node, all in all channels. */
async function audience(topology, channels) {
  const apps = [];
  for (const node of topology.nodes) for (const wire of wires) apps.push(await new App(wire, node).connect());
  const listeners = await Promise.all(apps.flatMap(app => channels.map(channel => app.subscribe(channel))));
  return { apps, listeners, close: () => apps.forEach(app => app.close()) };
}

const someOf = (channels, every) => channels.filter((_, index) => index % every === 0);
const flowing = publisher => {
  const from = publisher.total;
  return eventually('publications flow', () => publisher.total >= from + CHANNELS * 4, 90);
};

describe('two nodes on one nats-server, under publishing', { timeout: 400_000 }, () => {
  let topology, channels, crowd, publisher;
  beforeEach(async () => {
    topology = await twoNodes();
    channels = Array.from({ length: CHANNELS }, () => fresh('chat'));
    crowd = await audience(topology, channels);
  });
  afterEach(async () => {
    await publisher?.abandon();
    crowd?.close();
    await topology?.stop();
  });

  test('a node is killed: its clients go on at the other and lose nothing', async t => {
    publisher = new Publisher(topology.nodes, channels);
    await flowing(publisher);
    publisher.quiet(someOf(channels, 4));
    await topology.first.kill();
    for (const app of crowd.apps) app.node = topology.other;
    await flowing(publisher);
    const total = await nothingLost(publisher, crowd.listeners);
    t.diagnostic(`${total} publications, ${publisher.retries} retries`);
  });

  test('a node is killed and comes back: its clients return to it', async t => {
    publisher = new Publisher(topology.nodes, channels);
    await flowing(publisher);
    await topology.first.kill();
    await topology.first.run();
    await flowing(publisher);
    const total = await nothingLost(publisher, crowd.listeners);
    t.diagnostic(`${total} publications, ${publisher.retries} retries`);
  });

  for (const [what, away] of [['at once', 0], ['after three seconds', 3000]]) {
    test(`NATS is killed and restarted ${what}: nothing is lost, also where it falls quiet`, async t => {
      publisher = new Publisher(topology.nodes, channels);
      await flowing(publisher);
      await topology.nats.kill();
      publisher.quiet(someOf(channels, 2)); // the publication in flight is their last
      await pause(away);
      await topology.nats.run();
      await flowing(publisher);
      const total = await nothingLost(publisher, crowd.listeners);
      t.diagnostic(`${total} publications, ${publisher.retries} retries`);
    });
  }

  test('while NATS is away nodes say so, commands fail for the moment, not for good', async () => {
    await topology.nats.kill();
    await eventually('not ready', async () => (await fetch(`${topology.first.url}/ready`)).status === 503, 30);
    assert.ok((await fetch(`${topology.first.url}/health`)).ok, 'alive all the same');
    await assert.rejects(Raw.connect(topology.first).then(async raw => {
      raw.command({ id: 2, subscribe: { channel: fresh('chat') } });
      const reply = await raw.until('an answer', ({ id }) => id === 2);
      throw Object.assign(new Error('an answer'), { reply });
    }), error => {
      // Refused at the door, an error that is temporary, or a disconnect that reconnects.
      if (error.reply) return error.reply.error?.code === 100 && error.reply.error.temporary === true;
      return error.status === 503 || /closed with .*"code":3[0-4]/.test(error.message);
    });
    await topology.nats.run();
    await topology.first.ready();
    for (const app of crowd.apps) await eventually('connected', () => app.centrifuge.state === 'connected');
    await Promise.all(channels.map(channel => topology.first.publish(channel, 1)));
    for (const listener of crowd.listeners) assert.deepEqual(await listener.received(1), [1]);
  });

  test('without history, who was promised to be told of a loss is told when NATS was away', async () => {
    const channel = fresh('bare');
    const client = await Raw.connect(topology.first);
    const { subscribe } = await client.ask({ id: 2, subscribe: { channel, positioned: true } });
    assert.equal(subscribe.positioned, true, JSON.stringify(subscribe));
    const unhealed = 'midplane_gaps_unhealed_total{cause="reconnect"}';
    const before = await topology.first.metric(unhealed);
    await topology.nats.kill();
    await topology.nats.run();
    assert.equal((await client.push('unsubscribe', channel)).code, 2500);
    await eventually('it is counted', async () => (await topology.first.metric(unhealed)) > before);
    client.end();
  });

  const startsAgain = async destroy => {
    const ada = crowd.apps[0];
    const listener = await ada.subscribe(fresh('lost'));
    const { channel } = listener;
    for (const number of [1, 2, 3]) await topology.first.publish(channel, number);
    await listener.received(3);
    const { epoch } = listener.subscribed[0].streamPosition;
    await destroy();
    const published = await eventually('publishing works again', () => topology.other.publish(channel, 'again'), 60);
    assert.notEqual(published.epoch, epoch);
    await eventually('the client is told that it cannot be recovered', () => {
      const last = listener.subscribed.at(-1);
      return last.streamPosition.epoch !== epoch && last.wasRecovering && !last.recovered;
    }, 60);
    await topology.first.publish(channel, 'end');
    await eventually('it goes on', () => listener.data.at(-1) === 'end', 60);
  };

  test('a stream that was thrown away is a new epoch: nobody recovers by accident', async () => {
    const backend = await topology.backend();
    await startsAgain(async () => jetstream(backend, `STREAM.DELETE.${await streamOf(backend, 'lost')}`));
  });

  test('a NATS server that comes back without its store is a new epoch', async () => {
    await startsAgain(async () => {
      await topology.nats.kill();
      topology.nats.wipe();
      await topology.nats.run();
    });
  });

  test('a node that is stopped sends its clients elsewhere with a code that reconnects', async () => {
    publisher = new Publisher([topology.other], channels);
    await flowing(publisher);
    const moved = crowd.apps.filter(app => app.node === topology.first);
    for (const app of moved) app.node = topology.other;
    await topology.first.stop();
    assert.deepEqual(topology.first.process.outcome, { code: 0, signal: null });
    for (const app of moved) {
      const { code, reason } = await eventually('the client goes elsewhere', () => app.connecting[1]);
      assert.ok(code === 3001 || code === 3011, `${code} ${reason}`);
    }
    await flowing(publisher);
    await nothingLost(publisher, crowd.listeners);
  });
});

describe('three nodes on a cluster of three, under publishing', { timeout: 600_000 }, () => {
  let topology, channels, crowd, publisher, backend;
  beforeEach(async () => {
    topology = await threeNodes();
    channels = Array.from({ length: CHANNELS }, () => fresh('chat'));
    crowd = await audience(topology, channels);
    backend = await topology.backend();
    publisher = new Publisher(topology.nodes, channels);
  });
  afterEach(async () => {
    await publisher?.abandon();
    crowd?.close();
    await topology?.stop();
  });

  const leader = async stream => (await jetstream(backend, `STREAM.INFO.${stream}`)).cluster?.leader;

  test('the stream\'s leader steps down, again and again: nothing is lost, also where it falls quiet', async t => {
    const stream = await streamOf(backend, 'chat');
    for (let round = 0; round < 8; round += 1) {
      await flowing(publisher);
      await jetstream(backend, `STREAM.LEADER.STEPDOWN.${stream}`).catch(() => {});
      publisher.quiet(channels.slice(round * 2, round * 2 + 2));
      await eventually('a leader', () => leader(stream), 60);
    }
    const total = await nothingLost(publisher, crowd.listeners);
    t.diagnostic(`${total} publications, ${publisher.retries} retries`);
  });

  test('the stream\'s leader is killed and comes back: nothing is lost, also where it falls quiet', async t => {
    const stream = await streamOf(backend, 'chat');
    for (let round = 0; round < 2; round += 1) {
      await flowing(publisher);
      const server = topology.nats.named(await eventually('a leader', () => leader(stream), 60));
      await server.kill();
      publisher.quiet(channels.slice(round * 8, round * 8 + 8));
      await flowing(publisher);
      await server.run();
    }
    const total = await nothingLost(publisher, crowd.listeners);
    t.diagnostic(`${total} publications, ${publisher.retries} retries`);
  });

  test('who joins under fire misses nothing, whichever server its node sits on', async t => {
    await flowing(publisher);
    const [channel] = channels;
    const { epoch } = await topology.first.publish(fresh('chat'), 'for its epoch');
    for (let round = 0; round < 60; round += 1) {
      const raw = await Raw.connect(topology.nodes[round % topology.nodes.length]);
      const { subscribe } = await raw.ask({ id: 2, subscribe: { channel } });
      assert.equal(subscribe.epoch, epoch);
      await eventually('some follow', () => raw.publications(channel).length >= 3);
      const heard = raw.publications(channel).map(({ data }) => data);
      const { result } = await topology.first.api('history', { channel, limit: 3, since: { offset: subscribe.offset, epoch } });
      assert.deepEqual(heard.slice(0, 3), result.publications.map(({ data }) => data), 'what follows the position');
      raw.end();
    }
    const total = await nothingLost(publisher, crowd.listeners);
    t.diagnostic(`${total} publications, ${publisher.retries} retries`);
  });

  test('NATS is restarted server by server: nothing is lost', async t => {
    for (const server of topology.nats.servers) {
      await flowing(publisher);
      server.process.signal('SIGTERM');
      await server.process.ended;
      await server.run();
    }
    await flowing(publisher);
    const total = await nothingLost(publisher, crowd.listeners);
    t.diagnostic(`${total} publications, ${publisher.retries} retries`);
  });

  test('a node is killed while the leader is: its clients lose nothing at another', async t => {
    await flowing(publisher);
    const stream = await streamOf(backend, 'chat');
    const server = topology.nats.named(await eventually('a leader', () => leader(stream), 60));
    await Promise.all([topology.first.kill(), server.kill()]);
    for (const app of crowd.apps) if (app.node === topology.first) app.node = topology.other;
    publisher.quiet(someOf(channels, 2));
    await flowing(publisher);
    await server.run();
    const total = await nothingLost(publisher, crowd.listeners);
    t.diagnostic(`${total} publications, ${publisher.retries} retries`);
  });
});
