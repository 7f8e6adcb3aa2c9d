// The operator console as an operator uses it: by key, by mouse, by keyboard, on a phone, while nodes come and go.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { openBrowser } from '../sdk/js/chromium.mjs';
import { App, NatsServer, Node, eventually, fresh, now, token } from '../sdk/js/harness.mjs';
import { freePort } from '../sdk/js/harness/process.mjs';
import { fits, openTab, picture } from './tab.mjs';

const KEY = 'test-api-key';
const OPERATORS = 'another secret of the tests, for operators';
const PHONE = { width: 375, height: 800 };

/** Two nodes keep their ports when they start again. */
async function cluster(nats) {
  const start = async name =>
    Node.start(name, { NATS_URL: nats.url, MAX_CONNECTIONS: '50', MIDPLANE_CONSOLE__TOKEN__HMAC_SECRET_KEY: OPERATORS, MIDPLANE_HTTP__BIND: `127.0.0.1:${await freePort()}` });
  return Promise.all(['left', 'right'].map(start));
}

const state = (page, wanted) => page.waitForFunction(want => document.body.dataset.state === want, wanted, { timeout: 30_000 });
const row = (page, key) => page.locator(`tr[data-key="${key}"]`);
const cell = (page, key, label) => row(page, key).locator(`td[data-label="${label}"]`);
const shows = (locator, text) => eventually(`it shows ${text}`, async () => {
  const shown = (await locator.allTextContents()).join(' ');
  if (!shown.includes(text)) throw new Error(`it shows ${JSON.stringify(shown)}`);
  return true;
});

