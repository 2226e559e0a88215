"""One file to a whole LAN: joining, sending, late ones, partial ones, polite leaving."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.mcftp.peers import Room


def test_a_sharer_and_three_that_get() -> None:
    async def run() -> None:
        source = await room.peer(0).start(full=True)
        others = [await room.peer(number).start() for number in (1, 2, 3)]
        await room.until(room.all_done, 20.0)
        assert source.leads
        assert all(len(peer.happened("leader")) == 1 for peer in others)
        size = len(room.content.space)
        assert source.node.flows.sent_bytes <= 1.02 * size

    with Room(1, 4) as room:
        room.world.run(run())
