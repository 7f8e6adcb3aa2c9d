// The SDK in a real browser on a page of another origin, in networks that let less and less through.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { openBrowser } from '../sdk/js/chromium.mjs';
import { Nginx, eventually, listeningOn, twoNodes } from '../sdk/js/harness.mjs';
import { project } from '../sdk/js/harness/process.mjs';

const sdk = readFileSync(join(project, 'src/http/demo/centrifuge.min.js'));
const transports = ['websocket', 'http_stream', 'sse'];
const paths = transports.map(transport => `/connection/${transport}`);

/** A page of an application, from another port than the nodes: another origin. */
async function servePage() {
  const server = createServer((request, response) => {
    const isSdk = request.url === '/centrifuge.js';
    response.setHeader('content-type', isSdk ? 'text/javascript' : 'text/html');
    response.end(isSdk ? sdk : '<!doctype html><link rel="icon" href="data:,"><script src="/centrifuge.js"></script>');
  });
  await new Promise(listening => server.listen(0, '127.0.0.1', listening));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

describe('transports in a browser', { timeout: 180_000 }, () => {
  let browser;
  let page;
  let topology;
  const proxies = [];
  before(async () => {
    page = await servePage();
    topology = await twoNodes({ ...listeningOn, MIDPLANE_CLIENT__ALLOWED_ORIGINS: page.origin });
    for (const index of transports.keys()) proxies.push(await Nginx.start(topology.nodes, { blocked: paths.slice(0, index) }));
    browser = await openBrowser();
  }, { timeout: 120_000 });
  after(async () => {
    await browser?.close();
    for (const proxy of proxies) await proxy.stop();
    await topology?.stop();
    page?.close();
  }, { timeout: 60_000 });

  for (const [index, transport] of transports.entries()) {
    test(`${transport} is found, publishes, recovers after its node was killed`, async () => {
      const channel = `chat:browser-${transport}`;
      const tab = await browser.newPage();
      await tab.goto(page.origin);
      await tab.evaluate(({ base, all, room }) => {
        const endpoints = all.map(each => ({ transport: each, endpoint: `${each === 'websocket' ? base.replace('http', 'ws') : base}/connection/${each}` }));
        const seen = (globalThis.seen = { transports: [], data: [], recovered: [] });
        const client = (globalThis.client = new Centrifuge(endpoints, { emulationEndpoint: `${base}/emulation`, minReconnectDelay: 20, maxReconnectDelay: 500 }));
        client.on('connected', context => seen.transports.push(context.transport));
        const subscription = (globalThis.subscription = client.newSubscription(room));
        subscription.on('publication', ({ data }) => seen.data.push(data)).on('subscribed', context => seen.recovered.push(context.recovered));
        subscription.subscribe();
        client.connect();
      }, { base: proxies[index].url, all: transports, room: channel });
      const seen = () => tab.evaluate(() => globalThis.seen);
      await tab.waitForFunction(() => globalThis.subscription.state === 'subscribed');
      assert.deepEqual((await seen()).transports, [transport]);
      await tab.evaluate(async () => {
        for (const number of [1, 2, 3]) await globalThis.subscription.publish(number);
      });
      await eventually('its own publications arrive', async () => (await seen()).data.length === 3);

      const owner = (await Promise.all(topology.nodes.map(async node => [node, await node.metric(`midplane_connections{transport="${transport}",protocol="json"}`)])))
        .find(([, count]) => count > 0)[0];
      const survivor = topology.nodes.find(node => node !== owner);
      await owner.kill();
      await survivor.publish(channel, 4);
      await eventually('what was missed arrives', async () => (await seen()).data.length === 4);
      assert.deepEqual((await seen()).data, [1, 2, 3, 4]);
      assert.deepEqual((await seen()).transports, [transport, transport]);
      assert.equal((await seen()).recovered.at(-1), true);
      await tab.close();
      await owner.run();
      for (const [each, proxy] of proxies.entries()) {
        await proxy.stop();
        proxies[each] = await Nginx.start(topology.nodes, { blocked: paths.slice(0, each), port: proxy.port });
      }
    });
  }

  test('an EventSource listens without an SDK', async () => {
    const channel = 'chat:browser-events';
    const tab = await browser.newPage();
    await tab.goto(page.origin);
    await tab.evaluate(({ base, room }) => {
      globalThis.pushes = [];
      const source = new EventSource(`${base}/connection/uni_sse?cf_connect=${encodeURIComponent(JSON.stringify({ subs: { [room]: {} } }))}`);
      source.onmessage = ({ data }) => globalThis.pushes.push(JSON.parse(data));
    }, { base: proxies[0].url, room: channel });
    const pushes = () => tab.evaluate(() => globalThis.pushes);
    await eventually('the connect push', async () => (await pushes())[0]?.connect?.subs?.[channel]);
    await topology.first.publish(channel, 'hello');
    await eventually('the publication', async () => (await pushes()).some(push => push.pub?.data === 'hello'));
    await tab.close();
  });

  test('a foreign page gets nothing', async () => {
    const foreign = await servePage();
    const tab = await browser.newPage();
    try {
      await tab.goto(foreign.origin);
      const outcomes = await tab.evaluate(async base => {
        const connect = '{"id":1,"connect":{}}';
        const posted = await fetch(`${base}/connection/http_stream`, { method: 'POST', body: connect }).then(() => 'read', () => 'refused');
        const events = await new Promise(over => {
          const source = new EventSource(`${base}/connection/sse?cf_connect=${encodeURIComponent(connect)}`);
          source.onopen = () => over('read');
          source.onerror = () => {
            source.close();
            over('refused');
          };
        });
        await new Promise(over => {
          const picture = new Image();
          picture.onload = picture.onerror = over;
          picture.src = `${base}/connection/sse?cf_connect=${encodeURIComponent(connect)}`;
        });
        return [posted, events];
      }, topology.first.url);
      assert.deepEqual(outcomes, ['refused', 'refused']);
      assert.equal(await topology.first.metric('midplane_handshakes_rejected_total{reason="origin"}'), 3);
    } finally {
      await tab.close();
      foreign.close();
    }
  });
});
