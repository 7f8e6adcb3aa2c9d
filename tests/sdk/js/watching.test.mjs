// Watching a channel or a user live: what happens on whichever node comes to whoever watches at any.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { io } from 'socket.io-client';

import { App, eventually, fresh, openSocket, token, twoNodes } from './harness.mjs';

/** Somebody who watches: the lines that came, and an end to it. */
async function watch(node, subject, key = 'test-api-key') {
  const stop = new AbortController();
  const response = await fetch(`${node.url}/console/watch`, {
    method: 'POST', headers: { 'x-api-key': key }, body: JSON.stringify(subject), signal: stop.signal,
  });
  const watcher = { status: response.status, lines: [], stop: () => stop.abort(), ended: null };
  if (!response.ok) return { ...watcher, body: await response.text() };
  watcher.ended = (async () => {
    let rest = '';
    try {
      for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop();
        watcher.lines.push(...lines.filter(Boolean).map(line => JSON.parse(line)));
      }
    } catch (error) {
      if (error.name !== 'AbortError') throw error;
    }
  })();
  return watcher;
}

describe('watching', { timeout: 120_000 }, () => {
  let topology, left, right;
  let apps = [];
  before(async () => {
    topology = await twoNodes({
      MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify([{ name: '/', rooms: 'chat', join_on: 'join', leave_on: 'leave', may_join: ['*'] }]),
    });
    [left, right] = topology.nodes;
  }, { timeout: 60_000 });
  after(async () => {
    for (const app of apps) app.close();
    await topology?.stop();
  });
  const connect = async (user, node) => {
    const app = await new App('json', node, { token: token({ sub: user }) }).connect();
    apps.push(app);
    return app;
  };
  const seen = ({ lines }) => lines.filter(line => line.seen).map(({ seen }) => seen);
  const saw = (watcher, what, wanted) =>
    eventually(what, () => seen(watcher).find(each => Object.entries(wanted).every(([name, value]) => each[name] === value)));

  test('a channel: publications, and who comes and goes and why, also where presence is not recorded', async () => {
    const channel = fresh('chat');
    const watcher = await watch(left, { channel });
    await eventually('it begins', () => watcher.lines.length > 0);
    assert.deepEqual(watcher.lines[0], { watching: { channel }, node: 'node-0' });
    const ada = await connect('ada', right);
    await ada.subscribe(channel);
    await saw(watcher, 'ada comes', { event: 'subscribed', channel, user: 'ada', node: 'node-1' });
    await right.publish(channel, { n: 1 });
    await eventually('it is published', () => watcher.lines.some(line => line.pub?.data.n === 1 && line.channel === channel));
    await left.api('disconnect', { user: 'ada' });
    await saw(watcher, 'ada is sent away', { event: 'left', channel, user: 'ada', code: 3503 });
    assert.ok(seen(watcher).every(({ event }) => event !== 'connected' && event !== 'closed'), 'those are for who watches the user');
    const { result } = await left.api('channels', { pattern: channel });
    assert.equal(result.channels[channel].num_clients, 1, 'who watches counts as a listener');
    watcher.stop();
    await watcher.ended;
    await eventually('nobody listens', async () => !(await left.api('channels', { pattern: channel })).result.channels[channel]);
  });

  test('a user: connects, subscriptions and closes with their codes, on all nodes', async () => {
    const channel = fresh('room');
    const watcher = await watch(right, { user: 'bob' });
    await eventually('it begins', () => watcher.lines.length > 0);
    const [bob, other] = [await connect('bob', left), await connect('carol', left)];
    await saw(watcher, 'bob connects', { event: 'connected', user: 'bob', node: 'node-0', transport: 'websocket' });
    await bob.subscribe(channel);
    await other.subscribe(channel);
    await saw(watcher, 'bob subscribes', { event: 'subscribed', channel });
    await left.api('unsubscribe', { user: 'bob', channel });
    await saw(watcher, 'bob is unsubscribed', { event: 'unsubscribed', channel });
    await left.api('disconnect', { user: 'bob', disconnect: { code: 4501, reason: 'enough' } });
    await saw(watcher, 'bob is sent away', { event: 'closed', code: 4501, reason: 'enough' });
    assert.ok(seen(watcher).every(({ user }) => user === 'bob'));
    watcher.stop();
    await watcher.ended;
  });

  test('clients of Socket.IO: their sockets, rooms and closes, on all nodes', async t => {
    const room = fresh('room').replaceAll(':', '-');
    const channel = `chat:${room}`;
    const [user, there] = [await watch(left, { user: 'dora' }), await watch(right, { channel })];
    await eventually('both begin', () => user.lines.length > 0 && there.lines.length > 0);
    const dora = await openSocket(t, io, right.url, { auth: { token: token({ sub: 'dora' }) } });
    await openSocket(t, io, right.url, { auth: { token: token({ sub: 'eve' }) } });
    const client = dora.id;
    await saw(user, 'dora connects', { event: 'connected', user: 'dora', client, node: 'node-1', transport: 'socketio' });
    dora.emit('join', room);
    for (const watcher of [user, there]) await saw(watcher, 'dora joins', { event: 'subscribed', channel, client });
    dora.emit('leave', room);
    for (const watcher of [user, there]) await saw(watcher, 'dora leaves', { event: 'unsubscribed', channel, client });
    dora.emit('join', room);
    await eventually('dora is there again', () => seen(there).filter(({ event }) => event === 'subscribed').length === 2);
    await left.api('disconnect', { user: 'dora', disconnect: { code: 4501, reason: 'enough' } });
    await saw(there, 'dora is sent away', { event: 'left', channel, client, code: 4501, reason: 'enough' });
    await saw(user, 'dora is sent away', { event: 'closed', client, code: 4501, reason: 'enough' });
    const own = await openSocket(t, io, left.url, { auth: { token: token({ sub: 'dora' }) } });
    const { id } = own;
    own.disconnect();
    await saw(user, 'dora goes by itself', { event: 'closed', client: id, code: 3000, node: 'node-0' });
    assert.ok(seen(user).every(each => each.user === 'dora'));
    for (const watcher of [user, there]) {
      watcher.stop();
      await watcher.ended;
    }
  });

  test('is for who has the key, and of what there is', async () => {
    assert.equal((await watch(left, { user: 'ada' }, 'another')).status, 401);
    assert.equal((await fetch(`${left.url}/console/watch?user=ada`, { headers: { 'x-api-key': 'test-api-key' } })).status, 405);
    for (const subject of [{}, { user: 'a', channel: 'b' }, { node: 'x' }, { channel: '' }]) {
      assert.equal((await watch(left, subject)).status, 400, JSON.stringify(subject));
    }
    const unknown = await watch(left, { channel: 'nowhere:x' });
    assert.deepEqual([unknown.status, JSON.parse(unknown.body).error.code], [404, 404]);
    const all = await Promise.all(Array.from({ length: 32 }, (_, index) => watch(left, { user: `${index}` })));
    assert.ok(all.every(({ status }) => status === 200));
    assert.equal((await watch(left, { user: 'one more' })).status, 503);
    for (const { stop } of all) stop();
    await Promise.all(all.map(({ ended }) => ended));
    await eventually('there is room again', async () => {
      const watcher = await watch(left, { user: 'one more' });
      watcher.stop?.();
      await watcher.ended;
      return watcher.status === 200;
    });
  });

  test('who watches is told when the node stops, and does not hold it up', async () => {
    const watcher = await watch(right, { user: 'ada' });
    await eventually('it begins', () => watcher.lines.length > 0);
    await right.stop();
    await watcher.ended;
    assert.deepEqual(watcher.lines.at(-1), { end: 'stopping' });
    assert.ok(!right.process.log().includes('requests in flight'), right.process.logFile);
  });
});
