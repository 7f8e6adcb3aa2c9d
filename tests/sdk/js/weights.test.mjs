// nginx in front of nodes of different size: nginx/upstreams/weighted.conf.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { App, NatsServer, Nginx, Node, eventually } from './harness.mjs';
import { freePort, project } from './harness/process.mjs';

test('sockets are spread by weight, and the backup takes them when nobody else does', { timeout: 120_000 }, async t => {
  const nats = await NatsServer.start();
  t.after(() => nats.kill());
  const nodes = await Promise.all(['large', 'small', 'backup'].map(async name =>
    Node.start(name, { NATS_URL: nats.url, MIDPLANE_HTTP__BIND: `127.0.0.1:${await freePort()}` })));
  t.after(() => Promise.all(nodes.map(node => node.stop())));
  // Addresses in place of names, as the nginx of the tests may be too old to look them up.
  const upstream = nodes.reduce((text, { address }, index) => text.replace(`gateway-${index + 1}:3001 resolve`, address),
    readFileSync(join(project, 'nginx/upstreams/weighted.conf'), 'utf8').replace(/^ *include run\/resolver.conf;\n/m, ''));
  const nginx = await Nginx.start(nodes, { files: { 'run/upstream.conf': upstream } });
  t.after(() => nginx.stop());
  const apps = [];
  t.after(() => apps.forEach(app => app.close()));
  const spread = wanted => eventually(`spread as ${wanted}`, async () => {
    const living = nodes.filter(({ process }) => !process.outcome);
    const counts = await Promise.all(living.map(node => node.metric('midplane_connections{transport="websocket",protocol="json"}')));
    return counts.join() === wanted.join() || assert.fail(counts.join());
  });

  for (let index = 0; index < 10; index += 1) apps.push(await new App('json', nginx).connect());
  await spread([6, 4, 0]);
  await nodes[0].kill();
  await spread([10, 0]);
  await nodes[1].kill();
  await spread([10]);
});
