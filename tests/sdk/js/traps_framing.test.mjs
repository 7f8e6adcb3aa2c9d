// Traps that clients fall into when a server differs: frames, JSON, and what must never be empty.
import assert from 'node:assert/strict';

import { Raw, eventually, fresh, now, token } from './harness.mjs';
import { traps } from './traps.mjs';

traps('framing', (trap, system) => {
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
    if (system.topology.nats) {
      const backend = await system.topology.backend();
      backend.publish(`midplane.pub.${channel.replace(':', '.')}`, '{\n  "d": "x\\ny"\n}');
      await backend.flush();
    }
    const count = system.topology.nats ? 3 : 2;
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

  trap('14: nor does a push come without', async ({ keep, node, other }) => {
    const [user, channel, soon] = [fresh('ada'), fresh('chat'), `$${fresh('private')}`];
    const connection = keep(await Raw.connect(node, { token: token({ sub: user, exp: now(60) }) }));
    await connection.ask({ id: 2, subscribe: { channel } });
    await connection.ask({ id: 3, subscribe: { channel: soon, token: token({ sub: user, channel: soon, exp: now(1) }) } });
    await other.api('unsubscribe', { user, channel });
    assert.deepEqual(await connection.push('unsubscribe', channel), { code: 2000, reason: 'server unsubscribe' });
    assert.deepEqual(await connection.push('unsubscribe', soon), { code: 2501, reason: 'subscription expired' });
    await other.api('refresh', { user, expire_at: now(5) });
    const { push: { refresh } } = await connection.until('push refresh', ({ push }) => push?.refresh);
    assert.equal(refresh.expires, true);
    assert.ok(refresh.ttl >= 1);
    await other.api('disconnect', { user, disconnect: { code: 4000, reason: '' } });
    assert.equal(await connection.closeCode(), 4000);
    assert.match(connection.farewell.reason, /^[a-z][a-z ]+$/);
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
});
