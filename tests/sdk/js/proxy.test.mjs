// The project's nginx in front of real nodes: what it does when they go, whom it limits, what it lets nobody see.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import http2 from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import WebSocket from 'ws';

import { App, NatsServer, Nginx, Node, Publisher, eventually, fresh, token } from './harness.mjs';
import { freePort } from './harness/process.mjs';

/** Nodes keep their port when they start again, as containers do. */
async function cluster(nats, names = ['one', 'two', 'three']) {
  const start = async name => Node.start(name, {
    NATS_URL: nats.url, MIDPLANE_HTTP__BIND: `127.0.0.1:${await freePort()}`, MIDPLANE_HTTP__TRUSTED_PROXIES: '127.0.0.1',
  });
  return Promise.all(names.map(start));
}

/** What was started, ended with the test. */
async function ending(t, starting) {
  const started = await starting;
  t.after(() => started.stop());
  return started;
}

/** The answer to a request whose path goes out as it is written. */
function ask(proxy, path, headers = {}, method = 'GET') {
  return new Promise((resolve, reject) => {
    const asking = request({ host: '127.0.0.1', port: proxy.port, path, headers, method }, response => {
      response.resume();
      response.on('end', () => resolve(response));
    });
    asking.on('error', reject).end();
  });
}

/** A handshake: its status, its headers, and the socket where there is one. */
function knock(proxy, headers = {}, query = '') {
  const socket = new WebSocket(proxy.websocket + query, { headers });
  return new Promise((resolve, reject) => {
    socket.on('upgrade', ({ statusCode: status, headers }) => resolve({ status, headers, socket }));
    socket.on('unexpected-response', (asking, { statusCode: status, headers }) => {
      asking.destroy();
      resolve({ status, headers });
    });
    socket.on('error', reject);
  });
}

async function knocks(proxy, count, headers = () => ({})) {
  const answers = await Promise.all(Array.from({ length: count }, (_, index) => knock(proxy, headers(index))));
  for (const { socket } of answers) socket?.terminate();
  return answers.map(({ status }) => status);
}

const count = (statuses, wanted) => statuses.filter(status => status === wanted).length;

