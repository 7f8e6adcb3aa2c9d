// The SDK's list of transports behind a proxy without sticky sessions, in networks that let less and less through.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';

import { Nginx, Publisher, builds, decode, encode, eventually, fresh, twoNodes, wires } from './harness.mjs';

const transports = ['websocket', 'http_stream', 'sse'];
const paths = Object.fromEntries(transports.map(each => [each, `/connection/${each}`]));

describe('the list of transports behind a proxy without sticky sessions', { timeout: 300_000 }, () => {
  let topology;
  const proxies = {};
  let clients = [];

  before(async () => {
    topology = await twoNodes({ MIDPLANE_HTTP__TRUSTED_PROXIES: '127.0.0.1' });
    proxies.websocket = await Nginx.start(topology.nodes);
    proxies.http_stream = await Nginx.start(topology.nodes, { blocked: [paths.websocket] });
    proxies.sse = await Nginx.start(topology.nodes, { blocked: [paths.websocket, paths.http_stream] });
  }, { timeout: 120_000 });
  after(async () => {
    for (const proxy of Object.values(proxies)) await proxy.stop();
    await topology?.stop();
  }, { timeout: 60_000 });
  afterEach(() => {
    for (const client of clients) client.disconnect();
    clients = [];
  });

  /** An application as its users have it: all transports, one address. */
  function open({ url }, wire = 'json') {
    const client = new builds[wire].Centrifuge(
      transports.map(transport => ({ transport, endpoint: `${transport === 'websocket' ? url.replace('http', 'ws') : url}${paths[transport]}` })),
      { websocket: WebSocket, eventsource: EventSource, emulationEndpoint: `${url}/emulation`, minReconnectDelay: 20, maxReconnectDelay: 500, maxServerPingDelay: 3000 },
    );
    clients.push(client);
    const seen = { client, connected: [], data: [], recovered: [] };
    client.on('connected', context => seen.connected.push(context));
    return seen;
  }

  function listen(seen, channel) {
    const subscription = seen.client.newSubscription(channel, { minResubscribeDelay: 20, maxResubscribeDelay: 500 });
    subscription.on('publication', ({ data }) => seen.data.push(data)).on('subscribed', context => seen.recovered.push(context));
    subscription.subscribe();
    return subscription;
  }

  const forwarded = async () => {
    const counts = await Promise.all(topology.nodes.map(node => node.metric('midplane_emulation_total{result="forwarded"}')));
    return counts.reduce((sum, count) => sum + count);
  };

  for (const transport of transports) {
    for (const wire of wires) {
      // Server-sent events are text.
      if (transport === 'sse' && wire === 'protobuf') continue;
      test(`${transport} carries ${wire} where it is the best that comes through`, async () => {
        const before = await forwarded();
        const channel = fresh('chat');
        const [ada, bob] = [open(proxies[transport], wire), open(proxies[transport], wire)];
        const subscription = listen(bob, channel);
        bob.client.connect();
        ada.client.connect();
        await eventually('both are in', () => ada.connected.length && subscription.state === 'subscribed');
        assert.deepEqual([ada.connected[0].transport, bob.connected[0].transport], [transport, transport]);
        for (let number = 1; number <= 10; number += 1) await ada.client.publish(channel, encode(wire, { number }));
        await eventually('all arrive', () => bob.data.length >= 10);
        assert.deepEqual(bob.data.map(data => decode(wire, data)), Array.from({ length: 10 }, (_, index) => ({ number: index + 1 })));
        const { publications } = await bob.client.history(channel, { limit: 5 });
        assert.equal(publications.length, 5);
        if (transport === 'websocket') assert.equal(await forwarded(), before);
        else assert.ok(await forwarded() > before, 'some posts came to the node without the session');
        assert.deepEqual([ada.connected.length, bob.connected.length], [1, 1], 'nobody had to come back');
      });
    }
  }

  for (const transport of ['http_stream', 'sse']) {
    test(`over ${transport} pings are answered, wherever the answers come in`, async () => {
      const ada = open(proxies[transport]);
      ada.client.connect();
      await eventually('connected', () => ada.connected.length);
      const line = `midplane_ping_rtt_seconds_count{transport="${transport}"}`;
      const answered = async () => (await Promise.all(topology.nodes.map(node => node.metric(line)))).reduce((sum, count) => sum + count);
      const before = await answered();
      await eventually('three pings are answered', async () => await answered() >= before + 3, 40);
      assert.equal(ada.connected.length, 1);
    });

    test(`over ${transport} nothing is lost when the owner of the session is killed`, async () => {
      const channel = fresh('chat');
      const client = open(proxies[transport]);
      const subscription = listen(client, channel);
      client.client.connect();
      await eventually('in', () => subscription.state === 'subscribed');
      const publisher = new Publisher(topology.nodes, [channel]);
      try {
        for (const victim of topology.nodes) {
          const connects = client.connected.length;
          const count = client.data.length;
          await eventually('some arrive', () => client.data.length >= count + 30);
          const owns = await victim.metric(`midplane_connections{transport="${transport}",protocol="json"}`);
          await victim.kill();
          if (owns) {
            await eventually('it comes back', () => client.connected.length > connects && subscription.state === 'subscribed');
          }
          await eventually('more arrive', () => client.data.length >= count + 60, 40);
          await victim.run();
          // Nodes get another port each time.
          await proxies[transport].stop();
          const blocked = transport === 'sse' ? [paths.websocket, paths.http_stream] : [paths.websocket];
          proxies[transport] = await Nginx.start(topology.nodes, { blocked, port: proxies[transport].port });
        }
        await publisher.finish();
      } finally {
        await publisher.abandon();
      }
      const expected = publisher.expected(channel);
      await eventually('everything arrives', () => client.data.length >= expected.length, 40);
      assert.deepEqual(client.data, expected);
      assert.ok(client.recovered.slice(1).every(({ recovered }) => recovered));
      assert.ok(client.recovered.length > 1, 'it had to come back');
    });

    test(`over ${transport} nothing is lost when nodes stop one after another`, async () => {
      const channel = fresh('chat');
      const client = open(proxies[transport]);
      const subscription = listen(client, channel);
      client.client.connect();
      await eventually('in', () => subscription.state === 'subscribed');
      const publisher = new Publisher(topology.nodes, [channel]);
      try {
        for (const node of topology.nodes) {
          const count = client.data.length;
          await eventually('some arrive', () => client.data.length >= count + 30, 40);
          await node.stop();
          await eventually('more arrive', () => client.data.length >= count + 60, 40);
          await node.run();
          // Nodes get another port each time.
          for (const [name, proxy] of Object.entries(proxies)) {
            await proxy.stop();
            proxies[name] = await Nginx.start(topology.nodes, { blocked: transports.slice(0, transports.indexOf(name)).map(each => paths[each]), port: proxy.port });
          }
        }
        await publisher.finish();
      } finally {
        await publisher.abandon();
      }
      const expected = publisher.expected(channel);
      await eventually('everything arrives', () => client.data.length >= expected.length, 40);
      assert.deepEqual(client.data, expected);
      assert.ok(client.recovered.slice(1).every(({ recovered }) => recovered));
      assert.ok(client.recovered.length > 1, 'it had to come back');
    });
  }
});
