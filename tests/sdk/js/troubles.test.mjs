// What a node tells its operator when something is wrong: in words, with the key to it, and not in floods.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { connect } from '@nats-io/transport-node';

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
