// Clients of Socket.IO.

/** A connected client of the library `io`, with the events that it has heard; closed after the test `t`. */
export async function openSocket(t, io, url, options = {}) {
  const socket = io(url, { forceNew: true, transports: ['websocket'], ...options });
  t.after(() => socket.close());
  socket.heard = [];
  socket.onAny((...event) => socket.heard.push(event));
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  return socket;
}
