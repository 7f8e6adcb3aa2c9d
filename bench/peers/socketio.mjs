// A Socket.IO server as its documentation has it: everybody is in one room. Prints its address; `COUNT SIZE TIME` on its
// input emits that many events of that many bytes to the room. Its argument is the ping interval in milliseconds.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const installed = createRequire(new URL('../../tests/sdk/js/package.json', import.meta.url));
const { Server } = installed('socket.io');

const http = createServer();
const io = new Server(http, { pingInterval: Number(process.argv[2]) });
io.on('connection', socket => socket.join('bench'));

let number = 0;
createInterface({ input: process.stdin })
  .on('line', line => {
    const [count, size, time] = line.split(' ').map(Number);
    for (let i = 0; i < count; i++, number++) {
      const frame = padding => ({ n: number, t: time, p: 'x'.repeat(padding) });
      const bare = Buffer.byteLength(JSON.stringify(frame(0)));
      io.to('bench').emit('message', frame(Math.max(0, size - bare)));
    }
  })
  .on('close', () => process.exit());

http.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => console.log(`127.0.0.1:${http.address().port}`));
