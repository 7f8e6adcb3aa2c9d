// The backends of examples/ in Node and Rust, with a real client. The one in Python is run by tests/sdk/python.
import assert from 'node:assert/strict';
import { copyFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';

import { NatsServer, Node, eventually, final, now, token } from './harness.mjs';
import { Process, project, temporaryDirectory } from './harness/process.mjs';

const examples = process.env.MIDPLANE_EXAMPLES || join(project, 'target/debug/examples');

let nats;
let node;

before(async () => {
  nats = await NatsServer.start();
  node = await Node.start('examples', {
    NATS_URL: nats.url,
    MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify([{ name: '/' }]),
  });
});

after(async () => {
  await node?.stop();
  await nats?.kill();
});

/** The Node example beside the packages that it wants. */
function inNode() {
  const folder = temporaryDirectory();
  copyFileSync(join(project, 'examples/socketio/backend.mjs'), join(folder, 'backend.mjs'));
  symlinkSync(join(project, 'tests/sdk/js/node_modules'), join(folder, 'node_modules'));
  return [process.execPath, [join(folder, 'backend.mjs')]];
}

async function client(t, sub) {
  const auth = sub ? { token: token({ sub, exp: now(60) }) } : {};
  const socket = io(node.url, { forceNew: true, transports: ['websocket'], auth });
  t.after(() => socket.close());
  const heard = [];
  socket.onAny((...event) => heard.push(event));
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  return { socket, heard, ask: (...event) => new Promise(resolve => socket.emit(...event, (...args) => resolve(args))) };
}

/** What each of the examples has to do. */
async function serves(t, command, args) {
  const backend = new Process('backend', command, args, { NATS_URL: nats.url });
  t.after(() => backend.kill());
  await eventually('it serves', () => {
    if (backend.outcome) throw final(`the backend ended:\n${backend.log()}`);
    return backend.log().includes('serving');
  }, 60);
  const [ada, stranger] = [await client(t, 'ada'), await client(t)];
  for (const [{ heard }, name] of [[ada, 'ada'], [stranger, 'stranger']]) {
    await eventually('it is greeted', () => heard.length === 1);
    assert.deepEqual(heard[0], ['welcome', name]);
  }
  assert.deepEqual(await stranger.ask('sum', 1, 2, 3), [6]);
  assert.deepEqual(await stranger.ask('note', 'ada', 'hello'), ['sent']);
  await eventually('the note comes', () => ada.heard.length === 2);
  assert.deepEqual(ada.heard[1], ['note', '', 'hello']);
}

test('the backend in Node', t => serves(t, ...inNode()));

test('the backend in Rust', t => serves(t, join(examples, 'socketio_backend'), []));
