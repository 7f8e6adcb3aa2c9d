// The traps that clients fall into when a server differs, one test each, numbered.
import { after, before, describe, test } from 'node:test';

import { Raw, embedded, twoNodes } from './harness.mjs';
import { withApps } from './suite.mjs';

/** Runs `body` against one embedded node and against two: `trap` takes tests, `system` is what they run against. */
export function traps(group, body, environment = {}) {
  for (const [name, start] of [['one embedded node', embedded], ['two nodes', twoNodes]]) {
    describe(`traps, ${group}: ${name}`, { timeout: 300_000 }, () => {
      const system = {
        clustered: start === twoNodes,
        /** NATS answers nothing while `during` runs. */
        async hung(during) {
          const { nats, nodes } = system.topology;
          await nats.process.hang();
          try {
            await during();
          } finally {
            nats.process.signal('SIGCONT');
            for (const node of nodes) await node.ready();
          }
        },
      };
      before(async () => {
        system.topology = await start({ MIDPLANE_CLIENT__PING_INTERVAL: '30s', ...environment });
      });
      after(() => system.topology?.stop());

      const trap = (title, run) => test(title, withApps(async keep => {
        const { first: node, other } = system.topology;
        const guest = async (options = {}, connect = {}) => keep(await Raw.connect(node, connect, options));
        await run({ node, other, keep, guest });
      }));
      body(trap, system);
    });
  }
}
