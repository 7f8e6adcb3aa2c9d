// compose.yaml and what is laid over it: read by Docker Compose itself, without an engine.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { project } from './harness/process.mjs';

const run = promisify(execFile);
const pinned = join(project, '.tools/bin/docker-compose');
const overlays = ['nats3', 'tls', 'scaled', 'nats-tls', 'nats3-tls', 'redis'];
const files = ['compose.yaml', ...overlays.map(name => `compose/${name}.yaml`)];
const read = path => readFileSync(join(project, path), 'utf8');

async function config(environment, ...names) {
  const args = [...names.flatMap(name => ['-f', name]), '--env-file', '/dev/null', '--profile', 'monitoring', '--profile', 'scaled', 'config', '--format', 'json'];
  const { stdout } = await run(pinned, args, { cwd: project, env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment } });
  return JSON.parse(stdout);
}

const seconds = duration => Number(duration.match(/^(\d+)s$/)[1]);

describe('the compose files', { timeout: 60_000 }, () => {
  let services, networks;
  before(async () => ({ services, networks } = await config({ SECRETS_DIR: './secrets' }, ...files)));
  const members = network => Object.keys(services).filter(name => network in services[name].networks).sort();

  test('fit together in every combination', async () => {
    for (const names of [['nats3'], ['tls'], ['scaled'], ['nats3', 'tls'], ['nats-tls'], ['nats3', 'nats-tls', 'nats3-tls'], ['redis'], overlays]) {
      const laid = await config({ SECRETS_DIR: './secrets' }, 'compose.yaml', ...names.map(name => `compose/${name}.yaml`));
      const servers = Object.keys(laid.services).filter(name => name.startsWith('nats'));
      assert.equal(servers.length, names.includes('nats3') ? 3 : 1);
      for (const name of ['gateway-1', 'gateway-2', 'gateway-3', 'gateway']) {
        const { environment, secrets } = laid.services[name];
        for (const name of ['REDIS_URL', 'REDIS_KEY_PREFIX']) assert.equal(name in environment, names.includes('redis'), name);
        assert.equal(secrets.some(({ source }) => source === 'redis_password'), names.includes('redis'), name);
        assert.ok(secrets.some(({ source }) => source === 'jwt_secret'), name);
      }
      if (!names.includes('nats3')) continue;
      for (const name of ['gateway-1', 'gateway-2', 'gateway-3', 'gateway']) {
        assert.equal(laid.services[name].environment.MIDPLANE_NATS__REPLICAS, '3');
        assert.equal(laid.services[name].environment.NATS_URL.split(',').length, 3);
      }
    }
  });

  test('say what to do where there are no secrets yet', async () => {
    await assert.rejects(config({}, 'compose.yaml'), /run scripts\/start-cluster\.sh/);
  });

  test('let only nginx be reached from outside', () => {
    for (const [name, { ports = [] }] of Object.entries(services)) {
      for (const { host_ip: address } of ports) assert.equal(address, name === 'nginx' ? undefined : '127.0.0.1', name);
    }
  });

  test('keep NATS in a network of its own with the nodes, that leads nowhere', () => {
    assert.equal(networks.back.internal, true);
    assert.deepEqual(members('back'), ['gateway', 'gateway-1', 'gateway-2', 'gateway-3', 'nats', 'nats-2', 'nats-3', 'redis']);
    assert.deepEqual(members('front'), ['gateway', 'gateway-1', 'gateway-2', 'gateway-3', 'grafana', 'nginx', 'prometheus']);
  });

  test('encrypt every connection to NATS where that is chosen', () => {
    for (const name of members('back').filter(name => name !== 'redis')) {
      const { environment, secrets } = services[name];
      const [encrypts, has] = name.startsWith('nats') ? [environment.NATS_TLS, ['nats_ca', 'nats_certificate', 'nats_key']]
        : [environment.MIDPLANE_NATS__TLS__REQUIRED, ['nats_ca']];
      assert.ok(encrypts, name);
      assert.deepEqual(secrets.map(({ source }) => source).filter(secret => /_(ca|certificate|key)$/.test(secret) && secret !== 'api_key').sort(), has, name);
    }
  });

  test('give nginx the memory that five full nodes take of it, with TLS', () => {
    const [, kib] = read('docs/deployment.md').match(/(\d+) KiB with TLS/);
    const { environment } = services['gateway-1'];
    const memory = Number(services.nginx.deploy.resources.limits.memory);
    assert.ok(memory >= 5 * environment.MAX_CONNECTIONS * kib * 1024, `${memory} bytes`);
  });

  test('limit the handshakes of an address at the nodes as at nginx', async () => {
    const chosen = { HANDSHAKES_PER_SECOND: '7', HANDSHAKE_BURST: '90' };
    for (const [variables, expected] of [[{}, '20/s burst 200'], [chosen, '7/s burst 90']]) {
      const { services: { nginx, ...others } } = await config({ SECRETS_DIR: './secrets', ...variables }, ...files);
      const { NGINX_HANDSHAKES_PER_SECOND: rate, NGINX_HANDSHAKE_BURST: burst } = nginx.environment;
      assert.equal(`${rate}/s burst ${burst}`, expected);
      for (const name of ['gateway-1', 'gateway-2', 'gateway-3', 'gateway']) {
        assert.equal(others[name].environment.MIDPLANE_HTTP__HANDSHAKE_RATE, expected, name);
      }
    }
  });

  test('run nothing as root', () => {
    for (const [name, { user }] of Object.entries(services)) assert.match(user ?? '', /^[1-9]\d*:\d+$/, name);
    assert.equal(services['gateway-1'].user, read('Dockerfile').match(/^USER (.*)$/m)[1]);
  });

  test('confine every process', () => {
    for (const [name, service] of Object.entries(services)) {
      assert.ok(service.read_only, name);
      assert.ok(service.logging.options['max-size'], name);
      assert.deepEqual([service.cap_drop, service.security_opt], [['ALL'], ['no-new-privileges:true']], name);
      assert.ok(service.healthcheck && service.deploy.resources.limits.memory, name);
      for (const [key, value] of Object.entries(service.environment ?? {})) {
        if (/PASSWORD|SECRET|KEY(?!_PREFIX)/.test(key)) assert.match(value, /^\/run\/secrets\//, `${name}: ${key}`);
      }
    }
  });

  test('give a stopping node ten seconds more than it takes for itself', () => {
    for (const name of ['gateway-1', 'gateway-2', 'gateway-3', 'gateway']) {
      const { environment, stop_grace_period: grace } = services[name];
      assert.equal(seconds(grace), seconds(environment.MIDPLANE_NODE__SHUTDOWN_TIMEOUT) + 10, name);
    }
  });

  test('are written so that docker-compose 1.29 reads them', () => {
    const refused = [/^version:/m, /^name:/m, /^include:/m, /^\s+(develop|post_start|attach|gpus|dockerfile_inline|start_interval|pids):/m, /!reset|!override/,
      /\$\{\w+:?\+/, /\$\{\w+:?-\$\{/, /^\s+content:/m, /pull_policy: missing/, /create_host_path/, /@sha256:/];
    for (const file of files) for (const pattern of refused) assert.doesNotMatch(read(file), pattern, file);
  });

  test('are all told of, with everything that can be set', () => {
    const told = read('docs/deployment.md');
    for (const name of readdirSync(join(project, 'compose')).filter(name => name.endsWith('.yaml'))) assert.ok(told.includes(name), name);
    const variables = new Set(files.flatMap(file => [...read(file).matchAll(/\$\{(\w+)/g)].map(([, name]) => name)));
    const missing = [...variables].filter(name => !told.includes(`\`${name}\``));
    assert.deepEqual(missing, []);
  });
});
