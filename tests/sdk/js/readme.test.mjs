// README's part "Operate", line by line in a shell, against real nodes behind nginx. What is asked of Docker is only noted, but for
// the command line of a node: with a real engine scripts/smoke.sh does those things.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { NatsServer, Nginx, Node, eventually } from './harness.mjs';
import { freePort, project, temporaryDirectory } from './harness/process.mjs';

const binary = process.env.MIDPLANE_BIN || join(project, 'target/debug/midplane');

/** The lines of the part's shell block that are no comments. */
function operate() {
  const [, block] = readFileSync(join(project, 'README.md'), 'utf8').match(/## Operate\n\n```sh\n(.*?)```/s);
  return block.split('\n').filter(line => line && !line.startsWith('#'));
}

test('what README says of operating a cluster can be pasted', { timeout: 120_000 }, async t => {
  const nats = await NatsServer.start();
  const nodes = await Promise.all([1, 2, 3].map(async number => Node.start(`gateway-${number}`, {
    NATS_URL: nats.url, MIDPLANE_HTTP__BIND: `127.0.0.1:${await freePort()}`,
  })));
  const serving = async node => (await (await fetch(`${node.url}/cluster/metrics`)).json()).totalServers;
  for (const node of nodes) await eventually('all nodes know that all serve', async () => await serving(node) === nodes.length);
  const nginx = await Nginx.start(nodes);
  const root = temporaryDirectory();
  for (const name of ['bin', 'secrets', 'scripts']) mkdirSync(join(root, name));
  writeFileSync(join(root, 'secrets/api_key'), 'test-api-key');
  const noted = '#!/bin/sh\necho "noted: $*"\n';
  writeFileSync(join(root, 'scripts/start-cluster.sh'), noted, { mode: 0o755 });
  writeFileSync(join(root, 'bin/docker'), `#!/bin/sh
case "$*" in
    "compose exec -T gateway-1 midplane "*) shift 5; exec '${binary}' --config '${join(project, 'tests/sdk/settings.toml')}' "$@" ;;
    *) echo "noted: $*" ;;
esac
`, { mode: 0o755 });
  const shell = spawn('bash', [], { cwd: root, env: { PATH: `${join(root, 'bin')}:${process.env.PATH}` }, stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(async () => {
    shell.stdin.end();
    await nginx.stop();
    await Promise.all(nodes.map(node => node.stop()));
    await nats.kill();
  });
  let said = '';
  shell.stdout.on('data', text => (said += text));
  /** Pastes one line, at the addresses of this cluster. */
  const paste = line => shell.stdin.write(`${line.replaceAll('http://localhost/', `${nginx.url}/`).replaceAll('http://127.0.0.1:3001', nodes[0].url)}\n`);
  const expected = [
    ['scripts/start-cluster.sh', /noted: --monitoring -f compose\/scaled\.yaml/],
    ['token=', null],
    ['curl -sN', /"connect":\{.*"subs":\{"chat:lobby"/],
    ['curl', /"push":\{"channel":"chat:lobby","pub":\{"data":\{"n": 1\}/],
    ['sleep 5; curl -s http://127.0.0.1:9090/', undefined], // tests/operate asks a real Prometheus
    ['curl', /"serverId":"gateway-2"/],
    ['docker compose up', /noted: compose up -d --no-deps --wait --force-recreate gateway-2/],
    ['docker compose', /noted: compose --profile scaled up -d --scale gateway=2/],
    ['curl', /"totalServers":2,/],
    ['docker compose', /noted: compose --profile scaled up -d --scale gateway=0/],
    ['docker compose', /noted: compose --profile monitoring --profile scaled down/],
  ];
  const lines = operate();
  assert.equal(lines.length, expected.length, lines.join('\n'));
  for (const [index, [begins, answer]] of expected.entries()) {
    assert.ok(lines[index].startsWith(begins), lines[index]);
    if (answer === undefined) continue;
    paste(lines[index]);
    if (answer) await eventually(`${lines[index]} is answered`, () => answer.test(said) || assert.fail(said));
  }
  assert.equal((await fetch(`${nodes[1].url}/ready`)).status, 503);
});
