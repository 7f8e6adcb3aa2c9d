import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, encode, eventually, fresh, heard, now, token } from '../harness.mjs';
import { withApps } from '../suite.mjs';

const rising = numbers => numbers.every((number, index) => index === 0 || number > numbers[index - 1]);

export default ({ wire, topology }) => {
  const appAt = (node, options) => new App(wire, node, options);
  const app = options => appAt(topology().first, options);

  for (const namespace of ['chat', 'plain']) {
    // Core NATS promises order by publisher; one order for all comes with a stream.
    const order = namespace === 'chat' ? 'one order' : 'each publisher\'s order';
    test(`everybody on every node gets ${namespace} publications in ${order}`, withApps(async keep => {
      const channel = fresh(namespace);
      const apps = await Promise.all(topology().nodes.flatMap(node => [appAt(node), appAt(node)]).map(each => keep(each).connect()));
      const listeners = await Promise.all(apps.map(each => each.subscribe(channel)));
      if (namespace === 'plain') await heard(topology(), channel, ...listeners);
      await Promise.all(apps.map(async (each, index) => {
        for (let number = 0; number < 20; number += 1) await each.publish(channel, `${index}-${number}`);
      }));
      const orders = await Promise.all(listeners.map(listener => listener.received(20 * apps.length)));
      for (const seen of orders) {
        for (let index = 0; index < apps.length; index += 1) {
          const own = seen.filter(each => each.startsWith(`${index}-`));
          assert.deepEqual(own, Array.from({ length: 20 }, (_, number) => `${index}-${number}`));
        }
        if (namespace === 'chat') assert.deepEqual(seen, orders[0]);
      }
      if (namespace === 'chat') for (const listener of listeners) assert.ok(rising(listener.offsets));
    }));
  }

  test('a publisher gets its own publication, with its info, as all others do', withApps(async keep => {
    const channel = fresh('chat');
    const ada = await keep(app({ token: token({ sub: 'ada', exp: now(60) }) })).connect();
    const bob = await keep(appAt(topology().other)).connect();
    const own = await ada.subscribe(channel);
    const others = await bob.subscribe(channel);
    await ada.publish(channel, { text: 'hi' });
    await own.received(1);
    await others.received(1);
    assert.deepEqual(own.publications[0].data, { text: 'hi' });
    assert.equal(others.publications[0].info.user, 'ada');
    assert.equal(others.publications[0].offset, own.publications[0].offset);
  }));

  test('a backend\'s publication carries tags and no info', withApps(async keep => {
    const channel = fresh('chat');
    const guest = await keep(app()).connect();
    const listener = await guest.subscribe(channel);
    await topology().other.publish(channel, 1, { tags: { lang: 'de' } });
    await listener.received(1);
    assert.equal(listener.publications[0].info, undefined);
    assert.deepEqual({ ...listener.publications[0].tags }, { lang: 'de' });
  }));

  test('publishing without permission is refused with 103', withApps(async keep => {
    const guest = await keep(app()).connect();
    await assert.rejects(guest.publish(fresh('short'), 1), { code: 103 });
    await assert.rejects(guest.publish(fresh('nowhere'), 1), { code: 102 });
  }));

  test('where subscribers may publish, others may not', withApps(async keep => {
    const channel = fresh('members');
    const ada = await keep(app({ token: token({ sub: 'ada', exp: now(60) }) })).connect();
    await assert.rejects(ada.publish(channel, 1), { code: 103 });
    const listener = await ada.subscribe(channel);
    await ada.publish(channel, 2);
    assert.deepEqual(await listener.received(1), [2]);
  }));

  test('any JSON value goes through unchanged', withApps(async keep => {
    const channel = fresh('chat');
    const guest = await keep(app()).connect();
    const listener = await guest.subscribe(channel);
    const values = [0, -1.5, true, 'two\nlines', '😀 größer', [], {}, { deep: [{ a: 'b\tc' }] }, 'x'.repeat(30_000)];
    for (const value of values) await guest.publish(channel, value);
    assert.deepEqual(await listener.received(values.length), values);
  }));

  test('data that its namespace does not take is refused with 107', withApps(async keep => {
    const guest = await keep(app()).connect();
    await assert.rejects(guest.publish(fresh('objects'), [1, 2]), { code: 107 });
    await guest.publish(fresh('objects'), { fine: true });
    await guest.publish(fresh('json'), [1, 2]);
    if (wire === 'protobuf') {
      await assert.rejects(guest.centrifuge.publish(fresh('json'), Buffer.from([0xff, 0x00])), { code: 107 });
      await assert.rejects(guest.centrifuge.publish(fresh('plain'), Buffer.alloc(0)), { code: 107 });
    }
  }));

  if (wire === 'protobuf') {
    test('bytes that are no JSON reach Protobuf clients unchanged', withApps(async keep => {
      const channel = fresh('bytes');
      const guest = await keep(app()).connect();
      const subscription = guest.centrifuge.newSubscription(channel);
      const got = [];
      subscription.on('publication', ({ data }) => got.push(Buffer.from(data)));
      subscription.subscribe();
      await eventually('subscribed', () => subscription.state === 'subscribed');
      await guest.centrifuge.publish(channel, Buffer.from([0, 255, 10, 13, 128]));
      await guest.centrifuge.publish(channel, Buffer.alloc(0));
      await eventually('both arrive', () => got.length === 2);
      assert.deepEqual(got, [Buffer.from([0, 255, 10, 13, 128]), Buffer.alloc(0)]);
    }));
  }

  test('commands that are sent together are answered together', withApps(async keep => {
    const channel = fresh('chat');
    const guest = await keep(app()).connect();
    const listener = await guest.subscribe(channel);
    guest.centrifuge.startBatching();
    const publishes = Array.from({ length: 50 }, (_, number) => guest.centrifuge.publish(channel, encode(wire, number)));
    guest.centrifuge.stopBatching();
    await Promise.all(publishes);
    assert.deepEqual(await listener.received(50), Array.from({ length: 50 }, (_, number) => number));
  }));

  test('a burst reaches a hundred subscribers whole and in order', withApps(async keep => {
    const channel = fresh('chat');
    const apps = await Promise.all(Array.from({ length: 100 }, (_, index) =>
      keep(appAt(topology().nodes[index % topology().nodes.length])).connect()));
    const listeners = await Promise.all(apps.map(each => each.subscribe(channel)));
    await Promise.all(Array.from({ length: 100 }, (_, number) => topology().first.publish(channel, number)));
    const orders = await Promise.all(listeners.map(listener => listener.received(100, 40)));
    for (const order of orders) assert.deepEqual(order, orders[0]);
    assert.deepEqual([...orders[0]].sort((a, b) => a - b), Array.from({ length: 100 }, (_, number) => number));
  }));
};
