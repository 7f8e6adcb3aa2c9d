"""The system under test: nats-servers and midplane nodes as real processes, on free ports, in temporary directories."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
LOGS = PROJECT / "test-artifacts" / "logs"
API_KEY = "test-api-key"
TOKEN_SECRET = "a secret of the tests, 32 bytes long"


def eventually(what, probe, seconds=60.0):
    """Polls `probe` until it returns something truthy; exceptions count as not yet."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            last = probe()
            if last:
                return last
        except (OSError, AssertionError) as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}; last seen: {last!r}")


def free_port():
    """A port below those given to outgoing connections, so that nobody takes it while its owner is down."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Process:
    """One process; what it prints goes to a file of test-artifacts/logs."""

    count = 0

    def __init__(self, name, command, environment=None):
        LOGS.mkdir(parents=True, exist_ok=True)
        Process.count += 1
        self.log_file = LOGS / f"py-{os.getpid()}-{Process.count:03}-{name}.log"
        with self.log_file.open("w") as log:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **(environment or {})},
            )

    def log(self):
        return self.log_file.read_text()

    def kill(self):
        """SIGKILL, as a crash."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()

    def stop(self):
        """SIGTERM, as an operator; the exit status."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.child.returncode


class NatsServer:
    """One nats-server with JetStream."""

    def __init__(self, name="single", more=None, ports=None):
        self.ports = ports or [free_port() for _ in range(3)]
        self.url = f"nats://127.0.0.1:{self.ports[0]}"
        self.name = name
        self.directory = Path(tempfile.mkdtemp(prefix="midplane-sdk-"))
        self.config = self.directory / "nats.conf"
        self.config.write_text(
            f'server_name: {name}\nlisten: "127.0.0.1:{self.ports[0]}"\nhttp: "127.0.0.1:{self.ports[1]}"\n'
            f'jetstream {{ store_dir: "{self.directory}/store" }}\n{more or ""}\n'
        )
        self.process = None

    def spawn(self):
        pinned = PROJECT / ".tools/bin/nats-server"
        binary = os.environ.get("NATS_SERVER") or (str(pinned) if pinned.exists() else "nats-server")
        self.process = Process(f"nats-{self.name}", [binary, "-c", str(self.config)])

    def ready(self):
        url = f"http://127.0.0.1:{self.ports[1]}/healthz"
        eventually("nats-server is ready", lambda: urllib.request.urlopen(url, timeout=2).status == 200)

    def run(self):
        self.spawn()
        self.ready()
        return self

    def kill(self):
        self.process.kill()

    def remove(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def nats_cluster():
    """Three nats-servers that keep three copies of every stream."""
    ports = [[free_port() for _ in range(3)] for _ in range(3)]
    routes = ", ".join(f'"nats-route://127.0.0.1:{each[2]}"' for each in ports)
    servers = [
        NatsServer(
            f"n{index}",
            f'cluster {{ name: "c{ports[0][2]}", listen: "127.0.0.1:{own[2]}", routes: [ {routes} ] }}',
            own,
        )
        for index, own in enumerate(ports)
    ]
    for server in servers:
        server.spawn()
    for server in servers:
        server.ready()
    return servers


class Node:
    """A midplane process."""

    def __init__(self, name, environment=None):
        self.name = name
        self.environment = {"SERVER_ID": name, **(environment or {})}

    def spawn(self):
        binary = os.environ.get("MIDPLANE_BIN") or str(PROJECT / "target/debug/midplane")
        settings = str(PROJECT / "tests/sdk/settings.toml")
        self.process = Process(self.name, [binary, "--config", settings, "serve"], self.environment)

    def ready(self):
        def listening():
            if self.process.child.poll() is not None:
                raise RuntimeError(f"{self.name} ended:\n{self.process.log()}")
            return re.search(r"ws://([0-9.]+:[1-9]\d*)/connection", self.process.log())

        self.address = eventually(f"{self.name} listens", listening)[1]
        ready = f"http://{self.address}/ready"
        eventually(f"{self.name} is ready", lambda: urllib.request.urlopen(ready, timeout=5).status == 200)

    @property
    def api_url(self):
        return f"http://{self.address}/api"

    def post(self, path, body, key=API_KEY, headers=None):
        """A bare HTTP call: status and text."""
        request = urllib.request.Request(f"http://{self.address}{path}", body.encode(), method="POST")
        if key is not None:
            request.add_header("X-API-Key", key)
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def api(self, method, **params):
        """Calls the server API; the result."""
        status, text = self.post(f"/api/{method}", json.dumps(params))
        answer = json.loads(text)
        assert status == 200 and "result" in answer, text
        return answer["result"]

    def publish(self, channel, data, **more):
        return self.api("publish", channel=channel, data=data, **more)

    def kill(self):
        self.process.kill()

    def stop(self):
        status = self.process.stop()
        panic = re.search(r"^.*panicked at.*$", self.process.log(), re.MULTILINE)
        assert panic is None, f"{self.name}: {panic[0]} ({self.process.log_file})"
        return status


class Topology:
    """Nodes, and the nats-servers that join them (none for the embedded backplane)."""

    def __init__(self, count, servers, environment=None):
        self.servers = servers
        environment = dict(environment or {})
        if servers:
            environment["NATS_URL"] = ",".join(server.url for server in servers)
        if len(servers) > 1:
            environment["MIDPLANE_NATS__REPLICAS"] = "3"
        self.nodes = [Node(f"node-{index}", environment) for index in range(count)]
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.ready()

    @property
    def first(self):
        return self.nodes[0]

    @property
    def other(self):
        return self.nodes[-1]

    def stop(self):
        try:
            for node in self.nodes:
                node.stop()
        finally:
            for server in self.servers:
                server.remove()
