// What services are told of sockets and asked about them, and what becomes of events while NATS is slow.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '@nats-io/transport-node';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';

import { NatsServer, Node, eventually, fresh, now, openSocket, token } from './harness.mjs';

const everything = ['connect', 'disconnect', 'join', 'leave', 'create', 'delete'];
const namespaces = [
  { name: '/', rooms: 'chat', relay: { say: 'lobby' }, join: ['lobby'], tell: everything },
  { name: '/quiet', tell: [] },
];

let nats;
let node;
let backend;

before(async () => {
  nats = await NatsServer.start();
  node = await Node.start('services', {
    NATS_URL: nats.url,
    MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(namespaces),
    MIDPLANE_SOCKETIO__PING_INTERVAL: '300ms',
  });
  backend = await connect({ servers: nats.url });
});

after(async () => {
  await backend?.close();
  await node?.stop();
  await nats?.kill();
});

const open = (t, server, { path = '/', ...options } = {}) =>
  openSocket(t, io, server.url + path, { reconnectionDelay: 50, ...options });

/** What is told of `client` from now on: subjects below the prefix and namespace, and arguments. */
async function told(t, pattern = 'midplane.sio._.>') {
  const notices = [];
  const subscription = backend.subscribe(pattern, {
    callback: (_, message) => notices.push({
      subject: message.subject.replace('midplane.sio.', ''),
      body: message.json(),
      client: message.headers.get('Midplane-Client'),
      user: message.headers.get('Midplane-User'),
    }),
  });
  await backend.flush();
  t.after(() => subscription.unsubscribe());
  return id => notices.filter(({ client }) => client === id).map(({ subject, body }) => [subject, ...body]);
}

describe('what services are told', () => {
  test('that sockets come, enter rooms, leave them and go', async t => {
    const of = await told(t);
    const room = fresh('room');
    const socket = await open(t, node, { auth: { token: token({ sub: 'ada', exp: now(60) }) } });
    const { id } = socket;
    await node.api('socketio_join', { to: { sockets: [id] }, rooms: [room] });
    await node.api('socketio_leave', { to: { sockets: [id] }, rooms: [room] });
    socket.disconnect();
    await eventually('all was told', () => {
      assert.deepEqual(of(id), [
        ['_.connect', 'connect'],
        ['_.room.create', 'create', 'lobby'],
        ['_.room.join', 'join', 'lobby'],
        ['_.room.create', 'create', room],
        ['_.room.join', 'join', room],
        ['_.room.leave', 'leave', room],
        ['_.room.delete', 'delete', room],
        ['_.room.leave', 'leave', 'lobby'],
        ['_.room.delete', 'delete', 'lobby'],
        ['_.disconnect', 'disconnect', 'client namespace disconnect'],
      ]);
      return true;
    });
  });

  test('why a socket went', async t => {
    const of = await told(t, 'midplane.sio._.disconnect');
    const [cut, sent] = [await open(t, node), await open(t, node)];
    const ids = [cut.id, sent.id];
    cut.io.engine.close();
    await node.api('socketio_disconnect', { to: { sockets: [sent.id] } });
    await eventually('both were told', () => ids.every(id => of(id).length === 1));
    assert.deepEqual(ids.map(id => of(id)[0].at(-1)), ['transport close', 'server namespace disconnect']);
  });

  test('nothing, where they are not to be told', async t => {
    const of = await told(t, 'midplane.sio.>');
    const main = await open(t, node, { path: '/quiet' });
    const { id } = main;
    main.emit('said');
    main.disconnect();
    await eventually('the event came', () => of(id).length > 0);
    const other = await open(t, node);
    await eventually('another was told', () => of(other.id).some(([subject]) => subject === '_.connect'));
    assert.deepEqual(of(id), [['quiet.said', 'said']]);
  });
});

test('a service that answered wrongly had a line in the log for each event of any client', async t => {
  const [event, asked] = [fresh('wrong').replace(/\W/g, ''), 20];
  const wrong = () => node.metric('midplane_socketio_events_total{result="bad_answer"}');
  const before = await wrong();
  const service = backend.subscribe(`midplane.sio._.${event}`, { callback: (_, message) => message.respond('{"no": "array"}') });
  t.after(() => service.unsubscribe());
  await backend.flush();
  const socket = await open(t, node);
  for (let number = 0; number < asked; number += 1) socket.emit(event, number, () => {});
  await eventually('all are counted', async () => await wrong() === before + asked);
  const told = node.process.log().split('\n').filter(line => line.includes('no JSON array') && line.includes(event));
  assert.ok(told.length > 0 && told.length < asked, `${told.length} lines`);
});

