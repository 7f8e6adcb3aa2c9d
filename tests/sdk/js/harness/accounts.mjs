// nats-server with the configurations of the compose files.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '@nats-io/transport-node';

import { freePorts } from './nats.mjs';
import { Process, project, temporaryDirectory } from './process.mjs';
import { eventually, final } from './wait.mjs';

export const password = user => `${user}-12345`; // what must not be read as a number
const users = ['gateway', 'backend', 'system', 'route'];

/** A server as compose.yaml starts it: the same script and files, other ports. */
export class Server {
  static async start({ encrypted = false } = {}) {
    const server = new Server('nats-1', await freePorts(), secrets(encrypted));
    server.spawn();
    await server.ready();
    return server;
  }

  /** Three of them, as compose/nats3.yaml starts them. */
  static async three({ encrypted = false } = {}) {
    const ports = [await freePorts(), await freePorts(), await freePorts()];
    const more = { NATS_CONFIG: 'cluster.conf', NATS_ROUTES: ports.map(({ route }) => `127.0.0.1:${route}`).join(' ') };
    const known = secrets(encrypted);
    const servers = ports.map((own, index) => new Server(`nats-${index + 1}`, own, known, more));
    for (const server of servers) server.spawn();
    for (const server of servers) await server.ready();
    return servers;
  }

  constructor(name, ports, { directory, ca }, more = {}) {
    Object.assign(this, { name, ports, ca, url: `${ca ? 'tls' : 'nats'}://127.0.0.1:${ports.client}` });
    this.directory = temporaryDirectory();
    cpSync(join(project, 'compose/nats'), this.directory, { recursive: true });
    const routes = join(this.directory, 'routes.conf');
    writeFileSync(routes, readFileSync(routes, 'utf8').replace('0.0.0.0:6222', `127.0.0.1:${ports.route}`));
    this.environment = { SECRETS: directory, SERVER_NAME: name, NATS_STORE: join(this.directory, 'store'), ...more };
    if (ca) this.environment.NATS_TLS = '1';
  }

  spawn() {
    const args = ['-a', '127.0.0.1', '-p', `${this.ports.client}`, '-m', `${this.ports.monitor}`];
    this.process = new Process(this.name, 'sh', [join(this.directory, 'start.sh'), ...args], this.environment);
  }

  async ready() {
    await eventually(`${this.name} is ready`, async () => {
      if (this.process.outcome) throw final(this.process.log());
      return (await fetch(`http://127.0.0.1:${this.ports.monitor}/healthz`)).ok;
    }, 60);
  }

  connect(user, options = {}) {
    const tls = this.ca && { caFile: this.ca };
    return connect({ servers: this.url, user, pass: password(user), inboxPrefix: `_INBOX.${user}`, tls, ...options });
  }

  /** What a node says to come in. */
  get settings() {
    return {
      NATS_URL: this.url, MIDPLANE_NATS__USER: 'gateway', MIDPLANE_NATS__PASSWORD: password('gateway'),
      ...(this.ca && { MIDPLANE_NATS__TLS__REQUIRED: 'true', MIDPLANE_NATS__TLS__CA_FILE: this.ca }),
    };
  }
}

/** What start.sh reads; the certificates are made as operators make them. */
function secrets(encrypted) {
  const directory = join(temporaryDirectory(), 'secrets');
  mkdirSync(directory);
  for (const user of users) writeFileSync(join(directory, `nats_${user}_password`), `${password(user)}\n`);
  if (!encrypted) return { directory };
  execFileSync(join(project, 'scripts/nats-certificates.sh'), ['127.0.0.1', 'localhost'], { env: { PATH: process.env.PATH, SECRETS_DIR: directory } });
  return { directory, ca: join(directory, 'nats_ca') };
}
