// Traps that clients fall into when a server differs: offsets and epochs.
import assert from 'node:assert/strict';

import { Raw, eventually, fresh } from './harness.mjs';
import { traps } from './traps.mjs';

traps('positions', (trap, system) => {
  trap('1: offsets rise, with holes or without, and recovery minds neither', async ({ node, guest }) => {
    const [channel, neighbour] = [fresh('chat'), fresh('chat')];
    const offsets = [];
    for (let number = 0; number < 10; number += 1) {
      offsets.push((await node.publish(channel, number)).offset);
      await node.publish(neighbour, number);
    }
    assert.deepEqual(offsets, [...new Set(offsets)].sort((a, b) => a - b));
    const { epoch } = await node.publish(channel, 10);
    const connection = await guest();
    const { subscribe } = await connection.ask({ id: 2, subscribe: { channel, recover: true, offset: offsets[3], epoch } });
    assert.equal(subscribe.recovered, true);
    assert.equal(subscribe.offset, offsets[3], 'the offset of the request, not the top');
    assert.deepEqual(subscribe.publications.map(({ data }) => data), [4, 5, 6, 7, 8, 9, 10]);
  });

  trap('2: the position of an empty channel can be proved later, however busy others are', async ({ node, other, keep, guest }) => {
    const channel = fresh('short');
    const { subscribe } = await (await guest()).ask({ id: 2, subscribe: { channel } });
    assert.ok(subscribe.offset > 0, JSON.stringify(subscribe));
    const position = { offset: subscribe.offset, epoch: subscribe.epoch };
    const busy = fresh('short'); // pushes out its own publications, and so moves the stream's first sequence
    for (let number = 0; number < 20; number += 1) await node.publish(busy, number);
    const quiet = await keep(await Raw.connect(other)).ask({ id: 2, subscribe: { channel, recover: true, ...position } });
    assert.equal(quiet.subscribe.recovered, true, JSON.stringify(quiet));
    await node.publish(channel, 'first');
    const later = await keep(await Raw.connect(other)).ask({ id: 2, subscribe: { channel, recover: true, ...position } });
    assert.equal(later.subscribe.recovered, true, JSON.stringify(later));
    assert.deepEqual(later.subscribe.publications.map(({ data }) => data), ['first']);
  });

  trap('3: offsets are numbers of 64 bits', async ({ node, guest }) => {
    const channel = fresh('chat');
    const { epoch } = await node.publish(channel, 1);
    const connection = await guest();
    connection.send(`{"id":2,"subscribe":{"channel":"${channel}","recover":true,"offset":18446744073709551615,"epoch":"${epoch}"}}`);
    const { subscribe } = await connection.reply(2);
    assert.equal(subscribe.recovered, undefined);
    assert.equal(subscribe.was_recovering, true);
    assert.equal(typeof subscribe.offset, 'number');
  });

  trap('4: a publication that is not stored has no offset and moves nobody', async ({ node, guest }) => {
    const channel = fresh('chat');
    const connection = await guest();
    const { subscribe } = await connection.ask({ id: 2, subscribe: { channel } });
    const one = await node.publish(channel, 1);
    const result = await node.publish(channel, 'passing', { skip_history: true });
    assert.equal(result.offset, undefined);
    await node.publish(channel, 2);
    await eventually('all arrive', () => connection.publications(channel).length === 3);
    const byData = new Map(connection.publications(channel).map(each => [each.data, each]));
    assert.equal(byData.get('passing').offset, undefined);
    assert.equal(byData.get(1).offset, one.offset);
    assert.ok(byData.get(2).offset > one.offset);
    const again = await (await guest()).ask({ id: 2, subscribe: { channel, recover: true, offset: subscribe.offset, epoch: subscribe.epoch } });
    assert.deepEqual(again.subscribe.publications.map(({ data }) => data), [1, 2]);
    assert.equal(connection.farewell, undefined);
  });

  trap('5: every positioned or recoverable reply has an epoch', async ({ guest }) => {
    const connection = await guest();
    let id = 1;
    for (const request of [{ channel: fresh('chat') }, { channel: fresh('latest') }, { channel: fresh('asked'), positioned: true }, { channel: fresh('asked'), recoverable: true }]) {
      const { subscribe } = await connection.ask({ id: (id += 1), subscribe: request });
      assert.ok(subscribe.epoch, JSON.stringify({ request, subscribe }));
    }
  });

  trap('6: the epoch "_" is never recovered', async ({ node, guest }) => {
    const channel = fresh('chat');
    await node.publish(channel, 1);
    const { subscribe } = await (await guest()).ask({ id: 2, subscribe: { channel, recover: true, epoch: '_' } });
    assert.equal(subscribe.was_recovering, true);
    assert.equal(subscribe.recovered, undefined);
    assert.notEqual(subscribe.epoch, '_');
  });
});
