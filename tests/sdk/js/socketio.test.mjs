// Unmodified clients of Socket.IO, the newest and the oldest of version 4, against one node.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, headers } from '@nats-io/transport-node';
import { io as newest } from 'socket.io-client';
import { io as oldest } from 'socket.io-client-oldest';

import { NatsServer, Node, eventually, fresh, now, token } from './harness.mjs';

const clients = { newest, oldest };
const transports = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };
const namespaces = [
  { name: '/', rooms: 'chat', join: ['lobby'], relay: { say: 'lobby', whisper: 'cellar' }, ack_timeout: '2s' },
  { name: '/plain' },
];

let nats;
let node;
let backend;

before(async () => {
  nats = await NatsServer.start();
  node = await Node.start('socketio', {
    NATS_URL: nats.url,
    MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(namespaces),
    MIDPLANE_SOCKETIO__PING_INTERVAL: '500ms',
  });
  backend = await connect({ servers: nats.url });
});

after(async () => {
  await backend?.close();
  await node?.stop();
  await nats?.kill();
});

let names = 0;

/** The name of an event of one test. */
const named = word => `${word}-${process.pid}-${(names += 1)}`;

/** Serves an event: `answer` gets the request, and gives what is answered, perhaps with headers. */
async function serve(t, subject, answer) {
  const subscription = backend.subscribe(`midplane.sio.${subject}`, {
    callback: (_, message) => {
      const [answered, options] = [answer(message)].flat();
      if (message.reply) message.respond(answered, options);
    },
  });
  await backend.flush();
  t.after(() => subscription.unsubscribe());
}

/** One of a kind of client, closed after the test. */
function open(t, io, options = {}, path = '/') {
  const socket = io(node.url + path, { forceNew: true, reconnectionDelay: 50, ...options });
  t.after(() => socket.close());
  return socket;
}

