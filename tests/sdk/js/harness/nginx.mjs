// A real nginx in front of the nodes, with the configuration that operators run: nginx/ of the project.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { Process, freePort, project, temporaryDirectory } from './process.mjs';
import { eventually, final } from './wait.mjs';

/** What its clients, all of one address here, may do: more than any test needs that is not about limits. */
const ample = { NGINX_CONNECTIONS_PER_CLIENT: '10000', NGINX_HANDSHAKES_PER_SECOND: '10000', NGINX_HANDSHAKE_BURST: '10000' };

/** One nginx. */
export class Nginx {
  /**
   * `blocked` are paths that it lets nobody through to, as some networks do with WebSockets. `environment` is what
   * nginx/start.sh reads, `files` are laid beside the configuration.
   */
  static async start(nodes, { blocked = [], port = undefined, environment = {}, files = {} } = {}) {
    const nginx = new Nginx();
    nginx.port = port ?? (await freePort());
    nginx.address = `127.0.0.1:${nginx.port}`;
    nginx.url = `http://${nginx.address}`;
    nginx.websocket = `ws://${nginx.address}/connection/websocket`;
    const directory = temporaryDirectory();
    execFileSync(join(project, 'nginx/start.sh'), ['prepare'], {
      env: { PATH: process.env.PATH, NGINX_RUN: directory, NGINX_LISTEN: nginx.address, NGINX_WORKER_CONNECTIONS: '512', ...ample, ...environment },
    });
    change(join(directory, 'run/upstream.conf'), text => inFrontOf(nodes, text));
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(directory, name)), { recursive: true });
      writeFileSync(join(directory, name), content);
    }
    const closed = blocked.map(path => `location = ${path} { return 403; }`).join('\n');
    change(join(directory, 'run/server.conf'), text => text.replace('include locations.conf;', `${closed}\n$&`));
    if (!knowsHttp2()) {
      change(join(directory, 'run/server.conf'), text => text.replace('http2 on;', ''));
      change(join(directory, 'run/listen_tls.conf'), text => text.replaceAll(' ssl;', ' ssl http2;'));
    }
    const user = process.getuid() === 0 ? 'user root;' : ''; // its folder is nobody else's
    nginx.process = new Process('nginx', 'nginx', ['-p', directory, '-c', join(directory, 'nginx.conf'), '-e', 'stderr', '-g', `daemon off; ${user}`]);
    await eventually('nginx answers', async () => {
      if (nginx.process.outcome) throw final(`nginx ended: ${nginx.process.log()}`);
      return (await fetch(`${nginx.url}/health`)).ok;
    });
    return nginx;
  }

  /** One that ends TLS at `secureAddress`, with a certificate that the one in the file `authority` signed. */
  static async encrypting(nodes) {
    const directory = temporaryDirectory();
    const [signer, authority, key, request, certificate, extensions] = ['signer', 'authority', 'key', 'request', 'certificate', 'extensions'].map(name => join(directory, name));
    const openssl = (...args) => execFileSync('openssl', args, { stdio: 'ignore' });
    const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    writeFileSync(extensions, 'subjectAltName=IP:127.0.0.1');
    openssl('req', '-x509', ...fresh, '-days', '1', '-subj', '/CN=authority', '-keyout', signer, '-out', authority);
    openssl('req', '-new', ...fresh, '-subj', '/CN=localhost', '-keyout', key, '-out', request);
    openssl('x509', '-req', '-in', request, '-CA', authority, '-CAkey', signer, '-CAcreateserial', '-days', '1', '-extfile', extensions, '-out', certificate);
    const secureAddress = `127.0.0.1:${await freePort()}`;
    const nginx = await Nginx.start(nodes, {
      environment: { NGINX_SERVER: 'tls', NGINX_HTTPS_PORT: '8443', NGINX_LISTEN_TLS: secureAddress },
      files: { 'ssl/privkey.pem': readFileSync(key), 'ssl/fullchain.pem': readFileSync(certificate) },
    });
    return Object.assign(nginx, { secureAddress, authority });
  }

  /** Its access log so far; a socket stands there when it has ended. */
  requests() {
    return this.process.log().split('\n').filter(line => line.startsWith('{')).map(line => JSON.parse(line));
  }

  async stop() {
    this.process.signal('SIGTERM');
    await this.process.ended;
  }
}

/** Whether this nginx has the directive that the configuration uses, since 1.25.1. Before, the word stood behind the address. */
function knowsHttp2() {
  const [, major, minor, patch] = spawnSync('nginx', ['-v'], { encoding: 'utf8' }).stderr.match(/\/(\d+)\.(\d+)\.(\d+)/).map(Number);
  return major * 1e6 + minor * 1e3 + patch >= 1_025_001;
}

const change = (file, edit) => writeFileSync(file, edit(readFileSync(file, 'utf8')));

/** The project's upstream with other members. Their addresses are numbers, and the nginx of the tests may be too old to `resolve`. */
function inFrontOf(nodes, upstream) {
  const lines = upstream.replace(/^ *include run\/resolver.conf;\n/m, '').split('\n');
  const first = lines.findIndex(line => line.trim().startsWith('server '));
  const member = lines[first].replace(' resolve', '');
  const members = nodes.map(({ address }) => member.replace(/gateway-1:\d+/, address));
  return [...lines.slice(0, first), ...members, ...lines.slice(first).filter(line => !line.trim().startsWith('server '))].join('\n');
}
