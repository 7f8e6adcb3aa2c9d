// What the suites run against: one embedded node, two nodes on one nats-server, three nodes on three.
import { NatsCluster, NatsServer, natsClient } from './nats.mjs';
import { Node } from './node.mjs';

/** Nodes, and what they are joined by. */
export class Topology {
  nodes = [];
  nats = null;
  clients = [];

  /** `count` nodes; `nats` is a NatsServer, a NatsCluster, or null for the embedded backplane. */
  static async start(count, nats, environment = {}) {
    const topology = new Topology();
    topology.nats = nats;
    topology.environment = { ...environment };
    if (nats) topology.environment.NATS_URL = topology.natsUrls.join(',');
    if (nats instanceof NatsCluster) topology.environment.MIDPLANE_NATS__REPLICAS = '3';
    // At the same time: creating streams must be idempotent.
    topology.nodes = await Promise.all(
      Array.from({ length: count }, (_, index) => Node.start(`node-${index}`, topology.environment)),
    );
    return topology;
  }

  get natsUrls() {
    return this.nats instanceof NatsCluster ? this.nats.urls : [this.nats.url];
  }

  get first() {
    return this.nodes[0];
  }

  /** A node that is not the first where there is one. */
  get other() {
    return this.nodes.at(-1);
  }

  /** A connection to NATS, as a backend has one. */
  async backend() {
    const client = await natsClient(this.natsUrls);
    this.clients.push(client);
    return client;
  }

  async stop() {
    for (const client of this.clients) await client.close();
    const stops = await Promise.allSettled(this.nodes.map(node => node.stop()));
    await this.nats?.kill();
    const failed = stops.find(({ status }) => status === 'rejected');
    if (failed) throw failed.reason;
  }
}

export const embedded = environment => Topology.start(1, null, environment);
export const twoNodes = async environment => Topology.start(2, await NatsServer.start(), environment);
export const threeNodes = async environment => Topology.start(3, await NatsCluster.start(), environment);
