// Clients that only listen, on two nodes: seen and told of at the other one, and served there when they come back.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { App, eventually, fresh, listeningOn, listenings, token, twoNodes } from './harness.mjs';

describe('clients that only listen, on two nodes', { timeout: 120_000 }, () => {
  let topology;
  let open = [];
  before(async () => (topology = await twoNodes(listeningOn)), { timeout: 60_000 });
  after(() => topology?.stop());
  afterEach(() => {
    open.forEach(each => (each.end || each.close).call(each));
    open = [];
  });

  const keep = each => {
    open.push(each);
    return each;
  };

  for (const [transport, listen] of Object.entries(listenings)) {
    describe(transport, () => {
      const come = (node, claims, more) => keep(listen(node, { token: token(claims), ...more })).connected();
      const events = (listening, channel) =>
        listening.pushes.filter(push => push.channel === channel && (push.join || push.leave))
          .map(({ join, leave }) => (join ? `+${join.info.user}` : `-${leave.info.user}`));

      test('they are seen by others, and told who comes and goes', async () => {
        const [channel, user] = [fresh('lobby'), fresh('ada')];
        const ada = await come(topology.first, { sub: user, channels: [channel] });
        // Whoever subscribes waits until it is known who is there; a connect does not.
        const cay = await keep(new App('json', topology.first, { token: token({ sub: 'cay' }) })).connect();
        await cay.subscribe(channel);
        const bob = await keep(new App('json', topology.other, { token: token({ sub: 'bob' }) })).connect();
        const { subscription } = await bob.subscribe(channel);
        await eventually('bob sees ada', async () => {
          const { clients } = await bob.centrifuge.presence(channel);
          return Object.values(clients).map(info => info.user).sort().join() === [user, 'bob', 'cay'].sort().join();
        });
        const ofBob = () => events(ada, channel).filter(word => word.endsWith('bob'));
        await eventually('bob came', () => ofBob().length === 1); // who goes before that is noted was never there
        subscription.unsubscribe();
        await eventually('bob came and went', () => ofBob().length === 2);
        assert.deepEqual(ofBob(), ['+bob', '-bob']);
        ada.end();
        await eventually('ada has left', async () => {
          const { result } = await topology.other.api('presence', { channel });
          return Object.values(result.presence).every(info => info.user !== user);
        });
      });

      test('joins and leaves are told to those who ask for it and may see who is there', async () => {
        const channel = fresh('room');
        const asks = await come(topology.first, { sub: 'ann' }, { subs: { [channel]: { join_leave: true } } });
        const quiet = await come(topology.first, { sub: 'eve' }, { subs: { [channel]: {} } });
        const bob = await keep(new App('json', topology.first, { token: token({ sub: 'bob' }) })).connect();
        await bob.subscribe(channel, { joinLeave: true });
        const cay = await keep(new App('json', topology.other, { token: token({ sub: 'cay' }) })).connect();
        await cay.subscribe(channel);
        await eventually('cay came', () => events(asks, channel).includes('+cay'));
        assert.deepEqual(events(quiet, channel), []);
      });

      test('a filter holds, also for what is recovered at the other node', async () => {
        const [channel, tf] = [fresh('patched'), { key: 'lang', cmp: 'eq', val: 'de' }];
        const publish = async (first, last) => {
          for (let n = first; n <= last; n += 1) await topology.other.publish(channel, n, { tags: { lang: n % 2 ? 'fr' : 'de' } });
        };
        const first = await come(topology.first, { sub: 'ada' }, { subs: { [channel]: { tf } } });
        const { epoch } = first.connect.subs[channel];
        await publish(1, 4);
        await eventually('what passes', () => first.publications(channel).length === 2);
        const { offset } = first.publications(channel).at(-1);
        first.end();
        await publish(5, 8);
        const second = await come(topology.other, { sub: 'ada' }, { subs: { [channel]: { recover: true, offset, epoch, tf } } });
        await publish(9, 10);
        await eventually('what passes', () => second.publications(channel).length === 1);
        const { recovered, publications } = second.connect.subs[channel];
        assert.equal(recovered, true);
        const all = [...first.publications(channel), ...publications, ...second.publications(channel)];
        assert.deepEqual(all.map(({ data }) => data), [2, 4, 6, 8, 10]);
      });
    });
  }
});
