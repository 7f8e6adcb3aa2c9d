"""What goes on in the cluster: everything that a dashboard has a panel for, and that can be brought about in half a minute."""

import asyncio
import json
import urllib.error
import urllib.request

import nats
import websockets

from app import App, eventually, now, token
from live.prometheus import numbers


class Traffic:
    def __init__(self, cluster, prometheus, rounds=1):
        self.cluster, self.prometheus, self.rounds = cluster, prometheus, rounds
        self.first, self.second, self.victim = cluster.nodes
        self.apps = []
        self.busy = []

    async def run(self):
        self.backend = await nats.connect(self.cluster.nats.url)

        async def echo(message):
            await message.respond(message.data)

        await self.backend.subscribe("midplane.rpc.echo", cb=echo)
        await self.people_arrive()
        self.busy = [asyncio.create_task(self.chatter()), asyncio.create_task(self.questions())]
        for number in range(self.rounds):
            for happening in (
                self.people_come_back,
                self.people_have_missed_too_much,
                self.strangers,
                self.backends_call,
                self.streams,
            ):
                await asyncio.to_thread(self.prometheus.look)
                await happening()
            if number == self.rounds // 2:
                await self.a_node_dies()
            await self.pings()
        for task in self.busy:
            task.cancel()
        await asyncio.gather(*self.busy, return_exceptions=True)
        await self.nats_goes_away()
        await self.a_node_is_stopped()

    async def close(self):
        for app in self.apps:
            await app.close()
        await self.backend.close()

    async def person(self, name, node, protobuf=False, **more):
        app = App(protobuf, node)
        self.apps.append(app)
        options = {"token": token(sub=name, exp=now(600)), **more}
        await app.open(**{key: value for key, value in options.items() if value is not None})
        return app

    async def pings(self):
        """Quiet traffic, until most clients have answered a ping."""

        def answered():
            return sum(numbers(self.prometheus.query("sum(midplane_ping_rtt_seconds_count)")))

        before = await asyncio.to_thread(answered)
        while await asyncio.to_thread(answered) < before + len(self.apps):
            await asyncio.sleep(0.5)

    async def people_arrive(self):
        for number in range(12):
            node = self.cluster.nodes[number % 3]
            app = await (await self.person(f"user-{number}", node, protobuf=number % 2 == 1)).ready()
            for channel in ("chat:lobby", "plain:news", "room:hall"):
                await app.subscribe(channel)
        guest = await self.person("", self.first, token=None)
        await guest.ready()  # let in by the hook

    async def chatter(self):
        """Clients and backends publish, by every way there is."""
        number = 0
        while True:
            number += 1
            await asyncio.to_thread(self.first.publish, "chat:lobby", {"number": number})
            await asyncio.to_thread(self.second.publish, "plain:news", {"number": number})
            await self.backend.publish("midplane.pub.chat.lobby", json.dumps({"number": number}).encode())
            await self.backend.request("midplane.api.publish", json.dumps({"channel": "chat:lobby", "data": number}).encode())
            await self.apps[0].publish("chat:lobby", {"text": "hello"})
            await asyncio.sleep(0.05)

    async def questions(self):
        """What clients ask for besides."""
        app = self.apps[0]
        listener = app.client.get_subscription("chat:lobby")
        hall = app.client.get_subscription("room:hall")
        while True:
            await listener.history(limit=10)
            await hall.presence()
            await app.client.rpc("echo", app.encode({"question": 1}))
            await asyncio.sleep(0.2)

    async def people_come_back(self):
        """To the node they were at, where the tail is in memory, and to another, which has to read the stream."""
        for node, channel in ((self.first, "chat:lobby"), (self.second, "chat:corner")):
            app = await (await self.person("traveller", self.first)).ready()
            listener = await app.subscribe(channel)
            app.address.cut()
            for number in range(5):
                await asyncio.to_thread(self.first.publish, channel, number)
            app.address.cut(to=node)
            await listener.received(5)

    async def people_have_missed_too_much(self):
        app = await (await self.person("sleeper", self.first)).ready()
        listener = await app.subscribe("short:story")
        await asyncio.to_thread(self.first.publish, "short:story", 0)
        await listener.received(1)
        app.address.cut()
        for number in range(10):
            await asyncio.to_thread(self.first.publish, "short:story", number)
        app.address.cut(to=self.first)
        await eventually("not recovered", lambda: len(listener.subscribed) == 2)

    async def strangers(self):
        """A wrong token, a page from elsewhere, something that is no client, one who talks too much."""
        wrong = await self.person("mallory", self.first, token="nonsense")
        await eventually("refused", lambda: wrong.disconnected)
        url = f"ws://{self.second.address}/connection/websocket"
        try:
            await websockets.connect(url, origin="http://elsewhere.example", proxy=None)
            raise AssertionError("a page from elsewhere was let in")
        except websockets.InvalidStatus:
            pass
        async with websockets.connect(url, proxy=None) as socket:
            await socket.send("what is this?")
            await socket.wait_closed()
        talker = self.apps[2]
        answers = [talker.publish("plain:news", {"again": number}) for number in range(80)]
        await asyncio.gather(*answers, return_exceptions=True)

    async def backends_call(self):
        def call(method, **body):
            return self.first.post(f"/api/{method}", json.dumps(body))

        for method, body in (
            ("channels", {}),
            ("info", {}),
            ("revoke_token", {"uid": "some-token", "expire_at": now(600)}),
            ("publish", {"channel": "objects:one", "data": 1}),
            ("disconnect", {"user": "user-4"}),
        ):
            await asyncio.to_thread(call, method, **body)
        await asyncio.to_thread(self.first.post, "/api/publish", "{}", "a wrong key")
        await self.backend.publish("midplane.pub.json.one", b"no JSON")

    async def streams(self):
        await asyncio.to_thread(self._stream)

    def _stream(self):
        """A client that a proxy lets have no WebSocket: it listens on a stream and posts what it says."""

        def post(node, path, body):
            return urllib.request.urlopen(
                urllib.request.Request(f"http://{node.address}{path}", body.encode(), method="POST"), timeout=10
            )

        connect = json.dumps({"id": 1, "connect": {"token": token(sub="streamer", exp=now(600))}})
        with post(self.first, "/connection/http_stream", connect) as stream:
            connected = json.loads(stream.readline())["connect"]
            said = {
                "session": connected["session"],
                "node": connected["node"],
                "data": json.dumps({"id": 2, "rpc": {"method": "echo", "data": 1}}),
            }
            for node in (self.first, self.second):
                post(node, "/emulation", json.dumps(said)).close()
            stream.readline()

    async def nats_goes_away(self):
        """What has a history is healed when it is back; who listens where there is none is told."""

        def links(state, count):
            query = f'sum(midplane_backplane_connections{{state="{state}",instance!="{self.victim.name}"}}) == {count}'
            return lambda: numbers(self.prometheus.query(query))

        await asyncio.to_thread(self.cluster.nats.kill)
        await eventually("nodes have lost NATS", links("connected", 0))
        await asyncio.to_thread(self.cluster.nats.run)
        await eventually("nodes have NATS again", links("connected", 8))
        await asyncio.to_thread(self.prometheus.look)

    async def a_node_is_stopped(self):
        """By an operator: its clients are sent away, and the others know that it left."""
        for app in self.apps:
            if app.address.node is self.second:
                app.address.node = self.first  # where they come next
        await asyncio.to_thread(self.second.stop)
        left = 'midplane_cluster_nodes{state="left"} == 1'
        await eventually("it is known to have left", lambda: numbers(self.prometheus.query(left)))
        await asyncio.to_thread(self.prometheus.look)
        await asyncio.to_thread(self.prometheus.look)  # pictures end here

    async def a_node_dies(self):
        """Its clients go on at others; what it left behind is removed."""
        self.victim.process.kill()
        for app in self.apps:
            if app.address.node is self.victim:
                app.address.cut(to=self.second)

        def noticed():
            with urllib.request.urlopen(f"http://{self.first.address}/metrics", timeout=5) as metrics:
                return 'midplane_cluster_nodes{state="failed"} 1' in metrics.read().decode()

        await eventually("the others notice", noticed)
