import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, decode, encode, eventually, fresh, now } from '../harness.mjs';
import { withApps } from '../suite.mjs';

export default ({ wire, backend, node }) => {
  let users = 0;
  const name = () => `user-${wire}-${(users += 1)}`;

  /** A client that says what it came for; `answers` are the connect hook's, the last one for good. */
  const visitor = (plan, ...answers) => {
    backend().plan('connect', plan, (_, count) => answers[Math.min(count, answers.length) - 1]);
    return new App(wire, node(), { data: encode(wire, { plan }), name: 'shop', version: '1.2' });
  };
  const welcome = (keep, user = name()) => keep(visitor(user, { result: { user } })).connect();

  test('the connect hook says who a client is and what it gets', withApps(async keep => {
    const [user, news, chat] = [name(), fresh('news'), fresh('news')];
    const result = { user, info: { name: 'Ada' }, data: { hello: true }, channels: [news], meta: { tenant: 7 } };
    const ada = await keep(visitor(user, { result })).connect();
    assert.deepEqual(decode(wire, ada.connected[0].data), { hello: true });
    await eventually('subscribed by the server', () => ada.subscribed.some(({ channel }) => channel === news));
    const [{ client, ...asked }] = backend().asked('connect', user);
    assert.equal(client, ada.id);
    assert.deepEqual(asked, { transport: 'websocket', protocol: wire, encoding: 'json', name: 'shop', version: '1.2', data: { plan: user } });

    const listener = await ada.subscribe(chat);
    await ada.publish(chat, 'hello');
    await listener.received(1);
    const { info } = listener.publications[0];
    assert.deepEqual([info.user, decode(wire, info.connInfo)], [user, { name: 'Ada' }]);
  }));

  test('an error of the connect hook is final, a temporary one is tried again', withApps(async keep => {
    const bob = keep(visitor(name(), { error: { code: 1000, message: 'no credit' } }));
    bob.centrifuge.connect();
    await eventually('disconnected', () => bob.disconnected);
    assert.deepEqual([bob.disconnected.code, bob.disconnected.reason], [1000, 'no credit']);
    const user = name();
    const busy = { error: { code: 1001, message: 'later', temporary: true } };
    const ada = await keep(visitor(user, busy, busy, { result: { user } })).connect();
    assert.deepEqual(ada.errors.map(({ error }) => error.code), [1001, 1001]);
  }));

  test('a disconnect of the connect hook ends the client for good, or makes it come again', withApps(async keep => {
    const eve = keep(visitor(name(), { disconnect: { code: 4500, reason: 'banned' } }));
    eve.centrifuge.connect();
    await eventually('disconnected', () => eve.disconnected);
    assert.deepEqual([eve.disconnected.code, eve.disconnected.reason], [4500, 'banned']);
    const user = name();
    const ada = await keep(visitor(user, { disconnect: { code: 4000, reason: 'elsewhere' } }, { result: { user } })).connect();
    assert.equal(backend().asked('connect', user).length, 2);
  }));

  test('a client whom the connect hook gives no user is anonymous; an answer without a result lets nobody in', withApps(async keep => {
    const guest = await keep(visitor(name(), { message: 'rate limited' }, { result: {} })).connect();
    assert.deepEqual(guest.errors.map(({ error }) => error.code), [100]);
    const listener = await guest.subscribe(fresh('news'));
    await guest.publish(listener.channel, 1);
    await listener.received(1);
    assert.equal(listener.publications[0].info.user, '');
  }));

  test('the subscribe hook opens a channel with data and info of its own', withApps(async keep => {
    const channel = fresh('asked');
    backend().plan('subscribe', channel, () => ({ result: { data: { topic: 'all' }, info: { seat: 1 } } }));
    const ada = await welcome(keep);
    const listener = await ada.subscribe(channel, { data: encode(wire, { knock: true }) });
    assert.deepEqual(decode(wire, listener.subscribed[0].data), { topic: 'all' });
    const [question] = backend().asked('subscribe', channel);
    assert.deepEqual([question.client, question.data], [ada.id, { knock: true }]);
    await ada.publish(channel, 1);
    await listener.received(1);
    assert.deepEqual(decode(wire, listener.publications[0].info.chanInfo), { seat: 1 });
  }));

  test('the subscribe hook refuses: for good, for the moment, or with the connection', withApps(async keep => {
    const [closed, later, forbidden] = [fresh('asked'), fresh('asked'), fresh('asked')];
    backend().plan('subscribe', closed, () => ({ error: { code: 403, message: 'closed' } }));
    backend().plan('subscribe', later, (_, count) => (count < 3 ? { error: { code: 503, temporary: true } } : { result: {} }));
    backend().plan('subscribe', forbidden, () => ({ disconnect: { code: 4501, reason: 'account closed' } }));
    const ada = await welcome(keep);
    assert.equal(await ada.listen(closed).refusal(), 403);
    const listener = await ada.subscribe(later);
    assert.deepEqual(listener.errors.map(({ error }) => error.code), [503, 503]);
    ada.listen(forbidden);
    await eventually('disconnected', () => ada.disconnected);
    assert.deepEqual([ada.disconnected.code, ada.disconnected.reason], [4501, 'account closed']);
  }));

  test('the publish hook lets publications pass, changes them, or refuses them', withApps(async keep => {
    const channel = fresh('asked');
    const answers = { rude: { error: { code: 1002, message: 'mind your words' } }, dirty: { result: { data: 'clean', tags: { by: 'hook' } } } };
    backend().plan('publish', channel, ({ data }) => answers[data] ?? { result: {} });
    const ada = await welcome(keep);
    const listener = await ada.subscribe(channel);
    await assert.rejects(ada.publish(channel, 'rude'), { code: 1002, message: 'mind your words' });
    await ada.publish(channel, 'nice');
    await ada.publish(channel, 'dirty');
    assert.deepEqual(await listener.received(2), ['nice', 'clean']);
    assert.deepEqual(listener.publications[1].tags, { by: 'hook' });
    assert.deepEqual(backend().asked('publish', channel).map(({ data }) => data), ['rude', 'nice', 'dirty']);
  }));

  test('a connection that expires is renewed without its client, and ends when the refresh hook says so', withApps(async keep => {
    const user = name();
    backend().plan('refresh', user, (_, count) => ({ result: count === 1 ? { expire_at: now(4), info: { name: 'Countess' } } : { expired: true } }));
    const ada = await keep(visitor(user, { result: { user, expire_at: now(4), info: { name: 'Ada' } } }, { result: { user } })).connect();
    await eventually('it was renewed', () => backend().asked('refresh', user).length === 1);
    const listener = await ada.subscribe(fresh('news'));
    await ada.publish(listener.channel, 1);
    await listener.received(1);
    assert.deepEqual(decode(wire, listener.publications[0].info.connInfo), { name: 'Countess' });
    await eventually('it is over, and begins anew', () => ada.connected.length === 2);
    assert.equal(ada.connecting.at(-1).code, 3005);
    assert.equal(backend().asked('refresh', user).length, 2);
  }));

  test('a subscription that expires is renewed without its client, and ends when the sub_refresh hook says so', withApps(async keep => {
    const channel = fresh('asked');
    backend().plan('subscribe', channel, (_, count) => ({ result: count === 1 ? { expire_at: now(4) } : {} }));
    backend().plan('sub_refresh', channel, (_, count) => ({ result: count === 1 ? { expire_at: now(4) } : { expired: true } }));
    const ada = await welcome(keep);
    const listener = await ada.subscribe(channel);
    await eventually('it is over, and begins anew', () => listener.subscribed.length === 2);
    assert.equal(backend().asked('sub_refresh', channel).length, 2);
    assert.equal(listener.subscribing.at(-1).code, 2501);
    assert.equal(ada.connected.length, 1, 'the connection stayed');
  }));

  test('what expires while the backend is silent goes on for a while', withApps(async keep => {
    const [user, channel] = [name(), fresh('asked')];
    backend().plan('subscribe', channel, () => ({ result: { expire_at: now(4) } }));
    for (const [event, about] of [['sub_refresh', channel], ['refresh', user]]) backend().plan(event, about, () => undefined);
    const ada = await keep(visitor(user, { result: { user, expire_at: now(4) } })).connect();
    const listener = await ada.subscribe(channel);
    const asked = () => backend().asked('refresh', user).length === 1 && backend().asked('sub_refresh', channel).length === 1;
    await eventually('the backend was asked about both', asked);
    await ada.publish(channel, 'still here'); // answered behind the questions, which have failed by then
    assert.deepEqual(await listener.received(1), ['still here']);
    assert.deepEqual([ada.connected.length, listener.subscribed.length], [1, 1]);
  }));

  test('a renewal that is over already is none, and is not asked for again and again', withApps(async keep => {
    const [user, channel] = [name(), fresh('asked')];
    backend().plan('subscribe', channel, (_, count) => ({ result: count === 1 ? { expire_at: now(4) } : {} }));
    backend().plan('sub_refresh', channel, () => ({ result: { expire_at: now(-5) } }));
    backend().plan('refresh', user, () => ({ result: { expire_at: now(-5) } }));
    const ada = await keep(visitor(user, { result: { user, expire_at: now(4) } }, { result: { user } })).connect();
    const listener = await (await welcome(keep)).subscribe(channel);
    await eventually('both are over, and begin anew', () => ada.connected.length === 2 && listener.subscribed.length === 2);
    assert.deepEqual([ada.connecting[1].code, listener.subscribing[1].code], [3005, 2501]);
    assert.deepEqual([backend().asked('sub_refresh', channel).length, backend().asked('refresh', user).length], [1, 1]);
  }));

  test('a grant that is over already is refused with 110', withApps(async keep => {
    const channel = fresh('asked');
    backend().plan('subscribe', channel, () => ({ result: { expire_at: now(-5) } }));
    assert.equal(await (await welcome(keep)).listen(channel).refusal(), 110);
    const ada = keep(visitor(name(), { result: { user: 'ada', expire_at: now(-5) } }));
    ada.centrifuge.connect();
    await eventually('disconnected', () => ada.disconnected);
    assert.equal(ada.disconnected.code, 110);
  }));

  test('a backend that does not answer in time is as good as none', withApps(async keep => {
    const [channel, user] = [fresh('asked'), name()];
    const silentOnce = (_, count) => (count === 1 ? undefined : { result: {} });
    for (const event of ['subscribe', 'publish']) backend().plan(event, channel, silentOnce);
    const ada = await keep(visitor(user, undefined, { result: { user } })).connect();
    const listener = await ada.subscribe(channel);
    await assert.rejects(ada.publish(channel, 1), { code: 100, temporary: true });
    await ada.publish(channel, 2);
    assert.deepEqual(await listener.received(1), [2]);
    for (const { error } of [...ada.errors, ...listener.errors]) assert.deepEqual([error.code, error.temporary], [100, true]);
    assert.deepEqual([ada.errors.length, listener.errors.length], [1, 1]);
  }));
};
