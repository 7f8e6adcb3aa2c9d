// Only the publications whose tags a subscriber wants.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, eventually, fresh, heard } from '../harness.mjs';
import { withApps } from '../suite.mjs';

const lang = value => ({ key: 'lang', cmp: 'eq', val: value });

export default ({ wire, topology }) => {
  const appAt = (node, options) => new App(wire, node, options);
  /** Numbers from 1 on, every second in German, priced by their number. */
  const publish = async (channel, first, last) => {
    for (let n = first; n <= last; n += 1) {
      await topology().other.publish(channel, n, { tags: { lang: n % 2 === 0 ? 'de' : 'fr', price: `${n}.50` } });
    }
  };

  test('each gets what passes its filter, and who has none everything', withApps(async keep => {
    const channel = fresh('patched');
    const filters = {
      german: lang('de'),
      cheap: { key: 'price', cmp: 'lt', val: '3.5' },
      both: { op: 'and', nodes: [lang('de'), { op: 'not', nodes: [{ key: 'price', cmp: 'gte', val: '4.5' }] }] },
      listed: { key: 'lang', cmp: 'in', vals: ['fr', 'it'] },
      untagged: { key: 'nothing', cmp: 'nex' },
    };
    const app = await Promise.all(Object.keys(filters).map(() => keep(appAt(topology().first)).connect()));
    const listeners = await Promise.all(Object.values(filters).map((tagsFilter, index) => app[index].subscribe(channel, { tagsFilter })));
    const all = await (await keep(appAt(topology().first)).connect()).subscribe(channel);
    await publish(channel, 1, 6);
    assert.deepEqual(await all.received(6), [1, 2, 3, 4, 5, 6]);
    const expected = [[2, 4, 6], [1, 2], [2], [1, 3, 5], [1, 2, 3, 4, 5, 6]];
    for (const [index, listener] of listeners.entries()) {
      assert.deepEqual(await listener.received(expected[index].length), expected[index], Object.keys(filters)[index]);
    }
  }));

  test('what passes is recovered, whatever else was published meanwhile, and nothing counts as lost', withApps(async keep => {
    const channel = fresh('patched');
    const ada = await keep(appAt(topology().first)).connect();
    const listener = await ada.subscribe(channel, { tagsFilter: lang('de') });
    await publish(channel, 1, 4);
    await listener.received(2);
    await ada.whileAway(topology().other, () => publish(channel, 5, 9));
    assert.equal((await eventually('subscribed again', () => listener.subscribed[1])).recovered, true);
    await publish(channel, 10, 10);
    assert.deepEqual(await listener.received(5), [2, 4, 6, 8, 10]);
    assert.equal(listener.subscribing.filter(({ code }) => code === 2500).length, 0);
  }));

  test('who wants nothing of it for a long time still comes back whole', withApps(async keep => {
    const channel = fresh('patched');
    const ada = await keep(appAt(topology().first)).connect();
    const listener = await ada.subscribe(channel, { tagsFilter: lang('it') });
    for (const [round, node] of [topology().other, topology().first, topology().other].entries()) {
      await ada.whileAway(node, () => publish(channel, round * 150 + 1, round * 150 + 150));
      const { recovered, publications } = await eventually('subscribed again', () => listener.subscribed[round + 1]);
      assert.equal(recovered, true, `round ${round}: ${publications}`);
    }
    await topology().first.publish(channel, 'ciao', { tags: { lang: 'it' } });
    assert.deepEqual(await listener.received(1), ['ciao']);
  }));

  test('the latest state is the latest that passes', withApps(async keep => {
    const channel = fresh('state');
    await publish(channel, 1, 5);
    const ada = await keep(appAt(topology().first)).connect();
    const listener = await ada.subscribe(channel, { tagsFilter: lang('de') });
    await publish(channel, 6, 6);
    assert.deepEqual(await listener.received(2), [4, 6]);
  }));

  test('without history too', withApps(async keep => {
    const channel = fresh('loose');
    const ada = await keep(appAt(topology().first)).connect();
    const tagsFilter = { op: 'or', nodes: [lang('de'), { key: 'probe', cmp: 'ex' }] };
    const listener = await ada.subscribe(channel, { tagsFilter });
    await heard(topology(), channel, listener);
    await publish(channel, 1, 4);
    assert.deepEqual(await listener.received(2), [2, 4]);
  }));

  test('a filter that is wrong, or not allowed, is refused with 107', withApps(async keep => {
    const ada = await keep(appAt(topology().first)).connect();
    for (const tagsFilter of [
      { key: 'lang', cmp: 'like', val: 'd' },
      { op: 'xor', nodes: [lang('de')] },
      { op: 'not', nodes: [lang('de'), lang('fr')] },
      { op: 'and', nodes: [] },
      { key: 'lang', cmp: 'eq' },
      { key: 'lang', cmp: 'in', vals: [] },
      Array.from({ length: 20 }).reduce(inner => ({ op: 'not', nodes: [inner] }), lang('de')),
    ]) {
      assert.equal(await ada.listen(fresh('patched'), { tagsFilter }).refusal(), 107, JSON.stringify(tagsFilter));
    }
    assert.equal(await ada.listen(fresh('chat'), { tagsFilter: lang('de') }).refusal(), 107);
    assert.equal(ada.disconnected, null);
  }));
};
