// Clients of Socket.IO that may come back to their sessions.
import assert from 'node:assert/strict';
import { io } from 'socket.io-client';

import { eventually } from './wait.mjs';

/**
 * A connected client at a node. It does not come again by itself: `goTo` takes it to another node, or back. `heard` has its
 * events without the offset behind them.
 */
export async function open(t, node, { path = '/', ...options } = {}) {
  const socket = io(node.url + path, { forceNew: true, reconnection: false, transports: ['websocket'], ...options });
  t.after(() => socket.close());
  socket.heard = [];
  socket.onAny((...event) => {
    const offset = event.pop();
    assert.match(offset, /^~mp[^.]*\.\d+\??$/, 'every event ends in an offset');
    socket.heard.push(event);
  });
  await connected(socket);
  return socket;
}

async function connected(socket) {
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
    socket.once('disconnect', reason => reject(new Error(`it is to come again: ${reason}`)));
  });
}

/** The client's connection breaks off: it has not said that it goes. */
export async function breakOff(socket) {
  if (!socket.connected) return;
  const gone = new Promise(resolve => socket.once('disconnect', resolve));
  socket.io.engine.transport.ws.terminate?.() ?? socket.io.engine.close();
  await gone;
}

/** The same client, with what it knows, connects at a node. */
export async function goTo(socket, node) {
  socket.io.uri = node.url;
  const back = connected(socket);
  socket.connect();
  await back;
}

export const heard = (socket, ...events) => eventually(`${JSON.stringify(events)} is heard`, () => {
  assert.deepEqual(socket.heard, events);
  return true;
});

/** It was away from `from` and is at `to` again: the same socket, whatever it missed. */
export async function returns(socket, from, to, missed = async () => {}) {
  const { id, _pid: pid } = socket;
  await breakOff(socket);
  await missed();
  await goTo(socket, to);
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
  assert.equal(socket._pid, pid);
}

/** How many came back to `node` so. */
export const count = (node, result) => node.metric(`midplane_socketio_returns_total{result="${result}"}`);
