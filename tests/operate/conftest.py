import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parents[1] / "grafana"), str(HERE.parent / "sdk/python")]


@pytest.fixture(scope="session")
def watched():
    """A Prometheus that has seen a cluster in good times and bad ones, and goes on watching it."""
    from live.cluster import Cluster
    from live.prometheus import Prometheus
    from live.traffic import Traffic

    cluster = Cluster()
    prometheus = None
    try:
        prometheus = Prometheus(cluster.nodes).run()
        traffic = Traffic(cluster, prometheus, rounds=int(os.environ.get("MIDPLANE_ROUNDS", "1")))

        async def happen():
            try:
                await traffic.run()
                prometheus.ended = int(time.time())
            finally:
                await traffic.close()

        asyncio.run(happen())
        yield prometheus
    finally:
        if prometheus:
            prometheus.stop()
        cluster.stop()