describe('the connect hook', () => {
  let hooked;

  before(async () => {
    hooked = await Node.start('hooked', {
      NATS_URL: nats.url,
      MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(namespaces),
      MIDPLANE_HOOKS__CONNECT__ENDPOINT: 'nats:hooks.connect',
      MIDPLANE_CLIENT__ALLOW_ANONYMOUS_CONNECT_WITHOUT_TOKEN: 'false',
    });
  });

  after(() => hooked?.stop());

  /** Answers the hook; gives what it was asked. */
  async function answer(t, decide) {
    const asked = [];
    const subscription = backend.subscribe('midplane.hooks.connect', {
      callback: (_, message) => {
        asked.push(message.json());
        message.respond(JSON.stringify(decide(message.json())));
      },
    });
    await backend.flush();
    t.after(() => subscription.unsubscribe());
    return asked;
  }

  test('says who comes, and into which rooms', async t => {
    const room = fresh('chat');
    const asked = await answer(t, ({ data }) => ({ result: { user: data.name, channels: [room], meta: { plan: 'pro' } } }));
    const served = backend.subscribe('midplane.sio._.who', {
      callback: (_, message) => message.respond(JSON.stringify(['User', 'Meta'].map(name => message.headers.get(`Midplane-${name}`)))),
    });
    t.after(() => served.unsubscribe());
    await backend.flush();
    const socket = await open(t, hooked, { auth: { name: 'ada' } });
    const { client, transport, namespace, data } = asked[0];
    assert.deepEqual([client, transport, namespace, data], [socket.id, 'socketio', '/', { name: 'ada' }]);
    const heard = new Promise(resolve => socket.once('private', resolve));
    await hooked.publish(room, ['private', 7]);
    assert.equal(await heard, 7);
    assert.deepEqual(await new Promise(resolve => socket.emit('who', (...args) => resolve(args))), ['ada', '{"plan":"pro"}']);
  });

  test('turns away for good, and for now', async t => {
    let times = 0;
    await answer(t, ({ data }) => {
      if (data.name === 'eve') return { error: { code: 403, message: 'not you' } };
      times += 1;
      return times === 1 ? { disconnect: { code: 4000, reason: 'later' } } : { result: { user: data.name } };
    });
    await assert.rejects(open(t, hooked, { auth: { name: 'eve' } }), error => {
      assert.deepEqual([error.message, error.data], ['not you', { code: 403 }]);
      return true;
    });
    const bob = await open(t, hooked, { auth: { name: 'bob' } });
    assert.ok(bob.connected);
    assert.equal(times, 2);
  });

  test('is not asked about whom a token names', async t => {
    const asked = await answer(t, () => ({ error: { code: 403, message: 'nobody' } }));
    await open(t, hooked, { auth: { token: token({ sub: 'ada', exp: now(60) }) } });
    assert.deepEqual(asked, []);
  });
});

test('while a publication waits for NATS its session goes on, and nothing is lost or overtakes', async t => {
  const socket = await open(t, node);
  const heard = [];
  socket.on('say', number => heard.push(number));
  let pings = 0;
  socket.io.engine.on('packet', ({ type }) => { pings += type === 'ping' ? 1 : 0; });
  const acked = [];
  await nats.process.hang();
  try {
    for (let number = 0; number < 10; number += 1) socket.emit('say', number, () => acked.push(number));
    const before = pings;
    await eventually('it is pinged', () => pings >= before + 3);
    assert.deepEqual([heard, acked], [[], []]);
  } finally {
    nats.process.signal('SIGCONT');
  }
  const all = Array.from({ length: 10 }, (_, number) => number);
  await eventually('all were heard and acknowledged', () => heard.length === 10 && acked.length === 10);
  assert.deepEqual([heard, acked], [all, all]);
});

test('what a client emitted before it left is published', async t => {
  const [ada, bob] = [await open(t, node), await open(t, node)];
  const about = fresh('about');
  const heard = [];
  bob.on('say', (room, number) => room === about && heard.push(number));
  const all = Array.from({ length: 20 }, (_, number) => number);
  for (const number of all) ada.emit('say', about, number);
  ada.disconnect();
  await eventually('all were heard', () => heard.length === 20);
  assert.deepEqual(heard, all);
});

test('whoever is sent away for good while it goes on to a WebSocket hears it there', async t => {
  const user = fresh('user');
  const url = `${node.url}/socket.io/?EIO=4&transport=polling`;
  const { sid } = JSON.parse((await (await fetch(url)).text()).slice(1));
  await fetch(`${url}&sid=${sid}`, { method: 'POST', body: `40${JSON.stringify({ token: token({ sub: user, exp: now(60) }) })}` });
  assert.match(await (await fetch(`${url}&sid=${sid}`)).text(), /^40/);
  const websocket = new WebSocket(`${url.replace('http', 'ws').replace('polling', 'websocket')}&sid=${sid}`);
  t.after(() => websocket.terminate());
  const frames = [];
  websocket.on('message', data => frames.push(data.toString()));
  const closed = new Promise(resolve => websocket.once('close', resolve));
  await new Promise(resolve => websocket.once('open', resolve));
  websocket.send('2probe');
  await eventually('the probe is answered', () => frames.includes('3probe'));
  const ended = () => node.metric('midplane_connections_closed_total{transport="socketio",code="3503"}');
  const before = await ended();
  await node.api('disconnect', { user });
  await eventually('the session ends', async () => (await ended()) > before);
  websocket.send('5');
  await closed;
  assert.deepEqual(frames.filter(frame => frame !== '2'), ['3probe', '41']);
});
