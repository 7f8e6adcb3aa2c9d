// Clients without an SDK that only listen: an EventSource, a stream of lines, a WebSocket.
import { EventSource } from 'eventsource';
import WebSocket from 'ws';

import { eventually } from './wait.mjs';

/** A unidirectional connection, with all the pushes that came. */
class Listening {
  pushes = [];
  pings = 0;
  ended = false;

  take(text) {
    const push = JSON.parse(text);
    if (Object.keys(push).length === 0) this.pings += 1;
    else this.pushes.push(push);
  }

  get connect() {
    return this.pushes[0]?.connect;
  }

  get disconnect() {
    return this.pushes.at(-1)?.disconnect;
  }

  publications(channel) {
    return this.pushes.filter(push => push.channel === channel && push.pub).map(({ pub }) => pub);
  }

  async connected() {
    await eventually('the connect push', () => this.connect);
    return this;
  }
}

function events(node, request) {
  const listening = new Listening();
  const query = request === undefined ? '' : `?cf_connect=${encodeURIComponent(JSON.stringify(request))}`;
  const source = new EventSource(`${node.url}/connection/uni_sse${query}`);
  source.onmessage = ({ data }) => listening.take(data);
  source.onerror = () => {
    listening.ended = true;
    source.close();
  };
  listening.end = () => source.close();
  return listening;
}

function lines(node, request = {}) {
  const listening = new Listening();
  const line = new AbortController();
  listening.end = () => line.abort();
  const read = async () => {
    const body = JSON.stringify(request);
    const response = await fetch(`${node.url}/connection/uni_http_stream`, { method: 'POST', body, signal: line.signal });
    let rest = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop();
      for (const part of parts) listening.take(part);
    }
  };
  read().catch(() => {}).finally(() => (listening.ended = true));
  return listening;
}

function frames(node, request = {}, { inQuery = false } = {}) {
  const listening = new Listening();
  const query = inQuery ? `?cf_connect=${encodeURIComponent(JSON.stringify(request))}` : '';
  const socket = new WebSocket(`ws://${node.address}/connection/uni_websocket${query}`);
  listening.socket = socket;
  listening.framePings = 0;
  socket.on('open', () => inQuery || socket.send(typeof request === 'string' ? request : JSON.stringify(request)));
  socket.on('message', data => listening.take(data.toString()));
  socket.on('ping', () => (listening.framePings += 1));
  socket.on('error', () => {});
  socket.on('close', (code, reason) => {
    listening.ended = true;
    listening.farewell = { code, reason: reason.toString() };
  });
  listening.end = () => socket.terminate();
  return listening;
}

/** How to open each. */
export const listenings = { uni_sse: events, uni_http_stream: lines, uni_websocket: frames };

/** Settings that turn all of them on. */
export const listeningOn = Object.fromEntries(Object.keys(listenings).map(each => [`MIDPLANE_${each.toUpperCase()}__ENABLED`, 'true']));
