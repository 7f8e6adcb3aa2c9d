// What one client may do, and what it is told when it wants more.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { io } from 'socket.io-client';

import { App, Node, Raw, carryBy, embedded, eventually, fresh, openSocket, token } from './harness.mjs';
import { withApps } from './suite.mjs';

describe('rates of one connection', { timeout: 120_000 }, () => {
  let topology;
  before(async () => {
    topology = await embedded({ MIDPLANE_CLIENT__PUBLISH_RATE: '1/s burst 5', MIDPLANE_CLIENT__SUBSCRIBE_RATE: '1/s burst 5' });
  });
  after(() => topology?.stop());

  for (const [what, request] of [
    ['publications', channel => ({ publish: { channel, data: 1 } })],
    ['subscriptions', () => ({ subscribe: { channel: fresh('plain') } })],
  ]) {
    test(`more ${what} than allowed fail with 111 for the moment, and who does not stop is closed for good with 3509`, withApps(async keep => {
      const node = topology.first;
      const limited = () => node.metric('midplane_rate_limited_total{scope="connection"}');
      const before = await limited();
      const connection = keep(await Raw.connect(node));
      const channel = fresh('plain');
      const commands = count => Array.from({ length: count }, (_, index) => ({ id: 10 + index, ...request(channel) }));
      connection.command(...commands(8));
      await connection.reply(17);
      const refused = connection.messages.filter(({ error }) => error);
      assert.ok(refused.length >= 2 && refused.length <= 3, JSON.stringify(refused));
      for (const { error } of refused) assert.deepEqual([error.code, error.temporary], [111, true]);
      assert.equal(connection.farewell, undefined);

      connection.command(...commands(200).map(command => ({ ...command, id: command.id + 100 })));
      assert.equal(await connection.closeCode(), 3509);
      await eventually('all are counted', async () => (await limited()) - before >= 100);
    }));
  }

  test('a client that stays below its rate is served on and on', withApps(async keep => {
    const connection = keep(await Raw.connect(topology.first));
    const channel = fresh('plain');
    for (let id = 10; id < 15; id += 1) assert.deepEqual(await connection.ask({ id, publish: { channel, data: 1 } }), { id, publish: {} });
  }));
});

describe('bytes of one connection', { timeout: 120_000 }, () => {
  let node;
  before(async () => {
    node = await Node.start('bytes', {
      MIDPLANE_CLIENT__BYTES_RATE: '1/h burst 256KiB',
      MIDPLANE_SOCKETIO__MAX_PAYLOAD: '256KiB',
      MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify([{ name: '/' }]),
    });
  });
  after(() => node?.stop());
  const limited = () => node.metric('midplane_rate_limited_total{scope="connection_bytes"}');
  const text = 'x'.repeat(40_000);

  for (const transport of ['websocket', 'http_stream', 'sse']) {
    test(`${transport}: more than allowed fails with 111, and what is smaller still passes`, withApps(async keep => {
      const before = await limited();
      carryBy(transport);
      const ada = await keep(new App('json', node, { token: token({ sub: 'ada' }) })).connect();
      carryBy('websocket');
      const channel = fresh('chat');
      await ada.subscribe(channel);
      const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => ada.centrifuge.publish(channel, text)));
      const refused = outcomes.filter(({ status }) => status === 'rejected');
      assert.deepEqual([outcomes.length - refused.length, refused.map(({ reason }) => reason.code)], [6, [111, 111]]);
      await ada.centrifuge.publish(channel, 'less');
      assert.equal(await limited(), before + 2);
      assert.equal(ada.connected.length, 1);
    }));
  }

  for (const transport of ['websocket', 'polling']) {
    test(`a client of Socket.IO on ${transport} that sends more is closed, and comes again`, async t => {
      const before = await limited();
      const socket = await openSocket(t, io, node.url, { transports: [transport], reconnectionDelay: 50, auth: { token: token({ sub: 'ada' }) } });
      let connects = 0;
      socket.on('connect', () => { connects += 1; });
      const closed = new Promise(resolve => socket.once('disconnect', resolve));
      for (let n = 0; n < 8; n += 1) socket.emit('say', text);
      await closed;
      await eventually('it is back', () => connects === 1);
      assert.equal(await limited(), before + 1);
    });
  }
});

describe('a client with many subscriptions', { timeout: 120_000 }, () => {
  let topology;
  before(async () => (topology = await embedded()));
  after(() => topology?.stop());

  test('comes back with all of them in one frame, beyond the size of a publication', withApps(async keep => {
    const ada = await keep(new App('json', topology.first, { token: token({ sub: 'ada' }) })).connect();
    const channels = Array.from({ length: 30 }, () => fresh('private'));
    const long = channel => token({ sub: 'ada', channel, info: { padding: 'x'.repeat(3000) } });
    const listeners = await Promise.all(channels.map(channel => ada.subscribe(channel, { token: long(channel) })));
    ada.breakConnection();
    await eventually('it is back', () => ada.connected.length === 2);
    await eventually('with everything', () => listeners.every(({ subscribed, unsubscribed }) => subscribed.length === 2 || unsubscribed));
    for (const { unsubscribed } of listeners) assert.equal(unsubscribed, null);
  }));
});
