import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, decode, eventually, fresh, now, token } from '../harness.mjs';
import { withApps } from '../suite.mjs';

export default ({ wire, topology }) => {
  const app = options => new App(wire, topology().other, options);
  const data = ({ publications }) => publications.map(each => decode(wire, each.data));

  async function filled(namespace, count) {
    const channel = fresh(namespace);
    const offsets = [];
    for (let number = 1; number <= count; number += 1) {
      offsets.push((await topology().first.publish(channel, number)).offset);
    }
    return { channel, offsets };
  }

  test('history is read by limit, position and direction', withApps(async keep => {
    const { channel, offsets } = await filled('chat', 10);
    const guest = await keep(app()).connect();
    const read = options => guest.centrifuge.history(channel, options);

    const all = await read({ limit: -1 });
    assert.deepEqual(data(all), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert.deepEqual(all.publications.map(({ offset }) => offset), offsets);
    assert.equal(all.offset, offsets.at(-1));
    assert.ok(all.epoch);

    assert.deepEqual(data(await read({ limit: 3 })), [1, 2, 3]);
    assert.deepEqual(data(await read({ limit: 3, reverse: true })), [10, 9, 8]);
    const since = { offset: offsets[4], epoch: all.epoch };
    assert.deepEqual(data(await read({ limit: 2, since })), [6, 7], 'after, without it');
    assert.deepEqual(data(await read({ limit: -1, since })), [6, 7, 8, 9, 10]);
    assert.deepEqual(data(await read({ limit: 2, since, reverse: true })), [4, 3], 'before, newest first');
    assert.deepEqual(data(await read({ limit: -1, since: { offset: offsets[4], epoch: '' } })), [6, 7, 8, 9, 10]);
  }));

  test('history without a limit is the position alone', withApps(async keep => {
    const { channel, offsets } = await filled('chat', 3);
    const guest = await keep(app()).connect();
    const position = await guest.centrifuge.history(channel, {});
    assert.deepEqual(position.publications, []);
    assert.equal(position.offset, offsets.at(-1));
  }));

  test('a position of another epoch is refused with 112', withApps(async keep => {
    const { channel, offsets } = await filled('chat', 2);
    const guest = await keep(app()).connect();
    const since = { offset: offsets[0], epoch: 'another' };
    await assert.rejects(guest.centrifuge.history(channel, { limit: 10, since }), { code: 112 });
  }));

  test('history keeps as many as its namespace says', withApps(async keep => {
    const { channel } = await filled('short', 8);
    const guest = await keep(app()).connect();
    assert.deepEqual(data(await guest.centrifuge.history(channel, { limit: -1 })), [4, 5, 6, 7, 8]);
  }));

  test('history forgets after its time to live, the position stays', withApps(async keep => {
    const { channel, offsets } = await filled('brief', 3);
    const guest = await keep(app()).connect();
    await eventually('expired', async () => (await guest.centrifuge.history(channel, { limit: -1 })).publications.length === 0);
    assert.equal((await guest.centrifuge.history(channel, {})).offset, offsets.at(-1));
  }));

  test('history of an empty channel is empty, with an epoch', withApps(async keep => {
    const guest = await keep(app()).connect();
    const { publications, epoch } = await guest.centrifuge.history(fresh('chat'), { limit: -1 });
    assert.deepEqual(publications, []);
    assert.ok(epoch);
  }));

  test('history without permission is refused with 103, without history with 108', withApps(async keep => {
    const guest = await keep(app()).connect();
    await assert.rejects(guest.centrifuge.history(fresh('asked'), { limit: 1 }), { code: 103 });
    await assert.rejects(guest.centrifuge.history(fresh('plain'), { limit: 1 }), { code: 108 });
    await assert.rejects(guest.centrifuge.history(fresh('nowhere'), { limit: 1 }), { code: 102 });
  }));

  test('subscribers may read history where only they may', withApps(async keep => {
    const channel = fresh('members');
    await topology().first.publish(channel, 1);
    const ada = await keep(app({ token: token({ sub: 'ada', exp: now(60) }) })).connect();
    await assert.rejects(ada.centrifuge.history(channel, { limit: 1 }), { code: 103 });
    const listener = await ada.subscribe(channel);
    assert.deepEqual(data(await listener.subscription.history({ limit: 1 })), [1]);
  }));

  test('a client gets at most 300 publications at once', withApps(async keep => {
    const channel = fresh('chat');
    await topology().first.api('batch', {
      commands: Array.from({ length: 310 }, (_, number) => ({ publish: { channel, data: number } })),
    });
    const guest = await keep(app()).connect();
    assert.equal((await guest.centrifuge.history(channel, { limit: 100_000 })).publications.length, 300);
  }));

  test('what a client publishes stands in history with its info', withApps(async keep => {
    const channel = fresh('chat');
    const ada = await keep(app({ token: token({ sub: 'ada', exp: now(60) }) })).connect();
    await ada.publish(channel, 'mine');
    const { publications } = await ada.centrifuge.history(channel, { limit: 1, reverse: true });
    assert.equal(publications[0].info.user, 'ada');
  }));

  test('removed history is gone on every node, and the channel goes on', withApps(async keep => {
    const { channel, offsets } = await filled('chat', 3);
    const guest = await keep(app()).connect();
    const listener = await guest.subscribe(channel);
    await topology().first.api('history_remove', { channel });
    assert.deepEqual((await guest.centrifuge.history(channel, { limit: -1 })).publications, []);
    const { offset } = await topology().first.publish(channel, 'after');
    assert.ok(offset > offsets.at(-1));
    assert.deepEqual(await listener.received(1), ['after']);
  }));
};
