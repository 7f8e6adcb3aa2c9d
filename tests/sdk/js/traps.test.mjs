// The traps that clients fall into when a server differs, one test each.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { App, Node, Raw, embedded, eventually, fresh, now, token, twoNodes } from './harness.mjs';
import { withApps } from './suite.mjs';

const isPing = message => Object.keys(message).length === 0;

for (const [name, start] of [['one embedded node', embedded], ['two nodes', twoNodes]]) {
  describe(`traps: ${name}`, { timeout: 300_000 }, () => {
    let topology;
    let impatient; // a node that pings every second
    before(async () => {
      topology = await start({ MIDPLANE_CLIENT__PING_INTERVAL: '30s' });
      const pings = { MIDPLANE_CLIENT__PING_INTERVAL: '1s', MIDPLANE_CLIENT__PONG_TIMEOUT: '500ms' };
      impatient = await Node.start('impatient', { ...topology.environment, ...pings });
    });
    after(async () => {
      await impatient?.stop();
      await topology?.stop();
    });

    const trap = (title, body) => test(title, withApps(async keep => {
      const guest = async (options = {}, connect = {}) => keep(await Raw.connect(topology.first, connect, options));
      await body({ node: topology.first, other: topology.other, keep, guest });
    }));

    trap('1: offsets rise, with holes or without, and recovery minds neither', async ({ node, guest }) => {
      const [channel, neighbour] = [fresh('chat'), fresh('chat')];
      const offsets = [];
      for (let number = 0; number < 10; number += 1) {
        offsets.push((await node.publish(channel, number)).offset);
        await node.publish(neighbour, number);
      }
      assert.deepEqual(offsets, [...new Set(offsets)].sort((a, b) => a - b));
      const { epoch } = await node.publish(channel, 10);
      const connection = await guest();
      const { subscribe } = await connection.ask({ id: 2, subscribe: { channel, recover: true, offset: offsets[3], epoch } });
      assert.equal(subscribe.recovered, true);
      assert.equal(subscribe.offset, offsets[3], 'the offset of the request, not the top');
      assert.deepEqual(subscribe.publications.map(({ data }) => data), [4, 5, 6, 7, 8, 9, 10]);
    });

    trap('2: the position of an empty channel can be proved later, however busy others are', async ({ node, other, keep, guest }) => {
      const channel = fresh('short');
      const { subscribe } = await (await guest()).ask({ id: 2, subscribe: { channel } });
      assert.ok(subscribe.offset > 0, JSON.stringify(subscribe));
      const position = { offset: subscribe.offset, epoch: subscribe.epoch };
      const busy = fresh('short'); // pushes out its own publications, and so moves the stream's first sequence
      for (let number = 0; number < 20; number += 1) await node.publish(busy, number);
      const quiet = await keep(await Raw.connect(other)).ask({ id: 2, subscribe: { channel, recover: true, ...position } });
      assert.equal(quiet.subscribe.recovered, true, JSON.stringify(quiet));
      await node.publish(channel, 'first');
      const later = await keep(await Raw.connect(other)).ask({ id: 2, subscribe: { channel, recover: true, ...position } });
      assert.equal(later.subscribe.recovered, true, JSON.stringify(later));
      assert.deepEqual(later.subscribe.publications.map(({ data }) => data), ['first']);
    });

    trap('3: offsets are numbers of 64 bits', async ({ node, guest }) => {
      const channel = fresh('chat');
      const { epoch } = await node.publish(channel, 1);
      const connection = await guest();
      connection.send(`{"id":2,"subscribe":{"channel":"${channel}","recover":true,"offset":18446744073709551615,"epoch":"${epoch}"}}`);
      const { subscribe } = await connection.reply(2);
      assert.equal(subscribe.recovered, undefined);
      assert.equal(subscribe.was_recovering, true);
      assert.equal(typeof subscribe.offset, 'number');
    });

    trap('4: a publication that is not stored has no offset and moves nobody', async ({ node, guest }) => {
      const channel = fresh('chat');
      const connection = await guest();
      const { subscribe } = await connection.ask({ id: 2, subscribe: { channel } });
      const one = await node.publish(channel, 1);
      const result = await node.publish(channel, 'passing', { skip_history: true });
      assert.equal(result.offset, undefined);
      await node.publish(channel, 2);
      await eventually('all arrive', () => connection.publications(channel).length === 3);
      const byData = new Map(connection.publications(channel).map(each => [each.data, each]));
      assert.equal(byData.get('passing').offset, undefined);
      assert.equal(byData.get(1).offset, one.offset);
      assert.ok(byData.get(2).offset > one.offset);
      const again = await (await guest()).ask({ id: 2, subscribe: { channel, recover: true, offset: subscribe.offset, epoch: subscribe.epoch } });
      assert.deepEqual(again.subscribe.publications.map(({ data }) => data), [1, 2]);
      assert.equal(connection.farewell, undefined);
    });

    trap('5: every positioned or recoverable reply has an epoch', async ({ guest }) => {
      const connection = await guest();
      let id = 1;
      for (const request of [{ channel: fresh('chat') }, { channel: fresh('latest') }, { channel: fresh('asked'), positioned: true }, { channel: fresh('asked'), recoverable: true }]) {
        const { subscribe } = await connection.ask({ id: (id += 1), subscribe: request });
        assert.ok(subscribe.epoch, JSON.stringify({ request, subscribe }));
      }
    });

    trap('6: the epoch "_" is never recovered', async ({ node, guest }) => {
      const channel = fresh('chat');
      await node.publish(channel, 1);
      const { subscribe } = await (await guest()).ask({ id: 2, subscribe: { channel, recover: true, epoch: '_' } });
      assert.equal(subscribe.was_recovering, true);
      assert.equal(subscribe.recovered, undefined);
      assert.notEqual(subscribe.epoch, '_');
    });

    trap('7: nothing of a channel comes before the subscribe reply, and nothing after it is missing', async ({ node, guest }) => {
      const channel = fresh('chat');
      let published = 0;
      let going = true;
      const publishing = (async () => {
        while (going) await node.publish(channel, (published += 1));
      })();
      await eventually('the storm is on', () => published > 5);
      for (let round = 0; round < 10; round += 1) {
        const connection = await guest();
        const { subscribe } = await connection.ask({ id: 2, subscribe: { channel } });
        await eventually('some follow', () => connection.publications(channel).length >= 5);
        const reply = connection.messages.findIndex(({ id }) => id === 2);
        const first = connection.messages.findIndex(({ push }) => push?.channel === channel);
        assert.ok(first > reply);
        const data = connection.publications(channel).map(each => each.data);
        assert.deepEqual(data, data.map((_, index) => data[0] + index), 'one after the other');
        const { result } = await node.api('history', { channel, limit: -1, since: { offset: subscribe.offset, epoch: subscribe.epoch } });
        assert.equal(result.publications[0].data, data[0], 'the first after the reply\'s position');
      }
      going = false;
      await publishing;
    });

    trap('8: recoverable does not flip under load', async ({ node, guest }) => {
      const channels = Array.from({ length: 30 }, () => fresh('chat'));
      const storm = Promise.all(channels.flatMap(channel => [1, 2, 3, 4, 5].map(number => node.publish(channel, number))));
      const connection = await guest();
      connection.command(...channels.map((channel, index) => ({ id: 10 + index, subscribe: { channel } })));
      for (let index = 0; index < channels.length; index += 1) {
        const { subscribe } = await connection.reply(10 + index);
        assert.deepEqual([subscribe.recoverable, subscribe.positioned], [true, true]);
      }
      await storm;
    });

    trap('9: connect and subscribes in one frame are in order', async ({ node, keep }) => {
      const connection = keep(await Raw.open(node));
      const [one, two] = [fresh('chat'), fresh('plain')];
      connection.command({ id: 1, connect: {} }, { id: 2, subscribe: { channel: one } }, { id: 3, subscribe: { channel: two } });
      await connection.reply(3);
      assert.deepEqual(connection.messages.map(({ id }) => id), [1, 2, 3]);
      assert.ok(connection.messages.every(({ error }) => !error));
    });

    if (start === twoNodes) trap('10: a gap costs a client-side subscription one push 2500, a server-side one the connection (3010)', async ({ node, guest }) => {
      const [channel, own] = [fresh('lost'), fresh('lost')];
      const client = await guest();
      await client.ask({ id: 2, subscribe: { channel } });
      const server = await guest({}, { token: token({ sub: 'ada', channels: [own] }) });
      for (const each of [channel, own]) await node.publish(each, 1);
      await client.push('pub', channel);
      await server.push('pub', own);
      // The store is gone and with it everything that nobody has read yet.
      await topology.nats.kill();
      topology.nats.wipe();
      await topology.nats.run();
      assert.equal((await client.push('unsubscribe', channel)).code, 2500);
      assert.equal(client.pushes.filter(push => push.unsubscribe).length, 1);
      assert.equal(client.farewell, undefined);
      assert.equal(await server.closeCode(), 3010);
      for (const each of [...topology.nodes, impatient]) await each.ready();
    });

    trap('11: a channel can be left and joined again in one frame', async ({ node, guest }) => {
      const channel = fresh('chat');
      const connection = await guest();
      const commands = [];
      for (let id = 2; id < 42; id += 2) commands.push({ id, subscribe: { channel } }, { id: id + 1, unsubscribe: { channel } });
      connection.command(...commands, { id: 42, subscribe: { channel } });
      await connection.reply(42);
      assert.deepEqual(connection.messages.filter(({ error }) => error), []);
      await node.publish(channel, 'once');
      await node.publish(channel, 'end');
      await eventually('the end', () => connection.publications(channel).at(-1)?.data === 'end');
      assert.deepEqual(connection.publications(channel).map(({ data }) => data), ['once', 'end']);
    });

    trap('12: a pretty-printed payload becomes one line', async ({ node, guest }) => {
      const channel = fresh('chat');
      const connection = await guest();
      await connection.ask({ id: 2, subscribe: { channel } });
      const response = await fetch(`${node.url}/api/publish`, {
        method: 'POST',
        headers: { 'x-api-key': 'test-api-key' },
        body: `{"channel":"${channel}","data":{\n  "a": 1,\r\n  "b": [\n 2 ] } }`,
      });
      assert.equal(response.status, 200);
      connection.send(`{"id":3,"publish":{"channel":"${channel}","data":{ "c" :\t3 }}}`);
      if (topology.nats) {
        const backend = await topology.backend();
        backend.publish(`midplane.pub.${channel.replace(':', '.')}`, '{\n  "d": "x\\ny"\n}');
        await backend.flush();
      }
      const count = topology.nats ? 3 : 2;
      await eventually('all arrive', () => connection.publications(channel).length === count);
      for (const { data } of connection.frames) {
        for (const line of data.toString().split('\n')) assert.doesNotThrow(() => JSON.parse(line), `a line of its own: ${line}`);
      }
      const got = connection.publications(channel).map(({ data }) => data);
      assert.ok(got.some(data => data.a === 1) && got.some(data => data.c === 3));
    });

    trap('13: there is no empty frame and no blank line', async ({ node, guest }) => {
      const channel = fresh('chat');
      const connection = await guest();
      await connection.ask({ id: 2, subscribe: { channel } });
      await Promise.all(Array.from({ length: 50 }, (_, number) => node.publish(channel, number)));
      await eventually('all arrive', () => connection.publications(channel).length === 50);
      for (const { data } of connection.frames) {
        assert.ok(data.length > 0);
        assert.ok(!/^\n|\n\n/.test(data.toString()), JSON.stringify(data.toString()));
      }
    });

    trap('14: a time to live is 1 at least, a message or reason never empty', async ({ keep, node, guest }) => {
      const soon = keep(await Raw.connect(node, { token: token({ sub: 'ada', exp: now(1) }) }));
      assert.equal(soon.connected.expires, true);
      assert.ok(soon.connected.ttl >= 1);
      const connection = await guest();
      const wrong = [
        { subscribe: { channel: fresh('nowhere') } },
        { subscribe: { channel: fresh('limited') } },
        { subscribe: { channel: `chat:${'x'.repeat(300)}` } },
        { publish: { channel: fresh('short'), data: 1 } },
        { history: { channel: fresh('plain'), limit: 1 } },
        { history: { channel: fresh('chat'), limit: 1, since: { offset: 1, epoch: 'x' } } },
        { rpc: { method: 'nobody', data: {} } },
        { presence: { channel: fresh('chat') } },
      ];
      for (const [index, command] of wrong.entries()) {
        const { error } = await connection.ask({ id: 10 + index, ...command });
        assert.ok(error?.code >= 100, JSON.stringify(command));
        assert.ok(error.message.length > 0, JSON.stringify(command));
      }
    });

    trap('15: close reasons are words, never JSON', async ({ keep, node, guest }) => {
      const connections = [await guest(), await guest(), await guest({}, { token: token({ sub: 'ada', exp: now(60) }) })];
      connections[0].send('nonsense');
      connections[1].send('{"send":{"data":{}}}');
      connections[2].command({ id: 2, refresh: { token: 'forged' } });
      connections.push(keep(await Raw.open(node)));
      for (const connection of connections) {
        await connection.closeCode();
        assert.match(connection.farewell.reason, /^[a-z][a-z ]+$/);
      }
    });

    trap('16: a JSON client never gets bytes that are no JSON', async ({ node, guest }) => {
      const channel = fresh('bytes');
      const connection = await guest();
      await connection.ask({ id: 2, subscribe: { channel } });
      await node.api('publish', { channel, b64data: Buffer.from([0xff, 0x00, 0x0a]).toString('base64') });
      await node.api('publish', { channel, data: { fine: true } });
      await eventually('closed, or the next one', () => connection.farewell || connection.publications(channel).length > 0);
      if (connection.farewell) assert.equal(connection.farewell.code, 3506);
      assert.doesNotThrow(() => connection.messages);
      const { error } = await node.api('publish', { channel: fresh('json'), b64data: Buffer.from([0xff]).toString('base64') });
      assert.equal(error.code, 107);
    });

    trap('16: nor one nested so deep that its parser gives up', async ({ node, guest }) => {
      const channel = fresh('plain');
      const connection = await guest();
      await connection.ask({ id: 2, subscribe: { channel } });
      const nested = depth => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`);
      assert.equal((await connection.ask({ id: 3, publish: { channel, data: nested(501) } })).error.code, 107);
      assert.equal((await node.api('publish', { channel, data: nested(501) })).error.code, 107);
      assert.deepEqual(await connection.ask({ id: 4, publish: { channel, data: nested(500) } }), { id: 4, publish: {} });
      assert.deepEqual((await connection.push('pub', channel)).data, nested(500));
    });

    trap('17: command ids are any numbers of 32 bits', async ({ guest }) => {
      const connection = await guest();
      for (const id of [4294967295, 2, 1000]) {
        assert.equal((await connection.ask({ id, publish: { channel: fresh('chat'), data: 1 } })).id, id);
      }
    });

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

    trap('21: a recovery that is too large for the queue is refused, not a loop of 3008', async ({ node, keep }) => {
      const channel = fresh('chat');
      const ada = await keep(new App('json', node)).connect();
      const listener = await ada.subscribe(channel);
      await ada.whileAway(topology.other, async () => {
        for (let number = 1; number <= 250; number += 1) await node.publish(channel, { number, padding: 'x'.repeat(10_000) });
      });
      await eventually('subscribed again', () => listener.subscribed.length === 2);
      if (listener.subscribed[1].recovered) await listener.received(250);
      await node.publish(channel, 'end');
      await eventually('it goes on', () => listener.data.at(-1) === 'end');
      assert.equal(ada.connected.length, 2, 'it was not thrown out for it');
    });

    trap('22: a client that comes back with all its channels is answered within five seconds', async ({ node, guest }) => {
      const channels = Array.from({ length: 32 }, () => fresh('chat'));
      const positions = await Promise.all(channels.map(channel => node.publish(channel, 1)));
      await Promise.all(channels.map(channel => node.publish(channel, 2)));
      const connections = await Promise.all(Array.from({ length: 20 }, () => guest()));
      const start = Date.now();
      for (const connection of connections) {
        connection.command(...channels.map((channel, index) => ({ id: 10 + index, subscribe: { channel, recover: true, offset: positions[index].offset, epoch: positions[index].epoch } })));
      }
      for (const connection of connections) {
        for (let index = 0; index < channels.length; index += 1) {
          const { subscribe } = await connection.reply(10 + index);
          assert.equal(subscribe.recovered, true);
          assert.deepEqual(subscribe.publications.map(({ data }) => data), [2]);
        }
      }
      assert.ok(Date.now() - start < 5000, `${Date.now() - start} ms`);
    });

    if (start === twoNodes) trap('23: while the backplane is away errors are temporary, or the close reconnects', async ({ node, guest }) => {
      const channel = fresh('chat');
      const connection = await guest();
      await topology.nats.kill();
      try {
        const answer = await eventually('an answer', async () => {
          connection.command({ id: 2, subscribe: { channel } });
          await Promise.race([connection.closed, connection.reply(2).catch(() => {})]);
          return connection.farewell ?? connection.messages.find(({ id }) => id === 2);
        });
        if (answer.error) assert.deepEqual([answer.error.code, answer.error.temporary], [100, true]);
        else assert.ok(answer.code >= 3000 && answer.code < 3500, JSON.stringify(answer));
      } finally {
        await topology.nats.run();
        for (const each of [...topology.nodes, impatient]) await each.ready();
      }
    });

    trap('26: server API calls about what nobody knows succeed', async ({ node, other }) => {
      const [user, channel] = [fresh('nobody'), fresh('chat')];
      for (const [method, asked] of [
        ['subscribe', { user, channel }],
        ['unsubscribe', { user, channel }],
        ['disconnect', { user }],
        ['refresh', { user, expired: true }],
        ['history_remove', { channel }],
      ]) {
        for (const each of [node, other]) assert.deepEqual(await each.api(method, asked), { result: {} }, method);
      }
    });

    trap('24: a publisher\'s own publication comes to it as to all others', async ({ guest }) => {
      const channel = fresh('plain');
      const connection = await guest();
      await connection.ask({ id: 2, subscribe: { channel } });
      await connection.ask({ id: 3, publish: { channel, data: 'mine' } });
      const pub = await connection.push('pub', channel);
      assert.equal(pub.data, 'mine');
      assert.deepEqual(pub.info, { user: '', client: connection.connected.client });
    });
  });
}
