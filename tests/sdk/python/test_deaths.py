"""A node is killed (SIGKILL): its clients go on at another and lose nothing, and whoever does not come back has left."""

import pytest
from centrifuge import DeltaType, Filter

from app import eventually, fresh, now, token
from system import NatsServer, Topology

QUICK = {"HEARTBEAT_INTERVAL": "300", "FAILURE_DETECTION_TIMEOUT": "2000"}


@pytest.fixture
def topology():
    made = Topology(2, [NatsServer().run()], QUICK)
    yield made
    made.stop()


async def test_clients_of_a_killed_node_get_at_another_what_they_missed(apps, topology):
    given, plain, patched, filtered = fresh("chat"), fresh("chat"), fresh("patched"), fresh("patched")
    ada = await (await apps(topology.first, token=token(sub="ada", exp=now(300), channels=[given]))).ready()
    listeners = [
        await ada.subscribe(plain),
        await ada.subscribe(patched, delta=DeltaType.FOSSIL),
        await ada.subscribe(filtered, tags_filter=Filter.eq("parity", "even")),
    ]

    def mine():
        return [ada.decode(each.pub.data)["n"] for each in ada.publications if each.channel == given]

    def publish(first, last):
        for n in range(first, last + 1):
            for channel in (given, plain, patched, filtered):
                data = {"n": n, "rest": "the same every time " * 20}
                topology.other.publish(channel, data, tags={"parity": "odd" if n % 2 else "even"})

    publish(1, 10)
    await eventually("the first arrive", lambda: len(mine()) == 10 and len(listeners[2].publications) == 5)
    ada.address.node = topology.other
    topology.first.kill()
    publish(11, 60)
    await eventually("all are subscribed again", lambda: all(len(each.subscribed) == 2 for each in listeners))
    publish(61, 70)
    for listener, step in zip(listeners, (1, 1, 2)):
        expected = list(range(step, 71, step))
        assert [data["n"] for data in await listener.received(len(expected))] == expected
        assert listener.subscribed[1].was_recovering and listener.subscribed[1].recovered
    await eventually("the server's, too", lambda: len(mine()) >= 70)
    assert mine() == list(range(1, 71))
    assert [each.recovered for each in ada.subscribed if each.channel == given] == [False, True]


async def test_each_client_of_a_killed_node_leaves_once_and_is_back_when_it_comes(apps, topology):
    channel = fresh("room")

    async def user(name, node):
        return await (await apps(node, token=token(sub=name, exp=now(300)))).ready()

    told = await (await user("ear", topology.other)).subscribe(channel, join_leave=True)
    crowd = [await user(name, topology.first) for name in ("ann", "bob", "cay")]
    for app in crowd:
        await app.subscribe(channel)
    await eventually("all came", lambda: len(told.told) == 4)
    for app in crowd:
        app.address.node = None
    topology.first.kill()
    await eventually("all went", lambda: len(told.told) >= 7, 60)
    assert sorted(told.told[4:]) == ["-ann", "-bob", "-cay"]
    stats = await told.subscription.presence_stats()
    assert (stats.num_clients, stats.num_users) == (1, 1)
    for app in crowd:
        app.address.node = topology.other
    await eventually("all are back", lambda: len(told.told) >= 10)
    assert sorted(told.told[7:]) == ["+ann", "+bob", "+cay"]
    stats = await told.subscription.presence_stats()
    assert (stats.num_clients, stats.num_users) == (4, 4)
