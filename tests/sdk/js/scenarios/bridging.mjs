// What crosses between midplane and a server of Socket.IO in Node, by whichever adapter of Redis.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { eventually, fresh, spaces } from '../harness.mjs';

const ids = sockets => sockets.map(({ id }) => id).toSorted();

/** `bridged` gives the two of them, once they have been started. */
export default bridged => {
  const open = (t, server, space) => bridged().open(t, server, space);
  const four = (t, space) => bridged().four(t, space);
  const join = (room, ...sockets) => bridged().join(room, ...sockets);
  const api = (method, params) => bridged().api(method, params);
  const settled = (sockets, namespace) => bridged().settled(sockets, namespace);
  const bridge = () => bridged().bridge();

  for (const space of spaces) {
    test(`an event for everybody reaches everybody once, whoever emits it (${space})`, async t => {
      const all = await four(t, space);
      bridged().tier.io.of(space).emit('by node', 1, { two: [2, 'ü', null], at: new Date(0) });
      await api('socketio_emit', { namespace: space, event: ['by midplane', 1, { two: [2, 'ü', null] }] });
      await settled(all, space);
      for (const socket of all) {
        assert.deepEqual(socket.heard.toSorted(), [
          ['by midplane', 1, { two: [2, 'ü', null] }],
          ['by node', 1, { two: [2, 'ü', null], at: '1970-01-01T00:00:00.000Z' }],
        ]);
      }
    });
  }

  for (const space of ['/', '/plain']) {
    test(`whoever is in one of the rooms, and in none of the others, gets it once (${space})`, async t => {
      const [eve, kim, ada, bob] = await four(t, space);
      const [red, blue, out] = ['red', 'blue', 'out'].map(fresh);
      await join(red, eve, ada);
      await join(blue, eve, kim, ada, bob);
      await join(out, kim, bob);
      const all = bridged().tier.io.of(space);
      all.to(red).emit('red of node');
      all.to(red).to(blue).emit('both of node');
      all.to(blue).except(out).emit('not out, of node');
      const to = rooms => ({ namespace: space, to: { rooms } });
      await api('socketio_emit', { ...to([red]), event: ['red of midplane'] });
      await api('socketio_emit', { ...to([red, blue]), event: ['both of midplane'] });
      await api('socketio_emit', { ...to([blue]), except: { rooms: [out] }, event: ['not out, of midplane'] });
      await settled([eve, kim, ada, bob], space);
      const names = socket => socket.heard.map(([name]) => name).toSorted();
      const both = ['both of midplane', 'both of node'];
      const everything = [...both, 'not out, of midplane', 'not out, of node', 'red of midplane', 'red of node'];
      assert.deepEqual([eve, ada].map(names), [everything, everything]);
      assert.deepEqual([kim, bob].map(names), [both, both]);
    });
  }

  test('buffers come where they stood, both ways', async t => {
    const all = await four(t);
    bridged().tier.io.emit('by node', Buffer.from([1, 2, 3]), { in: Buffer.from([4]) });
    const event = ['by midplane', { _placeholder: true, num: 0 }, { in: { _placeholder: true, num: 1 } }];
    await api('socketio_emit', { event, attachments: ['AQID', 'BA=='] });
    await settled(all);
    for (const socket of all) {
      const plain = socket.heard.map(([name, first, second]) => [name, [...new Uint8Array(first)], [...new Uint8Array(second.in)]]);
      assert.deepEqual(plain.toSorted(), [['by midplane', [1, 2, 3], [4]], ['by node', [1, 2, 3], [4]]]);
    }
  });

  test('sockets are reached by their ids from the other side, and left out', async t => {
    const [eve, kim, ada, bob] = await four(t);
    bridged().tier.io.to(ada.id).emit('for ada');
    bridged().tier.io.except(bob.id).emit('all but bob');
    await api('socketio_emit', { to: { rooms: [eve.id] }, event: ['for eve'] });
    await settled([eve, kim, ada, bob]);
    const names = [eve, kim, ada, bob].map(socket => socket.heard.map(([name]) => name).toSorted());
    assert.deepEqual(names, [['all but bob', 'for eve'], ['all but bob'], ['all but bob', 'for ada'], []]);
  });

  test('rooms whose names are numbers are one here and two in Node, and both are reached', async t => {
    const [eve, kim, ada] = await four(t);
    const number = 10_000 + Math.floor(Math.random() * 1e9);
    await join(number, eve);
    await join(`${number}`, kim, ada);
    bridged().tier.io.to(number).emit('of a number');
    await api('socketio_emit', { to: { rooms: [`${number}`] }, event: ['of midplane'] });
    await settled([eve, kim, ada]);
    const names = [eve, kim, ada].map(socket => socket.heard.map(([name]) => name));
    assert.deepEqual(names.map(each => each.toSorted()), [['of a number', 'of midplane'], ['of midplane'], ['of a number', 'of midplane']]);
  });

  test('what clients of either side say in a room, backends publish there, and services write to NATS crosses', async t => {
    const [eve, kim, ada, bob] = await four(t);
    const room = fresh('room');
    await join(room, eve, kim, ada, bob);
    await ada.emitWithAck('say', room, 'by rule');
    eve.emit('to', room, 'said', 'by handler');
    await api('publish', { channel: `chat:${room}`, data: { any: 'json' } });
    bridged().backend.publish(`midplane.pub.chat.${room}`, JSON.stringify(['plain', 'nats']));
    await bridged().backend.flush();
    await settled([eve, kim, ada, bob]);
    await eventually('all is heard', () => [kim, ada, bob].every(socket => socket.heard.length === 4));
    for (const socket of [kim, ada, bob]) {
      assert.deepEqual(socket.heard.toSorted(), [
        ['message', { any: 'json' }], ['plain', 'nats'], ['said', 'by handler'], ['say', room, 'by rule'],
      ]);
    }
    assert.equal(eve.heard.length, 3, 'a sender who broadcasts does not hear itself');
  });

  test('what comes from Redis is in the history of its channel, in order', async t => {
    const ada = await open(t, bridged().nodes[0]);
    const room = fresh('room');
    await join(room, ada);
    for (let number = 0; number < 50; number += 1) bridged().tier.io.to(room).emit('n', number);
    await eventually('all is heard', () => ada.heard.length === 50);
    assert.deepEqual(ada.heard, Array.from({ length: 50 }, (_, number) => ['n', number]));
    const { publications } = await api('history', { channel: `chat:${room}`, limit: 100 });
    assert.deepEqual(publications.map(({ data }) => data), ada.heard);
  });

  test('a server in Node sees the sockets of all nodes, and can speak to each', async t => {
    const sockets = await four(t);
    const [, kim, ada, bob] = sockets;
    const room = fresh('room');
    await join(room, kim, ada, bob);
    const found = await bridged().tier.io.in(room).fetchSockets();
    assert.deepEqual(ids(found), ids([kim, ada, bob]));
    const remote = found.find(({ id }) => id === ada.id);
    assert.deepEqual([...remote.rooms].toSorted(), [ada.id, 'lobby', room].toSorted());
    assert.deepEqual([remote.data, remote.handshake.auth, remote.handshake.headers], [{}, {}, {}]);
    remote.emit('to you');
    await eventually('it is heard', () => ada.heard.length === 1);
    const all = ids(await bridged().tier.io.fetchSockets());
    assert.ok(ids(sockets).every(id => all.includes(id)));
    assert.deepEqual(await bridged().tier.io.of('/none').fetchSockets(), []);
  });

  test('servers in Node have sockets here join, leave and go', async t => {
    const sockets = await four(t);
    const [eve, kim, ada, bob] = sockets;
    const [red, blue] = ['red', 'blue'].map(fresh);
    const members = async room => ids(await bridged().tier.io.in(room).fetchSockets());
    await join(red, eve, ada);
    bridged().tier.io.in(red).socketsJoin([blue]);
    await bridged().hearing(2, blue);
    bridged().tier.io.to(blue).emit('you are in'); // its own sockets a server in Node moves when it hears itself, which is later
    await eventually('it is heard', () => ada.heard.length === 1);
    await eventually('both are in', async () => (await members(blue)).length === 2);
    assert.deepEqual(await members(blue), ids([eve, ada]));
    bridged().tier.io.in(kim.id).socketsJoin(blue);
    bridged().tier.io.in(bob.id).socketsJoin(blue);
    await eventually('all are in', async () => (await members(blue)).length === 4);
    bridged().tier.io.in(blue).except(red).socketsLeave(blue);
    await eventually('two have left', async () => (await members(blue)).length === 2);
    const gone = Promise.all([eve, ada].map(socket => new Promise(done => socket.once('disconnect', done))));
    bridged().tier.io.in(blue).disconnectSockets();
    assert.deepEqual(await gone, ['io server disconnect', 'io server disconnect']);
    await eventually('nobody is there any more', async () => (await members(blue)).length === 0);
    assert.ok(kim.connected && bob.connected);
  });

  test('backends of midplane have sockets there join, leave and go', async t => {
    const [eve, kim, ada] = await four(t);
    const [red, blue] = ['red', 'blue'].map(fresh);
    await join(red, eve, kim, ada);
    const members = async room => ids(await bridged().tier.io.in(room).fetchSockets());
    assert.deepEqual(await api('socketio_join', { to: { rooms: [red] }, except: { rooms: [kim.id] }, rooms: [blue] }), { sockets: 1 });
    await eventually('they are in', async () => (await members(blue)).length === 2);
    assert.deepEqual(await members(blue), ids([eve, ada]));
    await api('socketio_leave', { to: { rooms: [blue] }, rooms: [red] });
    await eventually('they have left', async () => (await members(red)).length === 1);
    const gone = new Promise(done => eve.once('disconnect', done));
    await api('socketio_disconnect', { to: { rooms: [blue] } });
    assert.equal(await gone, 'io server disconnect');
    assert.ok(kim.connected);
  });

  test('what a server in Node asks of clients is answered by those here too, each once', async t => {
    const sockets = await four(t);
    const room = fresh('room');
    await join(room, ...sockets);
    for (const [index, socket] of sockets.entries()) {
      socket.on('sum', (a, b, done) => done({ index, sum: a + b, bytes: Buffer.from([index]) }));
    }
    const answers = await bridged().tier.io.in(room).timeout(5000).emitWithAck('sum', 1, 2);
    const plain = answers.map(({ index, sum, bytes }) => [index, sum, [...new Uint8Array(bytes)]]);
    assert.deepEqual(plain.toSorted(), sockets.map((_, index) => [index, 3, [index]]));
    const nobody = await bridged().tier.io.in(fresh('room')).timeout(5000).emitWithAck('sum', 1, 2);
    assert.deepEqual(nobody, [], 'zero is an answer too');
  });

  test('who does not acknowledge in time is left out, and the others are told', async t => {
    const [eve, , ada, bob] = await four(t);
    const room = fresh('room');
    await join(room, eve, ada, bob);
    for (const socket of [eve, ada]) socket.on('ask', done => done(socket.id));
    const asked = bridged().tier.io.in(room).timeout(1500).emitWithAck('ask');
    const error = await asked.then(() => assert.fail('one did not answer'), reason => reason);
    assert.deepEqual(error.responses.toSorted(), ids([eve, ada]));
  });

  test('events for servers are answered by null, and none is waited for', async () => {
    assert.deepEqual(await bridged().tier.io.serverSideEmitWithAck('ping'), [null]);
  });

  test('without Redis nodes deliver to each other, and afterwards everything crosses again, once', async t => {
    const [eve, kim, ada, bob] = await four(t);
    const node = await bridge();
    const away = () => node.metric('midplane_bridge_events_total{way="out",result="away"}');
    const before = await away();
    await bridged().redis.kill();
    await eventually('the loss is seen', async () => await node.metric('midplane_bridge_connected') === 0);
    assert.ok(await node.metric('midplane_bridge_interruptions_total{side="redis"}') >= 1);
    await api('socketio_emit', { event: ['meanwhile'] });
    await eventually('it is heard', () => [ada, bob].every(socket => socket.heard.length === 1));
    await eventually('that it does not cross is counted', async () => await away() === before + 1);
    for (const { url } of bridged().nodes) assert.ok((await fetch(`${url}/ready`)).ok);
    await bridged().redis.run();
    await bridged().both();
    const counter = await bridged().redis.client();
    await eventually('the subscriptions of both are back', async () => {
      const clients = await counter.sendCommand(['CLIENT', 'LIST', 'TYPE', 'pubsub']);
      return bridged().mode || clients.split('\n').filter(client => client.includes(` psub=${spaces.length} `)).length === 2;
    });
    counter.destroy();
    await bridged().hearing(2, 'lobby');
    bridged().tier.io.emit('after', 'node');
    await api('socketio_emit', { event: ['after', 'midplane'] });
    await settled([eve, kim, ada, bob]);
    const after = [['after', 'midplane'], ['after', 'node']];
    assert.deepEqual([eve, kim].map(socket => socket.heard.toSorted()), [after, after]);
    assert.deepEqual([ada, bob].map(socket => socket.heard.toSorted()), [[...after, ['meanwhile']], [...after, ['meanwhile']]]);
  });

  test('where the bridge dies another node is it, and nothing is doubled', async t => {
    const dies = await bridge();
    const lives = bridged().nodes.find(node => node !== dies);
    const [eve, ada] = [await open(t, bridged().tier), await open(t, lives)];
    await dies.kill();
    await eventually('another is the bridge', async () => await lives.metric('midplane_bridge_connected') === 1, 30);
    await bridged().both();
    await bridged().hearing(2, 'lobby');
    bridged().tier.io.emit('after', 'node');
    const { error } = await lives.api('socketio_emit', { event: ['after', 'midplane'] });
    assert.equal(error, undefined);
    await dies.run();
    await settled([eve, ada]);
    const after = [['after', 'midplane'], ['after', 'node']];
    assert.deepEqual([eve, ada].map(socket => socket.heard.toSorted()), [after, after]);
    assert.equal(await dies.metric('midplane_bridge_leading'), 0, 'there is one already');
  });

  test('a bridge that is stopped leaves at once', async () => {
    const leaves = await bridge();
    const stays = bridged().nodes.find(node => node !== leaves);
    await leaves.stop();
    // Sooner than its term would be over.
    await eventually('another is the bridge', async () => await stays.metric('midplane_bridge_connected') === 1, 5);
    await leaves.run();
  });
};
