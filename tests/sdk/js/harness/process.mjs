// Processes that the tests start: each logs to a file of test-artifacts/, and ends with the test run at the latest.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { eventually } from './wait.mjs';

/** The project's folder. */
export const project = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..');
const logs = join(project, 'test-artifacts', 'logs');
mkdirSync(logs, { recursive: true });

const running = new Set();
const directories = new Set();
let started = 0;

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

/** A directory that goes away with the test run. */
export function temporaryDirectory() {
  const directory = mkdtempSync(join(tmpdir(), 'midplane-sdk-'));
  directories.add(directory);
  return directory;
}

/** One process that was started. */
export class Process {
  constructor(name, command, args, environment = {}) {
    started += 1;
    this.logFile = join(logs, `${process.pid}-${String(started).padStart(3, '0')}-${name}.log`);
    const log = openSync(this.logFile, 'a');
    this.child = spawn(command, args, {
      stdio: ['ignore', log, log],
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
    });
    closeSync(log);
    running.add(this.child);
    this.ended = new Promise(ended => {
      const over = outcome => {
        running.delete(this.child);
        this.outcome = outcome;
        ended(outcome);
      };
      this.child.once('exit', (code, signal) => over({ code, signal }));
      this.child.once('error', error => over({ error }));
    });
  }

  /** What it printed so far. */
  log() {
    return readFileSync(this.logFile, 'utf8');
  }

  signal(name) {
    this.child.kill(name);
  }

  /** Has it hang (SIGSTOP); returns once it does nothing any more. `SIGCONT` has it go on. */
  async hang() {
    this.signal('SIGSTOP');
    const threads = `/proc/${this.child.pid}/task`;
    const stopped = thread => / T /.test(readFileSync(`${threads}/${thread}/stat`, 'utf8').replace(/.*\)/, ''));
    await eventually('all of its threads have stopped', () => readdirSync(threads).every(stopped));
  }

  /** Ends it as a crash does (SIGKILL). */
  async kill() {
    this.signal('SIGKILL');
    await this.ended;
  }
}

/**
 * A free port below those that the system gives to outgoing connections, so that nobody takes it while its owner is
 * down.
 */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    const free = await new Promise(answer => {
      const server = createServer();
      server.once('error', () => answer(false));
      server.listen(port, '127.0.0.1', () => server.close(() => answer(true)));
    });
    if (free) return port;
  }
}
