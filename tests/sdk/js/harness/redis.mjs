// A real redis-server, and servers of Socket.IO that are joined by it.
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

import { Process, freePort, project, temporaryDirectory } from './process.mjs';
import { eventually, final } from './wait.mjs';

const unpacked = join(project, '.tools/bin/redis-server');
const binary = existsSync(unpacked) ? unpacked : 'redis-server';

/** One server that keeps nothing; killed and restarted on the same port. */
export class RedisServer {
  /** `args` go to its command line. */
  static async start(...args) {
    const server = new RedisServer();
    server.port = await freePort();
    server.args = args;
    server.url = `redis://127.0.0.1:${server.port}`;
    await server.run();
    return server;
  }

  /** So many that share the slots of a cluster. */
  static async cluster(size) {
    const servers = [];
    for (let index = 0; index < size; index += 1) {
      const bus = await freePort();
      servers.push(Object.assign(await RedisServer.start('--cluster-enabled', 'yes', '--cluster-port', `${bus}`), { bus }));
    }
    const clients = await Promise.all(servers.map(server => server.client()));
    const share = 16_384 / size;
    for (const [index, client] of clients.entries()) {
      await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', `${index * share}`, `${(index + 1) * share - 1}`]);
      if (index > 0) await client.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', `${servers[0].port}`, `${servers[0].bus}`]);
    }
    for (const client of clients) {
      await eventually('the cluster is whole', async () => {
        const info = `${await client.sendCommand(['CLUSTER', 'INFO'])}`;
        return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${size}`);
      }, 30);
      client.destroy();
    }
    return servers;
  }

  async run() {
    const options = ['--bind', '127.0.0.1', '--port', `${this.port}`, '--save', '', '--dir', temporaryDirectory()];
    this.process = new Process('redis', binary, [...options, ...this.args]);
    await eventually('redis-server is ready', () => {
      if (this.process.outcome) throw final(`redis-server ended: ${this.process.log()}`);
      return this.process.log().includes('Ready to accept connections');
    });
  }

  /** SIGKILL. */
  async kill() {
    await this.process.kill();
  }

  /** A connected client; it comes back when the server does. */
  async client() {
    const client = createClient({ url: this.url, socket: { reconnectStrategy: 100 } });
    client.on('error', () => {}); // while the server is away
    await client.connect();
    return client;
  }

  /** How many servers hear requests in a namespace: adapters count each other by it. */
  async servers(client, namespace = '/', { sharded } = {}) {
    const counting = sharded ? ['SHARDNUMSUB', `socket.io#${namespace}#`] : ['NUMSUB', `socket.io-request#${namespace}#`];
    return Number((await client.sendCommand(['PUBSUB', ...counting]))[1]);
  }
}

/** Watches a master, and has a replica take its place when it dies. */
export class Sentinel {
  static async start(name, { port }) {
    const sentinel = new Sentinel();
    Object.assign(sentinel, { name, port: await freePort() });
    sentinel.url = `redis://127.0.0.1:${sentinel.port}`;
    const file = join(temporaryDirectory(), 'sentinel.conf');
    writeFileSync(file, [
      `port ${sentinel.port}`, 'bind 127.0.0.1', `sentinel monitor ${name} 127.0.0.1 ${port} 1`,
      `sentinel down-after-milliseconds ${name} 1000`, `sentinel failover-timeout ${name} 5000`,
    ].join('\n'));
    sentinel.process = new Process('sentinel', binary, [file, '--sentinel']);
    sentinel.client = createClient({ url: sentinel.url, socket: { reconnectStrategy: 100 } });
    sentinel.client.on('error', () => {}); // until it listens
    await sentinel.client.connect();
    return sentinel;
  }

  /** Once it would promote this one. */
  async knows({ port }) {
    await eventually('the replica is known', async () => {
      const replicas = `${await this.client.sendCommand(['SENTINEL', 'REPLICAS', this.name])}`;
      return replicas.includes(`127.0.0.1:${port}`) && replicas.includes('master-link-status,ok');
    }, 30);
  }

  /** The port of the master. */
  async master() {
    const [, port] = await this.client.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.name]);
    return Number(port);
  }

  /** SIGKILL. */
  async kill() {
    this.client.destroy();
    await this.process.kill();
  }
}

/** A server of Socket.IO as applications have it: clients join rooms by `join`, and leave by `leave`. */
export class NodeTier {
  /** With the sharded adapter where `mode` names its subscriptions. */
  static async start(redis, { namespaces = ['/'], mode } = {}) {
    const tier = new NodeTier();
    tier.clients = [await redis.client(), await redis.client()];
    tier.http = createServer();
    const adapter = mode ? createShardedAdapter(...tier.clients, { subscriptionMode: mode }) : createAdapter(...tier.clients);
    tier.io = new Server(tier.http, { adapter });
    for (const namespace of namespaces) {
      tier.io.of(namespace).on('connection', socket => {
        socket.on('join', (room, done) => { socket.join(room); done(); });
        socket.on('leave', (room, done) => { socket.leave(room); done(); });
        socket.on('to', (room, ...event) => socket.to(room).emit(...event));
      });
    }
    await new Promise(listening => tier.http.listen(0, '127.0.0.1', listening));
    tier.url = `http://127.0.0.1:${tier.http.address().port}`;
    return tier;
  }

  async stop() {
    await this.io.close();
    await Promise.all(this.clients.map(client => client.close())); // after the adapter has unsubscribed
  }
}
