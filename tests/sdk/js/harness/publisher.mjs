// A backend that counts: publishes 1, 2, 3, … to each of its channels and remembers what was acknowledged.
import { setTimeout as pause } from 'node:timers/promises';

/** Retries each publication under its idempotency key, on any node, until it is acknowledged: then the next one. */
export class Publisher {
  /** `pace` is the pause between two publications to one channel, in milliseconds. */
  constructor(nodes, channels, { pace = 5, patience = 90 } = {}) {
    this.nodes = nodes;
    this.pace = pace;
    this.patience = patience;
    this.retries = 0;
    this.channels = new Map(channels.map(channel => [channel, { acknowledged: 0, quiet: false, padding: '' }]));
    this.runs = channels.map((channel, index) => this.#run(channel, index));
  }

  /** No further publications to these channels; the one in flight is seen through. */
  quiet(channels) {
    for (const channel of channels) this.channels.get(channel).quiet = true;
  }

  /** Stops everywhere and waits for the last acknowledgements. */
  async finish() {
    this.quiet(this.channels.keys());
    await Promise.all(this.runs);
  }

  /** Gives everything up: a test has failed. */
  abandon() {
    this.patience = 0;
    this.quiet(this.channels.keys());
    return Promise.allSettled(this.runs);
  }

  acknowledged(channel) {
    return this.channels.get(channel).acknowledged;
  }

  get total() {
    return [...this.channels.values()].reduce((sum, { acknowledged }) => sum + acknowledged, 0);
  }

  /** What every subscriber must have received in the end. */
  expected(channel) {
    return Array.from({ length: this.acknowledged(channel) }, (_, index) => index + 1);
  }

  async #run(channel, index) {
    const state = this.channels.get(channel);
    while (!state.quiet) {
      await this.#publish(channel, state.acknowledged + 1, index);
      state.acknowledged += 1;
      await pause(this.pace);
    }
  }

  async #publish(channel, number, index) {
    const started = Date.now();
    for (let attempt = index; ; attempt += 1) {
      const node = this.nodes[attempt % this.nodes.length];
      try {
        const call = { signal: AbortSignal.timeout(20_000) };
        const { error } = await node.api('publish', { channel, data: number, idempotency_key: `n${number}` }, call);
        if (!error) return;
        this.lastError = error;
      } catch (error) {
        this.lastError = error;
      }
      if (Date.now() - started > this.patience * 1000) throw new Error(`${channel}: ${number} not acknowledged: ${JSON.stringify(this.lastError)}`);
      this.retries += 1;
      await pause(100);
    }
  }
}
