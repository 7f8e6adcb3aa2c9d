import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, decode, eventually, fresh, heard, now, token } from '../harness.mjs';
import { withApps } from '../suite.mjs';

export default ({ wire, topology }) => {
  let users = 0;
  const name = () => `user-${process.pid}-${wire}-${(users += 1)}`;
  const app = claims => new App(wire, topology().first, { token: token({ sub: name(), exp: now(300), ...claims }) });
  const inChannel = (list, channel) => list.filter(each => each.channel === channel);
  const data = (client, channel) => inChannel(client.publications, channel).map(each => each.data);

  test('the token\'s channels are subscribed by the server', withApps(async keep => {
    const [one, two] = [fresh('chat'), fresh('plain')];
    const ada = await keep(app({ channels: [one, two] })).connect();
    await eventually('both are subscribed', () => inChannel(ada.subscribed, one).length && inChannel(ada.subscribed, two).length);
    assert.equal(inChannel(ada.subscribed, one)[0].recoverable, true);
    assert.equal(inChannel(ada.subscribed, two)[0].recoverable, false);
    await heard(topology(), two, ada);
    await topology().other.publish(one, 1);
    await topology().other.publish(two, 2);
    await eventually('both arrive', () => ada.publications.length === 2);
    assert.deepEqual(data(ada, one), [1]);
    assert.deepEqual(data(ada, two), [2]);
  }));

  test('the token\'s subs carry options and data', withApps(async keep => {
    const channel = fresh('private');
    const ada = await keep(app({ subs: { [channel]: { data: { welcome: 'ada' }, info: { seat: 1 } } } })).connect();
    await eventually('subscribed', () => inChannel(ada.subscribed, channel).length);
    const welcome = inChannel(ada.subscribed, channel)[0].data;
    assert.deepEqual(wire === 'json' ? welcome : JSON.parse(Buffer.from(welcome).toString()), { welcome: 'ada' });
    await topology().other.publish(channel, 1);
    await eventually('it arrives', () => data(ada, channel).length === 1);
  }));

  test('every user has a personal channel', withApps(async keep => {
    const user = name();
    const ada = await keep(new App(wire, topology().first, { token: token({ sub: user, exp: now(60) }) })).connect();
    const channel = `personal:#${user}`;
    await eventually('subscribed', () => inChannel(ada.subscribed, channel).length);
    await topology().other.publish(channel, 'for you');
    await eventually('it arrives', () => data(ada, channel).length === 1);
  }));

  test('an anonymous client has no personal channel', withApps(async keep => {
    const guest = await keep(new App(wire, topology().first)).connect();
    assert.deepEqual(guest.subscribed, []);
  }));

  test('server-side subscriptions recover in connect, on another node', withApps(async keep => {
    const channel = fresh('chat');
    const ada = await keep(app({ channels: [channel] })).connect();
    await eventually('subscribed', () => inChannel(ada.subscribed, channel).length === 1);
    for (const number of [1, 2]) await topology().first.publish(channel, number);
    await eventually('they arrive', () => data(ada, channel).length === 2);

    // A broken connection, not disconnect(): the SDK forgets server-side positions when told to leave.
    ada.node = { websocket: 'ws://127.0.0.1:1/nobody' };
    ada.breakConnection();
    for (const number of [3, 4, 5]) await topology().first.publish(channel, number);
    ada.node = topology().other;
    await eventually('subscribed again', () => inChannel(ada.subscribed, channel).length === 2);
    assert.equal(inChannel(ada.subscribed, channel)[1].recovered, true);
    await topology().first.publish(channel, 6);
    await eventually('all arrive', () => data(ada, channel).length === 6);
    assert.deepEqual(data(ada, channel), [1, 2, 3, 4, 5, 6]);
  }));

  test('an unknown namespace in the token is a clear error (102)', withApps(async keep => {
    const ada = keep(app({ channels: [fresh('nowhere')] }));
    ada.centrifuge.connect();
    await eventually('disconnected', () => ada.disconnected);
    assert.equal(ada.disconnected.code, 102);
  }));

  test('a client cannot subscribe itself to what the server subscribed it to', withApps(async keep => {
    const channel = fresh('chat');
    const ada = await keep(app({ channels: [channel] })).connect();
    assert.equal(await ada.listen(channel).refusal(), 105);
  }));

  test('a backend subscribes a user on whichever node, and ends it again', withApps(async keep => {
    const [user, channel] = [name(), fresh('chat')];
    const clients = [topology().first, topology().other].map(node => keep(new App(wire, node, { token: token({ sub: user, exp: now(60) }) })));
    const stranger = keep(app({}));
    for (const client of [...clients, stranger]) await client.connect();
    const { offset, epoch } = await topology().first.publish(channel, 1);
    await topology().first.publish(channel, 2);
    const asked = { user, channel, data: { welcome: 'ada' }, recover_since: { offset, epoch } };
    assert.deepEqual(await topology().other.api('subscribe', asked), { result: {} });
    for (const client of clients) {
      await eventually('subscribed', () => inChannel(client.subscribed, channel).length);
      const [subscribed] = inChannel(client.subscribed, channel);
      assert.deepEqual(wire === 'json' ? subscribed.data : JSON.parse(Buffer.from(subscribed.data).toString()), { welcome: 'ada' });
      await eventually('what was published since', () => data(client, channel).length === 1);
    }
    await topology().other.publish(channel, 3);
    for (const client of clients) await eventually('it goes on', () => data(client, channel).length === 2);
    for (const client of clients) assert.deepEqual(data(client, channel), [2, 3]);
    assert.deepEqual(await topology().first.api('unsubscribe', { user, channel }), { result: {} });
    for (const client of clients) await eventually('it is over', () => client.unsubscribedFrom.includes(channel));
    assert.deepEqual(inChannel(stranger.subscribed, channel), []);
  }));

  test('where a backend names no channel all of a user\'s subscriptions end, whoever made them', withApps(async keep => {
    const [given, taken] = [fresh('chat'), fresh('chat')];
    for (const unnamed of [{}, { channel: '' }]) {
      const user = name();
      const claims = { sub: user, exp: now(60), channels: [given] };
      const ada = await keep(new App(wire, topology().first, { token: token(claims) })).connect();
      const listener = await ada.subscribe(taken);
      const stranger = await keep(app({ channels: [given] })).connect();
      assert.deepEqual(await topology().other.api('unsubscribe', { user, ...unnamed }), { result: {} });
      await eventually('her own is over', () => listener.unsubscribed);
      assert.equal(listener.unsubscribed.code, 2000);
      const served = [given, `personal:#${user}`];
      await eventually('what the server gave her is, too', () => served.every(each => ada.unsubscribedFrom.includes(each)));
      assert.equal(ada.centrifuge.state, 'connected');
      assert.deepEqual(stranger.unsubscribedFrom, []);
    }
  }));

  test('a backend disconnects a user, all connections or one, for good or not', withApps(async keep => {
    const user = name();
    const connect = node => keep(new App(wire, node, { token: token({ sub: user, exp: now(60) }) })).connect();
    const [ada, tablet] = [await connect(topology().first), await connect(topology().other)];
    await topology().other.api('disconnect', { user, client: ada.id, disconnect: { code: 4000, reason: 'move on' } });
    await eventually('it comes back', () => ada.connected.length === 2);
    assert.equal(ada.connecting.at(-1).code, 4000);
    assert.equal(tablet.connected.length, 1);
    await topology().first.api('disconnect', { user, whitelist: [tablet.id] });
    await eventually('one is gone for good', () => ada.disconnected);
    assert.equal(ada.disconnected.code, 3503);
    assert.equal(tablet.centrifuge.state, 'connected');
  }));

  test('a backend shortens a connection\'s time, or ends it', withApps(async keep => {
    const user = name();
    const getToken = async () => token({ sub: user, exp: now(300) });
    const ada = await keep(new App(wire, topology().first, { getToken })).connect();
    await topology().other.api('refresh', { user, expire_at: now(600) });
    await topology().other.api('refresh', { user, expire_at: now(1) });
    await eventually('its time is over, and it comes back', () => ada.connected.length === 2);
    assert.equal(ada.connecting.at(-1).code, 3005);
    await topology().other.api('refresh', { user, expired: true });
    await eventually('at once', () => ada.connected.length === 3);
    assert.equal(ada.connecting.at(-1).code, 3005);
  }));

  test('a backend gives a connection another info, seen in presence and publications', withApps(async keep => {
    const [user, room, chat] = [name(), fresh('room'), fresh('chat')];
    const getToken = async () => token({ sub: user, exp: now(300), info: { name: 'Ada' } });
    const ada = await keep(new App(wire, topology().first, { getToken })).connect();
    const bob = await keep(new App(wire, topology().other)).connect();
    for (const each of [room, chat]) await ada.subscribe(each);
    const listener = await bob.subscribe(chat);
    const seen = async () => {
      const found = (await bob.centrifuge.presence(room)).clients[ada.id];
      return found && decode(wire, found.connInfo).name;
    };
    await eventually('bob sees her', async () => (await seen()) === 'Ada');
    await topology().other.api('refresh', { user, client: ada.id, expire_at: now(300), info: { name: 'Countess' } });
    await eventually('bob sees her as another', async () => (await seen()) === 'Countess');
    // Whoever is told to unsubscribe has obeyed what came before.
    await topology().other.api('refresh', { user, expire_at: now(300) });
    await topology().other.api('unsubscribe', { user, channel: `personal:#${user}` });
    await eventually('a refresh without info was obeyed', () => ada.unsubscribedFrom.length === 1);
    await ada.publish(chat, 1);
    await listener.received(1);
    assert.deepEqual(decode(wire, listener.publications[0].info.connInfo), { name: 'Countess' });
  }));
};
