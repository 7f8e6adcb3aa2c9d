import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, eventually, fresh, token, watch } from '../harness.mjs';
import { withApps } from '../suite.mjs';

export default ({ wire, topology }) => {
  const app = (user, node = topology().first) => new App(wire, node, user ? { token: token({ sub: user, info: { name: user } }) } : {});
  const users = ({ clients }) => Object.values(clients).map(({ user }) => user).sort();

  test('clients on all nodes see each other', withApps(async keep => {
    const channel = fresh('room');
    const ann = await keep(app('ann')).connect();
    await ann.subscribe(channel);
    const own = await ann.centrifuge.presence(channel);
    assert.deepEqual(Object.keys(own.clients), [ann.id], 'one sees oneself at once');
    const info = own.clients[ann.id];
    const connInfo = wire === 'json' ? info.connInfo : JSON.parse(Buffer.from(info.connInfo));
    assert.deepEqual([info.client, info.user, connInfo], [ann.id, 'ann', { name: 'ann' }]);

    const bob = await keep(app('bob', topology().other)).connect();
    await bob.subscribe(channel);
    const twice = await keep(app('ann', topology().other)).connect();
    await twice.subscribe(channel);
    for (const one of [ann, bob]) {
      await eventually('both see all three', async () => users(await one.centrifuge.presence(channel)).join() === 'ann,ann,bob');
      const { numClients, numUsers } = await one.centrifuge.presenceStats(channel);
      assert.deepEqual([numClients, numUsers], [3, 2]);
    }
    twice.close();
    await eventually('one has left', async () => (await ann.centrifuge.presenceStats(channel)).numClients === 2);
    const empty = await ann.centrifuge.presence(fresh('room'));
    assert.deepEqual(empty.clients, {});
  }));

  test('the server API sees the same', withApps(async keep => {
    const channel = fresh('room');
    const ann = await keep(app('ann')).connect();
    await ann.subscribe(channel);
    for (const node of topology().nodes) {
      const seen = await eventually('the API sees who is there', async () => {
        const { result } = await node.api('presence', { channel });
        return result.presence[ann.id];
      });
      assert.deepEqual(seen, { user: 'ann', client: ann.id, conn_info: { name: 'ann' } });
      assert.deepEqual((await node.api('presence_stats', { channel })).result, { num_clients: 1, num_users: 1 });
    }
  }));

  test('who asks for it is told of joins and leaves, oneself included', withApps(async keep => {
    const channel = fresh('room');
    const ann = await keep(app('ann')).connect();
    const told = await watch(ann, channel, { joinLeave: true });
    await eventually('one is told of oneself', () => told.told.length === 1);
    const quiet = await watch(await keep(app('cay')).connect(), channel);
    const bob = await keep(app('bob', topology().other)).connect();
    const stay = await bob.subscribe(channel);
    await eventually('bob came', () => told.told.includes('+bob'));
    stay.subscription.unsubscribe();
    await eventually('bob went', () => told.told.includes('-bob'));
    assert.deepEqual(told.told, ['+ann', '+cay', '+bob', '-bob']);
    assert.deepEqual(quiet.told, []);
  }));

  test('a broken connection is a leave, and coming back a join', withApps(async keep => {
    const channel = fresh('room');
    const ann = await keep(app('ann')).connect();
    const told = await watch(ann, channel, { joinLeave: true });
    const bob = await keep(app('bob', topology().other)).connect();
    await bob.subscribe(channel);
    await eventually('bob came', () => told.told.includes('+bob'));
    bob.breakConnection();
    await eventually('bob is back', () => told.told.filter(word => word === '+bob').length === 2);
    await eventually('bob went in between', () => told.told.filter(word => word === '-bob').length === 1);
    const seen = await eventually('one bob is there', async () => {
      const { clients } = await ann.centrifuge.presence(channel);
      return Object.keys(clients).length === 2 && clients;
    });
    assert.ok(seen[bob.id], 'the one who is back');
  }));

  test('a user who is back soon is not told of', withApps(async keep => {
    const channel = fresh('desk');
    const ann = await keep(app('ann')).connect();
    const told = await watch(ann, channel);
    const bob = await keep(app('bob', topology().other)).connect();
    await bob.subscribe(channel);
    await eventually('bob came', () => told.told.includes('+bob'));
    const connects = bob.connected.length;
    bob.breakConnection();
    await eventually('bob is back', () => bob.connected.length > connects);
    const cay = await keep(app('cay', topology().other)).connect();
    await cay.subscribe(channel);
    await eventually('cay came', () => told.told.includes('+cay'));
    assert.deepEqual(told.told, ['+ann', '+bob', '+cay']);
    bob.close();
    await eventually('bob has left for good', () => told.told.includes('-bob'));
  }));

  test('presence is for those who may see it', withApps(async keep => {
    const ann = await keep(app('ann')).connect();
    const lobby = fresh('lobby');
    await assert.rejects(ann.centrifuge.presence(lobby), { code: 103 });
    await assert.rejects(ann.centrifuge.presence(fresh('chat')), { code: 108 });
    await assert.rejects(ann.centrifuge.presenceStats('nowhere:x'), { code: 102 });
    const told = await watch(ann, lobby);
    assert.deepEqual(users(await ann.centrifuge.presence(lobby)), ['ann']);
    await eventually('told without asking', () => told.told.includes('+ann'));
    const nobody = await keep(app(null)).connect();
    await assert.rejects(nobody.centrifuge.presence(lobby), { code: 103 });
  }));

  test('server-side subscriptions are seen and told as others are', withApps(async keep => {
    const channel = fresh('room');
    const ann = await keep(app('ann')).connect();
    const told = await watch(ann, channel, { joinLeave: true });
    const bob = keep(new App(wire, topology().other, { token: token({ sub: 'bob', channels: [channel] }) }));
    await bob.connect();
    await eventually('bob came', () => told.told.includes('+bob'));
    await topology().first.api('unsubscribe', { user: 'bob', channel });
    await eventually('bob went', () => told.told.includes('-bob'));
    await topology().first.api('subscribe', { user: 'bob', channel, override: { join_leave: { value: true } } });
    await eventually('bob came again', () => told.told.filter(word => word === '+bob').length === 2);
  }));
};
