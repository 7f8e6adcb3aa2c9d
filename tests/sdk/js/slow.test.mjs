// Readers that do not read, sockets that are half open.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { App, Raw, eventually, fresh, heard, twoNodes, wires } from './harness.mjs';
import { withApps } from './suite.mjs';

/** 40 KB that nothing in the one before is like, so that no patch is worth it; to find that out costs a node next to nothing. */
const unlike = number => String.fromCharCode(97 + (number % 26)).repeat(40_000);

describe('slow readers', { timeout: 300_000 }, () => {
  let topology;
  before(async () => {
    topology = await twoNodes({ MIDPLANE_CLIENT__QUEUE_MAX_SIZE: '256KiB', MIDPLANE_CLIENT__PING_INTERVAL: '60s' });
  });
  after(() => topology?.stop());

  for (const wire of wires) {
    test(`${wire}: a reader that falls behind is closed with 3008, comes back and is told what it has`, withApps(async keep => {
      const channel = fresh('chat');
      const slow = await keep(new App(wire, topology.first, { maxServerPingDelay: 60_000 })).connect();
      const quick = await keep(new App(wire, topology.other)).connect();
      const listener = await slow.subscribe(channel);
      const witness = await quick.subscribe(channel);

      slow.socket.pause();
      const closed = () => topology.first.metric('midplane_slow_consumers_total{action="closed"}');
      const byCode = () => topology.first.metric('midplane_connections_closed_total{transport="websocket",code="3008"}');
      const [before, codes] = [await closed(), await byCode()];
      let published = 0;
      await eventually('the node gives the slow reader up', async () => {
        for (const until = published + 10; published < until; ) {
          await topology.other.publish(channel, { number: (published += 1), padding: 'x'.repeat(40_000) });
        }
        return (await closed()) > before;
      }, 60);
      await topology.other.publish(channel, { number: (published += 1), padding: '' });
      slow.socket.resume();

      await eventually('it is back', () => slow.connected.length === 2);
      assert.equal(await byCode(), codes + 1);
      // 1 where its half of the connection ended before it had read what the node said last.
      assert.ok([3008, 1].includes(slow.connecting[1].code), JSON.stringify(slow.connecting[1]));
      await eventually('subscribed again', () => listener.subscribed.length === 2);
      const all = (await witness.received(published)).map(({ number }) => number);
      assert.deepEqual(all, Array.from({ length: published }, (_, index) => index + 1), 'the quick reader lost nothing');
      if (listener.subscribed[1].recovered) {
        await listener.received(published);
        assert.deepEqual(listener.data.map(({ number }) => number), all);
      }
      await topology.other.publish(channel, { number: 'end' });
      await eventually('it goes on', () => listener.data.at(-1).number === 'end');
    }));
  }

  for (const [wire, options] of [['protobuf', {}], ['json', { delta: 'fossil' }]]) {
    test(`${wire}, ${options.delta ?? 'whole'}: a parked reader that missed many times queue_max_size gets it all, once and in order`, withApps(async keep => {
      const channel = fresh('parked');
      const slow = await keep(new App(wire, topology.first, { maxServerPingDelay: 60_000 })).connect();
      const listener = await slow.subscribe(channel, options);
      const count = action => topology.first.metric(`midplane_slow_consumers_total{action="${action}"}`);
      const [parked, recovered, lost] = [await count('parked'), await count('recovered'), await count('lost')];
      let published = 0;
      const publish = async count => {
        for (; count > 0; count -= 1) {
          await topology.other.publish(channel, { number: (published += 1), padding: unlike(published) });
        }
      };

      slow.socket.pause();
      await eventually('the reader is parked', async () => (await publish(20), (await count('parked')) > parked), 60);
      await publish(50); // 2 MB; the node's memory reaches back to 128 KiB
      slow.socket.resume();
      const all = (await listener.received(published, 60)).map(({ number }) => number);
      assert.deepEqual(all, Array.from({ length: published }, (_, index) => index + 1));
      await eventually('it is live again', async () => (await count('recovered')) > recovered);
      await topology.other.publish(channel, { number: 'end' });
      await eventually('and goes on', () => listener.data.at(-1).number === 'end');
      assert.deepEqual([listener.data.length, listener.subscribed.length, slow.connected.length], [published + 1, 1, 1]);
      assert.equal(await count('lost'), lost);
    }));
  }

  for (const [wire, options] of [['protobuf', {}], ['json', { delta: 'fossil' }]]) {
    test(`${wire}, ${options.delta ?? 'whole'}: a conflated reader skips to the newest publication and keeps its connection`, withApps(async keep => {
      const channel = fresh('conflated');
      const slow = await keep(new App(wire, topology.first, { maxServerPingDelay: 60_000 })).connect();
      const listener = await slow.subscribe(channel, options);
      const count = action => topology.first.metric(`midplane_slow_consumers_total{action="${action}"}`);
      const [conflated, closed] = [await count('conflated'), await count('closed')];
      let published = 0;
      const publish = async count => {
        for (; count > 0; count -= 1) {
          await topology.other.publish(channel, { number: (published += 1), padding: unlike(published) });
        }
      };

      slow.socket.pause();
      await eventually('publications give way to newer ones', async () => (await publish(60), (await count('conflated')) > conflated), 60);
      await publish(20);
      slow.socket.resume();
      const newest = () => listener.data.at(-1)?.number;
      await eventually('it has the newest', () => newest() === published);
      await topology.other.publish(channel, { number: 'end' });
      await eventually('it goes on', () => newest() === 'end');
      const numbers = listener.data.slice(0, -1).map(({ number }) => number);
      assert.ok(numbers.length < published, `${numbers.length} of ${published}: all came`);
      assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), 'in order');
      assert.deepEqual([slow.connected.length, listener.subscribed.length, await count('closed')], [1, 1, closed]);
    }));
  }

  test('a reader that never reads again is let go within the deadline, and costs nobody else anything', withApps(async keep => {
    const channel = fresh('plain');
    const dead = keep(await Raw.connect(topology.first));
    await dead.ask({ id: 2, subscribe: { channel } });
    dead.socket.pause();
    const quick = await keep(new App('json', topology.first)).connect();
    const witness = await quick.subscribe(channel);
    await heard(topology, channel, witness);
    for (let number = 1; number <= 300; number += 1) await topology.other.publish(channel, { number, padding: 'x'.repeat(40_000) });
    assert.equal((await witness.received(300)).length, 300);
    await eventually('one connection is left', async () => {
      const { result } = await topology.first.api('info');
      return result.nodes.find(({ name }) => name === 'node-0').num_clients === 1;
    }, 30);
  }));
});