describe('nginx in front of three nodes', { timeout: 120_000 }, () => {
  let nats, nodes, proxy;
  before(async () => {
    nats = await NatsServer.start();
    nodes = await cluster(nats);
    proxy = await Nginx.start(nodes);
  }, { timeout: 60_000 });
  after(async () => {
    await proxy?.stop();
    for (const node of nodes ?? []) await node.stop();
    await nats?.kill();
  }, { timeout: 60_000 });

  /** Clients through the proxy hear everything, while `trouble` comes over the nodes. Gives what nginx noted of handshakes. */
  async function nothingIsLost(clients, trouble) {
    const channel = fresh('chat');
    const began = proxy.requests().length;
    const apps = await Promise.all(Array.from({ length: clients }, () => new App('json', proxy).connect()));
    const publisher = new Publisher(nodes, [channel]);
    try {
      const listeners = await Promise.all(apps.map(app => app.subscribe(channel)));
      await trouble(apps, listeners);
      await eventually('all are in', () => apps.every(({ centrifuge }) => centrifuge.state === 'connected'));
      await publisher.finish();
      const top = publisher.expected(channel).length;
      for (const listener of listeners) {
        const heard = await eventually('everything arrives', () => listener.data.at(-1) === top && listener.data);
        assert.deepEqual(heard, Array.from(heard, (_, index) => heard[0] + index));
        assert.ok(listener.subscribed.slice(1).every(({ recovered }) => recovered));
      }
    } finally {
      await publisher.abandon();
      for (const app of apps) app.close();
    }
    const sockets = apps.reduce((sum, app) => sum + app.sockets.length, 0);
    return eventually('nginx has noted every socket', () => {
      const noted = proxy.requests().slice(began).filter(({ uri }) => uri === '/connection/websocket');
      return noted.length === sockets && noted;
    });
  }

  const spread = async () => Promise.all(nodes.map(node => node.metric('midplane_connections{transport="websocket",protocol="json"}')));

  test('sockets are spread evenly', async () => {
    const apps = await Promise.all(Array.from({ length: 9 }, () => new App('json', proxy).connect()));
    assert.deepEqual(await spread(), [3, 3, 3]);
    for (const app of apps) app.close();
    await eventually('nginx has noted them', () => proxy.requests().filter(({ status }) => status === '101').length === 9);
  });

  test('a node that is killed costs its clients one more try, and nothing else', async () => {
    const handshakes = await nothingIsLost(9, async apps => {
      await nodes[0].kill();
      await eventually('its three clients came back', () => apps.filter(({ connected }) => connected.length > 1).length === 3);
    });
    assert.ok(handshakes.every(({ status }) => status === '101'), JSON.stringify(handshakes));
    const again = handshakes.filter(({ upstream }) => upstream.includes(','));
    assert.ok(again.length > 0 && again.every(({ upstream_status }) => upstream_status === '502, 101'), JSON.stringify(again));
    await nodes[0].run();
  });

  test('no handshake fails while the nodes restart one after another', async () => {
    const handshakes = await nothingIsLost(30, async () => {
      for (const node of nodes) {
        await node.stop();
        await node.run();
      }
    });
    assert.ok(handshakes.length >= 60, 'everybody had to move');
    assert.ok(handshakes.every(({ status }) => status === '101'), JSON.stringify(handshakes.filter(({ status }) => status !== '101')));
  });

  test('a node that hangs costs those elsewhere nothing, and once it is killed everybody is in', async () => {
    const channel = fresh('chat');
    const apps = await Promise.all(Array.from({ length: 9 }, () => new App('json', proxy).connect()));
    try {
      const listeners = await Promise.all(apps.map(app => app.subscribe(channel)));
      assert.deepEqual(await spread(), [3, 3, 3]);
      await nodes[0].process.hang();
      let published = 0;
      await eventually('its clients notice', async () => {
        // Fewer than a recovery may bring: noticing takes as long as it takes.
        if (published < 200) {
          await nodes[1].publish(channel, published);
          published += 1;
        }
        return apps.filter(({ connecting }) => connecting.length > 1).length === 3;
      }, 60);
      await nodes[0].kill();
      await eventually('everybody is in', () => apps.every(({ centrifuge }) => centrifuge.state === 'connected'));
      for (const listener of listeners) {
        assert.deepEqual(await listener.received(published), Array.from({ length: published }, (_, index) => index));
      }
      assert.equal(apps.filter(({ connected }) => connected.length === 1).length, 6, 'those elsewhere stayed');
    } finally {
      for (const app of apps) app.close();
    }
    await nodes[0].run();
  });

  test('what operators and backends use is closed, however it is spelled', async () => {
    const closed = ['/metrics', '/api', '/api/publish', '/cluster/status', '/cluster/nodes', '/console', '/console/', '/console/session', '/console/main.js', '/debug',
      '//metrics', '/%6detrics', '/x/../metrics', '/connection/../metrics', '/connection/%2e%2e/api/info', '/./api/stats'];
    for (const path of closed) assert.equal((await ask(proxy, path)).statusCode, 403, path);
    assert.equal((await ask(proxy, '/api/publish', { 'x-api-key': 'test-api-key' }, 'POST')).statusCode, 403);
    for (const path of ['/nginx.conf', '/favicon.ico', '/metricsx']) assert.equal((await ask(proxy, path)).statusCode, 404, path);
    for (const path of ['/health', '/ready']) assert.equal((await ask(proxy, path)).statusCode, 200, path);
  });

  test('the load of the cluster is shown on private networks only, the rest to those who are named', async t => {
    const outer = await ending(t, Nginx.start(nodes, { environment: { TRUSTED_PROXIES: '127.0.0.1', ADMIN_NETWORKS: '198.51.100.0/24' } }));
    const from = async (address, path) => (await ask(outer, path, { 'x-forwarded-for': address })).statusCode;
    assert.notEqual(await from('10.1.2.3', '/cluster/metrics'), 403);
    assert.equal(await from('203.0.113.9', '/cluster/metrics'), 403);
    assert.equal(await from('198.51.100.7', '/metrics'), 200);
    assert.equal(await from('203.0.113.9', '/metrics'), 403);
    assert.equal(await from('203.0.113.9', '/console'), 403);
    const page = await ask(outer, '/console', { 'x-forwarded-for': '198.51.100.7' });
    assert.equal(page.statusCode, 200);
    assert.match(page.headers['content-security-policy'], /^default-src 'none'; script-src 'self';[^,]*$/, 'the page keeps its own, and has one only');
    // The last one is the only one that the trusted proxy wrote.
    assert.equal(await from('198.51.100.7, 203.0.113.9', '/metrics'), 403);
  });

  test('security headers stand on every answer, once, also on that of a handshake', async () => {
    const { status, headers, socket } = await knock(proxy);
    socket.terminate();
    assert.equal(status, 101);
    const answers = { 101: headers };
    for (const path of ['/health', '/metrics', '/nothing']) {
      const { statusCode, headers } = await ask(proxy, path);
      answers[statusCode] = headers;
    }
    assert.deepEqual(Object.keys(answers), ['101', '200', '403', '404']);
    for (const [status, headers] of Object.entries(answers)) {
      assert.equal(headers['x-content-type-options'], 'nosniff', status);
      assert.equal(headers['referrer-policy'], 'no-referrer', status);
      assert.match(headers['content-security-policy'], /^[^,]*frame-ancestors 'none'$/, status);
      assert.equal(headers.server, 'nginx', status);
    }
  });

  test('TLS is ended at nginx, and plain HTTP is sent there', async t => {
    const secure = await ending(t, Nginx.encrypting(nodes));
    const [address, ca] = [secure.secureAddress, readFileSync(secure.authority)];
    const plain = await ask(secure, '/connection/sse?x=1', { host: 'example.com' });
    assert.deepEqual([plain.statusCode, plain.headers.location], [308, 'https://example.com:8443/connection/sse?x=1']);
    const socket = new WebSocket(`wss://${address}/connection/websocket`, { ca });
    const { statusCode, headers } = await new Promise((resolve, reject) => socket.on('upgrade', resolve).on('error', reject));
    socket.terminate();
    assert.deepEqual([statusCode, headers['strict-transport-security']], [101, 'max-age=63072000']);
    const old = new WebSocket(`wss://${address}/connection/websocket`, { ca, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
    await assert.rejects(new Promise((resolve, reject) => old.on('upgrade', resolve).on('error', reject)), /protocol version|alert/);
  });

  test('over TLS a stream comes by HTTP/2, and a WebSocket beside it by HTTP/1.1', async t => {
    const { secureAddress: address, authority } = await ending(t, Nginx.encrypting(nodes));
    const ca = readFileSync(authority);
    const channel = fresh('chat');
    const command = JSON.stringify({ id: 1, connect: { token: token({ sub: 'ada', channels: [channel] }) } });
    const session = http2.connect(`https://${address}`, { ca });
    t.after(() => session.destroy());
    const stream = session.request({ ':path': `/connection/sse?cf_connect=${encodeURIComponent(command)}` });
    let events = '';
    stream.setEncoding('utf8').on('data', chunk => (events += chunk));
    const [{ ':status': status }] = await once(stream, 'response');
    assert.deepEqual([session.alpnProtocol, status], ['h2', 200]);

    const socket = new WebSocket(`wss://${address}/connection/websocket`, { ca });
    t.after(() => socket.terminate());
    let frames = '';
    socket.on('message', frame => (frames += `${frame}\n`));
    socket.on('open', () => socket.send(command));
    const [{ httpVersion }] = await once(socket, 'upgrade');
    assert.equal(httpVersion, '1.1');

    await eventually('both are connected', () => [events, frames].every(heard => heard.includes('"connect":')));
    await nodes[1].publish(channel, 'over both');
    const heard = text => text.split('\n').filter(line => line.includes('"pub":')).map(line => JSON.parse(line.replace(/^data: /, '')).push.pub.data);
    await eventually('both hear it', () => heard(events).length && heard(frames).length);
    assert.deepEqual([heard(events), heard(frames)], [['over both'], ['over both']]);
  });

  test('an address has so many sockets, and further ones are answered 429', async t => {
    const limited = await ending(t, Nginx.start(nodes, { environment: { NGINX_CONNECTIONS_PER_CLIENT: '5' } }));
    const answers = await Promise.all(Array.from({ length: 8 }, () => knock(limited)));
    const statuses = answers.map(({ status }) => status);
    assert.deepEqual([count(statuses, 101), count(statuses, 429)], [5, 3]);
    const { headers } = answers.find(({ status }) => status === 429);
    assert.deepEqual([headers['x-content-type-options'], headers['retry-after']], ['nosniff', '5']);
    for (const { socket } of answers) socket?.terminate();
    await eventually('who leaves makes room', async () => count(await knocks(limited, 1), 101) === 1);
  });

  test('an IPv6 customer is one client, whatever addresses of the network it takes', async t => {
    const limited = await ending(t, Nginx.start(nodes, { environment: { NGINX_CONNECTIONS_PER_CLIENT: '2', TRUSTED_PROXIES: '127.0.0.1' } }));
    const from = network => index => ({ 'x-forwarded-for': `${network}${index + 1}` });
    const [one, other] = await Promise.all([knocks(limited, 4, from('2001:db8:0:1::')), knocks(limited, 2, from('2001:db8:0:2::'))]);
    assert.deepEqual([count(one, 429), count(other, 101)], [2, 2]);
  });

  test('an address has so many handshakes in a second, and further ones are answered 429', async t => {
    const limited = await ending(t, Nginx.start(nodes, { environment: { NGINX_HANDSHAKES_PER_SECOND: '1', NGINX_HANDSHAKE_BURST: '3' } }));
    const statuses = await knocks(limited, 20);
    assert.equal(count(statuses, 101) + count(statuses, 429), 20);
    assert.ok(count(statuses, 101) >= 4 && count(statuses, 429) > 0, `${statuses}`);
  });

  test('no query string and no token gets into the log, also when a node is gone', async t => {
    const alone = await ending(t, Nginx.start([{ address: `127.0.0.1:${await freePort()}` }, ...nodes.slice(1)]));
    for (let each = 0; each < 6; each += 1) {
      const { socket } = await knock(alone, { authorization: 'Bearer sesame-header' }, '?token=sesame-query');
      socket.terminate();
    }
    await ask(alone, '/connection/uni_sse?cf_connect=sesame-query');
    await eventually('they are noted', () => alone.requests().filter(({ uri }) => uri.startsWith('/connection/')).length === 7);
    assert.ok(alone.requests().some(({ upstream_status }) => upstream_status.startsWith('502,')), 'some met the node that is gone');
    assert.ok(!alone.process.log().includes('sesame'), alone.process.logFile);
  });
});

test('however many nodes drain, who serves is found', { timeout: 120_000 }, async t => {
  const nats = await NatsServer.start();
  const nodes = await cluster(nats, ['one', 'two', 'three', 'four', 'five']);
  t.after(async () => {
    await Promise.all(nodes.map(node => node.stop()));
    await nats.kill();
  });
  const proxy = await ending(t, Nginx.start(nodes));
  const apps = await Promise.all(Array.from({ length: 10 }, () => new App('json', proxy).connect()));
  t.after(() => apps.forEach(app => app.close()));
  const [first] = nodes;
  const serving = async () => (await (await fetch(`${first.url}/cluster/metrics`)).json()).totalServers;
  await eventually('all are known', async () => (await serving()) === 5);
  const began = proxy.requests().length;
  const wish = { method: 'POST', headers: { 'x-api-key': 'test-api-key' }, body: JSON.stringify({ action: 'scale_down', targetInstances: 2 }) };
  const { draining } = await (await fetch(`${first.url}/cluster/scale`, wish)).json();
  assert.equal(draining.length, 3);
  await eventually('theirs came back', () => apps.filter(({ connected }) => connected.length > 1).length === 6);
  // They stay until they are ended, without a socket: whoever comes meets all of them first.
  assert.deepEqual(await knocks(proxy, 6), Array(6).fill(101));
  assert.equal((await ask(proxy, '/ready')).statusCode, 200);
  for (const app of apps) app.close();
  const handshakes = await eventually('every socket is noted', () => {
    const noted = proxy.requests().slice(began).filter(({ uri }) => uri === '/connection/websocket');
    return noted.length === 22 && noted;
  });
  assert.ok(handshakes.every(({ status }) => status === '101'), JSON.stringify(handshakes));
  assert.ok(handshakes.some(({ upstream_status }) => upstream_status === '503, 503, 503, 101'), JSON.stringify(handshakes));
});

test('a forged client address does not get through', { timeout: 60_000 }, async t => {
  const node = await ending(t, Node.start('alone', { MIDPLANE_HTTP__TRUSTED_PROXIES: '127.0.0.1', MIDPLANE_HTTP__HANDSHAKE_RATE: '1/s burst 2' }));
  const forged = index => ({ 'x-forwarded-for': `203.0.113.${index + 1}`, 'x-real-ip': `203.0.113.${index + 1}`, forwarded: `for=203.0.113.${index + 1}` });
  const edge = await ending(t, Nginx.start([node]));
  const behind = await ending(t, Nginx.start([node], { environment: { TRUSTED_PROXIES: '127.0.0.1' } }));
  // The node limits an address: it must see one that does not change, whatever the client says of itself.
  assert.ok(count(await knocks(edge, 12, forged), 429) > 0);
  // What a proxy says that nginx was told of, the node believes.
  assert.equal(count(await knocks(behind, 12, forged), 101), 12);
});

describe('clients of Socket.IO come through nginx', { timeout: 120_000 }, () => {
  const namespaces = [{ name: '/', rooms: 'chat', join: ['lobby'], relay: { say: 'lobby' } }];
  let node;
  before(async () => {
    node = await Node.start('alone', { MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(namespaces), MIDPLANE_HTTP__TRUSTED_PROXIES: '127.0.0.1' });
  });
  after(() => node?.stop());

  /** A socket that has come in, with what it heard; closed after the test. */
  async function open(t, proxy, transports) {
    const socket = io(proxy.url, { forceNew: true, reconnection: false, transports });
    t.after(() => socket.close());
    socket.heard = [];
    socket.on('say', text => socket.heard.push(text));
    await new Promise((resolve, reject) => socket.on('connect', resolve).on('connect_error', reject));
    return socket;
  }

  const requests = proxy => proxy.requests().filter(({ uri }) => uri === '/socket.io/');

  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    test(`by ${transports.join(', then ')}, and what they say is as large as it may be`, async t => {
      const proxy = await ending(t, Nginx.start([node]));
      const [one, other] = [await open(t, proxy, transports), await open(t, proxy, transports)];
      const last = transports.at(-1);
      await eventually('they have their transport', () => [one, other].every(({ io }) => io.engine.transport.name === last));
      const large = 'x'.repeat(900_000);
      one.emit('say', 'hello').emit('say', large);
      await eventually('both hear it', () => [one, other].every(({ heard }) => heard.length === 2));
      assert.ok(one.heard[1] === large && other.heard[1] === large);
      one.close();
      other.close();
    });
  }

  test('requests of a session are no handshakes, whose number is limited', async t => {
    const proxy = await ending(t, Nginx.start([node], {
      environment: { NGINX_HANDSHAKES_PER_SECOND: '1', NGINX_HANDSHAKE_BURST: '1', NGINX_CONNECTIONS_PER_CLIENT: '1' },
    }));
    const socket = await open(t, proxy, ['polling']);
    for (let number = 0; number < 50; number += 1) {
      socket.emit('say', number);
      await eventually('it hears itself', () => socket.heard.at(-1) === number);
    }
    const knocking = await Promise.all(Array.from({ length: 20 }, () => ask(proxy, '/socket.io/?EIO=4&transport=polling')));
    assert.ok(count(knocking.map(({ statusCode }) => statusCode), 429) > 0);
    // It looks like a request of a session, and is none: neither of another path, nor with a session that has no name.
    const evading = ['/connection/websocket?sid=x', '/socket.io/?EIO=4&transport=polling&sid='];
    for (const path of evading) {
      const statuses = (await Promise.all(Array.from({ length: 20 }, () => ask(proxy, path)))).map(({ statusCode }) => statusCode);
      assert.ok(count(statuses, 429) > 0, path);
    }
    socket.emit('say', 'still here');
    await eventually('it hears itself', () => socket.heard.at(-1) === 'still here');
    assert.ok(socket.connected && requests(proxy).length > 100);
  });
});