const once = (socket, event) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no ${event}`)), 20_000);
  socket.once(event, (...args) => {
    clearTimeout(timer);
    resolve(args);
  });
});

for (const [age, io] of Object.entries(clients)) {
  for (const [kind, list] of Object.entries(transports)) {
    describe(`${age} client, ${kind}`, () => {
      const options = { transports: list };

      test('comes in, and has an id of its own', async t => {
        const socket = open(t, io, options);
        await once(socket, 'connect');
        assert.match(socket.id, /^[0-9a-f-]{36}$/);
        assert.ok(!socket.io.engine.id.includes(socket.id));
        if (kind === 'upgrade') await eventually('it is on a WebSocket', () => socket.io.engine.transport.name === 'websocket');
      });

      test('what is relayed to a room reaches everybody there, once and in order', async t => {
        const [ada, bob] = [open(t, io, options), open(t, io, options)];
        await Promise.all([once(ada, 'connect'), once(bob, 'connect')]);
        const about = fresh('about');
        const heard = new Map([[ada, []], [bob, []]]);
        for (const [socket, list] of heard) {
          socket.on('say', (room, number, rest) => room === about && list.push([number, rest]));
        }
        const said = Array.from({ length: 50 }, (_, number) => [number, { deep: ['ä', 1.5, null] }]);
        for (const [number, rest] of said) ada.emit('say', about, number, rest);
        const acked = await new Promise(resolve => ada.emit('say', about, 50, 'last', () => resolve(true)));
        assert.ok(acked);
        for (const list of heard.values()) await eventually('all was heard', () => list.length === 51);
        for (const list of heard.values()) assert.deepEqual(list.slice(0, 50), said);
      });

      test('a service acknowledges, with buffers both ways', async t => {
        const socket = open(t, io, options);
        await once(socket, 'connect');
        const event = named('mirror');
        let asked;
        await serve(t, `_.${event}`, message => {
          asked = message;
          const with_ = headers();
          with_.set('Midplane-Attachments', '2');
          return [Buffer.concat([Buffer.from('[{"got":{"_placeholder":true,"num":0}},"ok"]'), Buffer.from([8, 9])]), { headers: with_ }];
        });
        const [{ got }, ok] = await new Promise(resolve => {
          socket.emit(event, Buffer.from([1, 2, 3]), { in: Buffer.from([4, 5]) }, (...args) => resolve(args));
        });
        assert.deepEqual([[...new Uint8Array(got)], ok], [[8, 9], 'ok']);
        const said = name => asked.headers.get(`Midplane-${name}`);
        assert.deepEqual(['Client', 'User', 'Namespace', 'Event', 'Attachments'].map(said), [socket.id, '', '/', event, '3,2']);
        const body = Buffer.from(asked.data);
        assert.deepEqual([...body.subarray(-5)], [1, 2, 3, 4, 5]);
        const placeholder = num => ({ _placeholder: true, num });
        assert.deepEqual(JSON.parse(body.subarray(0, -5).toString()), [event, placeholder(0), { in: placeholder(1) }]);
      });

      test('stays while nothing happens, over several pings', async t => {
        const socket = open(t, io, options);
        await once(socket, 'connect');
        let pings = 0;
        let closed = false;
        socket.io.engine.on('packet', ({ type }) => { pings += type === 'ping' ? 1 : 0; });
        socket.on('disconnect', () => { closed = true; });
        await eventually('it was pinged', () => pings >= 3);
        assert.ok(!closed);
      });
    });
  }

  describe(`${age} client`, () => {
    test('what a backend publishes is an event for the room', async t => {
      const socket = open(t, io);
      await once(socket, 'connect');
      const [word, thing] = [once(socket, 'word'), once(socket, 'message')];
      await node.publish('chat:lobby', ['word', 1, { two: 2 }]);
      assert.deepEqual(await word, [1, { two: 2 }]);
      await node.publish('chat:lobby', { plain: true });
      assert.deepEqual(await thing, [{ plain: true }]);
      const raw = once(socket, 'message');
      backend.publish('midplane.pub.chat.lobby', Uint8Array.from([255, 1]));
      const [bytes] = await raw;
      assert.deepEqual([...new Uint8Array(bytes)], [255, 1]);
    });

    test('many namespaces share a connection, and leaving one keeps the other', async t => {
      const main = open(t, io, { forceNew: false, multiplex: true });
      const plain = main.io.socket('/plain');
      await Promise.all([once(main, 'connect'), once(plain, 'connect')]);
      assert.notEqual(main.id, plain.id);
      await serve(t, 'plain.hello%20there', () => '["from plain"]');
      const answer = await new Promise(resolve => plain.emit('hello there', resolve));
      assert.equal(answer, 'from plain');
      plain.disconnect();
      const heard = once(main, 'say');
      main.emit('say', 'still here');
      assert.deepEqual(await heard, ['still here']);
    });

    test('a token says who comes, and which rooms', async t => {
      const mine = fresh('chat:mine');
      const auth = { token: token({ sub: 'ada', exp: now(60), channels: [mine, 'plain:other'] }) };
      const socket = open(t, io, { auth });
      await once(socket, 'connect');
      await serve(t, '_.who', message => JSON.stringify([message.headers.get('Midplane-User')]));
      assert.equal(await new Promise(resolve => socket.emit('who', resolve)), 'ada');
      const heard = once(socket, 'private');
      await node.publish(mine, ['private', 7]);
      assert.deepEqual(await heard, [7]);
    });

    test('who may not come in is told, and stays away', async t => {
      for (const [path, auth, message] of [
        ['/nowhere', {}, 'Invalid namespace'],
        ['/', { token: 'rubbish' }, 'invalid token'],
        ['/', { token: token({ sub: 'ada', exp: now(-60) }) }, 'token expired'],
      ]) {
        const socket = open(t, io, { auth }, path);
        const [error] = await once(socket, 'connect_error');
        assert.equal(error.message, message);
        assert.ok(!socket.connected);
        if (io === newest) assert.ok(!socket.active, 'it waits to be told');
      }
    });

    test('a backend disconnects a user for good, or for now', async t => {
      const user = fresh('user');
      const socket = open(t, io, { transports: ['websocket'], auth: { token: token({ sub: user, exp: now(60) }) } });
      await once(socket, 'connect');
      const reconnected = once(socket, 'disconnect').then(() => once(socket, 'connect'));
      await node.api('disconnect', { user, disconnect: { code: 4000, reason: 'again' } });
      await reconnected;
      const [[reason]] = await Promise.all([once(socket, 'disconnect'), node.api('disconnect', { user })]);
      assert.equal(reason, 'io server disconnect');
      assert.ok(!socket.active);
    });

    test('an event that nobody answers is not acknowledged', async t => {
      const socket = open(t, io);
      await once(socket, 'connect');
      let acked = false;
      socket.emit(named('nobody'), () => { acked = true; });
      socket.emit('whisper', 'in a room that it is not in', () => { acked = true; });
      await new Promise(resolve => socket.emit('say', 'later', resolve));
      assert.ok(!acked);
      const counted = result => node.metric(`midplane_socketio_events_total{result="${result}"}`);
      await eventually('both were counted', async () => (await counted('no_responder')) > 0 && (await counted('not_in_room')) > 0);
    });
  });
}

test('a client that does not come in is sent nothing of the rooms that it was in meanwhile', async t => {
  const rooms = Array.from({ length: 40 }, () => `chat:${fresh('room')}`); // more than client.channel_limit
  let comes = true;
  const publishing = Array.from({ length: 4 }, async () => {
    while (comes) await node.publish(rooms[0], ['news']);
  });
  const socket = open(t, newest, { transports: ['websocket'], auth: { token: token({ sub: 'ada', channels: rooms }) } });
  const packets = [];
  socket.io.once('open', () => socket.io.engine.on('message', packet => packets.push(packet)));
  await once(socket, 'disconnect');
  comes = false;
  await Promise.all(publishing);
  // The library keeps what comes before it is told that it is in, and says it once it is, whenever that will be.
  assert.deepEqual(packets, ['1']);
});

test('whoever connects to namespaces without end is sent away', async t => {
  const socket = open(t, newest, { transports: ['websocket'], reconnection: false });
  await once(socket, 'connect');
  const gone = once(socket, 'disconnect');
  const refused = await node.metric('midplane_rate_limited_total{scope="connection"}');
  for (let n = 0; n < 40; n += 1) socket.io.engine.write('0/nowhere,');
  assert.deepEqual((await gone)[0], 'transport close');
  assert.equal(await node.metric('midplane_rate_limited_total{scope="connection"}'), refused + 1);
});

test('a node that stops lets clients come again elsewhere', async t => {
  const other = await Node.start('leaving', { MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify([{ name: '/' }]) });
  t.after(() => other.stop());
  const sockets = [['polling'], ['websocket']].map(transports => newest(other.url, { forceNew: true, transports, reconnectionDelay: 50 }));
  t.after(() => sockets.forEach(socket => socket.close()));
  await Promise.all(sockets.map(socket => once(socket, 'connect')));
  const left = Promise.all(sockets.map(socket => once(socket, 'disconnect')));
  const stopped = other.stop();
  for (const [reason] of await left) assert.equal(reason, 'transport close');
  assert.ok(sockets.every(socket => socket.active), 'they try again');
  await stopped;
});
