import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, builds, decode, encode, eventually, fresh, now, token } from '../harness.mjs';
import { withApps } from '../suite.mjs';

export default ({ wire, topology }) => {
  const app = options => new App(wire, topology().first, options);

  test('a client with a token is known by its user and info', withApps(async keep => {
    const ada = await keep(app({ token: token({ sub: 'ada', exp: now(60), info: { role: 'host' } }) })).connect();
    const channel = fresh('chat');
    const listener = await ada.subscribe(channel);
    await ada.publish(channel, 'hello');
    await listener.received(1);
    const { info } = listener.publications[0];
    assert.equal(info.user, 'ada');
    assert.equal(info.client, ada.id);
    assert.deepEqual(decode(wire, info.connInfo), { role: 'host' });
  }));

  test('a client without a token is anonymous where that is allowed', withApps(async keep => {
    const guest = await keep(app()).connect();
    const channel = fresh('chat');
    const listener = await guest.subscribe(channel);
    await guest.publish(channel, 'hello');
    await listener.received(1);
    assert.equal(listener.publications[0].info.user, '');
    assert.match(guest.id, /^[0-9a-f-]{36}$/);
  }));

  test('two connections have two client ids', withApps(async keep => {
    const one = await keep(app()).connect();
    const two = await keep(app()).connect();
    assert.notEqual(one.id, two.id);
  }));

  test('data, name and version in connect are taken', withApps(async keep => {
    await keep(app({ data: encode(wire, { from: 'tests' }), name: 'suite', version: '1.2' })).connect();
  }));

  const wrong = {
    'signed with another key': () => token({ sub: 'ada' }, { key: 'another secret of 32 bytes or more' }),
    'of no algorithm': () => `${token({ sub: 'ada' }, { alg: 'none' }).split('.').slice(0, 2).join('.')}.`,
    'whose user is a number': () => token({ sub: 42 }),
    'meant for a subscription': () => token({ sub: 'ada', channel: 'chat:x' }),
    'that is no token': () => 'nonsense',
  };
  for (const [what, make] of Object.entries(wrong)) {
    test(`a token ${what} ends the client for good with 3500`, withApps(async keep => {
      const ada = keep(app({ token: make() }));
      ada.centrifuge.connect();
      await eventually('disconnected', () => ada.disconnected);
      assert.equal(ada.disconnected.code, 3500);
      assert.equal(ada.disconnected.reason, 'invalid token');
      assert.equal(ada.connected.length, 0);
    }));
  }

  test('an expired token makes the client fetch a new one (109)', withApps(async keep => {
    let fetched = 0;
    const getToken = async () => {
      fetched += 1;
      return token({ sub: 'ada', exp: now(60) });
    };
    const ada = await keep(app({ token: token({ sub: 'ada', exp: now(-600) }), getToken })).connect();
    assert.equal(fetched, 1);
    assert.equal(ada.connected.length, 1);
    assert.ok(ada.errors.some(({ error }) => error.code === 109), JSON.stringify(ada.errors));
  }));

  test('a token that is not valid yet is answered like an expired one (109)', withApps(async keep => {
    const getToken = async () => token({ sub: 'ada', exp: now(60) });
    const ada = keep(app({ token: token({ sub: 'ada', nbf: now(600), exp: now(900) }), getToken }));
    await ada.connect();
    assert.ok(ada.errors.some(({ error }) => error.code === 109), JSON.stringify(ada.errors));
  }));

  test('a token is refreshed on the same connection before it expires', withApps(async keep => {
    let fetched = 0;
    const getToken = async () => {
      fetched += 1;
      return token({ sub: 'ada', exp: now(fetched === 1 ? 2 : 60) });
    };
    const ada = await keep(app({ getToken })).connect();
    const first = ada.id;
    await eventually('the token was refreshed', () => fetched === 2);
    const channel = fresh('chat');
    const listener = await ada.subscribe(channel);
    const refreshed = now();
    await eventually('the first token is over', () => now() > refreshed + 3);
    await ada.publish(channel, 1);
    await listener.received(1);
    assert.equal(ada.connected.length, 1, 'the connection stayed');
    assert.equal(ada.id, first);
  }));

  test('a user whom the application gives no token never connects', withApps(async keep => {
    const getToken = async () => {
      throw new builds[wire].UnauthorizedError();
    };
    const ada = keep(app({ getToken }));
    ada.centrifuge.connect();
    await eventually('disconnected', () => ada.disconnected);
    assert.equal(ada.connected.length, 0);
  }));

  test('a client whose connection breaks comes back by itself', withApps(async keep => {
    const ada = await keep(app()).connect();
    const listener = await ada.subscribe(fresh('chat'));
    ada.breakConnection();
    await eventually('connected again', () => ada.connected.length === 2);
    await eventually('subscribed again', () => listener.subscribed.length === 2);
    assert.equal(listener.unsubscribed, null);
  }));

  test('pings keep a quiet connection open', withApps(async keep => {
    const ada = await keep(app({ maxServerPingDelay: 1500 })).connect(); // else: 5 s + 1.5 s, then it reconnects
    const start = Date.now();
    await eventually('two ping intervals passed', () => Date.now() - start > 8000, 30);
    assert.equal(ada.connected.length, 1);
    assert.equal(ada.centrifuge.state, 'connected');
  }));
};
