// Messages that are compressed on the WebSocket (permessage-deflate), as browsers and `ws` offer it: bytes on the wire.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { App, Raw, embedded, eventually, fresh, listeningOn, listenings, wires } from './harness.mjs';
import { scenarios, suite, withApps } from './suite.mjs';

const on = { MIDPLANE_WEBSOCKET__COMPRESSION: 'true', MIDPLANE_CLIENT__PING_INTERVAL: '60s', ...listeningOn };
const never = { webSocket: { perMessageDeflate: false } };
const large = Object.fromEntries(Array.from({ length: 200 }, (_, row) => [`row${row}`, { price: row * 7, state: 'open' }]));
const size = JSON.stringify(large).length;

/** Bytes that came while `during` ran. */
async function bytes(socket, during) {
  const before = socket._socket.bytesRead;
  await during();
  return socket._socket.bytesRead - before;
}

// What depends on what a message looks like.
const { publishing, recovering, patching, filtering } = scenarios;
suite(
  'one node whose WebSockets compress whatever they can',
  () => embedded({ MIDPLANE_WEBSOCKET__COMPRESSION: 'true', MIDPLANE_WEBSOCKET__COMPRESSION_MIN_SIZE: '0' }),
  { of: { publishing, recovering, patching, filtering } },
);

describe('compressed WebSockets', { timeout: 120_000 }, () => {
  let topology;
  before(async () => (topology = await embedded(on)));
  after(() => topology?.stop());

  for (const wire of wires) {
    test(`${wire}: of one publication those who agreed get less, and all get the same`, withApps(async keep => {
      const channel = fresh('chat');
      const apps = [];
      for (const options of [{}, {}, never]) apps.push(await keep(new App(wire, topology.first, options)).connect());
      assert.deepEqual(apps.map(({ socket }) => Object.keys(socket._extensions)), [['permessage-deflate'], ['permessage-deflate'], []]);
      const listeners = [];
      for (const app of apps) listeners.push(await app.subscribe(channel));

      const reads = apps.map(({ socket }, index) => bytes(socket, () => listeners[index].received(1)));
      await topology.first.publish(channel, large);
      const [first, second, plain] = await Promise.all(reads);
      for (const { data } of listeners) assert.deepEqual(data, [large]);
      assert.equal(first, second);
      assert.ok(first < size / 3, `${first} bytes of ${size}`);
      assert.ok(plain >= size, `${plain} bytes of ${size}`);

      const small = apps.map(({ socket }, index) => bytes(socket, () => listeners[index].received(2)));
      await topology.first.publish(channel, { small: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' });
      const [little, , asMuch] = await Promise.all(small);
      assert.equal(little, asMuch, 'too small to be compressed');
    }));

    test(`${wire}: what is recovered and what is patched comes compressed as well`, withApps(async keep => {
      const channel = fresh('patched');
      const app = await keep(new App(wire, topology.first)).connect();
      const listener = await app.subscribe(channel, { delta: 'fossil' });
      await app.whileAway(topology.first, () => topology.first.publish(channel, large));
      await listener.received(1);
      assert.ok(app.socket._socket.bytesRead < size / 2, `${app.socket._socket.bytesRead} bytes since it is back`);
      const changed = { ...large, row7: { price: 8, state: 'closed' } };
      const read = await bytes(app.socket, async () => {
        await topology.first.publish(channel, changed);
        await listener.received(2);
      });
      assert.deepEqual(listener.data, [large, changed]);
      assert.ok(read < 300, `${read} bytes for a patch`);
    }));

    test(`${wire}: what a client compresses is read`, withApps(async keep => {
      const channel = fresh('chat');
      const app = await keep(new App(wire, topology.first)).connect();
      const listener = await app.subscribe(channel);
      const before = app.socket._socket.bytesWritten;
      await app.publish(channel, large);
      assert.deepEqual(await listener.received(1), [large]);
      const written = app.socket._socket.bytesWritten - before;
      assert.ok(written < size / 3, `${written} bytes of ${size}`);
    }));
  }

  test('a client that only listens gets it compressed', withApps(async keep => {
    const channel = fresh('chat');
    const listening = keep(listenings.uni_websocket(topology.first, { subs: { [channel]: {} } }));
    await listening.connected();
    const read = await bytes(listening.socket, async () => {
      await topology.first.publish(channel, large);
      await eventually('the publication', () => listening.publications(channel).length === 1);
    });
    assert.deepEqual(listening.publications(channel)[0].data, large);
    assert.ok(read < size / 3, `${read} bytes of ${size}`);
  }));

  test('the answer says that no context is kept', withApps(async keep => {
    const raw = keep(await Raw.open(topology.first));
    const { params } = raw.socket._extensions['permessage-deflate'];
    assert.deepEqual(Object.keys(params), ['server_no_context_takeover', 'client_no_context_takeover']);
  }));

  test('a bomb closes the connection (1009), rubbish does too (1007)', withApps(async keep => {
    const bomb = keep(await Raw.connect(topology.first));
    bomb.socket.send('0'.repeat(1 << 20)); // a thousand bytes on the wire
    assert.equal(await bomb.closeCode(), 1009);
    const rubbish = keep(await Raw.connect(topology.first));
    rubbish.socket._socket.write(Buffer.from([0xc1, 0x84, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]));
    assert.equal(await rubbish.closeCode(), 1007);
  }));
});

describe('WebSockets where compression is off, as it is by default', { timeout: 60_000 }, () => {
  let topology;
  before(async () => (topology = await embedded()));
  after(() => topology?.stop());

  test('nobody gets it, whatever is offered', withApps(async keep => {
    const channel = fresh('chat');
    const app = await keep(new App('json', topology.first)).connect();
    assert.deepEqual(app.socket._extensions, {});
    const listener = await app.subscribe(channel);
    const read = await bytes(app.socket, async () => {
      await topology.first.publish(channel, large);
      await listener.received(1);
    });
    assert.ok(read >= size, `${read} bytes of ${size}`);
  }));
});
