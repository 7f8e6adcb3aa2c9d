// Unmodified clients of Socket.IO over several nodes, behind the project's nginx, which sends each request to any of them.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '@nats-io/transport-node';
import { io as newest } from 'socket.io-client';
import { io as oldest } from 'socket.io-client-oldest';

import { NatsServer, Nginx, Node, eventually } from './harness.mjs';

const clients = { newest, oldest };
const namespaces = [{ name: '/', rooms: 'chat', join: ['lobby'], ack_timeout: '5s' }, { name: '/live', rooms: 'plain', join: ['lobby'], ack_timeout: '5s' }];

let nats;
let backend;
let names = 0;

/** The name of an event of one test. */
const fresh = word => `${word}-${process.pid}-${(names += 1)}`;

before(async () => {
  nats = await NatsServer.start();
  backend = await connect({ servers: nats.url });
});

after(async () => {
  await backend?.close();
  await nats?.kill();
});

/** Nodes, and nginx in front of them; ended with the tests that use them. */
async function cluster(names, configured = namespaces) {
  const environment = {
    NATS_URL: nats.url,
    MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(configured),
    MIDPLANE_HTTP__TRUSTED_PROXIES: '127.0.0.1',
  };
  const nodes = await Promise.all(names.map(name => Node.start(name, environment)));
  const proxy = await Nginx.start(nodes);
  const stop = async () => {
    await proxy.stop();
    await Promise.all(nodes.map(node => node.stop()));
  };
  return { nodes, proxy, stop };
}

/** A connected socket, with the events that it has heard and how often it has come in; closed after the test. */
async function open(t, proxy, io, options, path = '/') {
  const socket = io(proxy.url + path, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...options });
  t.after(() => socket.close());
  socket.heard = [];
  socket.connects = 0;
  socket.on('connect', () => { socket.connects += 1; });
  socket.onAny((...event) => socket.heard.push(event));
  await eventually('it comes in', () => socket.connected);
  return socket;
}

