// Traps that clients fall into when a server differs: what comes before what.
import assert from 'node:assert/strict';

import { App, Raw, eventually, fresh, token, wires } from './harness.mjs';
import { traps } from './traps.mjs';

traps('order', (trap, system) => {
  for (const side of ['client', 'server']) {
    trap(`7: nothing of a ${side}-side subscription comes before its reply, and nothing after it is missing`, async ({ node, guest }) => {
      const channel = fresh('chat');
      let published = 0;
      let going = true;
      const publishing = (async () => {
        while (going) await node.publish(channel, (published += 1));
      })();
      await eventually('the storm is on', () => published > 5);
      for (let round = 0; round < 10; round += 1) {
        const connection = await guest({}, side === 'server' ? { token: token({ sub: 'ada', channels: [channel] }) } : {});
        const position = side === 'server' ? connection.connected.subs[channel] : (await connection.ask({ id: 2, subscribe: { channel } })).subscribe;
        await eventually('some follow', () => connection.publications(channel).length >= 5);
        const reply = connection.messages.findIndex(({ id }) => id === (side === 'server' ? 1 : 2));
        const first = connection.messages.findIndex(({ push }) => push?.channel === channel);
        assert.ok(first > reply);
        const data = connection.publications(channel).map(each => each.data);
        assert.deepEqual(data, data.map((_, index) => data[0] + index), 'one after the other');
        const { result } = await node.api('history', { channel, limit: -1, since: { offset: position.offset, epoch: position.epoch } });
        assert.equal(result.publications[0].data, data[0], 'the first after the reply\'s position');
      }
      going = false;
      await publishing;
    });
  }

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

  if (system.clustered) trap('10: a gap costs a client-side subscription one push 2500, a server-side one the connection (3010)', async ({ node, guest }) => {
    const [channel, own] = [fresh('lost'), fresh('lost')];
    const client = await guest();
    await client.ask({ id: 2, subscribe: { channel } });
    const server = await guest({}, { token: token({ sub: 'ada', channels: [own] }) });
    for (const each of [channel, own]) await node.publish(each, 1);
    await client.push('pub', channel);
    await server.push('pub', own);
    // The store is gone and with it everything that nobody has read yet.
    await system.topology.nats.kill();
    system.topology.nats.wipe();
    await system.topology.nats.run();
    assert.deepEqual(await client.push('unsubscribe', channel), { code: 2500, reason: 'insufficient state' });
    assert.equal(client.pushes.filter(push => push.unsubscribe).length, 1);
    assert.equal(client.farewell, undefined);
    assert.equal(await server.closeCode(), 3010);
    for (const each of system.topology.nodes) await each.ready();
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

  if (system.clustered) trap('11: a channel whose subscribe failed and whose unsubscribe had to wait is let go', async ({ node, guest }) => {
    const [left, failed] = [fresh('chat'), fresh('chat')];
    const connection = await guest();
    await connection.ask({ id: 2, subscribe: { channel: left } });
    await system.hung(async () => {
      connection.command(
        { id: 3, subscribe: { channel: failed } },
        ...[left, failed].map((channel, index) => ({ id: 4 + index, unsubscribe: { channel } })),
      );
      assert.deepEqual((await connection.reply(3)).error, { code: 100, message: 'internal server error', temporary: true });
      for (const id of [4, 5]) assert.deepEqual(await connection.reply(id), { id, unsubscribe: {} });
    });
    let id = 10;
    for (const channel of [left, failed]) {
      await eventually('subscribed again, and never told to be already', async () => {
        const { subscribe, error } = await connection.ask({ id: (id += 1), subscribe: { channel } });
        if (error?.code !== 100) assert.equal(error, undefined);
        return subscribe;
      });
      await node.publish(channel, 'once');
      await connection.push('pub', channel);
    }
  });

  for (const wire of system.clustered ? wires : []) {
    trap(`11: ${wire}: an application whose unsubscribe got no answer may subscribe again`, async ({ node, keep }) => {
      const ada = await keep(new App(wire, node, { timeout: 300 })).connect();
      const [left, kept] = [await ada.subscribe(fresh('chat')), await ada.subscribe(fresh('chat'))];
      await system.hung(async () => {
        ada.centrifuge.history(kept.channel, { limit: 1 }).catch(() => {}); // keeps the session busy
        await new Promise(setImmediate); // sent
        left.subscription.unsubscribe();
        await eventually('the SDK gives this connection up', () => ada.connecting.length === 2);
        assert.equal(ada.connecting[1].reason, 'unsubscribe error');
      });
      left.unsubscribed = null;
      left.subscription.subscribe();
      for (const listener of [left, kept]) {
        await eventually('subscribed again', () => listener.subscribed.length >= 2);
        await node.publish(listener.channel, 'once');
        await node.publish(listener.channel, 'end');
        await listener.received(2);
        assert.deepEqual(listener.data, ['once', 'end']);
        assert.equal(listener.unsubscribed, null);
      }
      await eventually('the old connection has left', async () => {
        const { result } = await node.api('channels', { pattern: left.channel });
        return result.channels[left.channel].num_clients === 1;
      });
    });
  }

  trap('24: a publisher\'s own publication comes to it as to all others', async ({ guest }) => {
    const channel = fresh('plain');
    const connection = await guest();
    await connection.ask({ id: 2, subscribe: { channel } });
    await connection.ask({ id: 3, publish: { channel, data: 'mine' } });
    const pub = await connection.push('pub', channel);
    assert.equal(pub.data, 'mine');
    assert.deepEqual(pub.info, { user: '', client: connection.connected.client });
  });

  if (system.clustered) trap('23: while the backplane is away errors are temporary, or the close reconnects', async ({ node, guest }) => {
    const channel = fresh('chat');
    const connection = await guest();
    await system.topology.nats.kill();
    try {
      const answer = await eventually('an answer', async () => {
        connection.command({ id: 2, subscribe: { channel } });
        await Promise.race([connection.closed, connection.reply(2).catch(() => {})]);
        return connection.farewell ?? connection.messages.find(({ id }) => id === 2);
      });
      if (answer.error) assert.deepEqual([answer.error.code, answer.error.temporary], [100, true]);
      else assert.ok(answer.code >= 3000 && answer.code < 3500, JSON.stringify(answer));
    } finally {
      await system.topology.nats.run();
      for (const each of system.topology.nodes) await each.ready();
    }
  });
});
