// The accounts of compose/nats: what a node needs is allowed, what a backend needs too, and nothing else.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '@nats-io/transport-node';

import { App, HttpBackend, Node, eventually, fresh, heard, watch } from './harness.mjs';
import { Server } from './harness/accounts.mjs';

/** Whether the server refuses this; a publication is refused without a word to the caller, so the connection says it. */
async function refused(client, subject, act) {
  const told = (async () => {
    for await (const status of client.status()) {
      if (status.type === 'error' && status.error.subject === subject) return true;
    }
  })();
  await act();
  await client.flush();
  return Promise.race([told, eventually(`no refusal of ${subject}`, () => false, 1).catch(() => false)]);
}

describe('the NATS accounts of the compose files', { timeout: 120_000 }, () => {
  let server, nodes, backend, hooks;
  before(async () => {
    server = await Server.start();
    backend = await server.connect('backend');
    hooks = await HttpBackend.start();
    nodes = await Promise.all(['one', 'two'].map(name => Node.start(name, { ...server.settings, MIDPLANE_HOOKS__CONNECT__ENDPOINT: 'nats:hooks.connect' })));
  }, { timeout: 60_000 });
  after(async () => {
    await hooks?.away();
    await backend?.close();
    for (const node of nodes ?? []) await node.stop();
    await server?.process.kill();
  }, { timeout: 60_000 });

  const unrefused = () => {
    for (const node of nodes) assert.doesNotMatch(node.process.log(), /permission|violation/i, node.process.logFile);
    assert.doesNotMatch(server.process.log(), /user:gateway" - \w+ Violation/, server.process.logFile);
  };

  test('a node does everything as the user gateway', async () => {
    const answering = backend.subscribe('midplane.rpc.sum', { callback: (_, message) => message.respond(JSON.stringify(3)) });
    const asked = backend.subscribe('midplane.hooks.connect', { callback: (_, message) => message.respond('{"result":{"user":"ann"}}') });
    await backend.flush();
    const [channel, room, plain] = [fresh('chat'), fresh('room'), fresh('plain')];
    const [ann, ben] = await Promise.all(nodes.map(node => new App('json', node).connect()));
    const listener = await ben.subscribe(channel);
    await ann.publish(channel, 1);
    assert.deepEqual(await listener.received(1), [1]);
    await ben.whileAway(nodes[0], () => nodes[1].publish(channel, 2));
    assert.deepEqual(await listener.received(2), [1, 2]);
    assert.equal((await ann.centrifuge.history(channel, { limit: 10 }).catch(error => error)).publications?.length, 2);

    await watch(ann, room);
    await ben.subscribe(room);
    await eventually('both are seen', async () => (await nodes[1].api('presence_stats', { channel: room })).result.num_clients === 2);

    const bare = await ben.subscribe(plain);
    await heard({ nodes }, plain, bare);
    await ann.publish(plain, 'at most once');
    assert.deepEqual(await bare.received(1), ['at most once']);

    assert.equal((await ann.centrifuge.rpc('sum', [1, 2])).data, 3);
    assert.deepEqual((await nodes[0].api('history_remove', { channel })).result, {});
    assert.deepEqual((await nodes[0].api('revoke_token', { uid: 'some' })).result, {});
    assert.deepEqual((await nodes[0].api('disconnect', { user: 'nobody' })).result, {});
    assert.equal((await nodes[0].api('info')).result.nodes.length, 2);
    assert.ok((await nodes[0].api('channels')).result.channels[plain]);
    answering.unsubscribe();
    asked.unsubscribe();
    for (const app of [ann, ben]) app.close();
    unrefused();
  });

  test('a backend publishes and calls the server API', async () => {
    backend.subscribe('midplane.hooks.connect', { max: 1, callback: (_, message) => message.respond('{"result":{"user":"ann"}}') });
    await backend.flush();
    const app = await new App('json', nodes[0]).connect();
    const channel = fresh('chat');
    const listener = await app.subscribe(channel);
    const stored = await backend.request(`midplane.pub.${channel.replace(':', '.')}`, '"stored"', { timeout: 5000 });
    assert.equal(stored.json().error, undefined, stored.string());
    const answer = await backend.request('midplane.api.publish', JSON.stringify({ channel, data: 'asked for' }), { timeout: 5000 });
    assert.ok(answer.json().result.offset > 0, answer.string());
    assert.deepEqual(await listener.received(2), ['stored', 'asked for']);
    app.close();
    unrefused();
  });

  test('a backend may do nothing else', async () => {
    const subjects = ['midplane.live.chat.room', 'midplane.pres.x.chat.room.y', 'midplane.hb.one', 'midplane.node.x.emulation', 'midplane.rpc.sum',
      '$KV.midplane_nodes.one', '$JS.API.STREAM.DELETE.MP_midplane_chat', '$JS.API.STREAM.INFO.MP_midplane_chat', '_INBOX.gateway.x', 'elsewhere',
      'midplane.pub._canary.word', 'midplane.nudge._canary.word'];
    for (const subject of subjects) {
      assert.ok(await refused(backend, subject, () => backend.publish(subject, '{}')), `publish to ${subject}`);
    }
    for (const subject of ['midplane.>', 'midplane.pub.>', 'midplane.live.chat.room', 'midplane.api.publish', '_INBOX.>', '$KV.>', '>']) {
      assert.ok(await refused(backend, subject, () => backend.subscribe(subject, { callback: () => {} })), `subscribe to ${subject}`);
    }
  });

  test('a gateway deletes no stream, and reads nothing but what is midplane\'s', async () => {
    const gateway = await server.connect('gateway');
    for (const subject of ['$JS.API.STREAM.DELETE.MP_midplane_chat', '$JS.API.CONSUMER.CREATE.MP_midplane_chat', 'elsewhere', '$SYS.REQ.SERVER.PING']) {
      assert.ok(await refused(gateway, subject, () => gateway.publish(subject, '{}')), `publish to ${subject}`);
    }
    assert.ok(await refused(gateway, '>', () => gateway.subscribe('>', { callback: () => {} })));
    await gateway.close();
  });

  test('nobody comes in without a password, and only the user system sees the server', async () => {
    await assert.rejects(connect({ servers: server.url, reconnect: false }), /authorization/i);
    await assert.rejects(connect({ servers: server.url, user: 'backend', pass: 'wrong', reconnect: false }), /authorization/i);
    const system = await server.connect('system');
    assert.equal((await system.request('$SYS.REQ.SERVER.PING', '', { timeout: 2000 })).json().server.name, 'nats-1');
    await system.close();
  });
});