describe('the operator console', { timeout: 300_000 }, () => {
  let browser, nats, nodes, left, right;
  let tabs = [];
  let apps = [];
  before(async () => {
    browser = await openBrowser();
    nats = await NatsServer.start();
    nodes = await cluster(nats);
    [left, right] = nodes;
  }, { timeout: 120_000 });
  after(async () => {
    await browser?.close();
    for (const node of nodes ?? []) await node.stop();
    await nats?.kill();
  }, { timeout: 60_000 });
  afterEach(async () => {
    for (const app of apps) app.close();
    for (const tab of tabs) {
      await tab.close();
      assert.deepEqual(tab.problems, []);
    }
    [tabs, apps] = [[], []];
  });

  const arrive = async (node, path = '', options = {}) => {
    const tab = await openTab(browser, `${node.url}/console${path}`, options);
    tabs.push(tab);
    return tab.page;
  };
  /** Signs in, and leads to `path`. */
  const enter = async (node, path = '', options = {}, key = KEY) => {
    const page = await arrive(node, path, options);
    await page.fill('#key', key);
    await page.press('#key', 'Enter');
    await state(page, 'live');
    return page;
  };
  const connect = async (user, node, channels = []) => {
    const app = await new App('json', node, { token: token({ sub: user }) }).connect();
    apps.push(app);
    for (const channel of channels) await app.subscribe(channel);
    return app;
  };

  test('asks for the key, says when it is wrong, and keeps it out of every address', async () => {
    const page = await arrive(left);
    const asked = [];
    page.on('request', request => asked.push(request.url()));
    await state(page, 'locked');
    await page.fill('#key', 'not the key');
    await page.press('#key', 'Enter');
    await page.getByText('The node refused this key.').waitFor();
    await picture(page, 'console-signin');
    await page.fill('#key', KEY);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await state(page, 'live');
    await page.reload();
    await state(page, 'live');
    assert.ok(asked.length > 0 && asked.every(url => !url.includes(KEY) && !url.includes('not%20the')), `${asked}`);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await state(page, 'locked');
    assert.equal(await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }) + document.cookie), '{}');
  });

  test('shows all nodes and their load, whichever of them is asked', async () => {
    const channel = fresh('room');
    await Promise.all([connect('ada', left, [channel]), connect('bob', left, [channel]), connect('eve', right, [channel])]);
    for (const [index, node] of nodes.entries()) {
      const page = await enter(node);
      await shows(cell(page, 'left', 'Connections'), '2 of 50');
      await shows(cell(page, 'right', 'Connections'), '1 of 50');
      for (const each of nodes) await shows(cell(page, each.name, 'Node'), each.address);
      await shows(page.locator('.facts'), '3 of 100');
      for (const width of [1200, 1280]) {
        await page.setViewportSize({ width, height: 800 });
        const whole = () => [...document.querySelectorAll('.table')].every(each => each.scrollWidth <= each.clientWidth);
        assert.ok(await page.evaluate(whole), `no column is cut at ${width}`);
      }
      if (index === 0) {
        await picture(page, 'console-nodes');
        await page.emulateMedia({ colorScheme: 'dark' });
        await picture(page, 'console-nodes-dark');
      }
    }
  });

  test('shows the busiest channels and the namespaces, finds channels by pattern, and a channel with who is there and what was said', async () => {
    const [spoken, lobby] = [fresh('chat'), fresh('room')];
    await Promise.all([connect('ada', left, [spoken, lobby]), connect('bob', right, [lobby])]);
    await left.publish(spoken, { text: '<img src=x onerror=alert(1)>' });
    for (let each = 0; each < 30; each += 1) await left.publish(lobby, each);
    const page = await enter(right, '#/channels');
    await shows(cell(page, lobby, 'Subscribers'), '2');
    assert.match((await cell(page, lobby, 'Deliveries/s').textContent()).trim(), /^[0-9.,]+$/);
    await picture(page, 'console-busiest');
    await page.evaluate(() => (location.hash = '#/namespaces'));
    await shows(cell(page, 'room', 'Subscriptions'), '2');
    await shows(cell(page, 'room', 'Presence'), 'recorded, joins and leaves');
    await picture(page, 'console-namespaces');

    await page.keyboard.press('/');
    await page.keyboard.type('room:*');
    await page.keyboard.press('Enter');
    await shows(cell(page, lobby, 'Subscribers'), '2');
    await page.getByRole('link', { name: lobby }).click();
    await shows(page.getByRole('table', { name: 'Who is there' }), 'bob');
    await page.getByText('The namespace keeps no history.').waitFor();

    await page.fill('#name', spoken);
    await page.press('#name', 'Enter');
    await shows(page.getByRole('table', { name: 'Latest publications' }), '{"text":"<img src=x onerror=alert(1)>"}');
    assert.equal(await page.locator('main img').count(), 0, 'markup is text');
    await picture(page, 'console-channel');
  });

  test('publishes what is JSON, and says what is wrong with what is not', async () => {
    const channel = fresh('chat');
    const ada = await connect('ada', left);
    const heard = await ada.subscribe(channel);
    const page = await enter(right, `#/publish/${encodeURIComponent(channel)}`);
    await page.fill('#data', '{"text": ');
    await page.getByRole('button', { name: 'Publish' }).click();
    await page.getByText(/^Not JSON: /).waitFor();
    assert.equal(await page.getAttribute('#data', 'aria-invalid'), 'true');
    await page.fill('#data', '{"text": "hello", "n": 12345678901234567890}');
    await page.press('#data', 'Control+Enter');
    await page.getByText(/stored at offset \d+, epoch/).waitFor();
    await eventually('it arrives', () => heard.data.length === 1);
    const { result } = await left.api('history', { channel, limit: 1 });
    assert.equal(result.publications.length, 1);
    await picture(page, 'console-publish');
    await page.fill('#to', 'nowhere:x');
    await page.press('#data', 'Control+Enter');
    await page.getByText('Not published: unknown channel: no namespace "nowhere" (102)').waitFor();
    await page.fill('#data', '{"text": ');
    await page.press('#data', 'Control+Enter');
    await eventually('only the latest trouble is told', async () => (await page.getByText('Not published').count()) === 0);
    await page.evaluate(() => (location.hash = '#/channel/nowhere%3Ax'));
    await page.getByText('unknown channel: no namespace "nowhere" (102)').waitFor();
    for (const claim of ['Nobody is there.', 'The namespace keeps no history.']) assert.equal(await page.getByText(claim).isVisible(), false, claim);
  });

  test('finds a user on all nodes and disconnects them, after it was asked whether it should', async () => {
    const channel = fresh('room');
    const [one, other] = await Promise.all([connect('mallory', left, [channel]), connect('mallory', right)]);
    const page = await enter(left);
    await page.selectOption('#kind', 'user');
    await page.fill('#name', 'mallory');
    await page.press('#name', 'Enter');
    await page.getByText('2 connections on all nodes').waitFor();
    await shows(page.getByRole('table', { name: 'Connections' }), channel);
    await picture(page, 'console-user');
    await page.getByRole('button', { name: 'Disconnect all' }).click();
    await page.getByRole('dialog').waitFor();
    await picture(page, 'console-confirm');
    await page.keyboard.press('Escape');
    assert.deepEqual([one.disconnected, other.disconnected], [null, null]);
    await page.getByRole('button', { name: 'Disconnect all' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
    await eventually('both are sent away', () => one.disconnected?.code === 3503 && other.disconnected?.code === 3503);
    await page.getByText('Not connected.').waitFor();
  });

  test('watches a channel live: who comes, what is published, who goes and why', async () => {
    const channel = fresh('room');
    const page = await enter(left, `#/channel/${encodeURIComponent(channel)}`);
    const log = page.getByRole('log');
    await page.getByRole('button', { name: 'Watch live' }).click();
    await shows(log, 'watching at left');
    const ada = await connect('ada', right, [channel]);
    await shows(log, `ada joined ${channel}`);
    await right.publish(channel, { text: '<b>hello</b>' });
    await shows(log, '{"text":"<b>hello</b>"}');
    assert.equal(await log.locator('b').count(), 0, 'markup is text');
    await left.api('disconnect', { user: 'ada' });
    await eventually('ada is gone', () => ada.disconnected);
    await shows(log, 'ada left, its connection closed: 3503 force disconnect');
    await picture(page, 'console-watch-channel');
    await page.keyboard.press('w');
    await shows(log, 'stopped watching');
    await eventually('nobody listens any more', async () => !(await left.api('channels', { pattern: channel })).result.channels[channel]);
  });

  test('watches a user live, and goes on when the node is back', async () => {
    const channel = fresh('room');
    const page = await enter(right, '#/user/bob', { viewport: PHONE, colorScheme: 'dark' });
    const log = page.getByRole('log');
    await page.keyboard.press('w');
    await shows(log, 'watching at right');
    await connect('bob', left, [channel]);
    await shows(log, 'bob connected over websocket');
    await shows(log, `bob joined ${channel}`);
    assert.ok(await fits(page), 'nothing sticks out');
    await picture(page, 'console-watch-user-phone');
    await right.kill();
    await shows(log, 'Trying again');
    await right.run();
    await eventually('it begins anew', async () => (await log.getByText('watching at right').count()) === 2, 60);
    await left.api('disconnect', { user: 'bob', disconnect: { code: 4501, reason: 'enough' } });
    await shows(log, 'bob closed: 4501 enough');
  });

  test('a token for looking shows everything and offers nothing that changes something', async () => {
    const channel = fresh('room');
    await connect('ada', left, [channel]);
    const claims = { sub: 'olga', operator: 'read', exp: now(600) };
    const page = await enter(left, '', {}, token(claims, { key: OPERATORS }));
    await row(page, 'right').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Drain right' }).count(), 0);
    assert.equal(await page.getByRole('link', { name: 'Publish' }).count(), 0);
    await page.evaluate(() => (location.hash = '#/user/ada'));
    await shows(page.getByRole('table', { name: 'Connections' }), channel);
    assert.equal(await page.getByRole('button', { name: 'Disconnect all' }).count(), 0);
    await picture(page, 'console-read-only');
    await page.getByRole('button', { name: 'Watch live' }).click();
    await shows(page.getByRole('log'), 'watching at left');
    await page.evaluate(to => (location.hash = `#/publish/${to}`), channel);
    await page.press('#data', 'Control+Enter');
    await page.getByText('Not published: this operator token is good for looking only (403)').waitFor();

    const other = await arrive(left);
    for (const bad of [token(claims), token({ ...claims, exp: now(-60) }, { key: OPERATORS }), token({ sub: 'olga', exp: now(600) }, { key: OPERATORS })]) {
      await other.fill('#key', bad);
      await other.press('#key', 'Enter');
      await other.getByText('The node refused this key.').waitFor();
    }
  });

  test('everything can be reached by keyboard', async () => {
    const page = await enter(left);
    for (const [keys, heading] of [['c', 'Busiest channels'], ['s', 'Namespaces'], ['p', 'Publish a test message'], ['n', 'Nodes']]) {
      await page.keyboard.press('g');
      await page.keyboard.press(keys);
      await page.getByRole('heading', { name: heading }).waitFor();
      await page.keyboard.press('Escape'); // out of a field
    }
    await page.keyboard.press('3');
    await page.getByRole('heading', { name: 'Namespaces' }).waitFor();
    await page.keyboard.press('1');
    await row(page, 'left').waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Drain right');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
    await page.getByText('look up a channel or user').waitFor();
    await picture(page, 'console-help');
    await page.keyboard.press('Escape');
    assert.equal(await page.getByRole('dialog').count(), 0);
    const unnamed = await page.evaluate(() => [...document.querySelectorAll('input, select, textarea, button')]
      .filter(each => !each.labels?.length && !each.textContent.trim() && !each.getAttribute('aria-label')).length);
    assert.equal(unnamed, 0, 'every field and button has a name');
  });

  test('works on a phone', async () => {
    const channel = fresh('room');
    await connect('ada', left, [channel]);
    for (const colorScheme of ['light', 'dark']) {
      const page = await enter(left, '', { viewport: PHONE, colorScheme });
      for (const [view, ready] of [['nodes', 'tr[data-key="left"]'], ['channels', '#pattern'], ['namespaces', 'tr[data-key="room"]'], ['publish', '#publish'],
        [`channel/${encodeURIComponent(channel)}`, '.facts'], ['user/ada', '#view tr[data-key]']]) {
        await page.evaluate(to => (location.hash = `#/${to}`), view);
        await page.locator(ready).first().waitFor();
        assert.ok(await fits(page), `${view}: nothing sticks out`);
        await picture(page, `console-phone-${view.split('/')[0]}-${colorScheme}`);
      }
    }
  });

  test('does not ask while nobody looks', async () => {
    const page = await enter(left);
    const hide = hidden => page.evaluate(value => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await hide(true);
    await state(page, 'paused');
    await hide(false);
    await state(page, 'live');
  });

  test('a node that is gone is told, and the console goes on when it is back', async () => {
    const page = await enter(right);
    await shows(cell(page, 'right', 'State'), 'up');
    await right.kill();
    await state(page, 'trouble');
    await page.getByText(/The node cannot be reached\. Trying again/).waitFor();
    await shows(cell(page, 'right', 'State'), 'up');
    await picture(page, 'console-node-gone');
    await right.run();
    await state(page, 'live');
    assert.equal(await page.locator('#trouble').isVisible(), false);
  });

  test('says when it may not ask, and waits', async () => {
    const page = await enter(left);
    await page.route('**/cluster/nodes', route => route.fulfill({ status: 429, headers: { 'retry-after': '3' } }));
    await page.getByText('Too many calls from this address. Trying again in 3 s').waitFor();
    await page.unroute('**/cluster/nodes');
    await state(page, 'live');
    await page.route('**/cluster/nodes', route => route.fulfill({ status: 401 }));
    await page.getByText('The node refused this key.').waitFor();
    await state(page, 'locked');
  });

  test('drains a node after it was asked whether it should, and not the last one unasked', async () => {
    const page = await enter(left);
    await page.getByRole('button', { name: 'Drain right' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    await shows(cell(page, 'right', 'State'), 'up');
    await page.getByRole('button', { name: 'Drain right' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
    await page.getByText('right drains.').waitFor();
    await shows(cell(page, 'right', 'State'), 'draining');
    await picture(page, 'console-draining');
    await page.getByRole('button', { name: 'Drain left' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
    await page.getByRole('dialog', { name: 'Drain the last node?' }).getByRole('button', { name: 'Cancel' }).click();
    await page.getByText(/left is not drained/).waitFor();
    await shows(cell(page, 'left', 'State'), 'up');
  });
});
