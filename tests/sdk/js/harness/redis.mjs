// A real redis-server, and servers of Socket.IO that are joined by it.
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createAdapter } from '@socket.io/redis-adapter';
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
  async servers(client, namespace = '/', key = 'socket.io') {
    const channel = `${key}-request#${namespace}#`;
    return Number((await client.sendCommand(['PUBSUB', 'NUMSUB', channel]))[1]);
  }
}

/** A server of Socket.IO as applications have it: clients join rooms by `join`, and leave by `leave`. */
export class NodeTier {
  static async start(redis, { namespaces = ['/'], key = 'socket.io', ...options } = {}) {
    const tier = new NodeTier();
    tier.clients = [await redis.client(), await redis.client()];
    tier.http = createServer();
    tier.io = new Server(tier.http, { adapter: createAdapter(...tier.clients, { key, ...options }) });
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
