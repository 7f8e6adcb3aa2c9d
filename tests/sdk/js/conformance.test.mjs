// The test suites of the protocols themselves, as they are but for the address, from the repository of Socket.IO.
import assert from 'node:assert/strict';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { eventually } from './harness.mjs';
import { Process, project, temporaryDirectory } from './harness/process.mjs';

const here = join(project, 'tests/sdk/js');
const examples = process.env.MIDPLANE_EXAMPLES || join(project, 'target/debug/examples');
// The suites allow a pong 200 ms. That may be too little for a machine that has other things to do.
const ATTEMPTS = 3;

/** A folder with a suite that asks `url`. */
function prepared(suite, url) {
  const folder = temporaryDirectory();
  const text = readFileSync(join(here, 'conformance', suite, 'suite.js'), 'utf8');
  writeFileSync(join(folder, 'suite.js'), text.replace('http://localhost:3000', url));
  writeFileSync(join(folder, 'node-imports.js'), readFileSync(join(here, 'conformance', suite, 'node-imports.js')));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  symlinkSync(join(here, 'node_modules'), join(folder, 'node_modules'));
  return join(folder, 'suite.js');
}

/** Runs a suite; what it says at its end. */
async function run(suite, url) {
  const mocha = join(here, 'node_modules/mocha/bin/mocha.js');
  const process_ = new Process(`conformance-${suite}`, process.execPath, [mocha, '--no-color', prepared(suite, url)]);
  const { code } = await process_.ended;
  const log = process_.log();
  return { code, passing: Number(log.match(/(\d+) passing/)?.[1]), log };
}

async function passes(suite, url, count) {
  let outcome;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    outcome = await run(suite, url);
    if (outcome.code === 0) break;
  }
  assert.equal(outcome.code, 0, outcome.log);
  assert.equal(outcome.passing, count, outcome.log);
}

test('the test suite of the Engine.IO protocol passes', async t => {
  const server = new Process('engineio-echo', join(examples, 'engineio_echo'), []);
  t.after(() => server.kill());
  const url = await eventually('the echo says where it listens', () => server.log().match(/^http:\S+/)?.[0], 60);
  await passes('engineio', url, 25);
});
