"""Three nodes on one NATS, of which one is killed, with backends that answer hooks and calls."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from system import NatsServer, Node

SETTINGS = {
    "MIDPLANE_HTTP__MAX_CONNECTIONS": "1000",
    "MIDPLANE_NATS__MAX_BYTES": "67108864",
    "MIDPLANE_CLIENT__PUBLISH_RATE": "50/s",
    "FAILURE_DETECTION_TIMEOUT": "3000",
}


class ConnectHook(BaseHTTPRequestHandler):
    """Lets everybody in."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"result": {"user": "guest"}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Cluster:
    def __init__(self):
        self.nats = NatsServer().run()
        self.hook = ThreadingHTTPServer(("127.0.0.1", 0), ConnectHook)
        threading.Thread(target=self.hook.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{self.hook.server_port}/connect"
        environment = {**SETTINGS, "NATS_URL": self.nats.url, "MIDPLANE_HOOKS__CONNECT__ENDPOINT": endpoint}
        self.nodes = [Node(f"gateway-{number}", environment) for number in (1, 2, 3)]
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.ready()

    @property
    def victim(self):
        return self.nodes[-1]

    def stop(self):
        for node in self.nodes[:-1]:
            node.stop()
        self.victim.process.kill()
        self.hook.shutdown()
        self.nats.remove()
