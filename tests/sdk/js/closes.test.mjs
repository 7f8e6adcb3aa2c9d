// How connections end, as applications see it: for good (`disconnected`) or not (`connecting`), with which code and reason.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { App, Node, Raw, eventually, fresh, now, token, wires } from './harness.mjs';
import { withApps } from './suite.mjs';

const LIMIT = 3; // channels of one connection

describe('closes', { timeout: 120_000, concurrency: true }, () => {
  let node;
  before(async () => {
    node = await Node.start('closing', {
      MIDPLANE_CLIENT__CHANNEL_LIMIT: String(LIMIT),
      MIDPLANE_CLIENT__DISALLOW_ANONYMOUS_CONNECTION_TOKENS: 'true',
      MIDPLANE_CLIENT__CONNECT_INCLUDE_SERVER_TIME: 'true',
      MIDPLANE_CLIENT__RECOVERY_MAX_PUBLICATION_LIMIT: '10',
      MIDPLANE_CLIENT__PUBLISH_RATE: '1/s burst 5',
      MIDPLANE_CLIENT__PING_INTERVAL: '1s',
      MIDPLANE_CLIENT__PONG_TIMEOUT: '500ms',
      MIDPLANE_CLIENT__SUBSCRIBE_TO_USER_PERSONAL_CHANNEL__ENABLED: 'false',
    });
  });
  after(() => node?.stop());

  let users = 0;
  const name = () => `user-${(users += 1)}`;
  const channels = count => Array.from({ length: count }, () => fresh('chat'));

  for (const wire of wires) {
    const app = (options = {}) => {
      const user = name();
      return Object.assign(new App(wire, node, { token: token({ sub: user, exp: now(300) }), ...options }), { user });
    };

    /** `provoke` gets a connected client, whose connection then ends for good. */
    const final = (code, reason, what, provoke) => test(`${wire}: ${what} ends a client for good with ${code}`, withApps(async keep => {
      const ada = await keep(app()).connect();
      await provoke(ada);
      await eventually('disconnected', () => ada.disconnected);
      assert.deepEqual([ada.disconnected.code, ada.disconnected.reason], [code, reason]);
      assert.equal(ada.connected.length, 1);
    }));

    /** The same, and the client comes back by itself. */
    const passing = (code, reason, what, provoke, options = () => ({})) => test(`${wire}: ${what} makes a client come again with ${code}`, withApps(async keep => {
      const ada = await keep(app(options())).connect();
      await provoke(ada);
      await eventually('it came back', () => ada.connected.length === 2);
      assert.deepEqual([ada.connecting[1].code, ada.connecting[1].reason], [code, reason]);
      assert.equal(ada.disconnected, null);
    }));

    /** A token that lets nobody in. */
    const refused = (code, reason, what, claims) => test(`${wire}: ${what} is refused for good with ${code}`, withApps(async keep => {
      const ada = keep(app({ token: token({ exp: now(300), ...claims() }) }));
      ada.centrifuge.connect();
      await eventually('disconnected', () => ada.disconnected);
      assert.deepEqual([ada.disconnected.code, ada.disconnected.reason], [code, reason]);
      assert.equal(ada.connected.length, 0);
    }));

    refused(3505, 'channel limit', 'a token with more channels than allowed', () => ({ sub: name(), channels: channels(LIMIT + 1) }));
    refused(3507, 'permission denied', 'a token without a user', () => ({ sub: '' }));
    final(3501, 'bad request', 'what is no command', ada => ada.socket.send('nonsense'));
    final(3508, 'not available', 'send()', ada => ada.centrifuge.send(wire === 'json' ? { a: 1 } : Buffer.from('{}')));
    final(3, 'message size limit exceeded', 'a message far beyond the limit (1009)', ada => {
      ada.publish(fresh('chat'), 'x'.repeat(300_000)).catch(() => {});
    });
    final(3509, 'too many errors', 'a flood of publications', ada => {
      for (let number = 0; number < 300; number += 1) ada.publish(fresh('plain'), number).catch(() => {});
    });
    if (wire === 'json') final(3506, 'inappropriate protocol', 'data that JSON cannot carry', async ada => {
      const listener = await ada.subscribe(fresh('bytes'));
      await node.api('publish', { channel: listener.channel, b64data: '/wA=' });
    });

    passing(3012, 'no pong', 'a pong that does not come', ada => {
      const send = ada.socket.send.bind(ada.socket);
      ada.socket.send = data => (data.length <= 2 ? undefined : send(data)); // {} or a zero byte
    });
    passing(3006, 'subscription expired', 'a server-side subscription that nobody renews', async ada => {
      await node.api('subscribe', { user: ada.user, channel: fresh('chat'), expire_at: now(1) });
    });
    passing(3010, 'insufficient state', 'a refresh that brings other channels', () => {}, () => {
      const sub = name();
      let given = 0;
      const getToken = async () => token({ sub, exp: now(given === 0 ? 2 : 300), channels: channels((given += 1)) });
      return { token: '', getToken };
    });

    test(`${wire}: a backend ends connections with any code, and SDKs know which are final`, withApps(async keep => {
      for (const code of [3001, 3004, 3009, 3011, 3014, 4000, 4499]) {
        const ada = await keep(app()).connect();
        await node.api('disconnect', { user: ada.user, disconnect: { code, reason: 'go' } });
        await eventually(`back after ${code}`, () => ada.connected.length === 2);
        assert.deepEqual([ada.connecting[1].code, ada.connecting[1].reason], [code, 'go']);
      }
      for (const code of [3500, 3503, 3504, 3509, 4500, 4999]) {
        const ada = await keep(app()).connect();
        await node.api('disconnect', { user: ada.user, disconnect: { code } });
        await eventually(`over with ${code}`, () => ada.disconnected);
        assert.equal(ada.disconnected.code, code);
        assert.match(ada.disconnected.reason, /^[a-z][a-z ]+$/, 'never empty (trap 14)');
      }
    }));

    test(`${wire}: as many channels as allowed are, one more is error 106`, withApps(async keep => {
      const ada = await keep(app()).connect();
      for (const channel of channels(LIMIT)) await ada.subscribe(channel);
      assert.equal(await ada.listen(fresh('chat')).refusal(), 106);
      const full = await keep(app({ token: token({ sub: name(), channels: channels(LIMIT) }) })).connect();
      await eventually('all are subscribed', () => full.subscribed.length === LIMIT);
    }));

    test(`${wire}: recovery brings as much as client.recovery_max_publication_limit, or nothing`, withApps(async keep => {
      const ada = await keep(app()).connect();
      const listener = await ada.subscribe(fresh('chat'));
      for (const [missed, recovered] of [[10, true], [11, false]]) {
        const rounds = listener.subscribed.length;
        await ada.whileAway(node, async () => {
          for (let number = 0; number < missed; number += 1) await node.publish(listener.channel, number);
        });
        await eventually('subscribed again', () => listener.subscribed.length > rounds);
        assert.deepEqual([listener.subscribed.at(-1).wasRecovering, listener.subscribed.at(-1).recovered], [true, recovered]);
      }
      assert.equal(listener.data.length, 10);
    }));
  }

  test('the connect result has the server\'s time, in milliseconds, where that is asked for', withApps(async keep => {
    const before = Date.now();
    const { connected } = keep(await Raw.connect(node, { token: token({ sub: name() }) }));
    assert.ok(connected.time >= before && connected.time <= Date.now(), JSON.stringify(connected));
  }));
});
