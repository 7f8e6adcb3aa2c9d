import pytest

from app import App
from system import NatsServer, Topology, nats_cluster

MAKE = {
    "embedded": lambda: Topology(1, []),
    "two-nodes": lambda: Topology(2, [NatsServer().run()]),
    "three-nodes": lambda: Topology(3, nats_cluster()),
}


@pytest.fixture(scope="session", params=MAKE)
def topology(request):
    """One embedded node; two nodes on one nats-server; three nodes on three."""
    made = MAKE[request.param]()
    yield made
    made.stop()


@pytest.fixture(params=["json", "protobuf"])
async def apps(request, topology):
    """Makes apps of one wire, at the first node unless said otherwise, and closes them."""
    opened = []

    async def make(node=None, **options):
        app = App(request.param == "protobuf", node or topology.first)
        opened.append(app)
        return await app.open(**options)

    yield make
    for app in opened:
        await app.close()
