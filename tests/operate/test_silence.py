"""Deliveries stop, and nothing else: connections stay open, publications are acknowledged. A real Prometheus with the
project's own configuration, its intervals too, raises the alarm."""

import asyncio
import json
import urllib.error
import urllib.request
from datetime import datetime

import nats
import pytest

from app import App, fresh, now, token
from live.prometheus import Prometheus, numbers
from system import NatsServer, Topology, eventually

ALARM = "MidplaneDeliveryCanaryFailing"
WITHIN = 10  # seconds after the last delivery; what operators are promised


class Streams:
    """The streams that hold what is published, made mute and given their voice back."""

    def __init__(self, url):
        self.url = url
        self.voiced = []

    async def _ask(self, client, verb, body=None):
        answer = await client.request(f"$JS.API.{verb}", json.dumps(body or {}).encode(), timeout=5)
        told = json.loads(answer.data)
        assert "error" not in told, told
        return told

    async def mute(self):
        """The store takes everything, and passes nothing on."""
        client = await nats.connect(self.url)
        for namespace in ("chat", "_canary"):
            subject = f"midplane.pub.{namespace}.>"
            name = (await self._ask(client, "STREAM.NAMES", {"subject": subject}))["streams"][0]
            config = (await self._ask(client, f"STREAM.INFO.{name}"))["config"]
            self.voiced.append(config)
            mute = {key: value for key, value in config.items() if key != "republish"}
            await self._ask(client, f"STREAM.UPDATE.{name}", mute)
        await client.close()

    async def restore(self):
        client = await nats.connect(self.url)
        for config in self.voiced:
            await self._ask(client, f"STREAM.UPDATE.{config['name']}", config)
        await client.close()


def is_ready(node):
    try:
        return urllib.request.urlopen(f"http://{node.address}/ready", timeout=5).status == 200
    except urllib.error.HTTPError as error:
        assert error.code == 503
        return False


def alarms(prometheus):
    """When each node's alarm began, of those that fire."""
    active = [each for each in prometheus.ask("alerts")["alerts"] if each["labels"]["alertname"] == ALARM]
    firing = {each["labels"]["instance"]: each["activeAt"] for each in active if each["state"] == "firing"}
    return {instance: datetime.fromisoformat(at).timestamp() for instance, at in firing.items()}


def last_delivery(prometheus, node):
    """When something was delivered there last, as the node says."""
    return numbers(prometheus.query(f'midplane_canary_last_success_timestamp_seconds{{instance="{node.name}"}}'))[0]


@pytest.fixture
def cluster():
    server = NatsServer().run()
    # Nodes that may change streams would put right at once what is done to them here.
    Topology(1, [server]).first.stop()
    topology = Topology(2, [server], {"MIDPLANE_NATS__PROVISION": "false"})
    prometheus = Prometheus(topology.nodes, intervals=None).run()
    yield topology, prometheus
    prometheus.stop()
    topology.stop()


def test_an_alarm_fires_within_ten_seconds_of_the_last_delivery_while_sockets_are_open(cluster):
    topology, prometheus = cluster
    streams = Streams(topology.servers[0].url)

    async def happens():
        app = await (await App(False, topology.first).open(token=token(sub="ada", exp=now(600)))).ready()
        listener = await app.subscribe(fresh("chat"))
        for node in topology.nodes:
            await asyncio.to_thread(eventually, "its canary sings", lambda node=node: last_delivery(prometheus, node) > 0)
        assert alarms(prometheus) == {}

        await streams.mute()
        await asyncio.to_thread(eventually, "nodes are not ready", lambda: not any(map(is_ready, topology.nodes)))
        everywhere = {node.name for node in topology.nodes}
        await asyncio.to_thread(eventually, "the alarms fire", lambda: alarms(prometheus).keys() == everywhere)
        for node in topology.nodes:
            assert alarms(prometheus)[node.name] - last_delivery(prometheus, node) <= WITHIN, node.name

        assert topology.other.publish(listener.channel, "unheard")["offset"] > 0
        open_sockets = 'sum(midplane_connections{instance="node-0"})'
        assert numbers(await asyncio.to_thread(prometheus.query, open_sockets)) == [1]
        assert len(app.connected) == 1 and app.disconnected is None and not listener.publications

        await streams.restore()
        await asyncio.to_thread(eventually, "nodes are ready", lambda: all(map(is_ready, topology.nodes)))
        await asyncio.to_thread(eventually, "the alarms are over", lambda: alarms(prometheus) == {})
        topology.other.publish(listener.channel, "heard")
        assert await listener.received(2) == ["unheard", "heard"]
        await app.close()

    asyncio.run(happens())
