"""The same nodes on a real network: loopback, one process, real time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spinney.net.live.host import LiveHost
from spinney.p2pcast.node import ForestNode
from spinney.p2pcast.place import SOURCE, SPECIAL
from spinney.p2pcast.plans.checks import Broken, whole
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.source import SourceNode

STREAM = b"a stream"
PATIENT = Settings(probe_s=1.5, dead_s=3.0, child_dead_s=6.0, cut_off_s=20.0)
"""This machine may be busy with other tests."""


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(60.0):
        while not ready():
            await asyncio.sleep(0.1)


def test_nodes_on_loopback_join_and_mend() -> None:
    async def story() -> None:
        source = SourceNode(LiveHost("source"), STREAM, stripes=2, spare=1, settings=PATIENT)
        await source.open(("127.0.0.1", 0))
        at = source.station.book.source
        nodes = [
            ForestNode(
                LiveHost(f"n{name}"),
                STREAM,
                at,
                name=name,
                stripes=2,
                spare=1,
                settings=PATIENT,
            )
            for name in range(7)
        ]

        def is_whole() -> bool:
            places = {node.name: node.place for node in nodes if node.place.version}
            places |= {name: source.station.seats[name].place for name in (SOURCE, SPECIAL)}
            try:
                whole(places)
            except Broken:
                return False
            return len(places) == len(nodes) + 2

        try:
            for node in nodes:
                await node.open(("127.0.0.1", 0))
                await node.join()
            await until(is_whole)
            gone = max(nodes, key=lambda node: node.place.out_degree)
            nodes.remove(gone)
            gone.close()
            await until(is_whole)
        finally:
            for each in (*nodes, source):
                each.close()

    asyncio.run(story())
