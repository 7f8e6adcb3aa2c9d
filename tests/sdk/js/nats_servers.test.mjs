// The NATS servers of the compose files: three that keep three copies, and encrypted connections to and between them.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as dial } from 'node:net';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import { connect } from '@nats-io/transport-node';

import { App, Node, eventually, fresh, jetstream, within } from './harness.mjs';
import { Server, password } from './harness/accounts.mjs';
import { withApps } from './suite.mjs';

/** Whether the server tells clients to encrypt. */
async function encryptsClients({ ports }) {
  const socket = dial(ports.client, '127.0.0.1');
  try {
    const [greeting] = await within('the server says who it is', once(socket, 'data'));
    return JSON.parse(greeting.toString().match(/^INFO (\{.*\})/)[1]).tls_required ?? false;
  } finally {
    socket.destroy();
  }
}

/** Whether other servers come in by TLS: those it greets with a handshake, or with a line of text. */
async function encryptsRoutes({ ports }) {
  const socket = tls.connect({ host: '127.0.0.1', port: ports.route, rejectUnauthorized: false });
  try {
    return await within('the server answers a handshake', once(socket, 'secureConnect').then(() => true, () => false));
  } finally {
    socket.destroy();
  }
}

describe('the NATS servers of the compose files', { timeout: 180_000, concurrency: true }, () => {
  for (const encrypted of [false, true]) {
    test(`three of them keep three copies, and one may go${encrypted ? ', with everything encrypted' : ''}`, withApps(async keep => {
      const servers = await Server.three({ encrypted });
      for (const server of servers) keep({ end: () => server.process.kill() });
      const settings = { ...servers[0].settings, NATS_URL: servers.map(({ url }) => url).join(','), MIDPLANE_NATS__REPLICAS: '3' };
      const nodes = await Promise.all(['one', 'two'].map(name => Node.start(name, settings)));
      for (const node of nodes) keep({ end: () => node.kill() });
      for (const server of servers) {
        assert.deepEqual([await encryptsClients(server), await encryptsRoutes(server)], [encrypted, encrypted]);
      }
      const channel = fresh('chat');
      const app = await keep(new App('json', nodes[0])).connect();
      const listener = await app.subscribe(channel);
      await nodes[1].publish(channel, 1);

      const gateway = await servers[1].connect('gateway');
      const { config, cluster } = await jetstream(gateway, 'STREAM.INFO.MP_midplane_chat');
      assert.equal(config.num_replicas, 3);
      assert.deepEqual([cluster.leader, ...cluster.replicas.map(({ name }) => name)].sort(), ['nats-1', 'nats-2', 'nats-3']);
      await gateway.close();

      await servers.find(({ name }) => name === cluster.leader).process.kill();
      await eventually('publishing goes on', () => nodes[1].publish(channel, 2, { idempotency_key: 'second' }), 40);
      assert.deepEqual(await listener.received(2), [1, 2]);
    }));
  }

  test('one that encrypts lets in who trusts its authority, and nobody else', withApps(async keep => {
    const server = await Server.start({ encrypted: true });
    keep({ end: () => server.process.kill() });
    assert.ok(await encryptsClients(server));
    const node = await Node.start('trusting', server.settings);
    keep({ end: () => node.kill() });
    const channel = fresh('chat');
    const listener = await (await keep(new App('json', node)).connect()).subscribe(channel);
    const backend = await server.connect('backend');
    keep({ end: () => backend.close() });
    await backend.request(`midplane.pub.${channel.replace(':', '.')}`, '1', { timeout: 5000 });
    assert.deepEqual(await listener.received(1), [1]);
    await assert.rejects(connect({ servers: server.url, user: 'backend', pass: password('backend'), reconnect: false }), /certificate/i);
  }));
});
