// Clients of Socket.IO, in one process. What they see goes to stdout as entries of the journal; they go once stdin ends.
// Argument: {"nodes": [{"name", "address"}], "clients": [a listener of the scene, with its token], "modules": directory}.
import { createRequire } from 'node:module';

const { nodes, clients, modules } = JSON.parse(process.argv[2]);
const require = createRequire(`${modules}/`);
const { io } = require('socket.io-client');
const { NodeWebSocket, NodeXHR } = createRequire(require.resolve('socket.io-client'))('engine.io-client');

/** Rooms that everybody is in; others are joined by asking. What backends emit for more than one room is named like one. */
const GIVEN = ['kept:c0', 'kept:c1', 'kept:emitted', 'plain:c0'];
const STAND = /^~mp.*\.(\d+)\??$/;
const PAUSE = 500;

const tell = (what, entry) => process.stdout.write(`${JSON.stringify({ what, ...entry })}\n`);
const any = () => nodes[Math.floor(Math.random() * nodes.length)];

/** As behind a load balancer that knows no sessions: each request goes to any node. The session is where it began. */
function transports(ways, began) {
  const anywhere = (Transport) => class extends Transport {
    createUri(schema, query) {
      const chosen = any();
      if (!query.sid) began(chosen);
      return super.createUri(schema, query).replace('any', chosen.address);
    }
  };
  const polling = anywhere(NodeXHR);
  const websocket = anywhere(NodeWebSocket);
  return { websocket: [websocket], upgrade: [polling, websocket], polling: [polling] }[ways];
}

function enter({ name, channels, token, ways }) {
  let node = nodes[0];
  let said = null; // how far it is, as it says where it comes again
  let isIn = false; // and has been told so
  let leaves = false;
  let rooms = new Set();
  const client = { client: name };
  const path = channels[0].startsWith('plain:') ? '/plain' : '/';
  const socket = io(`http://any${path}`, {
    forceNew: true,
    transports: transports(ways, (chosen) => (node = chosen)),
    auth: (answer) => {
      said = socket._pid ? { stand: socket._lastOffset ?? null } : null;
      answer(token ? { token } : {});
    },
    reconnectionDelay: 100,
    reconnectionDelayMax: 3000,
    timeout: 8000,
    requestTimeout: 12000,
  });

  /** Tells that it is in a room, from here on or still. */
  const enterRoom = (channel, recovered) => {
    rooms.add(channel);
    tell('subscribed', { ...client, channel, since: null, recovered, position: null });
  };

  const arrive = () => {
    isIn = true;
    const recovered = socket.recovered === true;
    tell('connected', { ...client, node: node.name, uuid: socket.id });
    if (said) tell('came_back', { ...client, stand: said.stand, recovered });
    if (!recovered) rooms = new Set(channels.filter((channel) => GIVEN.includes(channel)));
    for (const channel of rooms) enterRoom(channel, recovered);
  };

  /** Asks to be in the rooms that are not everybody's. */
  const join = () => {
    for (const channel of channels.filter((wanted) => !rooms.has(wanted))) {
      socket.timeout(5000).emit('join', channel.split(':')[1], (error) => {
        if (!isIn || rooms.has(channel)) return;
        if (error) setTimeout(() => isIn && join(), PAUSE);
        else enterRoom(channel, false);
      });
    }
  };

  socket.on('connect', () => {
    arrive();
    join();
  });
  socket.on('message', ({ id, barrier }, stand = null) => {
    if (!isIn) tell('broken', { ...client, how: `${id} came before it was told that it is in` });
    const channel = id.split('-')[0];
    if (channels.includes(channel) && !rooms.has(channel)) enterRoom(channel, false);
    const offset = stand === null ? null : Number(STAND.exec(stand)?.[1] ?? NaN);
    if ((path === '/') !== Number.isInteger(offset)) tell('broken', { ...client, how: `${id} came with ${stand}` });
    tell('received', { ...client, channel, id, offset, how: 'live', barrier, stand });
  });
  socket.on('disconnect', (reason) => {
    // The library says so again where it could not come back.
    if (isIn) tell('disconnected', { ...client, code: 0, reason });
    isIn = false;
    if (!socket.active && !leaves) tell('gave_up', { ...client, reason });
  });
  socket.on('connect_error', (error) => {
    if (!socket.active && !leaves) tell('gave_up', { ...client, reason: error.message });
  });
  return () => {
    leaves = true;
    socket.disconnect();
  };
}

const goings = clients.map(enter);
process.stdin.resume();
process.stdin.on('end', () => {
  for (const go of goings) go();
  setTimeout(() => process.exit(0), 300);
});
