// `midplane doctor` with the accounts of the compose files, and in front of nodes through a real nginx, the project's own
// and several that are set up wrong.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { App, NatsServer, Nginx, Node, fresh } from './harness.mjs';
import { Server, password } from './harness/accounts.mjs';
import { freePort, project, temporaryDirectory } from './harness/process.mjs';

const binary = process.env.MIDPLANE_BIN || join(project, 'target/debug/midplane');
const run = promisify(execFile);
const settings = join(project, 'tests/sdk/settings.toml');

/** What the doctor finds, and its exit code. */
function doctor(environment, ...args) {
  return new Promise(resolve => {
    const env = { PATH: process.env.PATH, SERVER_ID: 'looked-at', MAX_CONNECTIONS: '100', MIDPLANE_CONFIG: settings, ...environment };
    execFile(binary, ['doctor', '--json', ...args], { env }, (error, stdout, stderr) => {
      const { ok, findings } = JSON.parse(stdout || assert.fail(stderr));
      assert.equal(ok, !error, stdout);
      resolve({
        code: error?.code ?? 0,
        findings,
        about: about => findings.filter(each => each.about === about),
        is(about, verdict, words) {
          const fits = each => each.about === about && each.verdict === verdict && words.test(each.found);
          return findings.find(fits) ?? assert.fail(`no ${verdict} about ${about}: ${words}\n${JSON.stringify(findings, null, 2)}`);
        },
      });
    });
  });
}

const configuration = file => readFileSync(join(project, 'nginx', file), 'utf8');

describe('the doctor', { timeout: 180_000 }, () => {
  let nats, node;
  before(async () => {
    nats = await NatsServer.start();
    node = await Node.start('behind', { NATS_URL: nats.url, MIDPLANE_HTTP__TRUSTED_PROXIES: '127.0.0.1' });
  }, { timeout: 60_000 });
  after(async () => {
    await node?.stop();
    await nats?.kill();
  }, { timeout: 60_000 });

  /** What it says of an nginx with these files in place of the project's. */
  async function behind(t, files = {}, options = {}) {
    const proxy = await Nginx.start([node], { files, ...options });
    t.after(() => proxy.stop());
    return doctor({ NATS_URL: nats.url }, '--proxy', proxy.url);
  }

  test('finds the accounts of the compose files sufficient, for a gateway', async () => {
    const server = await Server.start();
    try {
      const as = user => ({ NATS_URL: server.url, MIDPLANE_NATS__USER: user, MIDPLANE_NATS__PASSWORD: password(user) });
      const gateway = await doctor(as('gateway'));
      gateway.is('permissions', 'ok', /are permitted/);
      gateway.is('JetStream', 'ok', /^memory .*, storage /);
      assert.equal(gateway.code, 0, JSON.stringify(gateway.findings));
      assert.doesNotMatch(server.process.log(), /user:gateway" - \w+ Violation/);
      const backend = await doctor(as('backend'));
      assert.equal(backend.code, 1);
    } finally {
      await server.process.kill();
    }
  });

  test('asked in a container of compose.yaml, knows the settings of its node, and has nothing to say against them', async () => {
    const server = await Server.start();
    const secrets = temporaryDirectory(); // nobody else gets into it, as start-cluster.sh makes it
    for (const name of ['jwt_secret', 'api_key', 'nats_gateway_password']) {
      const content = name.endsWith('password') ? password('gateway') : randomBytes(32).toString('hex');
      writeFileSync(join(secrets, name), content, { mode: 0o644 });
    }
    try {
      const { stdout } = await run(join(project, '.tools/bin/docker-compose'), ['--env-file', '/dev/null', '-f', 'compose.yaml', 'config', '--format', 'json'],
        { cwd: project, env: { PATH: process.env.PATH, HOME: process.env.HOME, SECRETS_DIR: secrets } });
      const { environment } = JSON.parse(stdout).services['gateway-1'];
      const here = value => value.replace(/^\/run\/secrets\//, `${secrets}/`).replace(/^\/etc\/midplane\//, `${project}/compose/`);
      const inside = Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, here(value)]));
      const found = await doctor({ ...inside, NATS_URL: server.url, PORT: `${await freePort()}` });
      assert.deepEqual(found.findings.filter(({ verdict }) => !['ok', 'skipped'].includes(verdict)), []);
      assert.equal(found.code, 0);
    } finally {
      await server.process.kill();
    }
  });

  test('finds the project\'s nginx in order', async t => {
    const listening = await new App('json', node).connect();
    const listener = await listening.subscribe(fresh('chat'));
    const found = await behind(t);
    found.is('proxy socket', 'ok', /^held for .*from ping to ping \(5s\)$/);
    found.is('proxy stream', 'ok', /^\/connection\/sse begins after/);
    found.is('proxy paths', 'ok', /are closed/);
    const { found: address } = found.is('proxy address', 'ok', /nodes see this client as 127\.0\.0\.1/);
    assert.doesNotMatch(address, /192\.0\.2/);
    await node.publish(listener.channel, 'undisturbed');
    assert.deepEqual(await listener.received(1), ['undisturbed']);
    assert.equal(listening.connected.length, 1);
    listening.close();
  });

  test('finds an nginx that ends silent sockets, and believes what clients say of themselves', async t => {
    const proxy = configuration('proxy.conf')
      .replace('proxy_read_timeout 75s', 'proxy_read_timeout 1s')
      .replace('X-Forwarded-For $remote_addr', 'X-Forwarded-For $http_x_forwarded_for');
    const found = await behind(t, { 'proxy.conf': proxy });
    const { advice } = found.is('proxy socket', 'failed', /^ended after [12]\.\d s of silence/);
    assert.match(advice, /proxy_read_timeout/);
    found.is('proxy address', 'failed', /192\.0\.2\.77 is believed/);
    assert.equal(found.code, 1);
  });

  test('finds an nginx that holds streams back, passes no upgrade on, and hides nothing', async t => {
    const proxy = configuration('proxy.conf')
      .replace('proxy_buffering off', 'proxy_buffering on;\nproxy_ignore_headers X-Accel-Buffering')
      .replace('Upgrade $http_upgrade', 'Upgrade ""');
    const found = await behind(t, { 'proxy.conf': proxy }, { environment: { ADMIN_NETWORKS: '127.0.0.1' } });
    found.is('proxy stream', 'failed', /brings nothing within 5 s/);
    found.is('proxy socket', 'failed', /\/connection\/websocket answers 4/);
    found.is('proxy paths', 'warning', /\/metrics.*\/api\/info \(asks for a key\)/);
  });

  test('finds that a certificate is not trusted, until it knows who signed it', async t => {
    const proxy = await Nginx.encrypting([node]);
    t.after(() => proxy.stop());
    const address = `https://${proxy.secureAddress}`;
    const { advice } = (await doctor({}, '--proxy', address)).is('proxy', 'failed', /certificate/);
    assert.match(advice, /^it runs: .*--ca/);
    const found = await doctor({}, '--proxy', address, '--ca', proxy.authority);
    found.is('proxy socket', 'ok', /^held for/);
    found.is('proxy stream', 'ok', /begins after/);
    const { advice: other } = (await doctor({}, '--proxy', address, '--ca', settings)).is('proxy', 'failed', /--ca .*no certificate is in it/);
    assert.match(other, /PEM/);
  });

  test('finds that nothing answers', async () => {
    const found = await doctor({}, '--proxy', 'http://127.0.0.1:1');
    found.is('proxy', 'failed', /refused/);
    found.is('NATS', 'skipped', /not used/);
  });
});
