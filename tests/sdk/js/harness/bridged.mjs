// Two nodes of midplane and a server of Socket.IO in Node, in the same rooms by a real Redis.
import assert from 'node:assert/strict';
import { connect } from '@nats-io/transport-node';
import { io } from 'socket.io-client';

import { NatsServer } from './nats.mjs';
import { Node } from './node.mjs';
import { NodeTier, RedisServer } from './redis.mjs';
import { fresh } from './sdk.mjs';
import { openSocket } from './socketio.mjs';
import { eventually } from './wait.mjs';

/** Rooms with history and without, and a namespace without any. */
export const spaces = ['/', '/plain', '/none'];
const namespaces = [
  { name: '/', rooms: 'chat', join: ['lobby'], join_on: 'join', leave_on: 'leave', may_join: ['*'], relay: { say: '{1}' } },
  { name: '/plain', rooms: 'plain', join: ['lobby'], join_on: 'join', leave_on: 'leave', may_join: ['*'] },
  { name: '/none' },
];

export class Bridged {
  /** With the sharded adapter where `mode` names its subscriptions. */
  static async start(mode) {
    const bridged = new Bridged();
    bridged.mode = mode;
    [bridged.nats, bridged.redis] = await Promise.all([NatsServer.start(), RedisServer.start()]);
    const environment = {
      NATS_URL: bridged.nats.url, REDIS_URL: bridged.redis.url, MIDPLANE_SOCKETIO__NAMESPACES: JSON.stringify(namespaces),
    };
    if (mode) Object.assign(environment, { MIDPLANE_REDIS__ADAPTER: 'sharded', MIDPLANE_REDIS__SUBSCRIPTION_MODE: mode });
    bridged.nodes = await Promise.all(['ada', 'bob'].map(name => Node.start(name, environment)));
    bridged.tier = await NodeTier.start(bridged.redis, { namespaces: spaces, mode });
    bridged.backend = await connect({ servers: bridged.nats.url });
    await bridged.both();
    return bridged;
  }

  async stop() {
    await this.tier?.stop();
    await this.backend?.close();
    await Promise.all((this.nodes ?? []).map(node => node.stop()));
    await Promise.all([this.nats, this.redis].map(server => server?.kill()));
  }

  /** Whether rooms have channels of their own, in which nobody hears who does not know of them. */
  get hasChannels() {
    return this.mode?.startsWith('dynamic') ?? false;
  }

  /** Which node is the bridge; once it is, and reaches Redis. */
  bridge() {
    return eventually('a node is the bridge', async () => {
      for (const node of this.nodes.filter(({ process }) => !process.outcome)) {
        if (await node.metric('midplane_bridge_connected')) return node;
      }
    }, 30);
  }

  /** Both tiers know of each other. */
  async both() {
    await this.bridge();
    const counter = await this.redis.client();
    await eventually('both tiers are counted', async () => {
      const counts = await Promise.all(spaces.map(space => this.redis.servers(counter, space, { sharded: this.mode })));
      return counts.every(count => count === 2);
    });
    counter.destroy();
  }

  /** Until so many tiers hear in the channel of a room, where it has one. */
  async hearing(tiers, room, space = '/') {
    if (!this.hasChannels) return;
    const counter = await this.redis.client();
    const channel = `socket.io#${space}#${room}#`;
    await eventually(`${room} is heard in`, async () => {
      return Number((await counter.sendCommand(['PUBSUB', 'SHARDNUMSUB', channel]))[1]) === tiers;
    }, 30);
    counter.destroy();
  }

  /** A connected socket at a server, with the events that it has heard, in the lobby; closed after the test. */
  async open(t, server, space = '/') {
    const socket = await openSocket(t, io, server.url + space);
    socket.server = server;
    socket.space = space;
    if (server !== this.tier) await this.hearing(1, socket.id, space);
    if (space !== '/none' && server === this.tier) await socket.emitWithAck('join', 'lobby');
    return socket;
  }

  /** Two of Node's tier, then one of each node. */
  async four(t, space = '/') {
    const four = await Promise.all([this.tier, this.tier, ...this.nodes].map(server => this.open(t, server, space)));
    if (space !== '/none') await this.hearing(2, 'lobby', space);
    return four;
  }

  /** Sockets of one namespace enter a room that was empty; whatever is said there afterwards reaches them. */
  async join(room, ...sockets) {
    for (const socket of sockets) await socket.emitWithAck('join', room);
    const tiers = new Set(sockets.map(({ server }) => server === this.tier)).size;
    await this.hearing(tiers, room, sockets[0].space);
  }

  /** The server API's answer. */
  async api(method, params) {
    const { result, error } = await this.nodes[0].api(method, params);
    if (error) throw Object.assign(new Error(JSON.stringify(error)), error);
    return result;
  }

  /** Whatever was sent before, either way and by either path, has arrived: so have marks that are sent now. */
  async settled(sockets, namespace = '/') {
    const marks = [fresh('mark'), fresh('mark'), fresh('mark'), fresh('mark')];
    const space = this.tier.io.of(namespace);
    space.emit(marks[0]);
    await this.api('socketio_emit', { namespace, event: [marks[1]] });
    if (namespace !== '/none') {
      space.to('lobby').emit(marks[2]);
      await this.api('socketio_emit', { namespace, to: { rooms: ['lobby'] }, event: [marks[3]] });
    }
    const wanted = namespace === '/none' ? marks.slice(0, 2) : marks;
    for (const socket of sockets) {
      await eventually('marks arrive', () => wanted.every(mark => socket.heard.some(([name]) => name === mark)));
      for (const mark of wanted) {
        assert.equal(socket.heard.filter(([name]) => name === mark).length, 1, `${mark} came once`);
      }
      socket.heard = socket.heard.filter(([name]) => !marks.includes(name));
    }
  }
}
