// The cluster as operators start it: real containers, real nginx, NATS and Prometheus, the official SDK. Run by scripts/smoke.sh.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { connect } from '@nats-io/transport-node';

import { App, carryBy } from '../harness/sdk.mjs';
import { project } from '../harness/process.mjs';
import { Publisher } from '../harness/publisher.mjs';
import { token } from '../harness/tokens.mjs';
import { eventually } from '../harness/wait.mjs';
import { compose, docker, edge, enableTls, encrypted, gateways, inspect, prometheus, requests, scaled, secret, secureEdge } from './stack.mjs';

let apps = [];
let channels = 0;
const fresh = () => `chat:smoke-${(channels += 1)}`;

async function enter(count, options = {}) {
  const one = index => new App('json', edge, { token: token({ sub: `user-${index}` }, { key: secret('jwt_secret') }), ...options }).connect();
  const joined = await Promise.all(Array.from({ length: count }, (_, index) => one(index)));
  apps.push(...joined);
  return joined;
}

/** `count` clients hear everything that is published while `trouble` comes over the nodes; no handshake fails. */
async function nothingIsLost(count, trouble) {
  const channel = fresh();
  const began = (await requests()).length;
  const joined = await enter(count);
  const listeners = await Promise.all(joined.map(app => app.subscribe(channel)));
  const publisher = new Publisher(gateways, [channel], { pace: 20 });
  try {
    await trouble(joined);
    await publisher.finish();
  } finally {
    await publisher.abandon();
  }
  const expected = publisher.expected(channel);
  for (const listener of listeners) {
    await eventually('everything arrives', () => listener.data.length >= expected.length, 30);
    assert.deepEqual(listener.data, expected);
    assert.ok(listener.subscribed.slice(1).every(({ recovered }) => recovered), 'recovered whole');
  }
  const sockets = joined.reduce((sum, app) => sum + app.sockets.length, 0);
  for (const app of joined) app.close();
  const noted = await eventually('nginx has noted every socket', async () => {
    const handshakes = (await requests()).slice(began).filter(({ uri }) => uri === '/connection/websocket');
    return handshakes.length >= sockets && handshakes;
  });
  const failed = noted.filter(({ status }) => status !== '101');
  assert.equal(failed.length, 0, `${failed.length} handshakes failed, one of them: ${JSON.stringify(failed[0])}`);
  return { published: expected.length, sockets };
}

