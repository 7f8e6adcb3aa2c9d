import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, eventually, fresh, heard } from '../harness.mjs';
import { withApps } from '../suite.mjs';

const upTo = (last, first = 1) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

export default ({ wire, topology }) => {
  const app = options => new App(wire, topology().first, options);
  const publish = async (channel, numbers, node = topology().first) => {
    for (const number of numbers) await node.publish(channel, number);
  };

  test('a client that reconnects to another node gets what it missed', withApps(async keep => {
    const channel = fresh('chat');
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(channel);
    await publish(channel, upTo(10));
    await listener.received(10);
    await ada.whileAway(topology().other, () => publish(channel, upTo(60, 11)));
    await eventually('subscribed again', () => listener.subscribed.length === 2);
    const { wasRecovering, recovered, hasRecoveredPublications } = listener.subscribed[1];
    assert.deepEqual({ wasRecovering, recovered, hasRecoveredPublications }, { wasRecovering: true, recovered: true, hasRecoveredPublications: true });
    await publish(channel, upTo(70, 61), topology().other);
    assert.deepEqual(await listener.received(70), upTo(70));
  }));

  test('a connection that breaks under publishing loses nothing, ten times over', withApps(async keep => {
    const channel = fresh('chat');
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(channel);
    const publishing = publish(channel, upTo(300));
    for (let round = 1; round <= 10; round += 1) {
      await eventually('some arrive', () => listener.publications.length >= round * 20 && listener.subscribed.length === round);
      ada.node = topology().nodes[round % topology().nodes.length];
      ada.breakConnection();
    }
    await publishing;
    assert.deepEqual(await listener.received(300), upTo(300));
    await eventually('it has come back from every one', () => listener.subscribed.length === 11);
    for (const each of listener.subscribed.slice(1)) assert.equal(each.recovered, true, JSON.stringify(each));
  }));

  test('a client that missed nothing is told so', withApps(async keep => {
    const channel = fresh('chat');
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(channel);
    await publish(channel, [1]);
    await listener.received(1);
    await ada.whileAway(topology().other, async () => {});
    await eventually('subscribed again', () => listener.subscribed.length === 2);
    assert.equal(listener.subscribed[1].recovered, true);
    assert.equal(listener.subscribed[1].hasRecoveredPublications, false);
    assert.deepEqual(listener.data, [1]);
  }));

  test('a client that subscribed to an empty channel recovers its first publication', withApps(async keep => {
    const channel = fresh('chat');
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(channel);
    await ada.whileAway(topology().other, () => publish(channel, [1]));
    await eventually('subscribed again', () => listener.subscribed.length === 2);
    assert.equal(listener.subscribed[1].recovered, true);
    assert.deepEqual(await listener.received(1), [1]);
  }));

  test('exactly as many as history keeps are recovered', withApps(async keep => {
    const channel = fresh('short');
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(channel);
    await publish(channel, [1]);
    await listener.received(1);
    await ada.whileAway(topology().other, () => publish(channel, upTo(6, 2)));
    assert.deepEqual(await listener.received(6), upTo(6));
    assert.equal(listener.subscribed[1].recovered, true);
  }));

  test('recovery of what was trimmed is refused, whole', withApps(async keep => {
    const channel = fresh('short');
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(channel);
    await publish(channel, [1]);
    await listener.received(1);
    // More than history keeps, and more than a node keeps in memory of a busy channel.
    await ada.whileAway(topology().other, () => publish(channel, upTo(299, 2)));
    await eventually('subscribed again', () => listener.subscribed.length === 2);
    const [, { recovered, wasRecovering, hasRecoveredPublications }] = listener.subscribed;
    assert.deepEqual({ recovered, wasRecovering, hasRecoveredPublications }, { recovered: false, wasRecovering: true, hasRecoveredPublications: false });
    await publish(channel, [300]);
    assert.deepEqual(await listener.received(2), [1, 300], 'and nothing of what was left of it');
  }));

  test('recovery of what expired is refused', withApps(async keep => {
    const channel = fresh('brief');
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(channel);
    await publish(channel, [1]);
    await listener.received(1);
    await ada.whileAway(topology().other, async () => {
      await publish(channel, [2, 3]);
      await eventually('expired', async () => {
        const { result } = await topology().first.api('history', { channel, limit: -1 });
        return result.publications.length === 0;
      });
    });
    await eventually('subscribed again', () => listener.subscribed.length === 2);
    assert.equal(listener.subscribed[1].recovered, false);
  }));

  test('a position of another epoch is not recovered', withApps(async keep => {
    const channel = fresh('chat');
    await publish(channel, upTo(3));
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(channel, { since: { offset: 1, epoch: 'another' } });
    assert.equal(listener.subscribed[0].wasRecovering, true);
    assert.equal(listener.subscribed[0].recovered, false);
    assert.deepEqual(listener.data, []);
  }));

  test('a client may begin from a position that it knows', withApps(async keep => {
    const channel = fresh('chat');
    const { offset, epoch } = await topology().first.publish(channel, 1);
    await publish(channel, [2, 3]);
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(channel, { since: { offset, epoch } });
    assert.equal(listener.subscribed[0].recovered, true);
    assert.deepEqual(await listener.received(2), [2, 3]);
  }));

  test('offsets and epochs are the same on every node', withApps(async keep => {
    const channel = fresh('chat');
    const { offset, epoch } = await topology().first.publish(channel, 1);
    for (const node of topology().nodes) {
      const guest = await keep(new App(wire, node)).connect();
      const listener = await guest.subscribe(channel);
      const { streamPosition } = listener.subscribed[0];
      assert.deepEqual({ ...streamPosition }, { offset, epoch });
    }
  }));

  test('in a channel without recovery a reconnect is silent about what was missed', withApps(async keep => {
    const channel = fresh('plain');
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(channel);
    await ada.whileAway(topology().other, () => publish(channel, [1, 2]));
    await eventually('subscribed again', () => listener.subscribed.length === 2);
    assert.equal(listener.subscribed[1].wasRecovering, false);
    await heard(topology(), channel, listener);
    await publish(channel, [3]);
    assert.deepEqual(await listener.received(1), [3]);
  }));

  test('in cache mode a client gets the latest publication only', withApps(async keep => {
    const channel = fresh('latest');
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(channel);
    await publish(channel, [1]);
    await listener.received(1);
    await ada.whileAway(topology().other, () => publish(channel, upTo(5, 2)));
    assert.deepEqual(await listener.received(2), [1, 5]);
    assert.equal(listener.subscribed[1].recovered, true);
  }));

  test('many channels recover in one reconnect', withApps(async keep => {
    const channels = Array.from({ length: 30 }, () => fresh('chat'));
    const ada = await keep(app()).connect();
    const listeners = await Promise.all(channels.map(channel => ada.subscribe(channel)));
    await Promise.all(channels.map(channel => publish(channel, [1, 2])));
    await Promise.all(listeners.map(listener => listener.received(2)));
    await ada.whileAway(topology().other, () => Promise.all(channels.map(channel => publish(channel, upTo(7, 3)))));
    for (const listener of listeners) {
      assert.deepEqual(await listener.received(7), upTo(7));
      assert.equal(listener.subscribed[1].recovered, true);
    }
  }));
};
