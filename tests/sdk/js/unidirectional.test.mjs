// Clients that only listen, without an SDK.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { Node, Raw, eventually, fresh, listeningOn, listenings, now, token, twoNodes } from './harness.mjs';

describe('unidirectional transports', { timeout: 120_000 }, () => {
  let node;
  let open = [];
  before(async () => {
    node = await Node.start('listening', { ...listeningOn, MIDPLANE_CLIENT__PING_INTERVAL: '1s', MIDPLANE_CLIENT__PONG_TIMEOUT: '500ms' });
  }, { timeout: 60_000 });
  after(() => node?.stop());
  afterEach(() => {
    for (const each of open) each.end();
    open = [];
  });

  const keep = listening => {
    open.push(listening);
    return listening;
  };

  for (const [transport, listen] of Object.entries(listenings)) {
    describe(transport, () => {
      test('who names channels gets those that anybody may have, and what is published there', async () => {
        const [channel, other] = [fresh('chat'), fresh('private')];
        const ada = await keep(listen(node, { subs: { [channel]: {}, [other]: {} } })).connected();
        assert.deepEqual(Object.keys(ada.connect.subs), [channel]);
        assert.match(ada.connect.client, /^[0-9a-f-]{36}$/);
        assert.match(ada.connect.session, /^[0-9a-f-]{36}$/);
        assert.equal(ada.connect.ping, 1);
        assert.equal(ada.connect.pong, undefined);
        for (let number = 1; number <= 20; number += 1) await node.publish(channel, { number, text: 'a\r\nb' });
        await eventually('all arrive', () => ada.publications(channel).length >= 20);
        assert.deepEqual(ada.publications(channel).map(({ data }) => data.number), Array.from({ length: 20 }, (_, index) => index + 1));
        assert.equal(ada.publications(channel)[0].data.text, 'a\r\nb');
      });

      test('a token says who it is and what it listens to', async () => {
        const channel = fresh('private');
        const ada = await keep(listen(node, { token: token({ sub: 'ada', channels: [channel] }) })).connected();
        assert.ok(channel in ada.connect.subs);
        assert.ok('personal:#ada' in ada.connect.subs);
        await node.publish(channel, 1);
        await eventually('it arrives', () => ada.publications(channel).length === 1);
      });

      test('a backend means one of a user\'s connections by its session', async () => {
        const user = fresh('user');
        const [first, second] = [keep(listen(node, { token: token({ sub: user }) })), keep(listen(node, { token: token({ sub: user }) }))];
        await Promise.all([first.connected(), second.connected()]);
        await node.api('disconnect', { user, session: second.connect.session });
        await eventually('the second is sent away', () => second.disconnect);
        const channel = fresh('chat');
        await node.api('subscribe', { user, channel, session: first.connect.session });
        await eventually('the push', () => first.pushes.some(push => push.channel === channel && push.subscribe));
        await node.publish(channel, 1);
        await eventually('the first is still there', () => first.publications(channel).length === 1);
        assert.ok(!first.disconnect);
      });

      test('who comes back with its position gets what it missed', async () => {
        const channel = fresh('chat');
        const first = await keep(listen(node, { subs: { [channel]: {} } })).connected();
        await node.publish(channel, 1);
        await eventually('it arrives', () => first.publications(channel).length === 1);
        first.end();
        await node.publish(channel, 2);
        const { offset } = first.publications(channel)[0];
        const { epoch } = first.connect.subs[channel];
        const second = await keep(listen(node, { subs: { [channel]: { recover: true, offset, epoch } } })).connected();
        assert.equal(second.connect.subs[channel].recovered, true);
        // In the reply, or behind it where it was still on its way.
        const recovered = (second.connect.subs[channel].publications ?? []).map(({ data }) => data);
        const all = () => [...recovered, ...second.publications(channel).map(({ data }) => data)];
        await eventually('it has what it missed', () => all().length > 0);
        assert.deepEqual(all(), [2]);
      });

      test('pings come, and nobody has to answer', async () => {
        const ada = await keep(listen(node, {})).connected();
        await eventually('three pings', () => ada.pings >= 3);
        assert.equal(ada.ended, false);
      });

      test('a refused token and a backend end it with a push', async () => {
        const refused = keep(listen(node, { token: 'rubbish' }));
        await eventually('it ends', () => refused.ended);
        assert.deepEqual(refused.disconnect, { code: 3500, reason: 'invalid token' });
        const expired = keep(listen(node, { token: token({ sub: 'ada', exp: 1 }) }));
        await eventually('it ends', () => expired.ended);
        assert.equal(expired.disconnect.code, 3005);
        const user = fresh('user');
        const ada = await keep(listen(node, { token: token({ sub: user }) })).connected();
        await node.api('disconnect', { user });
        await eventually('it ends', () => ada.ended);
        assert.equal(ada.disconnect.code, 3503);
        if (ada.socket) assert.equal(ada.farewell.code, 3503);
      });

      test('a backend subscribes and unsubscribes it', async () => {
        const [user, channel] = [fresh('user'), fresh('chat')];
        const ada = await keep(listen(node, { token: token({ sub: user }) })).connected();
        await node.api('subscribe', { user, channel });
        await eventually('the push', () => ada.pushes.some(push => push.channel === channel && push.subscribe));
        await node.publish(channel, 1);
        await eventually('it arrives', () => ada.publications(channel).length === 1);
        await node.api('unsubscribe', { user, channel });
        await eventually('the push', () => ada.pushes.some(push => push.channel === channel && push.unsubscribe?.code === 2000));
      });
    });
  }

  test('an event source need not say anything', async () => {
    const anonymous = await keep(listenings.uni_sse(node)).connected();
    assert.equal(anonymous.connect.subs, undefined);
  });

  test('a WebSocket may say who it is in its address, and what it says later is not listened to', async () => {
    const channel = fresh('chat');
    const ada = await keep(listenings.uni_websocket(node, { subs: { [channel]: {} } }, { inQuery: true })).connected();
    ada.socket.send('{}');
    ada.socket.send('rubbish');
    await node.publish(channel, 1);
    await eventually('it arrives', () => ada.publications(channel).length === 1);
    await eventually('frames are pinged too', () => ada.framePings >= 2);
    assert.equal(ada.ended, false);
  });

  test('rubbish is refused before anything begins', async () => {
    for (const body of ['[]', '7', '{', '']) {
      for (const transport of ['uni_http_stream', 'uni_sse']) {
        const response = await fetch(`${node.url}/connection/${transport}`, { method: 'POST', body });
        assert.equal(response.status, 400, `${transport} ${body}`);
      }
    }
    const unread = keep(listenings.uni_websocket(node, 'rubbish'));
    await eventually('it ends', () => unread.ended);
    assert.equal(unread.farewell.code, 3501);
    assert.equal((await fetch(`${node.url}/connection/uni_sse?cf_connect=%5B`)).status, 400);
  });

  test('they are off unless somebody wants them', async () => {
    const plain = await Node.start('plain');
    try {
      for (const transport of Object.keys(listenings)) {
        assert.equal((await fetch(`${plain.url}/connection/${transport}`, { method: 'POST', body: '{}' })).status, 404, transport);
      }
    } finally {
      await plain.stop();
    }
  });

  test('a node that stops says so to everybody', async () => {
    const stopping = await Node.start('stopping', listeningOn);
    const all = await Promise.all(Object.values(listenings).map(listen => keep(listen(stopping, {})).connected()));
    const raw = await Raw.connect(stopping);
    await stopping.stop();
    assert.equal(await raw.closeCode(), 3001);
    for (const each of all) {
      await eventually('it ends', () => each.ended);
      assert.deepEqual(each.disconnect, { code: 3001, reason: 'shutdown' });
    }
  });
});

