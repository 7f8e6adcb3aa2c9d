import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, decode, encode, eventually, now, token } from '../harness.mjs';
import { withApps } from '../suite.mjs';

export default ({ wire, topology }) => {
  const app = options => new App(wire, topology().first, options);
  const clustered = body => withApps(async keep => {
    if (topology().nats) await body(keep);
  });

  test('an rpc is answered by any service on NATS, which learns who asks', clustered(async keep => {
    const backend = await topology().backend();
    const asked = [];
    const service = backend.subscribe('midplane.rpc.add', {
      callback: (_, message) => {
        const request = message.json();
        asked.push(request);
        const { a, b } = request.data;
        message.respond(JSON.stringify({ result: { data: { sum: a + b } } }));
      },
    });
    await backend.flush();
    const ada = await keep(app({ token: token({ sub: 'ada', exp: now(60) }) })).connect();
    const answer = await ada.centrifuge.rpc('add', encode(wire, { a: 2, b: 40 }));
    assert.deepEqual(decode(wire, answer.data), { sum: 42 });
    assert.equal(asked[0].user, 'ada');
    assert.equal(asked[0].client, ada.id);
    service.unsubscribe();
  }));

  test('a service\'s error reaches the caller as it is', clustered(async keep => {
    const backend = await topology().backend();
    const service = backend.subscribe('midplane.rpc.refuse', {
      callback: (_, message) => message.respond(JSON.stringify({ error: { code: 1234, message: 'not today' } })),
    });
    await backend.flush();
    const ada = await keep(app()).connect();
    await assert.rejects(ada.centrifuge.rpc('refuse', encode(wire, {})), { code: 1234, message: 'not today' });
    service.unsubscribe();
  }));

  test('a service may end the connection', clustered(async keep => {
    const backend = await topology().backend();
    const service = backend.subscribe('midplane.rpc.banish', {
      callback: (_, message) => message.respond(JSON.stringify({ disconnect: { code: 4500, reason: 'banished' } })),
    });
    await backend.flush();
    const ada = await keep(app()).connect();
    await assert.rejects(ada.centrifuge.rpc('banish', encode(wire, {})));
    await eventually('disconnected', () => ada.disconnected);
    assert.deepEqual({ ...ada.disconnected }, { code: 4500, reason: 'banished' });
    service.unsubscribe();
  }));

  test('an rpc that nobody serves is a clear error, at once', withApps(async keep => {
    const ada = await keep(app()).connect();
    const start = Date.now();
    await assert.rejects(ada.centrifuge.rpc('nobody', encode(wire, {})), error => [104, 108].includes(error.code));
    assert.ok(Date.now() - start < 2000, 'no timeout is waited for');
    assert.equal(ada.centrifuge.state, 'connected');
  }));
};
