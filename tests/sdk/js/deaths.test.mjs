// The owner of a session is killed, over streams: whatever its client was in goes on at another node, and nothing is lost.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';

import { App, carryBy, eventually, fresh, token, twoNodes, watch } from './harness.mjs';

const quick = { HEARTBEAT_INTERVAL: '300', FAILURE_DETECTION_TIMEOUT: '2000' };
const even = { key: 'parity', cmp: 'eq', val: 'even' };
const upTo = (last, step = 1) => Array.from({ length: Math.floor(last / step) }, (_, index) => (index + 1) * step);

describe('the owner of a session on a stream is killed', { timeout: 300_000 }, () => {
  let topology;
  let apps = [];
  afterEach(async () => {
    carryBy('websocket');
    apps.forEach(app => app.close());
    apps = [];
    await topology.stop();
  });

  for (const [carrier, wire] of [['http_stream', 'json'], ['http_stream', 'protobuf'], ['sse', 'json']]) {
    test(`${carrier}, ${wire}: patches, a filter, and what the server subscribed to are recovered, and it left once`, async () => {
      topology = await twoNodes(quick);
      const { first, other } = topology;
      carryBy(carrier, () => other);
      const open = (node, claims) => {
        apps.push(new App(wire, node, { token: token(claims) }));
        return apps.at(-1).connect();
      };
      const [given, plain, patched, filtered, room] = [fresh('chat'), fresh('chat'), fresh('patched'), fresh('patched'), fresh('room')];
      const told = await watch(await open(other, { sub: 'ear' }), room, { joinLeave: true });
      const ada = await open(first, { sub: 'ada', channels: [given] });
      const listeners = [await ada.subscribe(plain), await ada.subscribe(patched, { delta: 'fossil' }), await ada.subscribe(filtered, { tagsFilter: even })];
      await ada.subscribe(room);
      const publish = async (from, to) => {
        for (let n = from; n <= to; n += 1) {
          const data = { n, rest: 'the same every time '.repeat(20) };
          for (const channel of [given, plain, patched, filtered]) await other.publish(channel, data, { tags: { parity: n % 2 ? 'odd' : 'even' } });
        }
      };
      const numbers = data => data.map(({ n }) => n);
      const ofTheServer = () => numbers(ada.publications.filter(({ channel }) => channel === given).map(({ data }) => data));

      await publish(1, 10);
      await listeners[0].received(10);
      await eventually('ada came', () => told.told.includes('+ada'));
      ada.node = other;
      await first.kill();
      await publish(11, 40);
      for (const listener of listeners) await eventually('subscribed again', () => listener.subscribed.length === 2);
      await publish(41, 50);
      for (const [index, step] of [1, 1, 2].entries()) {
        const expected = upTo(50, step);
        assert.deepEqual(numbers(await listeners[index].received(expected.length)), expected);
        assert.equal(listeners[index].subscribed[1].recovered, true);
      }
      await eventually('the server\'s, too', () => ofTheServer().length >= 50);
      assert.deepEqual(ofTheServer(), upTo(50));
      assert.ok(listeners[1].subscription.deltaStats().numDeltaPayloads >= 40, 'patches they were');
      // It is back at once, and its node is known to be dead later.
      await eventually('it left, and came', () => told.told.length === 4);
      assert.deepEqual([...told.told].sort(), ['+ada', '+ada', '+ear', '-ada']);
      topology.nodes.shift();
    });
  }
});
