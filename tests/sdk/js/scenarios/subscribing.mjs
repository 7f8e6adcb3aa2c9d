import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, decode, eventually, fresh, heard, now, token } from '../harness.mjs';
import { withApps } from '../suite.mjs';

export default ({ wire, topology }) => {
  const app = options => new App(wire, topology().first, options);
  const user = (name, claims = {}) => app({ token: token({ sub: name, exp: now(300), ...claims }) });

  const refusals = [
    ['an unknown namespace', () => fresh('nowhere'), 102],
    ['a namespace without permission', () => fresh('limited'), 103],
    ['a namespace for users, to an anonymous client', () => fresh('members'), 103],
    ['a private channel without a token', () => `$${fresh('private')}`, 103],
    ['a name that is too long', () => `chat:${'x'.repeat(300)}`, 107],
    ['a name that the regex refuses', () => 'words:UPPER', 107],
    ['a name with a character beyond ASCII', () => 'chat:größe', 107],
    ['another user\'s channel', () => 'limited:#bob', 103],
  ];
  for (const [what, channel, code] of refusals) {
    test(`${what} is refused with ${code}, for good`, withApps(async keep => {
      const guest = await keep(app()).connect();
      const listener = guest.listen(channel());
      assert.equal(await listener.refusal(), code);
      assert.equal(guest.centrifuge.state, 'connected', 'only the subscription ends');
    }));
  }

  test('a refused subscription leaves the others alone', withApps(async keep => {
    const guest = await keep(app()).connect();
    const channel = fresh('chat');
    const good = await guest.subscribe(channel);
    await guest.listen(fresh('nowhere')).refusal();
    await topology().first.publish(channel, 1);
    assert.deepEqual(await good.received(1), [1]);
  }));

  test('a user may subscribe where an anonymous client may not', withApps(async keep => {
    const ada = await keep(user('ada')).connect();
    await ada.subscribe(fresh('members'));
  }));

  test('the namespace without a name has its own options', withApps(async keep => {
    const guest = await keep(app()).connect();
    const channel = fresh('chat').replace('chat:', 'news-');
    const listener = await guest.subscribe(channel);
    await heard(topology(), channel, listener);
    await topology().other.publish(channel, { n: 1 });
    assert.deepEqual(await listener.received(1), [{ n: 1 }]);
    assert.equal(listener.subscribed[0].recoverable, false);
  }));

  test('the words of a channel\'s name may be any that NATS would mind', withApps(async keep => {
    const guest = await keep(app()).connect();
    const channel = `${fresh('chat')}.a.b%c_d-e!f`;
    const listener = await guest.subscribe(channel);
    await topology().other.publish(channel, 'odd');
    assert.deepEqual(await listener.received(1), ['odd']);
    assert.equal(listener.publications[0].channel, channel);
  }));

  test('user-limited channels let their users in, on every spelling', withApps(async keep => {
    const ada = await keep(user('ada')).connect();
    await ada.subscribe('limited:#ada');
    await ada.subscribe('limited:talk#ada,bob');
    assert.equal(await ada.listen('limited:talk#bob,carol').refusal(), 103);
    assert.equal(await ada.listen('limited:#adalbert').refusal(), 103);
  }));

  test('a subscription token opens a private channel, with its info', withApps(async keep => {
    const channel = `$${fresh('private')}`;
    const ada = await keep(user('ada')).connect();
    const listener = await ada.subscribe(channel, { token: token({ sub: 'ada', channel, exp: now(60), info: { seat: 7 } }) });
    await topology().other.publish(channel, 'secret');
    assert.deepEqual(await listener.received(1), ['secret']);
    assert.equal(listener.subscribed[0].recoverable, true);
  }));

  test('a subscription token opens any channel whose namespace forbids it, and its info travels with publications', withApps(async keep => {
    const channel = fresh('members');
    const ada = await keep(user('ada')).connect();
    const listener = await ada.subscribe(channel, { token: token({ sub: 'ada', channel, info: { seat: 7 } }) });
    await listener.subscription.publish(wire === 'json' ? 'hi' : Buffer.from('"hi"'));
    await listener.received(1);
    assert.deepEqual(decode(wire, listener.publications[0].info.chanInfo), { seat: 7 });
  }));

  test('a subscription token is fetched when the client has none', withApps(async keep => {
    const channel = `$${fresh('private')}`;
    const ada = await keep(user('ada')).connect();
    const getToken = async context => token({ sub: 'ada', channel: context.channel, exp: now(60) });
    await ada.subscribe(channel, { getToken });
  }));

  test('a badly signed subscription token is refused with 103', withApps(async keep => {
    const channel = `$${fresh('private')}`;
    const ada = await keep(user('ada')).connect();
    const forged = token({ sub: 'ada', channel }, { key: 'another secret of 32 bytes or more' });
    assert.equal(await ada.listen(channel, { token: forged }).refusal(), 103);
  }));

  const foreign = {
    'for another channel': channel => ({ sub: 'ada', channel: `${channel}x` }),
    'of another user': channel => ({ sub: 'bob', channel }),
    'of another client': channel => ({ sub: 'ada', channel, client: '00000000-0000-0000-0000-000000000000' }),
  };
  for (const [what, claims] of Object.entries(foreign)) {
    test(`a subscription token ${what} ends the client with 3500`, withApps(async keep => {
      const channel = `$${fresh('private')}`;
      const ada = await keep(user('ada')).connect();
      ada.listen(channel, { token: token(claims(channel)) });
      await eventually('disconnected', () => ada.disconnected);
      assert.equal(ada.disconnected.code, 3500);
    }));
  }

  test('an expired subscription token makes the client fetch a new one (109)', withApps(async keep => {
    const channel = `$${fresh('private')}`;
    const ada = await keep(user('ada')).connect();
    const getToken = async () => token({ sub: 'ada', channel, exp: now(60) });
    const listener = ada.listen(channel, { token: token({ sub: 'ada', channel, exp: now(-600) }), getToken });
    await eventually('subscribed', () => listener.subscribed.length === 1);
    assert.ok(listener.errors.some(({ error }) => error.code === 109), JSON.stringify(listener.errors));
  }));

  test('a subscription is refreshed before it expires (sub_refresh)', withApps(async keep => {
    const channel = `$${fresh('private')}`;
    const ada = await keep(user('ada')).connect();
    let fetched = 0;
    const getToken = async () => {
      fetched += 1;
      return token({ sub: 'ada', channel, exp: now(fetched === 1 ? 2 : 60) });
    };
    const listener = await ada.subscribe(channel, { getToken });
    const start = Date.now();
    await eventually('the first token is over by far', () => fetched === 2 && Date.now() - start > 5000);
    await topology().first.publish(channel, 'still here');
    assert.deepEqual(await listener.received(1), ['still here']);
    assert.equal(listener.subscribed.length, 1, 'it never left');
  }));

  test('one channel too many is refused with 106', withApps(async keep => {
    const guest = await keep(app()).connect();
    await Promise.all(Array.from({ length: 32 }, () => guest.subscribe(fresh('plain'))));
    assert.equal(await guest.listen(fresh('plain')).refusal(), 106);
  }));

  test('a channel that was left makes room for another', withApps(async keep => {
    const guest = await keep(app()).connect();
    const listeners = await Promise.all(Array.from({ length: 32 }, () => guest.subscribe(fresh('plain'))));
    listeners[0].subscription.unsubscribe();
    // Over streams the two are posts of their own, and the second may come first.
    await eventually('there is room', async () => {
      const next = guest.listen(fresh('plain'));
      await eventually('an answer', () => next.unsubscribed || next.subscription.state === 'subscribed');
      return !next.unsubscribed;
    });
  }));

  test('after unsubscribing nothing arrives, after subscribing again it does', withApps(async keep => {
    const { first } = topology();
    const guest = await keep(app()).connect();
    const channel = fresh('plain');
    const listener = await guest.subscribe(channel);
    await heard(topology(), channel, listener);
    await first.publish(channel, 1);
    await listener.received(1);
    listener.subscription.unsubscribe();
    const witness = await keep(app()).connect();
    const other = await witness.subscribe(channel);
    await heard(topology(), channel, other);
    await first.publish(channel, 2);
    await other.received(1);
    listener.subscription.subscribe();
    await eventually('subscribed again', () => listener.subscription.state === 'subscribed');
    await heard(topology(), channel, listener, other);
    await first.publish(channel, 3);
    await other.received(2);
    assert.deepEqual(await listener.received(2), [1, 3]);
  }));

  test('what was granted is said: positioned, recoverable, a position with an epoch', withApps(async keep => {
    const guest = await keep(app()).connect();
    const forced = await guest.subscribe(fresh('chat'));
    assert.equal(forced.subscribed[0].recoverable, true);
    assert.equal(forced.subscribed[0].positioned, true);
    assert.ok(forced.subscribed[0].streamPosition.epoch.length > 0);

    const asked = await guest.subscribe(fresh('asked'), { recoverable: true, positioned: true });
    assert.equal(asked.subscribed[0].recoverable, true);
    const unasked = await guest.subscribe(fresh('asked'));
    assert.equal(unasked.subscribed[0].recoverable, false);
    const none = await guest.subscribe(fresh('plain'), { recoverable: true, positioned: true });
    assert.equal(none.subscribed[0].recoverable, false);
    assert.equal(none.subscribed[0].positioned, false);
  }));
};
