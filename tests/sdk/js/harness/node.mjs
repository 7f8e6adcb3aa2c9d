// A midplane process, and the calls that a backend makes to it.
import { join } from 'node:path';

import { Process, project } from './process.mjs';
import { eventually, final } from './wait.mjs';

const binary = process.env.MIDPLANE_BIN || join(project, 'target/debug/midplane');
const settings = join(project, 'tests/sdk/settings.toml');

/** One node of the system under test. */
export class Node {
  /**
   * `environment` overrides settings: `{ MIDPLANE_CLIENT__PING_INTERVAL: '1s' }`. In development mode there is no
   * settings file, as for somebody who just tries it.
   */
  static async start(name, environment = {}, { development = false } = {}) {
    const node = new Node();
    node.name = name;
    node.environment = development ? { MIDPLANE_HTTP__BIND: '127.0.0.1:0', ...environment } : environment;
    node.args = development ? ['serve'] : ['--config', settings, 'serve'];
    await node.run();
    return node;
  }

  async run() {
    this.process = new Process(this.name, binary, this.args, {
      SERVER_ID: this.name,
      ...this.environment,
    });
    this.address = await eventually(`node ${this.name} says where it listens`, () => {
      if (this.process.outcome) {
        throw final(`node ${this.name} ended (${JSON.stringify(this.process.outcome)}):\n${this.process.log()}`);
      }
      return this.process.log().match(/ws:\/\/([0-9.]+:[1-9][0-9]*)\/connection/)?.[1];
    }, 60);
    await this.ready();
  }

  /** Waits until the node serves. */
  async ready(seconds = 60) {
    await eventually(`node ${this.name} is ready`, async () => (await fetch(`${this.url}/ready`)).ok, seconds);
  }

  get url() {
    return `http://${this.address}`;
  }

  get websocket() {
    return `ws://${this.address}/connection/websocket`;
  }

  /** Calls the server API; the whole answer, error or result. */
  async api(method, params = {}, { key = 'test-api-key', signal } = {}) {
    const response = await fetch(`${this.url}/api/${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-key': key },
      body: JSON.stringify(params),
      signal,
    });
    if (response.status !== 200) throw new Error(`${method}: HTTP ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Publishes through the server API: `{ offset, epoch }`. */
  async publish(channel, data, more = {}) {
    const { result, error } = await this.api('publish', { channel, data, ...more });
    if (error) throw Object.assign(new Error(`publish to ${channel}: ${JSON.stringify(error)}`), error);
    return result;
  }

  /** The value of one line of `/metrics`, 0 where it is not there. */
  async metric(line) {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const found = text.split('\n').find(each => each.startsWith(`${line} `));
    return found ? Number(found.slice(line.length + 1)) : 0;
  }

  /** SIGKILL. */
  async kill() {
    await this.process.kill();
  }

  /** Ends the node as an operator does (SIGTERM), and fails if it had panicked. */
  async stop() {
    if (!this.process.outcome) {
      this.process.signal('SIGTERM');
      const timer = setTimeout(() => this.process.signal('SIGKILL'), 30_000);
      await this.process.ended;
      clearTimeout(timer);
    }
    const panic = this.process.log().match(/^.*panicked at.*$/m);
    if (panic) throw new Error(`node ${this.name}: ${panic[0]} (${this.process.logFile})`);
  }
}
