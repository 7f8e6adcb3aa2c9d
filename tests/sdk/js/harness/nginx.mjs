// A real nginx in front of the nodes, without sticky sessions: each request goes to the next node.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Process, freePort, temporaryDirectory } from './process.mjs';
import { eventually, final } from './wait.mjs';

/** One nginx. */
export class Nginx {
  /** `blocked` are paths that it lets nobody through to, as some networks do with WebSockets. */
  static async start(nodes, { blocked = [], port = undefined } = {}) {
    const nginx = new Nginx();
    nginx.port = port ?? (await freePort());
    nginx.url = `http://127.0.0.1:${nginx.port}`;
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'temp'));
    const file = join(directory, 'nginx.conf');
    writeFileSync(file, configuration(nginx.port, nodes, blocked));
    nginx.process = new Process('nginx', 'nginx', ['-p', `${directory}/`, '-c', file, '-e', 'stderr']);
    await eventually('nginx answers', async () => {
      if (nginx.process.outcome) throw final(`nginx ended: ${nginx.process.log()}`);
      return (await fetch(`${nginx.url}/health`)).ok;
    });
    return nginx;
  }

  async stop() {
    this.process.signal('SIGTERM');
    await this.process.ended;
  }
}

/** As docs/clients.md has it, where it concerns transports. */
const configuration = (port, nodes, blocked) => `
${process.getuid() === 0 ? 'user root;' : ''}
daemon off;
worker_processes 1;
pid nginx.pid;
events { worker_connections 512; }
http {
  access_log off;
  error_log stderr warn;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(each => `${each}_temp_path temp/${each};`).join(' ')}
  map $http_upgrade $conn_up { default upgrade; "" ""; }
  upstream nodes {
    ${nodes.map(({ address }) => `server ${address} max_fails=0;`).join('\n    ')}
    keepalive 32;
  }
  server {
    listen 127.0.0.1:${port};
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $conn_up;
    proxy_connect_timeout 1s;
    proxy_read_timeout 75s;
    ${blocked.map(path => `location = ${path} { return 403; }`).join('\n    ')}
    location /connection/ {
      proxy_pass http://nodes;
      proxy_next_upstream error timeout http_503 non_idempotent;
      proxy_next_upstream_tries 3;
    }
    location / {
      proxy_pass http://nodes;
      proxy_next_upstream error timeout http_503;
      proxy_next_upstream_tries 3;
    }
  }
}
`;
