// What a node tells its operator when something is wrong: in words, with the key to it, and not in floods.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { connect } from '@nats-io/transport-node';
import { io } from 'socket.io-client';
import WebSocket from 'ws';

import { App, NatsServer, Node, eventually } from './harness.mjs';

const lines = (node, pattern) => node.process.log().split('\n').filter(line => pattern.test(line));

describe('a node of a cluster in development mode', { timeout: 200_000 }, () => {
  let nats;
  let node;
  let app;
  beforeEach(async () => {
    nats = await NatsServer.start();
    node = await Node.start('troubled', { NATS_URL: nats.url }, { development: true });
  });
  afterEach(async () => {
    app?.close();
    app = null;
    await node?.stop();
    await nats?.kill();
  });

  test('a publication that is no JSON is withheld, counted, and told in one line', async () => {
    app = await new App('json', node).connect();
    const listener = await app.subscribe('chat:lobby');
    const backend = await connect({ servers: nats.url });
    for (let count = 0; count < 20; count += 1) backend.publish('midplane.pub.chat.lobby', 'hello');
    backend.publish('midplane.pub.chat.lobby', '{"text":"hello"}');
    await backend.drain();
    await listener.received(1);
    assert.deepEqual(listener.data, [{ text: 'hello' }]);
    assert.equal(await node.metric('midplane_publish_errors_total{source="nats",reason="refused"}'), 20);
    const told = lines(node, /WARN.*publication_data_format/);
    assert.equal(told.length, 1, told.join('\n'));
    assert.match(told[0], /chat:lobby/);
  });

  test('data that the JSON wire cannot carry is told with the setting that prevents it', async () => {
    app = await new App('json', node).connect();
    await app.subscribe('plain');
    await node.publish('plain', undefined, { b64data: Buffer.from('hello').toString('base64') });
    await eventually('it is told', () => lines(node, /WARN.*3506.*publication_data_format/).length === 1);
    assert.match(lines(node, /3506/)[0], /channel=plain/);
  });

  test('while NATS is away the node says so now and then, and once that it is back', async () => {
    app = await new App('json', node).connect();
    await app.subscribe('chat:lobby');
    await nats.kill();
    await eventually('it reminds', () => lines(node, /WARN.*backplane lost/).length === 2, 60);
    const warnings = lines(node, / WARN /);
    assert.equal(warnings.length, 2, warnings.join('\n'));
    for (const warning of warnings) assert.match(warning, new RegExp(`127\\.0\\.0\\.1:${nats.ports.client}`));
    const { error } = await node.api('publish', { channel: 'chat:lobby', data: 1 });
    assert.equal(error.code, 100);
    assert.match(error.message, /^backplane unavailable: /);
    await nats.run();
    await node.ready();
    assert.equal(lines(node, /INFO.*backplane restored/).length, 1);
  });

  test('a service that does not answer is told once for all calls', async () => {
    app = await new App('json', node).connect();
    for (let count = 0; count < 5; count += 1) {
      await assert.rejects(app.centrifuge.rpc('sum', [1]), { code: 104 });
    }
    const told = lines(node, /WARN.*a call to a service failed/);
    assert.equal(told.length, 1, told.join('\n'));
    assert.match(told[0], /sum/);
  });
});

describe('a node for those who have a token', { timeout: 120_000 }, () => {
  const start = async (t, environment = {}) => {
    const node = await Node.start('strict', { MIDPLANE_CLIENT__ALLOW_ANONYMOUS_CONNECT_WITHOUT_TOKEN: 'false', ...environment });
    t.after(() => node.stop());
    return node;
  };
  const told = async (node, pattern) => {
    await eventually(`${pattern} is told`, () => lines(node, pattern).length > 0);
    assert.equal(lines(node, pattern).length, 1, lines(node, pattern).join('\n'));
  };
  /** The code with which a connect is answered. */
  const refused = (node, connect) => new Promise((resolve, reject) => {
    const socket = new WebSocket(node.websocket);
    socket.on('open', () => socket.send(JSON.stringify({ id: 1, connect })));
    socket.on('close', resolve).on('error', reject);
  });

  test('says once for all of them that clients bring none', async t => {
    const node = await start(t);
    for (let count = 0; count < 5; count += 1) assert.equal(await refused(node, {}), 3501);
    await told(node, /WARN.*a client is not let in: no token/);
  });

  test('says what is wrong with the tokens that they bring', async t => {
    const node = await start(t);
    for (let count = 0; count < 5; count += 1) assert.equal(await refused(node, { token: 'rubbish' }), 3500);
    await told(node, /WARN.*a client is not let in: token is not a signed JWT/);
  });

  test('names the origin of pages that it does not let in, and the setting', async t => {
    const node = await start(t);
    for (let count = 0; count < 5; count += 1) {
      const socket = new WebSocket(node.websocket, { origin: 'https://elsewhere.example' });
      await assert.rejects(new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject)), /403/);
    }
    await told(node, /WARN.*client\.allowed_origins.*https:\/\/elsewhere\.example/);
  });

  test('names the event that a client of Socket.IO waits for, and nobody serves', async t => {
    const node = await start(t, { MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify([{ name: '/' }]), MIDPLANE_CLIENT__ALLOW_ANONYMOUS_CONNECT_WITHOUT_TOKEN: 'true' });
    const socket = io(node.url, { forceNew: true, transports: ['websocket'] });
    t.after(() => socket.close());
    for (let count = 0; count < 5; count += 1) socket.emit('mesage', count, () => assert.fail('nobody can have acknowledged it'));
    await told(node, /WARN.*nobody serves an event.*: this node has no NATS to ask by.*sio\._\.mesage/);
    await eventually('all were counted', async () => (await node.metric('midplane_socketio_events_total{result="no_responder"}')) === 5);
  });

  test('names the option of what it does not serve, to whoever asks for that', async t => {
    const node = await start(t);
    for (const [path, option] of [
      ['/connection/uni_http_stream', 'uni_http_stream.enabled'],
      ['/socket.io/?EIO=4&transport=polling', 'socketio.namespaces'],
      ['/socket.io/socket.io.js', 'socketio.namespaces'],
    ]) {
      const response = await fetch(node.url + path);
      assert.deepEqual([response.status, await response.json()], [404, { error: { code: 404, message: `not served here (see ${option})` } }]);
    }
  });
});
