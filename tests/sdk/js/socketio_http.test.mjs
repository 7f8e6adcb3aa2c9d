// What the official server does over HTTP beside the protocol: the client's files, compression, a cookie, CORS.
import assert from 'node:assert/strict';
import { get } from 'node:http';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { runInNewContext } from 'node:vm';

import { Node } from './harness.mjs';

const page = 'https://page.example';

let node;
let plain;

before(async () => {
  const namespaces = JSON.stringify([{ name: '/', rooms: 'chat', join: ['lobby'] }]);
  node = await Node.start('http', {
    MIDPLANE_SOCKETIO__NAMESPACES: namespaces,
    MIDPLANE_SOCKETIO__COOKIE: 'io',
    MIDPLANE_CLIENT__ALLOWED_ORIGINS: JSON.stringify([page]),
  });
  plain = await Node.start('plain', {
    MIDPLANE_SOCKETIO__NAMESPACES: namespaces,
    MIDPLANE_SOCKETIO__SERVE_CLIENT: 'false',
    MIDPLANE_SOCKETIO__HTTP_COMPRESSION_THRESHOLD: '0',
  });
});

after(() => Promise.all([node?.stop(), plain?.stop()]));

/** An answer as it comes over the wire: `fetch` would hide its compression. */
const raw = (url, headers = {}) => new Promise((resolve, reject) => {
  get(url, { headers }, response => {
    const parts = [];
    response.on('data', part => parts.push(part));
    response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
  }).on('error', reject);
});

const polling = server => `${server.url}/socket.io/?EIO=4&transport=polling`;

/** A session that is in the main namespace, with a room full of what was said meanwhile. */
async function session(server) {
  const { sid } = JSON.parse((await (await fetch(polling(server))).text()).slice(1));
  const url = `${polling(server)}&sid=${sid}`;
  await fetch(url, { method: 'POST', body: '40' });
  await (await fetch(url)).text();
  return url;
}

test('pages find the client where they look for it, once', async () => {
  for (const name of ['socket.io.js', 'socket.io.min.js']) {
    const { status, headers, body } = await raw(`${node.url}/socket.io/${name}`);
    assert.deepEqual([status, headers['content-type'], headers['cache-control']], [200, 'text/javascript; charset=utf-8', 'public, max-age=0']);
    const page = {};
    runInNewContext(body.toString(), page);
    assert.equal(typeof page.io, 'function');
    const again = await raw(`${node.url}/socket.io/${name}`, { 'if-none-match': headers.etag });
    assert.deepEqual([again.status, again.body.length], [304, 0]);
    const small = await raw(`${node.url}/socket.io/${name}`, { 'accept-encoding': 'gzip' });
    assert.equal(small.headers['content-encoding'], 'gzip');
    assert.ok(gunzipSync(small.body).equals(body));
  }
  const module = await raw(`${node.url}/socket.io/socket.io.esm.min.js`);
  assert.match(module.body.toString(), /export\{/);
  assert.equal((await raw(`${plain.url}/socket.io/socket.io.js`)).status, 404);
});

test('what waits is compressed from a kilobyte on, for whom that is welcome', async () => {
  const text = 'word '.repeat(1000);
  for (const [server, accept, coding] of [[node, 'gzip', 'gzip'], [node, 'br', undefined], [plain, 'gzip', undefined]]) {
    const url = await session(server);
    await server.publish('chat:lobby', ['long', text]);
    const { headers, body } = await raw(url, { 'accept-encoding': accept });
    assert.deepEqual([headers['content-encoding'], headers['content-type']], [coding, 'text/plain; charset=UTF-8']);
    const read = coding ? gunzipSync(body) : body;
    assert.equal(read.toString(), `42["long","${text}"]`);
    await server.publish('chat:lobby', ['short']);
    const short = await raw(url, { 'accept-encoding': accept });
    assert.deepEqual([short.headers['content-encoding'], short.body.toString()], [undefined, '42["short"]']);
  }
});

test('a cookie holds the session for proxies, where it is wanted', async () => {
  const first = await raw(polling(node));
  const { sid } = JSON.parse(first.body.toString().slice(1));
  assert.deepEqual(first.headers['set-cookie'], [`io=${sid}; Path=/; HttpOnly; SameSite=Lax`]);
  const url = `${polling(node)}&sid=${sid}`;
  await fetch(url, { method: 'POST', body: '40' });
  assert.equal((await raw(url)).headers['set-cookie'], undefined);
  assert.equal((await raw(polling(plain))).headers['set-cookie'], undefined);
});

test('pages of other origins read answers where they are allowed to', async () => {
  const allowed = await raw(polling(node), { origin: page });
  const said = ({ headers }) => ['access-control-allow-origin', 'access-control-allow-credentials', 'vary'].map(name => headers[name]);
  assert.deepEqual(said(allowed), [page, 'true', 'Origin']);
  const other = await raw(polling(node), { origin: 'https://elsewhere.example' });
  assert.deepEqual([other.status, JSON.parse(other.body.toString()).code], [403, 4]);
  assert.equal(said(other)[0], undefined);
  const preflight = await fetch(polling(node), {
    method: 'OPTIONS',
    headers: { origin: page, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-custom' },
  });
  assert.equal(preflight.status, 204);
  assert.deepEqual(['access-control-allow-methods', 'access-control-allow-headers'].map(name => preflight.headers.get(name)), ['GET, POST, OPTIONS', 'x-custom']);
});
