// Tokens that are taken back while a node can hear nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { App, eventually, token, twoNodes } from './harness.mjs';

test('a node whose process was stopped sends away whose token was revoked meanwhile, and does not let it in again', { timeout: 120_000 }, async () => {
  const topology = await twoNodes();
  const apps = [];
  const enter = () => {
    const app = new App('json', topology.other, { token: token({ sub: 'ann', jti: 'first' }) });
    apps.push(app);
    return app;
  };
  const isSentAway = async app => {
    await eventually('it is sent away', () => app.disconnected);
    assert.deepEqual([app.disconnected.code, app.disconnected.reason], [3500, 'invalid token']);
  };
  try {
    const ann = await enter().connect();
    await topology.other.process.hang();
    const { error } = await topology.first.api('revoke_token', { uid: 'first' });
    assert.equal(error, undefined);
    topology.other.process.signal('SIGCONT');
    await isSentAway(ann);
    const again = enter();
    again.centrifuge.connect();
    await isSentAway(again);
  } finally {
    topology.other.process.signal('SIGCONT');
    for (const app of apps) app.close();
    await topology.stop();
  }
});
