// A bare WebSocket that speaks the protocol by hand, for what SDKs hide.
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import WebSocket from 'ws';

import { eventually, final, within } from './wait.mjs';

const { root } = protobuf.parse(readFileSync(new URL('../client.proto', import.meta.url), 'utf8'), { keepCase: true });
const Command = root.lookupType('Command');
const Reply = root.lookupType('Reply');

/** A connection whose frames are kept as they came. */
export class Raw {
  /** Opens the socket, no more. */
  static async open(node, { subprotocol, headers, query = '' } = {}) {
    const raw = new Raw();
    raw.node = node;
    raw.binary = subprotocol === 'centrifuge-protobuf' || query.includes('protobuf');
    raw.frames = [];
    raw.taken = 0;
    raw.pings = 0;
    raw.socket = new WebSocket(node.websocket + query, subprotocol ? [subprotocol] : [], { headers });
    raw.closed = new Promise(closed => {
      raw.socket.on('close', (code, reason) => {
        raw.farewell = { code, reason: reason.toString() };
        closed(raw.farewell);
      });
    });
    raw.socket.on('message', (data, isBinary) => raw.frames.push({ data: Buffer.from(data), isBinary }));
    const opened = new Promise((resolve, reject) => {
      raw.socket.once('open', resolve);
      raw.socket.once('unexpected-response', (_, response) => {
        reject(Object.assign(new Error(`HTTP ${response.statusCode}`), { status: response.statusCode }));
      });
      raw.socket.on('error', reject);
    });
    await within('the socket opens', opened);
    return raw;
  }

  /** Opens the socket and connects: the connect result is in `connected`. */
  static async connect(node, connect = {}, options = {}) {
    const raw = await Raw.open(node, options);
    raw.command({ id: 1, connect });
    const reply = await raw.reply(1);
    if (reply.error) throw Object.assign(new Error(`connect: ${JSON.stringify(reply.error)}`), reply.error);
    raw.connected = reply.connect;
    return raw;
  }

  /** Sends text or bytes as one frame. */
  send(frame) {
    this.socket.send(frame);
  }

  /** Sends commands in one frame. */
  command(...commands) {
    if (this.binary) this.send(Buffer.concat(commands.map(each => Command.encodeDelimited(Command.fromObject(each)).finish())));
    else this.send(commands.map(each => JSON.stringify(each)).join('\n'));
  }

  /** Sends one command and waits for its reply. */
  async ask(command) {
    this.command(command);
    return this.reply(command.id);
  }

  /** Every message that came, in order; a ping is `{}`. */
  get messages() {
    return this.frames.flatMap(({ data }) => (this.binary ? decodeAll(data) : data.toString().split('\n').filter(Boolean).map(each => JSON.parse(each))));
  }

  get pushes() {
    return this.messages.filter(({ push }) => push).map(({ push }) => push);
  }

  /** The publications of a channel, as pushes. */
  publications(channel) {
    return this.pushes.filter(push => push.channel === channel && push.pub).map(({ pub }) => pub);
  }

  async reply(id) {
    return this.until(`the reply ${id}`, message => message.id === id);
  }

  async push(kind, channel) {
    const found = await this.until(`push ${kind} of ${channel}`, ({ push }) => push?.[kind] && push.channel === channel);
    return found.push[kind];
  }

  async until(what, wanted) {
    return eventually(`${what}; closed: ${JSON.stringify(this.farewell)}`, () => {
      const found = this.messages.find(wanted);
      if (!found && this.farewell) throw final(`closed with ${JSON.stringify(this.farewell)}`);
      return found;
    });
  }

  /** Waits for the close frame: its code. */
  async closeCode(seconds = 20) {
    return (await within('the server closes', this.closed, seconds)).code;
  }

  end() {
    this.socket.terminate();
  }
}

/** Decodes a Protobuf frame into plain objects; `bytes` become Buffers, 64-bit numbers become numbers. */
export function decodeAll(frame) {
  const reader = protobuf.Reader.create(frame);
  const messages = [];
  while (reader.pos < reader.len) {
    messages.push(Reply.toObject(Reply.decodeDelimited(reader), { longs: Number, bytes: Buffer }));
  }
  return messages;
}
