"""An application: the official SDK, unmodified, behind an address that can move from node to node."""

import asyncio
import inspect
import itertools
import json
import os
import time

import jwt
from centrifuge import Client, ClientEventHandler, SubscriptionEventHandler

from system import TOKEN_SECRET

_names = itertools.count(1)


def fresh(namespace):
    """A channel that no other test uses."""
    return f"{namespace}:p{os.getpid()}.{next(_names)}"


def token(**claims):
    return jwt.encode(claims, TOKEN_SECRET, algorithm="HS256")


def now(offset=0):
    return int(time.time()) + offset


async def eventually(what, probe, seconds=20.0):
    """Asks `probe`, which may be a coroutine function, until it answers with something that is true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        await asyncio.sleep(0.02)


async def heard(topology, channel, *listeners):
    """Waits until `listeners` hear every node. Without history nothing says when a subscription has reached all of
    NATS' servers; what is published before that is gone. Probes do not count as publications."""
    for listener in listeners:
        listener.probes.clear()

    def everybody():
        if all(len(listener.probes) == len(topology.nodes) for listener in listeners):
            return True
        for node in topology.nodes:
            node.publish(channel, "probe", tags={"probe": node.name})
        return False

    await eventually(f"{channel} hears every node", everybody)


class Address:
    """What a load balancer is to clients: one address, connections go to the node of the moment."""

    def __init__(self, node):
        self.node = node
        self._writers = set()

    async def open(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}/connection/websocket"
        return self

    async def _accept(self, reader, writer):
        self._writers.add(writer)
        try:
            if self.node is None:
                return
            host, port = self.node.address.split(":")
            there, back = await asyncio.open_connection(host, int(port))
            self._writers.add(back)
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _copy(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def cut(self, to=None):
        """Breaks all connections; new ones go to `to`, or nowhere."""
        self.node = to
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self):
        self.cut()
        self._server.close()


class Listener(SubscriptionEventHandler):
    """All that one subscription saw."""

    def __init__(self, app, channel):
        self.app, self.channel = app, channel
        self.publications, self.subscribed, self.subscribing, self.errors = [], [], [], []
        self.told = []  # who came and who went: `+ann`, `-ann`
        self.unsubscribed = None
        self.probes = set()

    async def on_subscribing(self, ctx):
        self.subscribing.append(ctx)

    async def on_subscribed(self, ctx):
        self.subscribed.append(ctx)

    async def on_join(self, ctx):
        self.told.append(f"+{ctx.info.user}")

    async def on_leave(self, ctx):
        self.told.append(f"-{ctx.info.user}")

    async def on_unsubscribed(self, ctx):
        self.unsubscribed = ctx

    async def on_publication(self, ctx):
        if ctx.pub.tags and "probe" in ctx.pub.tags:
            self.probes.add(ctx.pub.tags["probe"])
        else:
            self.publications.append(ctx.pub)

    async def on_error(self, ctx):
        self.errors.append(ctx)

    @property
    def data(self):
        return [self.app.decode(pub.data) for pub in self.publications]

    async def received(self, count, seconds=20.0):
        await eventually(f"{count} publications in {self.channel}", lambda: len(self.publications) >= count, seconds)
        return self.data

    async def refusal(self):
        await eventually(f"{self.channel} is refused", lambda: self.unsubscribed)
        return self.unsubscribed.code


class App(ClientEventHandler):
    """A client and all that it was told."""

    def __init__(self, protobuf, node):
        self.protobuf = protobuf
        self.address = Address(node)
        self.connected, self.connecting, self.errors = [], [], []
        # Of server-side subscriptions.
        self.subscribed, self.unsubscribed, self.publications, self.told = [], [], [], []
        self.disconnected = None

    async def open(self, **options):
        await self.address.open()
        self.client = Client(
            self.address.url,
            events=self,
            use_protobuf=self.protobuf,
            max_reconnect_delay=0.5,
            max_server_ping_delay=3.0,
            proxy=None,
            **options,
        )
        await self.client.connect()
        return self

    async def close(self):
        await self.client.disconnect()
        await self.address.close()

    def encode(self, value):
        return json.dumps(value).encode() if self.protobuf else value

    def decode(self, data):
        return json.loads(data) if self.protobuf and data is not None else data

    async def on_connected(self, ctx):
        self.connected.append(ctx)

    async def on_connecting(self, ctx):
        self.connecting.append(ctx)

    async def on_disconnected(self, ctx):
        self.disconnected = ctx

    async def on_error(self, ctx):
        self.errors.append(ctx)

    async def on_subscribed(self, ctx):
        self.subscribed.append(ctx)

    async def on_unsubscribed(self, ctx):
        self.unsubscribed.append(ctx.channel)

    async def on_publication(self, ctx):
        self.publications.append(ctx)

    async def on_join(self, ctx):
        self.told.append(f"+{ctx.info.user}")

    async def on_leave(self, ctx):
        self.told.append(f"-{ctx.info.user}")

    @property
    def id(self):
        return self.connected[-1].client

    async def ready(self, count=1):
        def there():
            assert self.disconnected is None, self.disconnected
            return len(self.connected) >= count

        await eventually("the client is connected", there)
        return self

    async def listen(self, channel, **options):
        """Subscribes without waiting."""
        listener = Listener(self, channel)
        listener.subscription = self.client.new_subscription(channel, events=listener, **options)
        await listener.subscription.subscribe()
        return listener

    async def subscribe(self, channel, **options):
        listener = await self.listen(channel, **options)
        await eventually(f"subscribed to {channel}", lambda: listener.subscribed or listener.unsubscribed)
        assert listener.unsubscribed is None, listener.unsubscribed
        return listener

    async def publish(self, channel, value):
        await self.client.publish(channel, self.encode(value))

    async def while_away(self, node, during):
        """Breaks the connection, and keeps the client away while `during` runs; it comes back at `node`."""
        connects = len(self.connected)
        self.address.cut()
        result = during()
        self.address.node = node
        await self.ready(connects + 1)
        return result
