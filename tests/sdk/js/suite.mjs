// The scenarios that must hold whatever the system is made of, over both wires.
import { after, before, describe } from 'node:test';

import { carryBy, wires } from './harness.mjs';
import connecting from './scenarios/connecting.mjs';
import filtering from './scenarios/filtering.mjs';
import history from './scenarios/history.mjs';
import presence from './scenarios/presence.mjs';
import patching from './scenarios/patching.mjs';
import publishing from './scenarios/publishing.mjs';
import recovering from './scenarios/recovering.mjs';
import rpc from './scenarios/rpc.mjs';
import serverSide from './scenarios/server_side.mjs';
import subscribing from './scenarios/subscribing.mjs';

export const scenarios = {
  connecting, subscribing, publishing, history, presence, recovering, patching, filtering, 'server-side subscriptions': serverSide, rpc,
};

/**
 * Starts the system once and runs every scenario against it, or those of `of`, over `carrier`. What clients on streams say goes to another
 * node than theirs, where there is one.
 */
export function suite(name, start, { carrier = 'websocket', over = wires, of = scenarios } = {}) {
  describe(name, { timeout: 600_000 }, () => {
    let topology;
    before(async () => {
      topology = await start();
      const elsewhere = app => topology.nodes.find(node => node !== app.node) ?? app.node;
      carryBy(carrier, elsewhere);
    }, { timeout: 120_000 });
    after(() => topology?.stop(), { timeout: 60_000 });

    for (const wire of over) {
      for (const [title, scenario] of Object.entries(of)) {
        describe(`${wire}: ${title}`, () => scenario({ wire, topology: () => topology }));
      }
    }
  });
}

/** A test's body gets apps that are closed behind it. */
export function withApps(body) {
  return async () => {
    const apps = [];
    const keep = app => {
      apps.push(app);
      return app;
    };
    try {
      await body(keep);
    } finally {
      for (const app of apps) (app.close || app.end).call(app);
    }
  };
}
