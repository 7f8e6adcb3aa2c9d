// The demo page as a visitor sees it: two tabs chat, one loses its line, then its node, and recovers.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { openBrowser } from '../sdk/js/chromium.mjs';
import { NatsServer, Node, eventually } from '../sdk/js/harness.mjs';
import { fits, openTab, picture } from './tab.mjs';

const state = (page, wanted) => page.waitForFunction(want => document.body.dataset.state === want, wanted, { timeout: 30_000 });
const texts = page => page.locator('#messages .what').allTextContents();

async function say(page, text) {
  await page.locator('#send:enabled').waitFor();
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
}

/** So many tabs are in the channel, as this one shows it. */
const here = (page, count) => page.locator('#present', { hasText: `${count} here` }).waitFor({ timeout: 30_000 });

async function sees(page, wanted) {
  await eventually(`the tab shows ${JSON.stringify(wanted)}`, async () => {
    const shown = await texts(page);
    if (JSON.stringify(shown) !== JSON.stringify(wanted)) throw new Error(`it shows ${JSON.stringify(shown)}`);
    return true;
  });
}

describe('the demo page', { timeout: 300_000 }, () => {
  let browser;
  let tabs = [];
  before(async () => {
    browser = await openBrowser();
  });
  after(() => browser?.close());
  afterEach(async () => {
    for (const tab of tabs) await tab.close();
    tabs = [];
  });
  const open = async (url, viewport) => {
    const tab = await openTab(browser, url, viewport && { viewport });
    tabs.push(tab);
    await state(tab.page, 'connected');
    return tab;
  };

  describe('of one node in development mode', () => {
    let node;
    before(async () => {
      node = await Node.start('demo', {}, { development: true });
    });
    after(() => node?.stop());

    test('two tabs chat, and a third finds the history', async () => {
      const [ada, bob] = [await open(`${node.url}/?name=Ada`), await open(`${node.url}/?name=Bob`)];
      await here(ada.page, 2);
      await here(bob.page, 2);
      await say(ada.page, 'hello');
      await sees(bob.page, ['hello']);
      await say(bob.page, 'hi Ada');
      await sees(ada.page, ['hello', 'hi Ada']);
      assert.deepEqual(await ada.page.locator('#messages .who').allTextContents(), ['Ada', 'Bob']);
      await picture(ada.page, 'demo-chat');

      const carol = await open(`${node.url}/?name=Carol`);
      await sees(carol.page, ['hello', 'hi Ada']);
      assert.notEqual(await carol.page.textContent('#offset'), '–');
      assert.equal(await carol.page.textContent('#recoverable'), 'yes');
      await carol.page.click('#history');
      await carol.page.getByText(/history: \d+/).first().waitFor();
      for (const tab of tabs) assert.deepEqual(tab.problems, []);
    });

    test('a tab whose line was cut recovers what was said meanwhile', async () => {
      const channel = 'chat:cut';
      const [ada, bob] = [await open(`${node.url}/?name=Ada&channel=${channel}`), await open(`${node.url}/?name=Bob&channel=${channel}`)];
      await say(ada.page, 'one');
      await sees(bob.page, ['one']);
      await bob.page.click('#drop');
      await state(bob.page, 'connecting');
      await say(ada.page, 'two');
      await say(ada.page, 'three');
      await sees(ada.page, ['one', 'two', 'three']);
      await picture(bob.page, 'demo-cut');
      await state(bob.page, 'connected');
      await sees(bob.page, ['one', 'two', 'three']);
      await bob.page.locator('#messages .note', { hasText: 'recovered 2 messages' }).waitFor();
      await picture(bob.page, 'demo-recovered');
      await say(bob.page, 'four');
      await sees(ada.page, ['one', 'two', 'three', 'four']);
      for (const tab of tabs) assert.deepEqual(tab.problems, []);
    });

    test('markup in a message is text', async () => {
      const channel = 'chat:markup';
      const [ada, bob] = [await open(`${node.url}/?channel=${channel}`), await open(`${node.url}/?channel=${channel}`)];
      await say(ada.page, '<img src=x onerror=alert(1)>');
      await sees(bob.page, ['<img src=x onerror=alert(1)>']);
      assert.equal(await bob.page.locator('#messages img').count(), 0);
    });

    test('a channel that does not exist is refused in words', async () => {
      const ada = await open(node.url);
      await ada.page.fill('#channel', 'nowhere:x');
      await ada.page.click('#join button');
      const refused = 'cannot join nowhere:x: unknown channel (102)';
      await ada.page.locator('#problem', { hasText: refused }).waitFor();
      await ada.page.locator('#events li', { hasText: refused }).waitFor();
      assert.equal(await ada.page.textContent('#channel-title'), 'No channel');
      assert.equal(await ada.page.locator('#empty').isVisible(), false, 'nobody knows whether anything was said there');
      await ada.page.fill('#channel', 'chat:elsewhere');
      await ada.page.click('#join button');
      await ada.page.locator('#empty').waitFor();
      assert.equal(await ada.page.locator('#problem').isVisible(), false);
    });

    test('a text that is too long is kept, and said to be', async () => {
      const ada = await open(`${node.url}/?name=Ada&channel=chat:long`);
      const text = 'x'.repeat(2001);
      await say(ada.page, text);
      await ada.page.getByText('not sent: 2001 characters, at most 2000 are taken', { exact: true }).waitFor();
      assert.equal(await ada.page.inputValue('#text'), text);
      await say(ada.page, text.slice(1));
      await sees(ada.page, [text.slice(1)]);
    });

    test('a tab that is disconnected for good says so, and connects again when it is asked to', async t => {
      // A channel that takes more than JSON.
      const everything = Object.fromEntries(['subscribe', 'publish'].flatMap(what => ['client', 'anonymous'].map(who => [`allow_${what}_for_${who}`, true])));
      const node = await Node.start('careless', { MIDPLANE_CHANNEL__NAMESPACES: JSON.stringify([{ name: 'plain', ...everything }]) }, { development: true });
      t.after(() => node.stop());
      const ada = await open(`${node.url}/?name=Ada&channel=plain:a`);
      await ada.page.locator('#send:enabled').waitFor();
      await node.api('publish', { channel: 'plain:a', b64data: Buffer.from('no JSON').toString('base64') });
      await ada.page.getByText(/^disconnected for good: .* \(3506\)$/).first().waitFor();
      await picture(ada.page, 'demo-disconnected');
      assert.equal(await ada.page.getByText('reconnecting').count(), 0);
      await ada.page.getByRole('button', { name: 'Connect again' }).click();
      await state(ada.page, 'connected');
      assert.equal(await ada.page.locator('#again').isVisible(), false);
      await say(ada.page, 'here again');
      await sees(ada.page, ['here again']);
    });

    test('what is not acknowledged stays in its field', async () => {
      const ada = await open(`${node.url}/?name=Ada&channel=chat:kept`);
      await ada.page.locator('#send:enabled').waitFor();
      await ada.page.fill('#text', 'kept');
      await ada.page.evaluate(() => {
        globalThis.whole = subscription.publish;
        subscription.publish = () => new Promise((_, reject) => (globalThis.refuse = reject));
      });
      await ada.page.press('#text', 'Enter');
      await ada.page.waitForFunction(() => globalThis.refuse);
      assert.equal(await ada.page.inputValue('#text'), 'kept');
      await ada.page.evaluate(() => {
        subscription.publish = globalThis.whole;
        globalThis.refuse({ code: 1, message: 'timeout' });
      });
      await ada.page.getByText('not sent: timeout (1)', { exact: true }).waitFor();
      assert.equal(await ada.page.inputValue('#text'), 'kept');
      await ada.page.locator('#send:enabled').waitFor();
      await ada.page.press('#text', 'Enter');
      await sees(ada.page, ['kept']);
      await eventually('the field is empty', async () => (await ada.page.inputValue('#text')) === '');
    });

    test('it works on a phone, and by keyboard alone', async () => {
      const ada = await open(`${node.url}/?channel=chat:phone`, { width: 375, height: 800 });
      await ada.page.focus('#text');
      await ada.page.keyboard.type('from a phone');
      await ada.page.locator('#send:enabled').waitFor();
      await ada.page.keyboard.press('Enter');
      await sees(ada.page, ['from a phone']);
      const cut = await ada.page.evaluate(() => {
        const placeholder = document.getElementById('text');
        placeholder.value = placeholder.placeholder;
        const inputs = [...document.querySelectorAll('#compose input')];
        const found = inputs.filter(input => input.scrollWidth > input.clientWidth).map(input => input.id);
        placeholder.value = '';
        return found;
      });
      assert.deepEqual(cut, [], 'nothing in a field is cut');
      assert.ok(await fits(ada.page), 'nothing sticks out');
      await picture(ada.page, 'demo-phone');
    });
  });

  describe('of two nodes', () => {
    let nats;
    let nodes;
    before(async () => {
      nats = await NatsServer.start();
      nodes = await Promise.all(['left', 'right'].map(name => Node.start(name, { NATS_URL: nats.url }, { development: true })));
    });
    after(async () => {
      for (const node of nodes || []) await node.stop();
      await nats?.kill();
    });

    test('a tab whose node is killed goes on at the other and recovers', async () => {
      const [left, right] = nodes;
      const url = (first, second, name) => `${right.url}/?name=${name}&nodes=${first.websocket},${second.websocket}`;
      const ada = await open(url(left, right, 'Ada'));
      const bob = await open(url(right, left, 'Bob'));
      assert.equal(await ada.page.textContent('#node'), left.address);
      await say(ada.page, 'before');
      await sees(bob.page, ['before']);
      await picture(ada.page, 'demo-failover-before');

      await left.kill();
      await say(bob.page, 'while you were away');
      await state(ada.page, 'connected');
      await eventually('at the other node', async () => (await ada.page.textContent('#node')) === right.address);
      await sees(ada.page, ['before', 'while you were away']);
      await ada.page.locator('#messages .note', { hasText: /recovered \d+ message/ }).waitFor();
      await say(ada.page, 'after');
      await sees(bob.page, ['before', 'while you were away', 'after']);
      await picture(ada.page, 'demo-failover-after');
      for (const tab of tabs) assert.deepEqual(tab.problems, []);
    });
  });
});
