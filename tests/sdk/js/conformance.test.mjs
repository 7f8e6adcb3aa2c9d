// The test suites of the protocols themselves, as they are but for the address, from the repository of Socket.IO.
import assert from 'node:assert/strict';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, headers } from '@nats-io/transport-node';

import { NatsServer, Node, eventually } from './harness.mjs';
import { Process, project, temporaryDirectory } from './harness/process.mjs';

const here = join(project, 'tests/sdk/js');
const examples = process.env.MIDPLANE_EXAMPLES || join(project, 'target/debug/examples');
// The suites allow a pong 200 ms. That may be too little for a machine that has other things to do.
const ATTEMPTS = 3;

/** A folder with a suite that asks `url`. */
function prepared(suite, url) {
  const folder = temporaryDirectory();
  const text = readFileSync(join(here, 'conformance', suite, 'suite.js'), 'utf8');
  writeFileSync(join(folder, 'suite.js'), text.replace('http://localhost:3000', url));
  writeFileSync(join(folder, 'node-imports.js'), readFileSync(join(here, 'conformance', suite, 'node-imports.js')));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  symlinkSync(join(here, 'node_modules'), join(folder, 'node_modules'));
  return join(folder, 'suite.js');
}

/** Runs a suite; what it says at its end. */
async function run(suite, url) {
  const mocha = join(here, 'node_modules/mocha/bin/mocha.js');
  const process_ = new Process(`conformance-${suite}`, process.execPath, [mocha, '--no-color', prepared(suite, url)]);
  const { code } = await process_.ended;
  const log = process_.log();
  return { code, passing: Number(log.match(/(\d+) passing/)?.[1]), log };
}

async function passes(suite, url, count) {
  let outcome;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    outcome = await run(suite, url);
    if (outcome.code === 0) break;
  }
  assert.equal(outcome.code, 0, outcome.log);
  assert.equal(outcome.passing, count, outcome.log);
}

test('the test suite of the Engine.IO protocol passes', async t => {
  const server = new Process('engineio-echo', join(examples, 'engineio_echo'), []);
  t.after(() => server.kill());
  const url = await eventually('the echo says where it listens', () => server.log().match(/^http:\S+/)?.[0], 60);
  await passes('engineio', url, 25);
});

/** What the suite of Socket.IO wants of an application: it greets with what a client said of itself, and repeats messages. */
async function application(nats, namespace, path) {
  const attached = message => message.headers?.get('Midplane-Attachments').split(',').filter(Boolean).map(Number) ?? [];
  const emit = (message, event, attachments = []) => {
    const to = { sockets: [message.headers.get('Midplane-Client')] };
    return nats.request('midplane.api.socketio_emit', JSON.stringify({ namespace: path, to, event, attachments }));
  };
  nats.subscribe(`midplane.sio.${namespace}.connect`, {
    callback: (_, message) => emit(message, ['auth', JSON.parse(message.headers.get('Midplane-Meta'))]),
  });
  nats.subscribe(`midplane.sio.${namespace}.message`, {
    callback: (_, message) => {
      let at = message.data.length;
      const attachments = attached(message).reverse().map(length => {
        at -= length;
        return Buffer.from(message.data.subarray(at, at + length)).toString('base64');
      });
      const [, ...args] = JSON.parse(Buffer.from(message.data.subarray(0, at)).toString());
      return emit(message, ['message-back', ...args], attachments.reverse());
    },
  });
  nats.subscribe(`midplane.sio.${namespace}.message-with-ack`, {
    callback: (_, message) => {
      const lengths = attached(message);
      const end = message.data.length - lengths.reduce((sum, length) => sum + length, 0);
      const [, ...args] = JSON.parse(Buffer.from(message.data.subarray(0, end)).toString());
      const with_ = headers();
      if (lengths.length > 0) with_.set('Midplane-Attachments', lengths.join(','));
      message.respond(Buffer.concat([Buffer.from(JSON.stringify(args)), message.data.subarray(end)]), { headers: with_ });
    },
  });
  await nats.flush();
}

test('the test suite of the Socket.IO protocol passes', async t => {
  const nats = await NatsServer.start();
  t.after(() => nats.kill());
  const backend = await connect({ servers: nats.url });
  t.after(() => backend.close());
  // What a client says of itself is known to every later event.
  backend.subscribe('midplane.hooks.connect', {
    callback: (_, message) => message.respond(JSON.stringify({ result: { meta: message.json().data } })),
  });
  await application(backend, '_', '/');
  await application(backend, 'custom', '/custom');
  // Without keys for tokens, which are the application's business here: not the settings of other tests.
  const environment = {
    NATS_URL: nats.url,
    MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify([{ name: '/' }, { name: '/custom' }]),
    MIDPLANE_SOCKETIO__PING_INTERVAL: '300ms',
    MIDPLANE_SOCKETIO__PING_TIMEOUT: '200ms',
    MIDPLANE_SOCKETIO__CONNECT_TIMEOUT: '2s',
    MIDPLANE_HOOKS__CONNECT__ENDPOINT: 'nats:hooks.connect',
  };
  const node = await Node.start('suite', environment, { development: true });
  t.after(() => node.stop());
  await passes('socketio', node.url, 32);
});
