// A node's own time of day, which can be set while it runs. By libfaketime, where it is installed
// (scripts/install-tools.sh clock); monotonic time goes on as it does.
import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { project, temporaryDirectory } from './process.mjs';
import { eventually } from './wait.mjs';

const library = [join(project, '.tools/libfaketime/usr/lib'), '/usr/lib']
  .filter(existsSync)
  .flatMap(root => readdirSync(root).map(machine => join(root, machine, 'faketime/libfaketime.so.1')))
  .find(existsSync);

/** For tests that need it: why they are skipped, or false. */
export const noClocks = library ? false : 'libfaketime is not installed (scripts/install-tools.sh clock)';

/** The clock of one node. */
export class Clock {
  constructor() {
    this.file = join(temporaryDirectory(), 'clock');
    this.write(0);
    this.environment = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: this.file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_DISABLE_SHM: '1',
    };
  }

  /** Sets it so many seconds off, and looks whether the node goes by it. */
  async set(node, seconds) {
    this.write(seconds);
    if (seconds < 0) return; // the date that HTTP answers carry is kept until it is over: it never goes back
    await eventually(`${node.name}'s clock is ${seconds} s off`, async () => {
      const { headers } = await fetch(`${node.url}/health`);
      return Math.abs(new Date(headers.get('date')) - Date.now() - seconds * 1000) < 60_000;
    });
  }

  // Never half written.
  write(seconds) {
    writeFileSync(`${this.file}.new`, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}\n`);
    renameSync(`${this.file}.new`, this.file);
  }
}
