// The cluster that scripts/smoke.sh started by compose.yaml, seen from the host.
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { project } from '../harness/process.mjs';
import { eventually } from '../harness/wait.mjs';

const run = promisify(execFile);
const env = name => process.env[name] ?? (() => { throw new Error(`${name} is not set: scripts/smoke.sh runs this`); })();

export const secret = name => readFileSync(join(env('SECRETS_DIR'), name), 'utf8');

const out = async (command, ...args) => (await run(command, args, { cwd: project, maxBuffer: 64 << 20, timeout: 240_000 })).stdout;

/** `docker compose …`, with the files and profiles that are up. */
export const compose = (...args) => out('docker', 'compose', '--env-file', env('CLUSTER_ENV'), '--profile', 'monitoring', ...args);
/** The same with the further nodes of compose/scaled.yaml. */
export const scaled = (...args) => compose('-f', 'compose.yaml', '-f', 'compose/scaled.yaml', '--profile', 'scaled', ...args);
/** The same with three NATS servers, and everything encrypted. */
export const encrypted = (...args) => compose('-f', 'compose.yaml', ...['nats3', 'nats-tls', 'nats3-tls', 'tls'].flatMap(name => ['-f', `compose/${name}.yaml`]), ...args);
export const docker = (...args) => out('docker', ...args);

/** What Docker says of a service's containers. */
export async function inspect(service) {
  const ids = (await scaled('ps', '-q', '--all', service)).split('\n').filter(Boolean);
  return JSON.parse(await docker('inspect', ...ids));
}

/** nginx, as clients see it: what `App` takes for a node. */
export const edge = {
  url: `http://127.0.0.1:${env('HTTP_PORT')}`,
  websocket: `ws://127.0.0.1:${env('HTTP_PORT')}/connection/websocket`,
  port: Number(env('HTTP_PORT')),
};

/** nginx of `encrypted`, whose certificate `enableTls` makes. */
export const secureEdge = { ...edge, websocket: `wss://127.0.0.1:${env('HTTPS_PORT')}/connection/websocket` };

/** Makes certificates for NATS, as operators do, and for nginx; the latter is returned. */
export async function enableTls() {
  await out(join(project, 'scripts/nats-certificates.sh'));
  const [key, certificate] = ['privkey.pem', 'fullchain.pem'].map(name => join(env('CERTIFICATES_DIR'), name));
  mkdirSync(env('CERTIFICATES_DIR'));
  await out('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate);
  chmodSync(key, 0o644); // for the user of nginx
  return readFileSync(certificate);
}

/** Its access log. */
export async function requests() {
  const lines = (await compose('logs', '--no-log-prefix', '--no-color', 'nginx')).split('\n');
  return lines.filter(line => line.startsWith('{')).map(line => JSON.parse(line));
}

/** A node at the port that is published on this machine. */
class Gateway {
  constructor(number) {
    this.service = `gateway-${number}`;
    this.url = `http://127.0.0.1:${env(`GATEWAY_${number}_PORT`)}`;
  }

  async api(method, params = {}, { signal } = {}) {
    const response = await fetch(`${this.url}/api/${method}`, {
      method: 'POST', headers: { 'x-api-key': secret('api_key') }, body: JSON.stringify(params), signal,
    });
    if (response.status !== 200) throw new Error(`${method}: HTTP ${response.status}`);
    return response.json();
  }

  /** How many sockets it has. */
  async sockets() {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    return Number(text.match(/^midplane_connections\{transport="websocket",protocol="json"\} (\d+)/m)?.[1] ?? 0);
  }

  async ready() {
    await eventually(`${this.service} is ready`, async () => (await fetch(`${this.url}/ready`)).ok, 60);
  }
}

export const gateways = [1, 2, 3].map(number => new Gateway(number));

/** Prometheus' answer. */
export async function prometheus(path, parameters = {}) {
  const answer = await fetch(`http://127.0.0.1:${env('PROMETHEUS_PORT')}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const { status, data, error } = await answer.json();
  if (status !== 'success') throw new Error(`${JSON.stringify(parameters)}: ${error}`);
  return data;
}
