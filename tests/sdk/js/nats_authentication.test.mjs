// NATS servers that let nobody in who cannot say who they are: publications, history and recovery, through a restart.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nkeys } from '@nats-io/transport-node';

import { App, NatsServer, Node, eventually, fresh, wires } from './harness.mjs';
import { withApps } from './suite.mjs';

const user = nkeys.createUser();
const ways = {
  'user and password': {
    server: 'authorization { user: "gateway", password: "sesame" }',
    node: { MIDPLANE_NATS__USER: 'gateway', MIDPLANE_NATS__PASSWORD: 'sesame' },
  },
  token: { server: 'authorization { token: "sesame" }', node: { MIDPLANE_NATS__TOKEN: 'sesame' } },
  nkey: {
    server: `authorization { users: [ { nkey: ${user.getPublicKey()} } ] }`,
    node: { MIDPLANE_NATS__NKEY: new TextDecoder().decode(user.getSeed()) },
  },
};

describe('NATS with authentication', { timeout: 120_000, concurrency: true }, () => {
  for (const [way, { server, node: settings }] of Object.entries(ways)) {
    test(`by ${way}: nothing is lost, also when NATS restarts`, withApps(async keep => {
      const nats = await NatsServer.start(server);
      keep({ end: () => nats.kill() });
      const node = await Node.start('authenticated', { NATS_URL: nats.url, ...settings });
      keep({ end: () => node.kill() });
      const channel = fresh('chat');
      const apps = await Promise.all(wires.map(wire => keep(new App(wire, node)).connect()));
      const listeners = await Promise.all(apps.map(app => app.subscribe(channel)));
      const publish = number => eventually(`${number} is acknowledged`, () => node.publish(channel, number, { idempotency_key: String(number) }), 40);
      await publish(1);
      await nats.restart();
      await publish(2);
      await Promise.all(apps.map(app => app.whileAway(node, () => publish(3))));
      for (const listener of listeners) assert.deepEqual(await listener.received(3), [1, 2, 3]);
      const { publications } = await apps[0].centrifuge.history(channel, { limit: 10 });
      assert.deepEqual(publications.map(({ data }) => data), [1, 2, 3]);
      await node.stop();
    }));
  }
});
