import assert from 'node:assert/strict';
import { test } from 'node:test';

import { headers } from '@nats-io/transport-node';

import { App, decode, encode, now, token } from '../harness.mjs';
import { withApps } from '../suite.mjs';

export default ({ wire, topology }) => {
  const app = options => new App(wire, topology().first, options);
  const clustered = body => withApps(async keep => {
    if (topology().nats) await body(keep);
  });

  /** A service that answers `method` by `answer(message)`, as a backend writes it: the data is the payload. */
  const serve = async (method, answer) => {
    const backend = await topology().backend();
    backend.subscribe(`midplane.rpc.${method}`, { callback: (_, message) => answer(message) });
    await backend.flush();
  };

  test('an rpc is answered by any service on NATS, which learns who asks', clustered(async keep => {
    const asked = [];
    const method = `add-${wire}`;
    await serve(method, message => {
      asked.push({ user: message.headers.get('Midplane-User'), client: message.headers.get('Midplane-Client') });
      const { a, b } = message.json();
      message.respond(JSON.stringify({ sum: a + b }));
    });
    const ada = await keep(app({ token: token({ sub: 'ada', exp: now(60) }) })).connect();
    const answer = await ada.centrifuge.rpc(method, encode(wire, { a: 2, b: 40 }));
    assert.deepEqual(decode(wire, answer.data), { sum: 42 });
    assert.deepEqual(asked, [{ user: 'ada', client: ada.id }]);
  }));

  test('a service\'s error reaches the caller as it is', clustered(async keep => {
    const method = `refuse-${wire}`;
    await serve(method, message => {
      const answer = headers();
      answer.set('Midplane-Error-Code', '1234');
      answer.set('Midplane-Error-Message', 'not today');
      message.respond('', { headers: answer });
    });
    const ada = await keep(app()).connect();
    await assert.rejects(ada.centrifuge.rpc(method, encode(wire, {})), { code: 1234, message: 'not today' });
  }));

  test('an error that cannot be told to clients is an internal one, for the moment', clustered(async keep => {
    const method = `fail-${wire}`;
    await serve(method, message => {
      const answer = headers();
      answer.set('Nats-Service-Error', 'the database is on fire');
      answer.set('Nats-Service-Error-Code', '500');
      message.respond('', { headers: answer });
    });
    const ada = await keep(app()).connect();
    const failed = await ada.centrifuge.rpc(method, encode(wire, {})).catch(error => error);
    assert.ok(failed.code >= 100, JSON.stringify(failed));
    assert.equal(ada.centrifuge.state, 'connected');
  }));

  test('an rpc that nobody serves is a clear error, at once', withApps(async keep => {
    const ada = await keep(app()).connect();
    const start = Date.now();
    await assert.rejects(ada.centrifuge.rpc('nobody', encode(wire, {})), error => [104, 108].includes(error.code));
    assert.ok(Date.now() - start < 2000, 'no timeout is waited for');
    assert.equal(ada.centrifuge.state, 'connected');
  }));
};
