// scripts/start-cluster.sh: what it makes, what it takes over, what it says. A docker that only notes how it is called stands in
// for the engine; with a real one scripts/smoke.sh runs it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';

import { project, temporaryDirectory } from './harness/process.mjs';

const run = promisify(execFile);

const docker = `#!/bin/sh
echo "$*" >>"$NOTES"
case "$*" in
    *"config --services") echo gateway-1 ;;
    *"ps -q"*) echo 0123456789ab ;;
    inspect*) echo gateway-1 healthy False ;;
esac
`;

/** A folder with the script, and with `.env.cluster` where somebody wrote one. */
function folder(written = undefined) {
  const root = temporaryDirectory();
  for (const name of ['scripts', 'bin']) mkdirSync(join(root, name));
  copyFileSync(join(project, 'scripts/start-cluster.sh'), join(root, 'scripts/start-cluster.sh'));
  cpSync(join(project, 'compose'), join(root, 'compose'), { recursive: true });
  writeFileSync(join(root, 'bin/docker'), docker, { mode: 0o755 });
  if (written !== undefined) writeFileSync(join(root, '.env.cluster'), written);
  const read = path => readFileSync(join(root, path), 'utf8');
  return {
    read,
    path: path => join(root, path),
    mode: path => (statSync(join(root, path)).mode & 0o777).toString(8),
    names: path => readdirSync(join(root, path)),
    link: path => readlinkSync(join(root, path)),
    /** The files that Compose was told to start. */
    started: () => read('notes').trim().split('\n').filter(line => line.endsWith(' up -d')).at(-1)?.match(/(?<=-f )\S+/g) ?? [],
    async start(args = [], environment = {}) {
      const env = { PATH: `${join(root, 'bin')}:${process.env.PATH}`, NOTES: join(root, 'notes'), ...environment };
      const { stdout } = await run(join(root, 'scripts/start-cluster.sh'), ['--no-monitoring', ...args], { env });
      return stdout;
    },
  };
}

describe('start-cluster.sh', { timeout: 60_000 }, () => {
  test('makes the settings and distinct secrets, which only their owner reaches, once', async () => {
    const made = folder();
    assert.match(await made.start(), /ws:\/\/localhost:80\/connection\/websocket/);
    assert.deepEqual([made.mode('.env.cluster'), made.mode('secrets'), made.link('.env')], ['600', '700', '.env.cluster']);
    const secrets = () => made.names('secrets').map(name => made.read(`secrets/${name}`));
    const before = secrets();
    assert.deepEqual([before.length, new Set(before).size], [8, 8]);
    for (const secret of before) assert.match(secret, /^[0-9a-f]{64}$/);
    for (const name of made.names('secrets')) assert.equal(made.mode(`secrets/${name}`), '644', 'whoever a container runs as reads it');
    const settings = made.read('.env.cluster');
    await made.start();
    assert.deepEqual([secrets(), made.read('.env.cluster')], [before, settings]);
  });

  test('takes a file that somebody wrote, and adds what it lacks', async () => {
    const secret = 'the secret of an application, 32 bytes or more';
    const written = `PORT=3001\r\nFRONTEND_URL=https://app.example.com\r\nJWT_SECRET="${secret}"\r\nHTTP_PORT=8080 # behind another`;
    const made = folder(written);
    assert.match(await made.start(), /ws:\/\/localhost:8080\/connection\/websocket/);
    assert.equal(made.read('secrets/jwt_secret'), secret);
    assert.deepEqual([made.mode('.env.cluster'), made.link('.env')], ['600', '.env.cluster']);
    const lines = made.read('.env.cluster').trim().split('\n');
    assert.deepEqual(lines.slice(0, 4), written.split('\n'));
    assert.deepEqual(lines.slice(4).map(line => line.split('=')[0]), ['SECRETS_DIR', 'NOFILE']);
  });

  test('takes no secret that the nodes would refuse', async () => {
    for (const written of ['JWT_SECRET=short', "export JWT_SECRET='short' # thirty-two bytes with all of this"]) {
      const made = folder(written);
      await assert.rejects(made.start(), /JWT_SECRET is shorter than the 32 bytes/);
      assert.ok(!made.read('notes').includes('up -d'), 'nothing is started');
    }
  });

  test('starts nothing with encrypted connections to NATS before their certificates are there', async () => {
    const made = folder();
    const refused = made.start(['-f', 'compose/nats-tls.yaml']);
    await assert.rejects(refused, /no \.\/secrets\/nats_ca .*nats_key: SECRETS_DIR=\.\/secrets scripts\/nats-certificates\.sh makes them/);
    assert.ok(!made.read('notes').includes('up -d'), 'nothing is started');
    copyFileSync(join(project, 'scripts/nats-certificates.sh'), made.path('scripts/nats-certificates.sh'));
    await run(made.path('scripts/nats-certificates.sh'));
    await made.start(['-f', 'compose/nats-tls.yaml']);
    assert.deepEqual(made.started(), ['compose.yaml', 'compose/nats-tls.yaml']);
  });

  test('changes nothing for HTTPS without a certificate, nor for a file that is not there', async () => {
    const made = folder();
    await made.start();
    const [settings, notes] = [made.read('.env.cluster'), made.read('notes')];
    const refused = made.start(['-f', 'compose/tls.yaml']);
    await assert.rejects(refused, /compose\/tls\.yaml needs a certificate, and there is no \.\/nginx\/ssl\/fullchain\.pem \.\/nginx\/ssl\/privkey\.pem/);
    await assert.rejects(made.start(['-f', 'compose/nosuch.yaml']), /there is no file compose\/nosuch\.yaml/);
    assert.equal(made.read('.env.cluster'), settings);
    assert.ok(!made.read('notes').slice(notes.length).includes('up -d'));
  });

  test('keeps what is laid over it, until another choice is made', async () => {
    const made = folder();
    mkdirSync(made.path('nginx/ssl'), { recursive: true });
    for (const name of ['fullchain.pem', 'privkey.pem']) writeFileSync(made.path(`nginx/ssl/${name}`), 'PEM');
    assert.match(await made.start(['-f', 'compose/tls.yaml'], { HTTPS_PORT: '8443' }), /wss:\/\/localhost:8443\/connection\/websocket/);
    assert.deepEqual(made.started(), ['compose.yaml', 'compose/tls.yaml']);
    assert.match(await made.start(), /wss:\/\/localhost:8443\//);
    assert.deepEqual(made.started(), ['compose.yaml', 'compose/tls.yaml']);
    await made.start(['-f', 'compose/nats3.yaml', '-f', 'compose/scaled.yaml']);
    assert.deepEqual(made.started(), ['compose.yaml', 'compose/nats3.yaml', 'compose/scaled.yaml']);
    const chosen = made.read('.env.cluster').split('\n').filter(line => line.startsWith('COMPOSE_FILE='));
    assert.deepEqual(chosen, ['COMPOSE_FILE=compose.yaml:compose/nats3.yaml:compose/scaled.yaml']);
  });
});
