// Draws dashboards with their data into PNGs, for people who review them. It is not Grafana: it shows layout, units,
// legends and emptiness. Usage: node picture.mjs BOARD.png..., with the data of each in BOARD.json beside it
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { openBrowser } from '../../sdk/js/chromium.mjs';

const [, , ...files] = process.argv;
const packages = createRequire(new URL('../../sdk/js/package.json', import.meta.url));
const uPlot = packages.resolve('uplot').replace(/[^/]*$/, '');
const ours = name => readFileSync(new URL(name, import.meta.url), 'utf8');
const theirs = name => readFileSync(uPlot + name, 'utf8');

const browser = await openBrowser();
try {
  for (const file of files) {
    const page = await browser.newPage({ viewport: { width: 1600, height: 900 } });
    const problems = [];
    page.on('pageerror', error => problems.push(error.stack));
    await page.setContent('<!doctype html><body></body>');
    await page.addStyleTag({ content: theirs('uPlot.min.css') + ours('page.css') });
    await page.addScriptTag({ content: theirs('uPlot.iife.min.js') });
    for (const script of ['units.js', 'panels.js']) await page.addScriptTag({ content: ours(script) });
    await page.evaluate(data => draw(data), JSON.parse(readFileSync(file.replace(/png$/, 'json'), 'utf8')));
    await page.screenshot({ path: file, fullPage: true });
    await page.close();
    if (problems.length) throw new Error(problems.join('\n'));
  }
} finally {
  await browser.close();
}
