// Clients that are gone while their session has much to do for them: it is found out between two commands.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { Node, Raw, eventually, fresh, token } from './harness.mjs';

const namespaces = [{
  name: 'asked', presence: true, allow_subscribe_for_client: true, allow_publish_for_subscriber: true, publish_proxy_enabled: true,
}];

describe('a client that is gone, and whose commands wait for an application', { timeout: 120_000 }, () => {
  let asked = 0;
  let silent;
  let node;
  before(async () => {
    silent = createServer(() => (asked += 1)).listen(0, '127.0.0.1');
    await new Promise(listening => silent.once('listening', listening));
    node = await Node.start('gone', {
      MIDPLANE_CHANNEL__NAMESPACES: JSON.stringify(namespaces),
      MIDPLANE_CLIENT__SUBSCRIBE_TO_USER_PERSONAL_CHANNEL__ENABLED: 'false',
      MIDPLANE_HOOKS__PUBLISH__ENDPOINT: `http://127.0.0.1:${silent.address().port}/`,
      MIDPLANE_HOOKS__PUBLISH__TIMEOUT: '200ms',
      MIDPLANE_CLIENT__PING_INTERVAL: '1s',
      MIDPLANE_CLIENT__PONG_TIMEOUT: '500ms',
    });
  });
  after(async () => {
    await node?.stop();
    silent?.closeAllConnections();
    silent?.close();
  });

  const present = async channel => Object.values((await node.api('presence', { channel })).result.presence).map(({ user }) => user);

  /** In a channel, with a thousand commands ahead that take the node minutes. */
  async function busy(user) {
    const channel = fresh('asked');
    const raw = await Raw.connect(node, { token: token({ sub: user }) });
    await raw.ask({ id: 2, subscribe: { channel } });
    assert.deepEqual(await present(channel), [user]);
    const before = asked;
    raw.command(...Array.from({ length: 1000 }, (_, index) => ({ id: 3 + index, publish: { channel, data: index } })));
    await eventually('the first is asked about', () => asked > before);
    return { channel, raw };
  }

  for (const [how, go] of [
    ['broke off', ({ raw }) => raw.socket.terminate()],
    ['fell silent, and reads no more', ({ raw }) => raw.socket.pause()],
  ]) {
    test(`who ${how} stayed in its channels`, async () => {
      const client = await busy('ghost');
      go(client);
      await eventually('it is there no more', async () => (await present(client.channel)).length === 0, 30);
      client.raw.socket.terminate();
    });
  }

  test('who broke off could not be sent away', async () => {
    const client = await busy('ghost');
    client.raw.socket.terminate();
    await node.api('disconnect', { user: 'ghost' });
    await eventually('it is there no more', async () => (await present(client.channel)).length === 0, 30);
  });
});
