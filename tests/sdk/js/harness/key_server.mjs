// A server that gives out public keys as a JWKS, as an identity provider has one.
import { createServer } from 'node:http';

import { freePort } from './process.mjs';

/** Keys behind a URL; may go away and come back at the same address. */
export class KeyServer {
  static async start(...pairs) {
    const server = new KeyServer();
    server.requests = 0;
    server.port = await freePort();
    server.url = `http://127.0.0.1:${server.port}/jwks.json`;
    server.hold(...pairs);
    await server.back();
    return server;
  }

  /** Gives these keys out from now on. */
  hold(...pairs) {
    this.keys = pairs.map(({ jwk }) => jwk);
  }

  async back() {
    this.http = createServer((_, response) => {
      this.requests += 1;
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ keys: this.keys }));
    });
    await new Promise((resolve, reject) => this.http.once('error', reject).listen(this.port, '127.0.0.1', resolve));
  }

  async away() {
    if (!this.http.listening) return;
    this.http.closeAllConnections();
    await new Promise(closed => this.http.close(closed));
  }
}
