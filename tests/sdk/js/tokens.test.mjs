// Tokens that are signed with a private key and verified with a public one: set in the settings, or fetched as a JWKS.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { App, KeyServer, Node, eventually, fresh, keyPair, now, token, wires } from './harness.mjs';
import { withApps } from './suite.mjs';

const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'];

/** A key for each algorithm; those of RSA take long to make, and one does for both. */
const makeKeys = () => {
  const rsa = keyPair('RS256');
  return { RS256: rsa, PS256: rsa.as('PS256'), ES256: keyPair('ES256'), EdDSA: keyPair('EdDSA') };
};
const keys = makeKeys();
const strange = makeKeys();

/** Gives a token that soon expires first, then one that lasts; counts. */
function issuer(key, claims = {}) {
  const give = async ({ channel } = {}) => {
    give.given += 1;
    return key.token({ sub: 'ada', channel, exp: now(give.given === 1 ? 2 : 60), ...claims });
  };
  give.given = 0;
  return give;
}

/** What a token opens: the connection and a private channel, both for longer than the first token says. */
async function serves(keep, wire, node, key) {
  const [connection, subscription] = [issuer(key), issuer(key)];
  const ada = await keep(new App(wire, node, { getToken: connection })).connect();
  const listener = await ada.subscribe(`$${fresh('private')}`, { getToken: subscription });
  const first = now(2);
  await eventually('both were refreshed', () => connection.given === 2 && subscription.given === 2);
  await eventually('the first tokens are over', () => now() > first + 2); // and the grace
  await node.publish(listener.channel, 'still here');
  assert.deepEqual(await listener.received(1), ['still here']);
  assert.equal(ada.connected.length, 1, 'the connection stayed');
  assert.equal(listener.subscribed.length, 1, 'the subscription stayed');
}

/** A token of this key ends the client for good, and one for a channel the subscription. */
async function refuses(keep, wire, node, stranger, known) {
  const eve = keep(new App(wire, node, { token: stranger.token({ sub: 'eve' }) }));
  eve.centrifuge.connect();
  await eventually('disconnected', () => eve.disconnected);
  assert.deepEqual([eve.disconnected.code, eve.disconnected.reason], [3500, 'invalid token']);
  const ada = await keep(new App(wire, node, { token: known.token({ sub: 'ada' }) })).connect();
  const channel = `$${fresh('private')}`;
  assert.equal(await ada.listen(channel, { token: stranger.token({ sub: 'ada', channel }) }).refusal(), 103);
  assert.equal(ada.centrifuge.state, 'connected');
}

describe('tokens by public keys', { timeout: 120_000, concurrency: true }, () => {
  describe('keys in the settings', { concurrency: true }, () => {
    let node;
    before(async () => {
      node = await Node.start('keys', {
        MIDPLANE_CLIENT__TOKEN__RSA_PUBLIC_KEY: keys.RS256.pem,
        MIDPLANE_CLIENT__TOKEN__ECDSA_PUBLIC_KEY: keys.ES256.pem,
        MIDPLANE_CLIENT__TOKEN__EDDSA_PUBLIC_KEY: keys.EdDSA.pem,
        MIDPLANE_CLIENT__TOKEN__LEEWAY: '0s',
      });
    });
    after(() => node?.stop());

    for (const wire of wires) {
      for (const alg of algorithms) {
        test(`${wire}: ${alg} connects, subscribes and refreshes`, withApps(keep => serves(keep, wire, node, keys[alg])));
        test(`${wire}: ${alg} with a key that nobody set is refused`, withApps(keep => refuses(keep, wire, node, strange[alg], keys[alg])));
      }
      test(`${wire}: a public key is no secret to sign with`, withApps(async keep => {
        for (const { pem } of [keys.RS256, keys.ES256, keys.EdDSA]) {
          const eve = keep(new App(wire, node, { token: token({ sub: 'eve' }, { key: pem }) }));
          eve.centrifuge.connect();
          await eventually('disconnected', () => eve.disconnected);
          assert.equal(eve.disconnected.code, 3500);
        }
      }));
    }
  });

  describe('keys that a server gives out', { concurrency: true }, () => {
    const nodes = [];
    const servers = [];
    const system = async (name, ...pairs) => {
      const server = await KeyServer.start(...pairs);
      servers.push(server);
      const node = await Node.start(name, {
        MIDPLANE_CLIENT__TOKEN__JWKS_PUBLIC_ENDPOINT: server.url,
        MIDPLANE_CLIENT__TOKEN__LEEWAY: '0s',
      });
      nodes.push(node);
      return { server, node };
    };
    after(async () => {
      await Promise.all(nodes.map(node => node.stop()));
      await Promise.all(servers.map(server => server.away()));
    });

    for (const wire of wires) {
      const keyed = (title, body) => test(`${wire}: ${title}`, withApps(keep => body(keep, `${wire}-${title.match(/^[a-z]+/)[0]}`)));

      keyed('every algorithm connects, subscribes and refreshes, and the keys are fetched once', async (keep, name) => {
        const named = algorithms.map(alg => keys[alg].as(alg, `key ${alg}`));
        const { node, server } = await system(name, ...named);
        await Promise.all(named.map(key => serves(keep, wire, node, key)));
        assert.equal(server.requests, 1);
      });

      keyed('rotation: tokens of a new key open without ado', async (keep, name) => {
        const [old, next] = [strange.ES256.as('ES256', 'old'), keys.ES256.as('ES256', 'next')];
        const { node, server } = await system(name, old);
        const ada = await keep(new App(wire, node, { token: old.token({ sub: 'ada' }) })).connect();
        server.hold(next);
        // Just after a fetch there is none for an unknown key: the SDK is told to try again, and gets in by itself.
        const bob = await keep(new App(wire, node, { getToken: async () => next.token({ sub: 'bob' }) })).connect();
        for (const { error } of bob.errors) assert.deepEqual([error.code, error.temporary], [100, true]);
        assert.equal(server.requests, 2);
        assert.equal(ada.connected.length, 1, 'who is connected stays');
      });

      keyed('away: known keys stay in force, and unknown ones wait until the server is back', async (keep, name) => {
        const [known, later] = [keys.EdDSA.as('EdDSA', 'known'), keys.RS256.as('RS256', 'later')];
        const { node, server } = await system(name, known);
        await keep(new App(wire, node, { token: known.token({ sub: 'ada' }) })).connect();
        await server.away();
        server.hold(known, later);
        await serves(keep, wire, node, known);
        const bob = keep(new App(wire, node, { token: later.token({ sub: 'bob' }) }));
        bob.centrifuge.connect();
        await eventually('bob is asked to try again', () => bob.errors.length > 0);
        for (const { error } of bob.errors) assert.deepEqual([error.code, error.temporary], [100, true]);
        await server.back();
        await eventually('bob gets in', () => bob.connected.length === 1);
        assert.equal(bob.disconnected, null);
      });
    }
  });
});