describe('the cluster of compose.yaml', { timeout: 600_000 }, () => {
  afterEach(() => {
    carryBy('websocket');
    for (const app of apps) app.close();
    apps = [];
  });
  after(() => compose('ps').then(console.log), { timeout: 30_000 });

  test('three nodes know each other, and nginx answers for them', async () => {
    const { result } = await gateways[0].api('info');
    assert.deepEqual(result.nodes.map(({ name }) => name).sort(), ['gateway-1', 'gateway-2', 'gateway-3']);
    for (const path of ['/health', '/ready']) assert.equal((await fetch(edge.url + path)).status, 200);
    const load = await (await fetch(`${edge.url}/cluster/metrics`)).json();
    assert.deepEqual([load.totalServers, load.totalCapacity, load.recommendedAction], [3, 15_000, 'maintain'], JSON.stringify(load));
    for (const gateway of gateways) {
      const status = await (await fetch(`${gateway.url}/cluster/status`)).json();
      assert.deepEqual([status.serverId, status.status, status.clusterSize], [gateway.service, 'healthy', 3]);
    }
  });

  test('clients on every node hear each other', async () => {
    const channel = fresh();
    const joined = await enter(6);
    await eventually('two on each node', async () => (await Promise.all(gateways.map(each => each.sockets()))).every(count => count === 2));
    const listeners = await Promise.all(joined.map(app => app.subscribe(channel)));
    for (const [index, app] of joined.entries()) await app.publish(channel, index);
    for (const listener of listeners) assert.deepEqual(await listener.received(6), [0, 1, 2, 3, 4, 5]);
    await eventually('everybody is seen', async () => (await gateways[1].api('presence_stats', { channel })).result.num_clients === 6);
  });

  for (const transport of ['http_stream', 'sse']) {
    test(`${transport} comes through as it is written`, async () => {
      carryBy(transport);
      const channel = fresh();
      const [ada, bob] = await enter(2);
      const listener = await bob.subscribe(channel);
      await ada.subscribe(channel);
      for (let number = 1; number <= 3; number += 1) {
        await ada.publish(channel, number);
        assert.equal((await listener.received(number)).at(-1), number);
      }
    });
  }

  test('what backends publish by HTTP and by NATS arrives', async () => {
    const channel = fresh();
    const [app] = await enter(1);
    const listener = await app.subscribe(channel);
    await gateways[2].api('publish', { channel, data: 'by HTTP' });
    const [{ NetworkSettings: { Networks } }] = await inspect('nats');
    const servers = `nats://${Object.values(Networks)[0].IPAddress}:4222`;
    const nats = await connect({ servers, user: 'backend', pass: secret('nats_backend_password'), inboxPrefix: '_INBOX.backend' });
    const stored = await nats.request(`midplane.pub.${channel.replace(':', '.')}`, '"by NATS"', { timeout: 5000 });
    assert.ok(stored.json().seq > 0, stored.string());
    await nats.close();
    assert.deepEqual(await listener.received(2), ['by HTTP', 'by NATS']);
    await assert.rejects(connect({ servers, reconnect: false }), /authorization/i);
  });

  test('what is not for the outside is closed', async () => {
    for (const path of ['/metrics', '/api/info', '/cluster/nodes', '/console']) assert.equal((await fetch(edge.url + path)).status, 403, path);
    for (const path of ['/api/info', '/cluster/drain', '/cluster/scale']) {
      assert.equal((await fetch(gateways[0].url + path, { method: 'POST', body: '{}' })).status, 401, path);
    }
    for (const service of ['nats', 'gateway-1', 'gateway-2', 'gateway-3', 'prometheus', 'grafana']) {
      const [{ HostConfig: { PortBindings } }] = await inspect(service);
      for (const { HostIp } of Object.values(PortBindings).flat()) assert.equal(HostIp, '127.0.0.1', service);
    }
  });

  test('the other configurations of nginx are read too', async () => {
    for (const upstream of readdirSync(join(project, 'nginx/upstreams'))) {
      const check = 'sh /etc/nginx/midplane/start.sh prepare && nginx -p /run/nginx/check -c /run/nginx/check/nginx.conf -t';
      await compose('exec', '-T', '-e', `NGINX_UPSTREAM=${upstream.replace('.conf', '')}`, '-e', 'NGINX_RUN=/run/nginx/check', 'nginx', 'sh', '-c', check);
    }
  });

  test('settings and secrets are their owner\'s alone', () => {
    assert.equal(statSync(process.env.CLUSTER_ENV).mode & 0o777, 0o600);
    assert.equal(statSync(process.env.SECRETS_DIR).mode & 0o777, 0o700);
    const names = readdirSync(process.env.SECRETS_DIR);
    const values = names.map(secret);
    assert.equal(new Set(values).size, names.length);
    for (const value of values) assert.match(value, /^[0-9a-f]{64}$/);
  });

  test('processes have no more rights than they need', async () => {
    for (const service of ['nats', 'gateway-1', 'nginx', 'prometheus', 'grafana']) {
      const [{ HostConfig, Config }] = await inspect(service);
      assert.ok(HostConfig.ReadonlyRootfs && HostConfig.CapDrop.includes('ALL') && !HostConfig.Privileged, service);
      assert.ok(HostConfig.SecurityOpt.includes('no-new-privileges:true'), service);
      assert.match(Config.User, /^[1-9]\d*:\d+$/, service);
      for (const each of Config.Env) assert.doesNotMatch(each, /(PASSWORD|SECRET|KEY)=./, service);
    }
    await assert.rejects(compose('exec', '-T', 'gateway-1', 'touch', '/etc/x'));
    await assert.rejects(compose('exec', '-T', 'nats', 'wget', '-T', '2', '-q', '-O', '-', 'http://1.1.1.1/'), 'NATS has no way out');
  });

  test('a node that is killed costs nothing', async t => {
    const { published } = await nothingIsLost(9, async joined => {
      await docker('kill', (await inspect('gateway-2'))[0].Id);
      await eventually('its clients came back', () => joined.filter(({ connected }) => connected.length > 1).length >= 3);
      await compose('start', 'gateway-2');
      await gateways[1].ready();
    });
    t.diagnostic(`${published} publications`);
  });

  test('a node is drained by a word to another, its clients lose nothing, and it serves again once it is made anew', async () => {
    await nothingIsLost(9, async joined => {
      const headers = { 'x-api-key': secret('api_key') };
      const told = await fetch(`${gateways[0].url}/cluster/drain`, { method: 'POST', headers, body: JSON.stringify({ serverId: 'gateway-2' }) });
      assert.equal(told.status, 202);
      await eventually('it has no clients', async () => await gateways[1].sockets() === 0);
      assert.equal((await fetch(`${gateways[1].url}/ready`)).status, 503);
      await eventually('they are elsewhere', () => joined.every(({ centrifuge }) => centrifuge.state === 'connected'));
      await compose('up', '-d', '--no-deps', '--force-recreate', '--wait', 'gateway-2');
    });
  });

  test('the nodes are made anew one after another, and no handshake fails', async t => {
    const { published, sockets } = await nothingIsLost(90, async () => {
      for (const { service } of gateways) await compose('up', '-d', '--no-deps', '--force-recreate', '--wait', service);
    });
    t.diagnostic(`${published} publications, ${sockets} handshakes of 90 clients`);
  });

  test('further nodes are found, by nginx and by Prometheus, and go again', async () => {
    await scaled('up', '-d', '--wait', '--scale', 'gateway=2');
    const further = async () => (await gateways[0].api('info')).result.nodes.filter(({ name }) => !name.startsWith('gateway-'));
    await eventually('five nodes', async () => (await further()).length === 2);
    const containers = (await inspect('gateway')).map(({ Id }) => `${Id.slice(0, 12)}:3001`).sort();
    const { nodes } = await (await fetch(`${gateways[0].url}/cluster/nodes`)).json();
    const addresses = nodes.filter(({ serverId, status }) => status === 'up' && !serverId.startsWith('gateway-')).map(({ address }) => address);
    assert.deepEqual(addresses.sort(), containers, 'each tells its container');
    await eventually('nginx sends clients to all of them', async () => {
      await enter(5);
      const used = (await further()).every(({ num_clients }) => num_clients > 0);
      if (!used) for (const app of apps.splice(0)) app.close();
      return used;
    }, 60);
    await eventually('Prometheus scrapes five', async () => (await prometheus('query', { query: 'sum(up{job="midplane"})' })).result[0]?.value[1] === '5', 60);
    await scaled('up', '-d', '--wait', '--scale', 'gateway=0');
    await eventually('three nodes', async () => (await gateways[0].api('info')).result.nodes.length === 3, 30);
    await compose('up', '-d', '--wait');
  });

  test('Prometheus sees every node, knows its rules, raised no alarm so far, and raises one for a node that is stopped', async () => {
    const up = async () => Object.fromEntries((await prometheus('query', { query: 'up{instance=~"gateway-.+"}' })).result.map(({ metric, value }) => [metric.instance, value[1]]));
    const all = value => ({ 'gateway-1:3001': '1', 'gateway-2:3001': '1', 'gateway-3:3001': value });
    await eventually('all are up', async () => isDeepStrictEqual(await up(), all('1')), 60);
    const { groups } = await prometheus('rules');
    assert.ok(groups.length > 0);
    for (const { name, health, lastError } of groups.flatMap(({ rules }) => rules)) assert.notEqual(health, 'err', `${name}: ${lastError}`);
    // A node was killed, one drained, all were made anew, and further ones came and went.
    const fired = await prometheus('query', { query: 'max_over_time(ALERTS{alertstate="firing"}[30m])' });
    assert.deepEqual(fired.result.map(({ metric }) => metric), []);
    await compose('stop', 'gateway-3');
    await eventually('one is down', async () => isDeepStrictEqual(await up(), all('0')), 60);
    await eventually('there is an alarm', async () => (await prometheus('alerts')).alerts
      .some(({ labels, state }) => state === 'firing' && labels.alertname === 'MidplaneNodeDown' && labels.instance === 'gateway-3:3001'), 150);
    await compose('start', 'gateway-3');
    await gateways[2].ready();
  });

  test('every query of every dashboard finds its series', async t => {
    const folder = join(project, 'grafana/dashboards');
    const boards = readdirSync(folder).filter(name => name.endsWith('.json')).map(name => JSON.parse(readFileSync(join(folder, name), 'utf8')));
    const queries = boards.flatMap(({ title, panels }) => panels.flatMap(panel => (panel.targets ?? []).map(({ expr }) => ({ title: `${title}: ${panel.title}`, expr }))));
    const values = { __rate_interval: '2m', __interval: '2m', __range: '10m', job: '.+', instance: '.+' };
    const filled = expr => Object.entries(values).reduce((query, [name, value]) => query.replaceAll(new RegExp(`\\$${name}\\b`, 'g'), value), expr);
    for (const { title, expr } of queries) {
      // Each selector by itself too: most queries end in `or vector(0)`, which is always there.
      const asked = [filled(expr), ...filled(expr).match(/\b(?:midplane|process)_[a-z_]+\{[^}]*\}/g) ?? []];
      for (const query of asked) assert.ok((await prometheus('query', { query })).result.length > 0, `${title}: ${query}`);
    }
    t.diagnostic(`${queries.length} queries of ${boards.length} dashboards`);
  });

  test('three NATS servers and TLS everywhere are laid over it', async () => {
    const ca = await enableTls();
    await encrypted('up', '-d', '--wait');
    const { account_details: accounts } = JSON.parse(await encrypted('exec', '-T', 'nats-3', 'wget', '-q', '-O', '-', 'http://127.0.0.1:8222/jsz?streams=1&config=1'));
    const streams = accounts.flatMap(({ stream_detail: details }) => details ?? []);
    assert.ok(streams.some(({ name }) => name === 'MP_midplane_chat'));
    assert.ok(streams.every(({ config }) => config.num_replicas === 3), JSON.stringify(streams));
    const key = secret('jwt_secret');
    const [ada, bob] = await Promise.all(['ada', 'bob'].map(sub => new App('json', secureEdge, { token: token({ sub }, { key }), webSocket: { ca } }).connect()));
    apps.push(ada, bob);
    const channel = fresh();
    const [listener] = await Promise.all([bob, ada].map(app => app.subscribe(channel)));
    await ada.publish(channel, 'in secret');
    assert.deepEqual(await listener.received(1), ['in secret']);
    const moved = await fetch(`${edge.url}/connection/sse`, { redirect: 'manual' });
    assert.deepEqual([moved.status, new URL(moved.headers.get('location')).port], [308, process.env.HTTPS_PORT]);
  });
});
