// Publications as patches against the ones before: the application sees no difference.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, eventually, fresh, heard } from '../harness.mjs';
import { withApps } from '../suite.mjs';

const delta = { delta: 'fossil' };

/** A document of which a few places change, with letters of many bytes at their edges. */
const version = n => ({
  title: 'Größe → 🦀 «überall»',
  n,
  words: ['→ä'.repeat(n % 7), 'naïve café', `№${n}`, '🦀'.repeat(n % 3), 'ß'.repeat(40)],
  quote: '"\\"\n\u2028',
  rest: 'the same every time, and long enough to be worth a patch. '.repeat(4),
});
const versions = (first, last) => Array.from({ length: last - first + 1 }, (_, index) => version(first + index));

export default ({ wire, topology }) => {
  const appAt = (node, options) => new App(wire, node, options);
  const publish = async (channel, numbers, more) => {
    for (const n of numbers) await topology().other.publish(channel, version(n), more);
  };
  const upTo = (first, last) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

  test('who asks for patches gets every publication whole, in far fewer bytes, and the others as before', withApps(async keep => {
    const channel = fresh('patched');
    const [ada, bob] = await Promise.all([0, 1].map(() => keep(appAt(topology().first)).connect()));
    const patched = await ada.subscribe(channel, delta);
    const plain = await bob.subscribe(channel);
    await publish(channel, upTo(1, 50));
    assert.deepEqual(await patched.received(50), versions(1, 50));
    assert.deepEqual(await plain.received(50), versions(1, 50));
    const { numPublications, numFullPayloads, numDeltaPayloads, bytesReceived, bytesDecoded } = patched.subscription.deltaStats();
    assert.deepEqual({ numPublications, numFullPayloads, numDeltaPayloads }, { numPublications: 50, numFullPayloads: 1, numDeltaPayloads: 49 });
    assert.ok(bytesReceived * 4 < bytesDecoded, `${bytesReceived} of ${bytesDecoded}`);
    assert.deepEqual(patched.offsets, plain.offsets);
  }));

  test('what was missed comes as patches too, on another node, and the live ones go on from there', withApps(async keep => {
    const channel = fresh('patched');
    const ada = await keep(appAt(topology().first)).connect();
    const listener = await ada.subscribe(channel, delta);
    await publish(channel, upTo(1, 5));
    await listener.received(5);
    await ada.whileAway(topology().other, () => publish(channel, upTo(6, 30)));
    await publish(channel, upTo(31, 40));
    assert.deepEqual(await listener.received(40), versions(1, 40));
    assert.equal(listener.subscribed[1].recovered, true);
    const { numFullPayloads } = listener.subscription.deltaStats();
    assert.ok(numFullPayloads <= 3, `${numFullPayloads} came whole`);
    await ada.whileAway(topology().first, async () => {});
    await publish(channel, upTo(41, 42));
    assert.deepEqual(await listener.received(42), versions(1, 42), 'and when nothing was missed');
  }));

  test('who comes later, and between two publications, gets the next one whole', withApps(async keep => {
    const channel = fresh('patched');
    const ada = await keep(appAt(topology().first)).connect();
    const early = await ada.subscribe(channel, delta);
    await publish(channel, upTo(1, 3));
    await early.received(3);
    const bob = await keep(appAt(topology().first)).connect();
    const late = await bob.subscribe(channel, delta);
    await publish(channel, upTo(4, 6));
    assert.deepEqual(await late.received(3), versions(4, 6));
    assert.deepEqual(await early.received(6), versions(1, 6));
  }));

  test('small, different and repeated publications arrive as they are', withApps(async keep => {
    const channel = fresh('patched');
    const ada = await keep(appAt(topology().first)).connect();
    const listener = await ada.subscribe(channel, delta);
    const values = [1, 'text', null, [], {}, version(1), version(1), 'x'.repeat(500), version(1), [version(1), version(2)], false];
    for (const value of values) await topology().other.publish(channel, value);
    assert.deepEqual(await listener.received(values.length), values);
  }));

  test('without history too, where the publisher asks for it', withApps(async keep => {
    const channel = fresh('loose');
    const ada = await keep(appAt(topology().first)).connect();
    const listener = await ada.subscribe(channel, delta);
    await heard(topology(), channel, listener);
    const before = listener.subscription.deltaStats().numDeltaPayloads;
    await publish(channel, upTo(1, 3), { delta: true });
    await publish(channel, upTo(4, 6));
    assert.deepEqual(await listener.received(6), versions(1, 6));
    assert.equal(listener.subscription.deltaStats().numDeltaPayloads - before, 2);
  }));

  test('what skips history is part of the chain of patches', withApps(async keep => {
    const channel = fresh('patched');
    const ada = await keep(appAt(topology().first)).connect();
    const listener = await ada.subscribe(channel, delta);
    await heard(topology(), channel, listener);
    for (const n of upTo(1, 6)) {
      await topology().first.publish(channel, version(n), { skip_history: n % 2 === 0 });
      await listener.received(n);
    }
    assert.deepEqual(listener.data, versions(1, 6));
  }));

  test('the latest state comes first, whole, and patches follow', withApps(async keep => {
    const channel = fresh('state');
    await publish(channel, upTo(1, 3));
    const ada = await keep(appAt(topology().first)).connect();
    const listener = await ada.subscribe(channel, delta);
    await publish(channel, upTo(4, 5));
    assert.deepEqual(await listener.received(3), versions(3, 5));
    assert.equal(listener.subscription.deltaStats().numDeltaPayloads, 2);
  }));

  test('where patches are not allowed everything comes whole', withApps(async keep => {
    const channel = fresh('chat');
    const ada = await keep(appAt(topology().first)).connect();
    const listener = await ada.subscribe(channel, delta);
    await publish(channel, upTo(1, 3));
    assert.deepEqual(await listener.received(3), versions(1, 3));
    assert.equal(listener.subscription.deltaStats().numPublications, 0);
    await eventually('nothing was refused', () => listener.errors.length === 0 && ada.disconnected === null);
  }));
};
