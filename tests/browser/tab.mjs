// A tab of a real browser, with everything that went wrong in it, and pictures for people to look at.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { project } from '../sdk/js/harness/process.mjs';

const pictures = join(project, 'test-artifacts');
mkdirSync(pictures, { recursive: true });

/** What a node that is gone, or that refuses, looks like in a browser's console. */
const EXPECTED = /WebSocket connection to|ERR_CONNECTION|Failed to load resource/;

/** Opens `url`; `options` are those of the browser's context: viewport, colorScheme. */
export async function openTab(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  const problems = [];
  page.on('pageerror', error => problems.push(error.message));
  page.on('console', message => {
    if (message.type() === 'error' && !EXPECTED.test(message.text())) problems.push(message.text());
  });
  page.on('request', request => {
    if (!/^(http|ws):\/\/127\.0\.0\.1:|^data:/.test(request.url())) problems.push(`asked for ${request.url()}`);
  });
  await page.goto(url);
  return { page, problems, close: () => context.close() };
}

export const picture = (page, name) => page.screenshot({ path: join(pictures, `${name}.png`) });

/** Whether nothing sticks out of the page sideways. */
export const fits = page => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
