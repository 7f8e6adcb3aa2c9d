"""The backend of examples/socketio in Python, and clients that speak the protocol by hand."""

import json
import sys

import websockets

from system import PROJECT, NatsServer, Node, Process, eventually


async def client(node):
    """A socket in the main namespace."""
    socket = await websockets.connect(f"ws://{node.address}/socket.io/?EIO=4&transport=websocket")
    assert (await socket.recv()).startswith("0{")
    await socket.send("40")
    assert (await socket.recv()).startswith("40{")
    return socket


async def packet(socket):
    """The next that is no ping."""
    while (text := await socket.recv()) == "2":
        await socket.send("3")
    return text


async def test_the_backend_in_python_greets_and_answers():
    nats = NatsServer().run()
    environment = {"NATS_URL": nats.url, "MIDPLANE_SOCKETIO__NAMESPACES": json.dumps([{"name": "/"}])}
    node = Node("examples", environment)
    node.spawn()
    node.ready()
    backend = Process("backend", [sys.executable, str(PROJECT / "examples/socketio/backend.py")], {"NATS_URL": nats.url})
    try:
        eventually("the backend serves", lambda: "serving" in backend.log())
        socket = await client(node)
        assert json.loads((await packet(socket)).removeprefix("42")) == ["welcome", "stranger"]
        await socket.send('420["sum",1,2,3]')
        assert await packet(socket) == "430[6]"
        await socket.send('421["note","nobody","hello"]')
        assert await packet(socket) == '431["sent"]'
        await socket.close()
    finally:
        backend.kill()
        node.stop()
        nats.remove()
