// The balancer of docs/migration.md, step 3, between servers of Socket.IO in Node and nodes.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { io } from 'socket.io-client';

import { NatsServer, Node, NodeTier, RedisServer, eventually } from './harness.mjs';
import { Process, freePort, project, temporaryDirectory } from './harness/process.mjs';
import { final } from './harness/wait.mjs';

const namespaces = JSON.stringify([{ name: '/', rooms: 'plain', join_on: 'join', may_join: ['*'], relay: { say: 'lobby' } }]);

/** As it stands there, but half and half, and with these servers. */
async function balancer(tier, nodes) {
  const [, block] = readFileSync(join(project, 'docs/migration.md'), 'utf8').match(/```nginx\n([^`]*)```/);
  const port = await freePort();
  const replaced = [
    ['listen 80;', `listen 127.0.0.1:${port};`], ['1% midplane', '50% midplane'],
    ['server node-1:3000; server node-2:3000;', `server ${tier.url.replace('http://', '')};`],
    ...nodes.map(({ address }, index) => [`gateway-${index + 1}:3001`, address]),
  ];
  const text = replaced.reduce((text, [from, to]) => {
    assert.ok(text.includes(from), from);
    return text.replace(from, to);
  }, block);
  const directory = temporaryDirectory();
  const user = process.getuid() === 0 ? 'user root;' : '';
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${name};`).join(' ');
  writeFileSync(join(directory, 'nginx.conf'), `daemon off; ${user} pid nginx.pid; events {} http { access_log off; ${paths}\n${text} }`);
  const nginx = new Process('nginx', 'nginx', ['-p', directory, '-c', 'nginx.conf', '-e', 'stderr']);
  const url = `http://127.0.0.1:${port}`;
  await eventually('nginx answers', async () => {
    if (nginx.outcome) throw final(`nginx ended: ${nginx.log()}`);
    return await fetch(url).then(() => true, () => false);
  });
  return { url, nginx };
}

test('new sessions go to either side and stay there, by long-polling too, and hear each other', { timeout: 180_000 }, async t => {
  const [nats, redis] = await Promise.all([NatsServer.start(), RedisServer.start()]);
  const tier = await NodeTier.start(redis);
  const environment = { NATS_URL: nats.url, REDIS_URL: redis.url, MIDPLANE_SOCKETIO__NAMESPACES: namespaces };
  const nodes = await Promise.all(['ada', 'bob'].map(name => Node.start(name, environment)));
  const { url, nginx } = await balancer(tier, nodes);
  const sockets = [];
  t.after(async () => {
    for (const socket of sockets) socket.close();
    await nginx.kill();
    await tier.stop();
    await Promise.all(nodes.map(node => node.stop()));
    await Promise.all([nats, redis].map(server => server.kill()));
  });
  const asked = await redis.client();
  t.after(() => asked.destroy());
  await eventually('the bridge is there', async () => await redis.servers(asked) === 2, 30);

  const side = socket => (socket.io.engine.id.length === 20 ? 'node' : 'midplane');
  const of = name => sockets.filter(socket => side(socket) === name).length;
  while (of('node') < 3 || of('midplane') < 3) {
    assert.ok(sockets.length < 40, `${of('node')} of ${sockets.length} came to Node`);
    const transports = sockets.length % 2 ? ['polling'] : ['polling', 'websocket'];
    const socket = io(url, { forceNew: true, transports, reconnection: false });
    sockets.push(socket);
    socket.on('say', words => (socket.heard = words));
    await new Promise((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('connect_error', reject);
    });
    const upgraded = new Promise(resolve => socket.io.engine.once('upgrade', resolve));
    await socket.emitWithAck('join', 'lobby');
    if (transports.length > 1 && socket.io.engine.transport.name === 'polling') await upgraded;
  }
  const speaker = sockets.find(socket => side(socket) === 'midplane');
  speaker.emit('say', 'hello');
  await eventually('everybody hears it', () => sockets.every(({ heard }) => heard === 'hello'));
  assert.ok(sockets.every(({ connected }) => connected));
});
