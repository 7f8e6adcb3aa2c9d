"""How many connections one user may have on all nodes, and who gives way."""

import pytest

from app import eventually, fresh, now, token
from system import NatsServer, Topology


@pytest.fixture(scope="module", params=["refuse", "replace"])
def topology(request):
    limit = {"MIDPLANE_CLIENT__USER_CONNECTION_LIMIT": "2", "MIDPLANE_CLIENT__USER_CONNECTION_OVERFLOW": request.param}
    made = Topology(2, [NatsServer().run()], limit)
    made.overflow = request.param
    yield made
    made.stop()


async def test_one_connection_too_many_ends_for_good_and_whoever_leaves_makes_room(apps, topology):
    user = fresh("user")

    async def come(node):
        return await apps(node, token=token(sub=user, exp=now(300)))

    first, second = await (await come(topology.first)).ready(), await (await come(topology.other)).ready()
    third = await come(topology.first)
    gone, staying = (third, [first, second]) if topology.overflow == "refuse" else (first, [second, third])
    await eventually("one gives way", lambda: gone.disconnected)
    assert (gone.disconnected.code, gone.disconnected.reason) == (3504, "connection limit")
    for app in staying:
        await app.ready()
    await second.close()
    await (await come(topology.other)).ready()
    assert len(topology.first.api("connections", user=user)["connections"]) == 2
