// nats-server with the accounts of the compose files.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '@nats-io/transport-node';

import { Process, freePort, project, temporaryDirectory } from './process.mjs';
import { eventually, final } from './wait.mjs';

export const password = user => `${user}-12345`; // what must not be read as a number
const users = ['gateway', 'backend', 'system', 'route'];

/** nats-server as compose.yaml starts it: the same script and files, other ports. */
export class Server {
  static async start() {
    const server = new Server();
    const directory = temporaryDirectory();
    const [port, monitor] = [await freePort(), await freePort()];
    mkdirSync(join(directory, 'secrets'));
    for (const user of users) writeFileSync(join(directory, 'secrets', `nats_${user}_password`), `${password(user)}\n`);
    for (const file of ['start.sh', 'nats.conf']) copyFileSync(join(project, 'compose/nats', file), join(directory, file));
    server.url = `nats://127.0.0.1:${port}`;
    const args = ['-a', '127.0.0.1', '-p', `${port}`, '-m', `${monitor}`];
    const environment = { SECRETS: join(directory, 'secrets'), SERVER_NAME: 'nats-1', NATS_STORE: join(directory, 'store') };
    server.process = new Process('nats', 'sh', [join(directory, 'start.sh'), ...args], environment);
    await eventually('nats-server is ready', async () => {
      if (server.process.outcome) throw final(server.process.log());
      return (await fetch(`http://127.0.0.1:${monitor}/healthz`)).ok;
    });
    return server;
  }

  connect(user, options = {}) {
    return connect({ servers: this.url, user, pass: password(user), inboxPrefix: `_INBOX.${user}`, ...options });
  }
}