const emitted = (socket, ...event) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no acknowledgement of ${event[0]}`)), 20_000);
  socket.emit(...event, (...args) => {
    clearTimeout(timer);
    resolve(args);
  });
});

/** Serves an event: `answer` gets the request. */
async function serve(t, event, answer, path = '/') {
  const namespace = path === '/' ? '_' : path.slice(1);
  const subscription = backend.subscribe(`midplane.sio.${namespace}.${event}`, { callback: (_, message) => answer(message) });
  await backend.flush();
  t.after(() => subscription.unsubscribe());
}

/** Calls the server API at a node; its result. */
async function call(node, method, params) {
  const { result, error } = await node.api(method, params);
  assert.equal(error, undefined);
  return result;
}

/** How many requests went over NATS, of all nodes. */
const forwarded = async (nodes, result) => {
  const line = `midplane_socketio_forwarded_total{result="${result}"}`;
  return (await Promise.all(nodes.map(node => node.metric(line)))).reduce((sum, some) => sum + some, 0);
};

for (const [age, io] of Object.entries(clients)) {
  describe(`${age} client by long-polling alone, two nodes`, { timeout: 120_000 }, () => {
    let nodes, proxy, stop;
    before(async () => ({ nodes, proxy, stop } = await cluster(['ada', 'bob'])));
    after(() => stop?.());
    const options = { transports: ['polling'] };

    test('what it says is taken in order, and answered', async t => {
      const event = fresh('say');
      const said = [];
      await serve(t, event, message => {
        const [, number] = message.json();
        said.push(number);
        message.respond(JSON.stringify([number * 2]));
      });
      const socket = await open(t, proxy, io, options);
      const numbers = Array.from({ length: 200 }, (_, number) => number);
      const answers = await Promise.all(numbers.map(number => emitted(socket, event, number)));
      assert.deepEqual(said, numbers);
      assert.deepEqual(answers.flat(), numbers.map(number => number * 2));
      assert.equal(socket.connects, 1);
      assert.ok(await forwarded(nodes, 'done') > 0, 'some of it went over the other node');
    });

    test('buffers go both ways, whole', async t => {
      const event = fresh('mirror');
      await serve(t, event, message => {
        const lengths = message.headers.get('Midplane-Attachments');
        const json = message.string().slice(0, message.string().indexOf(']') + 1);
        const [, ...args] = JSON.parse(json);
        const bytes = message.data.subarray(message.data.length - Number(lengths));
        message.respond(Buffer.concat([Buffer.from(JSON.stringify(args)), bytes]), { headers: message.headers });
      });
      const socket = await open(t, proxy, io, options);
      for (const size of [0, 3, 100_000, 500_000]) {
        const buffer = Buffer.alloc(size, 7);
        const [answer] = await emitted(socket, event, buffer);
        assert.ok(Buffer.from(answer).equals(buffer), `${size} bytes`);
      }
      assert.equal(socket.connects, 1);
    });

    test('more than one server of NATS carries comes in parts', async t => {
      const socket = await open(t, proxy, io, options);
      const event = fresh('large');
      // In base64 two of them are more than one message of NATS carries.
      const attachments = [Buffer.alloc(200_000, 1), Buffer.alloc(250_000, 2)];
      const placeholders = attachments.map((_, num) => ({ _placeholder: true, num }));
      for (let round = 1; round <= 5; round += 1) {
        await Promise.all(nodes.map(node => call(node, 'socketio_emit', {
          to: { sockets: [socket.id] }, event: [event, ...placeholders], attachments: attachments.map(each => each.toString('base64')),
        })));
        await eventually('all of it is heard', () => socket.heard.length === 2 * round);
      }
      for (const [name, ...buffers] of socket.heard) {
        assert.equal(name, event);
        buffers.forEach((buffer, index) => assert.ok(Buffer.from(buffer).equals(attachments[index])));
      }
      assert.equal(socket.connects, 1);
    });

    test('it hears its rooms in order, wherever that comes from, and acknowledges', async t => {
      const socket = await open(t, proxy, io, options);
      const event = fresh('news');
      for (let number = 0; number < 100; number += 1) {
        await call(nodes[number % 2], 'socketio_emit', { to: { rooms: ['lobby'] }, event: [event, number] });
      }
      await eventually('all of it is heard', () => socket.heard.length === 100);
      assert.deepEqual(socket.heard.map(([, number]) => number), Array.from({ length: 100 }, (_, number) => number));
      socket.on('ask', (question, answer) => answer(`${question}!`));
      for (const node of nodes) {
        const asked = { to: { sockets: [socket.id] }, event: ['ask', 'well'], ack_timeout_ms: 5000 };
        const { acks, complete } = await call(node, 'socketio_emit', asked);
        assert.ok(complete);
        assert.deepEqual(acks.map(({ args }) => args), [['well!']]);
      }
      assert.equal(socket.connects, 1);
    });

    test('who goes is gone everywhere', async t => {
      const socket = await open(t, proxy, io, options);
      const known = async () => Object.keys((await call(nodes[0], 'socketio_sockets', { to: { sockets: [socket.id] } })).sockets);
      const { id } = socket;
      assert.deepEqual(await known(), [id]);
      socket.close();
      await eventually('it is gone', async () => {
        const { sockets } = await call(nodes[1], 'socketio_sockets', { to: { sockets: [id] } });
        return Object.keys(sockets).length === 0;
      });
    });
  });
}

/** How many sessions went to the node of their WebSocket. */
const moved = async (nodes, result) => {
  const line = `midplane_socketio_moves_total{result="${result}"}`;
  return (await Promise.all(nodes.map(node => node.metric(line)))).reduce((sum, some) => sum + some, 0);
};

/** On a WebSocket, wherever it found its session. */
const upgraded = socket => eventually('it is on a WebSocket', () => socket.io.engine.transport.name === 'websocket');

for (const [age, io] of Object.entries(clients)) {
  describe(`${age} client that changes to a WebSocket, two nodes`, { timeout: 240_000 }, () => {
    let nodes, proxy, stop;
    before(async () => ({ nodes, proxy, stop } = await cluster(['ada', 'bob'])));
    after(() => stop?.());

    for (const [path, channel, kept] of [['/', 'chat:lobby', true], ['/live', 'plain:lobby', false]]) {
      const name = kept
        ? 'nothing is lost or out of order while it does, in rooms with history'
        : 'nothing is out of order while it does, in rooms without history';
      test(name, async t => {
        const event = fresh('say');
        const said = new Map();
        await serve(t, event, message => {
          const [, number] = message.json();
          const client = message.headers.get('Midplane-Client');
          said.set(client, [...said.get(client) ?? [], number]);
          message.respond(JSON.stringify([number]));
        }, path);
        const news = fresh('news');
        let published = 0;
        let talking = true;
        // Without history only each publisher's order holds.
        const talk = (async () => {
          while (talking) await nodes[kept ? published % 2 : 0].publish(channel, [news, published++]);
        })();
        for (let round = 0; round < 20; round += 1) {
          const socket = await open(t, proxy, io, {}, path);
          const { id } = socket;
          const numbers = Array.from({ length: 50 }, (_, number) => number);
          const answers = [];
          for (const number of numbers) {
            answers.push(emitted(socket, event, number));
            if (number % 5 === 0) await answers.at(-1);
          }
          assert.deepEqual((await Promise.all(answers)).flat(), numbers);
          assert.deepEqual(said.get(id), numbers);
          await upgraded(socket);
          const until = published + 20;
          await eventually('it hears on', () => socket.heard.at(-1)?.[1] >= until);
          const all = socket.heard.filter(([name]) => name === news).map(([, number]) => number);
          if (kept) {
            assert.deepEqual(all, Array.from({ length: all.length }, (_, index) => all[0] + index));
          } else {
            // Nobody can tell one event from the same said twice, and what is on its way to the first node is missed.
            const heard = [...new Set(all)];
            assert.deepEqual(heard, heard.toSorted((a, b) => a - b));
          }
          assert.equal(socket.connects, 1);
          assert.equal(socket.id, id);
          socket.close();
        }
        talking = false;
        await talk;
        assert.ok(await moved(nodes, 'done') > 0, 'some came to another node');
        assert.equal(await moved(nodes, 'failed'), 0);
      });
    }

    test('backends find it where it went, and it acknowledges there', async t => {
      for (let round = 0; round < 10; round += 1) {
        const socket = await open(t, proxy, io, {});
        socket.on('ask', (question, answer) => answer(`${question}!`));
        const asked = { to: { sockets: [socket.id] }, event: ['ask', 'well'], ack_timeout_ms: 5000 };
        await upgraded(socket);
        await eventually('it is at one node', async () => {
          const held = await Promise.all(nodes.map(node => node.metric('midplane_connections{transport="socketio",protocol="socketio"}')));
          return held[0] + held[1] === 1;
        });
        const { acks, asked: count } = await call(nodes[round % 2], 'socketio_emit', asked);
        assert.equal(count, 1);
        assert.deepEqual(acks.map(({ args }) => args), [['well!']]);
        await call(nodes[0], 'socketio_join', { to: { sockets: [socket.id] }, rooms: ['attic'] });
        await call(nodes[1], 'socketio_emit', { to: { rooms: ['attic'] }, event: ['up', round] });
        await eventually('it hears its room', () => socket.heard.some(([name, number]) => name === 'up' && number === round));
        socket.close();
        await eventually('it is gone', async () => {
          const { sockets } = await call(nodes[0], 'socketio_sockets', {});
          return Object.keys(sockets).length === 0;
        });
      }
    });
  });
}

describe('two nodes to which clients may come back', { timeout: 120_000 }, () => {
  let nodes, stop;
  before(async () => ({ nodes, stop } = await cluster(['ada', 'bob'], [{ ...namespaces[0], recovery: '2m' }])));
  after(() => stop?.());

  test('a session that cannot go with its WebSocket stays where it is, and goes on', async t => {
    const { port } = new URL(nodes[1].url);
    const socket = newest(nodes[0].url, { forceNew: true, transportOptions: { websocket: { port } } });
    t.after(() => socket.close());
    const seen = [];
    socket.on('disconnect', reason => seen.push(reason));
    socket.on('news', () => seen.push('news'));
    await new Promise(resolve => socket.io.once('open', () => {
      for (const outcome of ['upgrade', 'upgradeError']) {
        socket.io.engine.once(outcome, () => {
          seen.push(outcome);
          resolve();
        });
      }
    }));
    await eventually('it is in', () => socket.connected);
    await nodes[1].publish('chat:lobby', ['news']);
    await eventually('it hears on', () => seen.length > 1);
    assert.deepEqual(seen, ['upgradeError', 'news']);
  });
});

describe('three nodes, one of which is killed', { timeout: 240_000 }, () => {
  let nodes, proxy, stop;
  before(async () => ({ nodes, proxy, stop } = await cluster(['ada', 'bob', 'eve'])));
  after(() => stop?.());

  test('clients come again, and get on', async t => {
    const event = fresh('sum');
    await serve(t, event, message => {
      const [, a, b] = message.json();
      message.respond(JSON.stringify([a + b]));
    });
    const kinds = [['polling'], ['polling', 'websocket']];
    const sockets = await Promise.all(Array.from({ length: 24 }, (_, index) =>
      open(t, proxy, index % 2 ? newest : oldest, { transports: kinds[(index >> 1) % 2] })));
    // A client waits for its own ping timeout where its WebSocket breaks while it leaves long-polling for it.
    await Promise.all(sockets.map(socket => socket.io.opts.transports.includes('websocket') && upgraded(socket)));
    await nodes[0].kill();
    await eventually('all are there', () => sockets.every(socket => socket.connected), 60);
    for (const [index, socket] of sockets.entries()) {
      const answer = await eventually('it is answered', async () => {
        const [sum] = await emitted(socket, event, index, 1);
        return sum === index + 1;
      }, 60);
      assert.ok(answer);
    }
    const news = fresh('news');
    await call(nodes[1], 'socketio_emit', { to: { rooms: ['lobby'] }, event: [news] });
    await eventually('all hear their room', () => sockets.every(socket => socket.heard.some(([name]) => name === news)), 60);
  });
});
