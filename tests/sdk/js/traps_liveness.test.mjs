// Traps that clients fall into when a server differs: signs of life, and sizes.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';

import { App, Node, Raw, eventually, fresh, wires } from './harness.mjs';
import { traps } from './traps.mjs';

const CHANNELS = 128; // the default of client.channel_limit

const isPing = message => Object.keys(message).length === 0;

traps('liveness', (trap, system) => {
  let impatient; // pings every second
  before(async () => {
    const pings = { MIDPLANE_CLIENT__PING_INTERVAL: '1s', MIDPLANE_CLIENT__PONG_TIMEOUT: '500ms' };
    impatient = await Node.start('impatient', { ...system.topology.environment, ...pings });
  });
  after(() => impatient?.stop());

  trap('18: in Protobuf a ping is the single byte 00, and so is the pong', async ({ keep }) => {
    const connection = keep(await Raw.connect(impatient, {}, { subprotocol: 'centrifuge-protobuf' }));
    let answered = 0;
    await eventually('three pings', () => {
      const pings = connection.frames.filter(({ data }) => data.equals(Buffer.from([0]))).length;
      for (; answered < pings; answered += 1) connection.send(Buffer.from([0]));
      return answered >= 3;
    });
    assert.equal(connection.farewell, undefined);
  });

  trap('19: two pongs for one ping, or one before the first ping, close with 3501', async ({ keep }) => {
    const twice = keep(await Raw.connect(impatient));
    await eventually('a ping', () => twice.messages.some(isPing));
    twice.send('{}');
    twice.send('{}');
    assert.equal(await twice.closeCode(), 3501);
    const early = keep(await Raw.connect(impatient));
    early.send('{}');
    assert.equal(await early.closeCode(), 3501);
  });

  trap('20: a publication that is too large but could be read is answered with 107, and the client lives', async ({ node, guest }) => {
    const channel = fresh('chat');
    const connection = await guest();
    for (const [id, size] of [[2, 70_000], [3, 200_000]]) {
      const { error } = await connection.ask({ id, publish: { channel, data: 'x'.repeat(size) } });
      assert.equal(error.code, 107);
    }
    assert.deepEqual(await connection.ask({ id: 4, publish: { channel, data: 'fits' } }), { id: 4, publish: {} });
    const { result } = await node.api('history', { channel, limit: -1 });
    assert.deepEqual(result.publications.map(({ data }) => data), ['fits']);
  });

  trap('21: a recovery that is too large for the queue is refused, not a loop of 3008', async ({ node, other, keep }) => {
    const channel = fresh('chat');
    const ada = await keep(new App('json', node)).connect();
    const listener = await ada.subscribe(channel);
    await ada.whileAway(other, async () => {
      for (let number = 1; number <= 250; number += 1) await node.publish(channel, { number, padding: 'x'.repeat(10_000) });
    });
    await eventually('subscribed again', () => listener.subscribed.length === 2);
    if (listener.subscribed[1].recovered) await listener.received(250);
    await node.publish(channel, 'end');
    await eventually('it goes on', () => listener.data.at(-1) === 'end');
    assert.equal(ada.connected.length, 2, 'it was not thrown out for it');
  });

  trap('22: clients that come back with 128 channels each are answered within five seconds', async ({ node, guest }) => {
    const channels = Array.from({ length: CHANNELS }, () => fresh('chat'));
    const positions = await Promise.all(channels.map(channel => node.publish(channel, 1)));
    await Promise.all(channels.map(channel => node.publish(channel, 2)));
    const connections = await Promise.all(Array.from({ length: 20 }, () => guest()));
    const start = Date.now();
    for (const connection of connections) {
      connection.command(...channels.map((channel, index) => ({ id: 10 + index, subscribe: { channel, recover: true, offset: positions[index].offset, epoch: positions[index].epoch } })));
    }
    for (const connection of connections) {
      await connection.reply(10 + CHANNELS - 1);
      const replies = connection.messages.filter(({ subscribe }) => subscribe);
      assert.equal(replies.length, CHANNELS);
      for (const { subscribe } of replies) {
        assert.equal(subscribe.recovered, true);
        assert.deepEqual(subscribe.publications.map(({ data }) => data), [2]);
      }
    }
    assert.ok(Date.now() - start < 5000, `${Date.now() - start} ms`);
  });

  trap('22: and so are applications, which would connect again and again otherwise', async ({ node, other, keep }) => {
    const channels = Array.from({ length: CHANNELS }, () => fresh('chat'));
    const apps = await Promise.all([...wires, ...wires, ...wires, ...wires].map(wire => keep(new App(wire, node)).connect()));
    const listeners = (await Promise.all(apps.map(app => Promise.all(channels.map(channel => app.subscribe(channel)))))).flat();
    for (const app of apps) {
      app.node = other;
      app.breakConnection();
    }
    await Promise.all(channels.map(channel => node.publish(channel, 'missed')));
    await Promise.all(listeners.map(listener => listener.received(1)));
    for (const { subscribed } of listeners) assert.deepEqual([subscribed.length, subscribed.at(-1).recovered], [2, true]);
    for (const app of apps) assert.equal(app.connected.length, 2);
    for (const { data } of listeners) assert.deepEqual(data, ['missed']);
  });
}, { MIDPLANE_CLIENT__CHANNEL_LIMIT: String(CHANNELS) });