describe('one of a user\'s connections, on two nodes', { timeout: 120_000 }, () => {
  let topology;
  let open = [];
  before(async () => {
    topology = await twoNodes(listeningOn);
  }, { timeout: 60_000 });
  after(() => topology?.stop());
  afterEach(() => {
    for (const each of open) each.end();
    open = [];
  });

  const listen = (transport, node, user) => {
    const listening = listenings[transport](node, { token: token({ sub: user }) });
    open.push(listening);
    return listening.connected();
  };
  const heard = (listening, kind, channel) => listening.pushes.some(push => push[kind] && push.channel === channel);

  /** What is asked with each method, and the push that shows it. */
  const orders = {
    subscribe: () => ({ channel: fresh('chat') }),
    unsubscribe: channel => ({ channel }),
    refresh: () => ({ expire_at: now(300) }),
    disconnect: () => ({}),
  };
  for (const by of ['client', 'session']) {
    for (const [method, order] of Object.entries(orders)) {
      test(`a backend means it by its ${by} in ${method}, whichever node it asks`, async () => {
        const [user, channel, last] = [fresh('user'), fresh('chat'), fresh('chat')];
        const meant = await listen('uni_sse', topology.first, user);
        const others = [await listen('uni_http_stream', topology.first, user), await listen('uni_websocket', topology.other, user)];
        await topology.other.api('subscribe', { user, channel });
        for (const each of [meant, ...others]) await eventually('subscribed', () => heard(each, 'subscribe', channel));

        const asked = order(channel);
        await topology.other.api(method, { user, [by]: meant.connect[by], ...asked });
        await eventually('who is meant hears of it', () => heard(meant, method, asked.channel));
        if (method === 'subscribe') {
          await topology.first.publish(asked.channel, 1);
          await eventually('it arrives', () => meant.publications(asked.channel).length === 1);
        }
        // One order is obeyed after another: whoever has heard of the last had heard of this one, too.
        await topology.other.api('subscribe', { user, channel: last });
        for (const each of others) {
          await eventually('the last order', () => heard(each, 'subscribe', last));
          assert.ok(!heard(each, method, asked.channel));
        }
      });
    }
  }
});
