"""A backend's hooks and this SDK, which hangs or ends for good where an error or an end comes without words (trap 14)."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app import App, eventually, fresh
from system import Node

NAMESPACES = [
    {
        "name": "asked",
        "subscribe_proxy_enabled": True,
        "publish_proxy_enabled": True,
        "allow_publish_for_subscriber": True,
        "allow_subscribe_for_client": True,
    }
]


class Backend(ThreadingHTTPServer):
    """Answers each question by what `plans` hold for its event and channel (or what the client says it is)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Hooks)
        self.plans = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def environment(self):
        events = ("connect", "subscribe", "publish", "refresh", "sub_refresh")
        url = f"http://127.0.0.1:{self.server_port}"
        return {f"MIDPLANE_HOOKS__{event.upper()}__ENDPOINT": f"{url}/{event}" for event in events}


class Hooks(BaseHTTPRequestHandler):
    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["content-length"])))
        about = question.get("channel") or question.get("data")
        answers = self.server.plans.get((self.path[1:], about), [{"result": {}}])
        body = json.dumps(answers.pop(0) if len(answers) > 1 else answers[0]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def backend():
    server = Backend()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def node(backend):
    node = Node(
        "hooked",
        {
            **backend.environment(),
            "MIDPLANE_CHANNEL__NAMESPACES": json.dumps(NAMESPACES),
            "MIDPLANE_CLIENT__SUBSCRIBE_TO_USER_PERSONAL_CHANNEL__ENABLED": "false",
        },
    )
    node.spawn()
    node.ready()
    yield node
    node.stop()


@pytest.fixture(params=["json", "protobuf"])
async def visit(request, node, backend):
    """A client that says who it is; the connect hook answers as planned, its last answer for good."""
    opened = []

    async def make(*answers):
        name = fresh("visitor")
        backend.plans["connect", name] = list(answers) or [{"result": {"user": name}}]
        app = App(request.param == "protobuf", node)
        opened.append(app)
        return await app.open(data=app.encode(name))

    yield make
    for app in opened:
        await app.close()


async def test_the_connect_hook_says_who_a_client_is_and_what_it_gets(visit):
    channel = fresh("asked")
    ada = await (await visit({"result": {"user": "ada", "data": {"hello": True}, "channels": [channel]}})).ready()
    assert ada.decode(ada.connected[0].data) == {"hello": True}
    await eventually("subscribed by the server", lambda: [each for each in ada.subscribed if each.channel == channel])


async def test_errors_and_ends_without_words_are_understood(visit, backend):
    busy, away = {"error": {"code": 1001, "temporary": True}}, {"disconnect": {"code": 4000}}
    ada = await (await visit(busy, away, {"result": {"user": "ada"}})).ready()
    eve = await visit({"disconnect": {"code": 4500}})
    await eventually("disconnected", lambda: eve.disconnected)
    assert eve.disconnected.code == 4500 and eve.disconnected.reason

    closed, later = fresh("asked"), fresh("asked")
    backend.plans["subscribe", closed] = [{"error": {"code": 403}}]
    backend.plans["subscribe", later] = [busy, {"result": {"data": 1}}]
    assert await (await ada.listen(closed)).refusal() == 403
    listener = await ada.subscribe(later)
    assert ada.decode(listener.subscribed[0].data) == 1


async def test_the_publish_hook_changes_publications(visit, backend):
    channel = fresh("asked")
    backend.plans["publish", channel] = [{"result": {"data": "clean"}}]
    ada = await (await visit()).ready()
    listener = await ada.subscribe(channel)
    await ada.publish(channel, "dirty")
    assert await listener.received(1) == ["clean"]
