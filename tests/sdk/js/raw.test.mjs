// What SDKs hide: dispatch rules, the order of frames, close codes, deadlines. One node, bare sockets.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Node, Raw, decodeAll, eventually, fresh, now, token } from './harness.mjs';
import { withApps } from './suite.mjs';

describe('the protocol on a bare socket', { timeout: 300_000 }, () => {
  let node;
  before(async () => {
    node = await Node.start('raw', { MIDPLANE_CLIENT__PING_INTERVAL: '1s', MIDPLANE_CLIENT__PONG_TIMEOUT: '500ms' });
  });
  after(() => node?.stop());

  const raw = (name, body) => test(name, withApps(body));
  const guest = async (keep, connect = {}, options = {}) => keep(await Raw.connect(node, connect, options));
  const seen = new Map(); // closes that the tests saw so far, by their counter's line and node
  const closes = async (connection, code, seconds) => {
    assert.equal(await connection.closeCode(seconds), code, JSON.stringify(connection.farewell));
    const line = `midplane_connections_closed_total{transport="websocket",code="${code}"}`;
    const key = `${connection.node.address} ${line}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
    await eventually(`${line} counts it`, async () => (await connection.node.metric(line)) >= seen.get(key));
  };

  describe('the handshake', () => {
    raw('the subprotocol that was offered is echoed', async keep => {
      for (const subprotocol of ['centrifuge-protobuf', 'centrifuge-json']) {
        assert.equal((await guest(keep, {}, { subprotocol })).socket.protocol, subprotocol);
      }
      assert.equal((await guest(keep)).socket.protocol, '');
    });

    raw('protobuf is also chosen by the query', async keep => {
      for (const query of ['?cf_protocol=protobuf', '?format=protobuf']) {
        const connection = await guest(keep, {}, { query });
        assert.ok(connection.connected.client);
        assert.ok(connection.frames[0].isBinary);
      }
    });

    raw('JSON goes out in text frames, and may come in binary ones', async keep => {
      const connection = keep(await Raw.open(node));
      connection.send(Buffer.from('{"id":1,"connect":{}}'));
      assert.ok((await connection.reply(1)).connect.client);
      assert.equal(connection.frames[0].isBinary, false);
    });

    raw('a page of a foreign origin is refused before the upgrade', async () => {
      await assert.rejects(Raw.open(node, { headers: { origin: 'https://evil.example' } }), { status: 403 });
    });

    raw('the connect result announces client, version, ping and pong', async keep => {
      const { connected } = await guest(keep);
      assert.match(connected.client, /^[0-9a-f-]{36}$/);
      assert.match(connected.version, /midplane/i);
      assert.equal(connected.ping, 1);
      assert.equal(connected.pong, true);
      assert.equal(connected.expires, undefined, 'zero values are left out');
      assert.equal(connected.subs, undefined);
    });
  });

  describe('dispatch', () => {
    const malformed = {
      'no JSON': 'nonsense',
      'an array': '[]',
      'an empty frame': '',
      'a command without anything to do': '{"id":7}',
      'an unknown command': '{"id":7,"dance":{}}',
      'an id that is no number': '{"id":"7","publish":{"channel":"chat:x","data":1}}',
      'a negative id': '{"id":-1,"publish":{"channel":"chat:x","data":1}}',
      'a second connect': '{"id":7,"connect":{}}',
      'a command with an id of 0, which is a pong that nobody asked for': '{"publish":{"channel":"chat:x","data":1}}',
      'an unknown delta': '{"id":7,"subscribe":{"channel":"chat:x","delta":"xdelta"}}',
    };
    for (const [what, frame] of Object.entries(malformed)) {
      raw(`${what} closes with 3501`, async keep => {
        const connection = await guest(keep);
        connection.send(frame);
        await closes(connection, 3501);
        assert.equal(connection.farewell.reason, 'bad request');
      });
    }

    const withChannel = ['subscribe', 'unsubscribe', 'publish', 'presence', 'presence_stats', 'history', 'sub_refresh'];
    for (const method of withChannel) {
      raw(`${method} without a channel closes with 3501`, async keep => {
        const connection = await guest(keep);
        connection.send(JSON.stringify({ id: 2, [method]: { data: 1 } }));
        await closes(connection, 3501);
      });
    }

    for (const [what, frame] of [['a publication', '{"id":1,"publish":{"channel":"chat:x","data":1}}'], ['a pong', '{}']]) {
      raw(`${what} before connect closes with 3501`, async keep => {
        const connection = keep(await Raw.open(node));
        connection.send(frame);
        await closes(connection, 3501);
      });
    }

    raw('the first of two methods in one command wins', async keep => {
      const connection = await guest(keep);
      const reply = await connection.ask({ id: 2, subscribe: { channel: fresh('chat') }, unsubscribe: { channel: 'chat:x' } });
      assert.ok(reply.subscribe);
      assert.equal(reply.unsubscribe, undefined);
    });

    raw('unknown fields are ignored', async keep => {
      const connection = keep(await Raw.open(node));
      connection.send('{"id":1,"connect":{"novelty":{"a":[1]}},"extra":true}');
      assert.ok((await connection.reply(1)).connect);
    });

    raw('a send that nobody handles closes with 3508, and gets no reply', async keep => {
      const connection = await guest(keep);
      connection.send('{"send":{"data":{"a":1}}}');
      await closes(connection, 3508);
      assert.equal(connection.messages.filter(({ push, id }) => !push && id !== 1 && id !== undefined).length, 0);
    });

    raw('a subscription of another type is refused with 103', async keep => {
      const connection = await guest(keep);
      const { error } = await connection.ask({ id: 2, subscribe: { channel: fresh('chat'), type: 1 } });
      assert.equal(error.code, 103);
    });

    raw('subscribing twice is refused with 105', async keep => {
      const connection = await guest(keep);
      const channel = fresh('chat');
      connection.command({ id: 2, subscribe: { channel } }, { id: 3, subscribe: { channel } });
      assert.ok((await connection.reply(2)).subscribe);
      assert.deepEqual((await connection.reply(3)).error, { code: 105, message: 'already subscribed' });
    });

    raw('unsubscribing from a channel that one is not in succeeds', async keep => {
      const connection = await guest(keep);
      assert.deepEqual(await connection.ask({ id: 2, unsubscribe: { channel: fresh('chat') } }), { id: 2, unsubscribe: {} });
    });

    raw('results without fields are there, empty', async keep => {
      const connection = await guest(keep);
      assert.deepEqual(await connection.ask({ id: 2, publish: { channel: fresh('chat'), data: 1 } }), { id: 2, publish: {} });
    });

    raw('history backwards from offset 0 is a bad request (107)', async keep => {
      const connection = await guest(keep);
      const { error } = await connection.ask({ id: 2, history: { channel: fresh('chat'), limit: 1, reverse: true, since: { offset: 0, epoch: '' } } });
      assert.equal(error.code, 107);
    });

    raw('history results have their three fields also when they are empty', async keep => {
      const connection = await guest(keep);
      const { history } = await connection.ask({ id: 2, history: { channel: fresh('chat'), limit: 1 } });
      assert.deepEqual(history.publications, []);
      assert.equal(typeof history.epoch, 'string');
      assert.equal(typeof history.offset, 'number');
    });

    raw('presence is not available here (108)', async keep => {
      const connection = await guest(keep);
      const { error } = await connection.ask({ id: 2, presence: { channel: fresh('chat') } });
      assert.ok([103, 108].includes(error.code), JSON.stringify(error));
    });

    raw('replies come in the order of commands, many in one frame', async keep => {
      const connection = await guest(keep);
      const channel = fresh('chat');
      const before = connection.frames.length;
      connection.command(...Array.from({ length: 100 }, (_, index) => ({ id: 100 + index, publish: { channel, data: index } })));
      await connection.reply(199);
      const ids = connection.messages.map(({ id }) => id).filter(id => id >= 100);
      assert.deepEqual(ids, Array.from({ length: 100 }, (_, index) => 100 + index));
      assert.ok(connection.frames.length - before <= 100);
    });

    raw('a failed command leaves the others of its frame alone', async keep => {
      const connection = await guest(keep);
      connection.command({ id: 2, subscribe: { channel: fresh('nowhere') } }, { id: 3, subscribe: { channel: fresh('chat') } });
      assert.deepEqual((await connection.reply(2)).error, { code: 102, message: 'unknown channel' });
      assert.ok((await connection.reply(3)).subscribe);
    });

    raw('text that is no UTF-8 ends the connection', async keep => {
      const connection = await guest(keep);
      connection.socket._sender.sendFrame([Buffer.from([0x81, 0x82, 0, 0, 0, 0]), Buffer.from([0xc3, 0x28])]);
      assert.ok([1007, 3501].includes(await connection.closeCode()), JSON.stringify(connection.farewell));
    });

    raw('a broken Protobuf message closes with 3501', async keep => {
      for (const frame of [[0x05, 0x08], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], [0x02, 0x08]]) {
        const connection = await guest(keep, {}, { subprotocol: 'centrifuge-protobuf' });
        connection.send(Buffer.from(frame));
        await closes(connection, 3501);
      }
    });
  });

  describe('deadlines', () => {
    raw('a socket without a connect command is closed with 3502', async keep => {
      const connection = keep(await Raw.open(node));
      await closes(connection, 3502, 10);
      assert.equal(connection.farewell.reason, 'stale');
    });

    raw('a client that does not answer pings is closed with 3012', async keep => {
      const connection = await guest(keep);
      await closes(connection, 3012, 10);
    });

    raw('other traffic is no pong', async keep => {
      const connection = await guest(keep);
      const channel = fresh('chat');
      let id = 2;
      await eventually('closed', () => {
        if (!connection.farewell) connection.command({ id: (id += 1), publish: { channel, data: 1 } });
        return connection.farewell;
      });
      assert.equal(connection.farewell.code, 3012);
    });

    raw('a client that answers each ping stays', async keep => {
      const connection = await guest(keep);
      let answered = 0;
      await eventually('four pings', () => {
        const pings = connection.messages.filter(message => Object.keys(message).length === 0).length;
        while (answered < pings) {
          connection.send('{}');
          answered += 1;
        }
        return answered >= 4;
      });
      assert.equal(connection.farewell, undefined);
    });

    raw('an expired connection that is not refreshed is closed with 3005', async keep => {
      const long = await Node.start('expiry');
      try {
        const connection = keep(await Raw.connect(long, { token: token({ sub: 'ada', exp: now(1) }) }));
        assert.equal(connection.connected.expires, true);
        assert.equal(connection.connected.ttl, 1);
        await closes(connection, 3005, 15);
      } finally {
        await long.stop();
      }
    });
  });

  describe('refreshing', () => {
    const user = claims => token({ sub: 'ada', exp: now(300), ...claims });
    let quiet;
    before(async () => {
      quiet = await Node.start('quiet', { MIDPLANE_CLIENT__PING_INTERVAL: '60s' });
    });
    after(() => quiet?.stop());
    const ada = async keep => keep(await Raw.connect(quiet, { token: user() }));

    raw('refresh answers the new time to live', async keep => {
      const connection = await ada(keep);
      const { refresh } = await connection.ask({ id: 2, refresh: { token: user({ exp: now(600) }) } });
      assert.equal(refresh.client, connection.connected.client);
      assert.equal(refresh.expires, true);
      assert.ok(refresh.ttl > 590 && refresh.ttl <= 600);
      assert.ok(refresh.version);
    });

    const endings = [
      ['an empty token', () => '', 3501],
      ['a token of another user', () => user({ sub: 'bob' }), 3500],
      ['a forged token', () => token({ sub: 'ada' }, { key: 'another secret of 32 bytes or more' }), 3500],
      ['an expired token', () => user({ exp: now(-600) }), 3005],
      ['a token with other channels', () => user({ channels: ['chat:other'] }), 3010],
    ];
    for (const [what, make, code] of endings) {
      raw(`refresh with ${what} closes with ${code}`, async keep => {
        const connection = await ada(keep);
        connection.command({ id: 2, refresh: { token: make() } });
        await closes(connection, code);
      });
    }

    raw('sub_refresh of a channel that one is not in is refused with 103', async keep => {
      const connection = await ada(keep);
      const { error } = await connection.ask({ id: 2, sub_refresh: { channel: fresh('chat'), token: 'x' } });
      assert.equal(error.code, 103);
    });

    raw('sub_refresh answers the new time to live, wants a token (107), and ends with an expired one (3006)', async keep => {
      const connection = await ada(keep);
      const channel = `$${fresh('private')}`;
      const seat = exp => token({ sub: 'ada', channel, exp: now(exp) });
      const { subscribe } = await connection.ask({ id: 2, subscribe: { channel, token: seat(60) } });
      assert.equal(subscribe.expires, true);
      assert.ok(subscribe.ttl > 50 && subscribe.ttl <= 60);
      assert.equal((await connection.ask({ id: 3, sub_refresh: { channel, token: '' } })).error.code, 107);
      const { sub_refresh: refreshed } = await connection.ask({ id: 4, sub_refresh: { channel, token: seat(600) } });
      assert.ok(refreshed.expires && refreshed.ttl > 590);
      connection.command({ id: 5, sub_refresh: { channel, token: seat(-600) } });
      await closes(connection, 3006);
    });

    raw('sub_refresh with a foreign token closes with 3500', async keep => {
      const connection = await ada(keep);
      const channel = `$${fresh('private')}`;
      await connection.ask({ id: 2, subscribe: { channel, token: token({ sub: 'ada', channel, exp: now(60) }) } });
      connection.command({ id: 3, sub_refresh: { channel, token: token({ sub: 'bob', channel, exp: now(60) }) } });
      await closes(connection, 3500);
    });

    raw('an expired subscription is ended with push 2501, the connection stays', async keep => {
      const connection = await ada(keep);
      const channel = `$${fresh('private')}`;
      await connection.ask({ id: 2, subscribe: { channel, token: token({ sub: 'ada', channel, exp: now(1) }) } });
      const { code, reason } = await eventually('the push', () =>
        connection.pushes.find(push => push.channel === channel && push.unsubscribe)?.unsubscribe, 60);
      assert.deepEqual({ code, reason }, { code: 2501, reason: 'subscription expired' });
      assert.equal(connection.farewell, undefined);
    });
  });

  describe('a failed connect', () => {
    raw('drops the rest of its frame, and the server closes when the client does not', async keep => {
      const connection = keep(await Raw.open(node));
      connection.command(
        { id: 1, connect: { token: token({ sub: 'ada', exp: now(-600) }) } },
        { id: 2, subscribe: { channel: fresh('chat') } },
        { id: 3, publish: { channel: fresh('chat'), data: 1 } },
      );
      const { error } = await connection.reply(1);
      assert.equal(error.code, 109);
      await connection.closeCode(10);
      assert.equal(connection.messages.length, 1, JSON.stringify(connection.messages));
    });

    raw('takes no further commands (3501)', async keep => {
      const connection = keep(await Raw.open(node));
      connection.command({ id: 1, connect: { token: token({ sub: 'ada', exp: now(-600) }) } });
      await connection.reply(1);
      connection.command({ id: 2, subscribe: { channel: fresh('chat') } });
      await closes(connection, 3501);
    });
  });

  describe('sizes', () => {
    raw('a message beyond four times the limit closes with 1009', async keep => {
      const connection = await guest(keep);
      connection.command({ id: 2, publish: { channel: fresh('chat'), data: 'x'.repeat(4 * 65_536) } });
      await closes(connection, 1009);
    });

    raw('a message just within the limit is taken', async keep => {
      const connection = await guest(keep);
      const reply = await connection.ask({ id: 2, publish: { channel: fresh('chat'), data: 'x'.repeat(64_000) } });
      assert.deepEqual(reply, { id: 2, publish: {} });
    });

    raw('a message that comes in many fragments is limited as a whole', async keep => {
      const connection = await guest(keep);
      connection.socket.send('{"id":2,"publish":{"channel":"chat:x","data":"', { fin: false });
      for (let part = 0; part < 30; part += 1) connection.socket.send('x'.repeat(10_000), { fin: false });
      await closes(connection, 1009);
    });
  });

  test('protobuf frames are length-delimited messages that may share a frame', withApps(async keep => {
    const connection = await guest(keep, {}, { subprotocol: 'centrifuge-protobuf' });
    const channel = fresh('chat');
    connection.command({ id: 2, subscribe: { channel } }, { id: 3, publish: { channel, data: Buffer.from('{"a":1}') } });
    await connection.reply(3);
    await eventually('the publication', () => connection.publications(channel).length === 1);
    assert.equal(connection.publications(channel)[0].data.toString(), '{"a":1}');
    for (const { data, isBinary } of connection.frames) {
      assert.ok(isBinary);
      assert.ok(decodeAll(data).length > 0);
    }
  }));
});
