// Hooks as applications meet them: a backend decides, by HTTP or by NATS, and the SDK does what follows.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { App, HttpBackend, NatsBackend, NatsServer, Topology, decode, encode, eventually, fresh, natsClient, wires } from './harness.mjs';
import hooks from './scenarios/hooks.mjs';
import { withApps } from './suite.mjs';

const namespaces = [
  { name: 'news', allow_subscribe_for_client: true, allow_subscribe_for_anonymous: true, allow_publish_for_subscriber: true, allow_publish_for_anonymous: true },
  {
    name: 'asked',
    history_size: 100,
    history_ttl: '300s',
    force_recovery: true,
    allow_publish_for_subscriber: true,
    subscribe_proxy_enabled: true,
    publish_proxy_enabled: true,
    sub_refresh_proxy_enabled: true,
  },
];
const environment = {
  MIDPLANE_CHANNEL__NAMESPACES: JSON.stringify(namespaces),
  MIDPLANE_CLIENT__SUBSCRIBE_TO_USER_PERSONAL_CHANNEL__ENABLED: 'false',
};

async function overHttp() {
  const backend = await HttpBackend.start();
  return { backend, topology: await Topology.start(1, null, { ...environment, ...backend.environment }) };
}

async function overNats() {
  const nats = await NatsServer.start();
  const client = await natsClient([nats.url]);
  const backend = await NatsBackend.start(client);
  const topology = await Topology.start(1, nats, { ...environment, ...backend.environment });
  topology.clients.push(client);
  return { backend, topology };
}

for (const [way, start] of Object.entries({ HTTP: overHttp, NATS: overNats })) {
  describe(`hooks by ${way}`, { timeout: 200_000 }, () => {
    let backend;
    let topology;
    before(async () => ({ backend, topology } = await start()), { timeout: 120_000 });
    after(async () => {
      await topology?.stop();
      if (way === 'HTTP') await backend?.away();
    });

    describe('answers', { concurrency: true }, () => {
      for (const wire of wires) {
        describe(wire, { concurrency: true }, () => hooks({ wire, backend: () => backend, node: () => topology.first }));
      }
    });

    for (const wire of wires) {
      const visitor = (plan, options = {}) => new App(wire, topology.first, { data: encode(wire, { plan }), ...options });

      test(`${wire}: while the backend is away nothing is allowed, and all goes on by itself when it is back`, withApps(async keep => {
        const [open, closed] = [fresh('asked'), fresh('asked')];
        const ada = await keep(visitor(fresh('ada'))).connect();
        await ada.subscribe(open);
        await backend.away();
        const bob = keep(visitor(fresh('bob')));
        bob.centrifuge.connect();
        const listener = ada.listen(closed);
        await assert.rejects(ada.publish(open, 1), { code: 100, temporary: true });
        await eventually('both are asked to try again', () => bob.errors.length > 1 && listener.errors.length > 1);
        for (const { error } of [...bob.errors, ...listener.errors]) assert.deepEqual([error.code, error.temporary], [100, true]);
        await backend.back();
        await listener.ready();
        await eventually('bob is in', () => bob.connected.length === 1);
        await ada.publish(open, 1);
        assert.equal(ada.connected.length, 1, 'who was connected stayed');
      }));

      if (way === 'NATS') test(`${wire}: a service learns what the connect hook said of the caller`, withApps(async keep => {
        const [user, method] = [fresh('ada'), `whoami-${wire}`];
        backend.plan('connect', user, () => ({ result: { user, meta: { tenant: 7 } } }));
        const service = await topology.backend();
        service.subscribe(`midplane.rpc.${method}`, {
          callback: (_, message) => message.respond(JSON.stringify([message.headers.get('Midplane-User'), JSON.parse(message.headers.get('Midplane-Meta'))])),
        });
        await service.flush();
        const ada = await keep(visitor(user)).connect();
        const { data } = await ada.centrifuge.rpc(method, encode(wire, {}));
        assert.deepEqual(decode(wire, data), [user, { tenant: 7 }]);
      }));
    }
  });
}
