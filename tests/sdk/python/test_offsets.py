"""Offsets beyond 2^53 (trap 3), of a stream that begins there: this SDK counts exactly, on both wires."""

import asyncio
import json

import nats
import pytest
from centrifuge import StreamPosition

from app import App, eventually, fresh
from system import NatsServer, Topology

FIRST = 2**53 + 1


async def begin_far_ahead(url, while_gone):
    """Puts a stream that begins at FIRST in the place of that of the namespace `chat`."""
    client = await nats.connect(url)

    async def jetstream(method, body=""):
        answer = json.loads((await client.request(f"$JS.API.STREAM.{method}", body.encode(), timeout=5)).data)
        assert "error" not in answer, answer
        return answer

    names = await jetstream("NAMES", json.dumps({"subject": "midplane.pub.chat.>"}))
    stream = names["streams"][0]
    config = (await jetstream(f"INFO.{stream}"))["config"]
    while_gone()
    await jetstream(f"DELETE.{stream}")
    await jetstream(f"CREATE.{stream}", json.dumps({**config, "first_seq": FIRST}))
    await client.close()


@pytest.fixture(scope="module")
def far():
    server = NatsServer().run()
    topology = Topology(1, [server])
    asyncio.run(begin_far_ahead(server.url, topology.first.stop))
    topology.first.spawn()
    topology.first.ready()
    yield topology.first
    topology.stop()


@pytest.mark.parametrize("protobuf", [False, True], ids=["json", "protobuf"])
async def test_positions_beyond_2_53_are_exact_and_recovered_from(far, protobuf):
    channel = fresh("chat")
    ada = App(protobuf, far)
    try:
        await (await ada.open()).ready()
        listener = await ada.subscribe(channel)
        offsets = [far.publish(channel, 0)["offset"]]
        while offsets[-1] % 2 == 0:  # may be one that somebody rounded
            offsets.append(far.publish(channel, 0)["offset"])
        await listener.received(len(offsets))
        ada.address.cut()
        offsets += [far.publish(channel, number)["offset"] for number in (1, 2)]
        ada.address.node = far
        await eventually("subscribed again", lambda: len(listener.subscribed) == 2)
        assert listener.subscribed[1].was_recovering and listener.subscribed[1].recovered
        await listener.received(len(offsets))
        assert [pub.offset for pub in listener.publications] == offsets
        since = StreamPosition(offset=offsets[-3], epoch=listener.subscribed[1].stream_position.epoch)
        history = await ada.client.history(channel, limit=10, since=since)
        assert [pub.offset for pub in history.publications] == offsets[-2:]
        assert offsets[0] > 2**53
    finally:
        await ada.close()
