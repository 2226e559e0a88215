"""On one machine everybody has the address of the liar: blame must not fall on all of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

from tests.bittorrent.adversaries import Attack, bad_pieces
from tests.bittorrent.members import Member, Torrent

from spinney.net.live.host import LiveHost

FILE = Torrent(1_300_000, 65_536)


def test_a_liar_on_this_machine_is_left_and_the_honest_ones_stay(tmp_path: Path) -> None:
    host = LiveHost()

    async def main() -> None:
        seed = Member(host, FILE, str(tmp_path / "seed"), seed=True, up=1e6)
        leech = Member(host, FILE, str(tmp_path / "leech"))
        await seed.start()
        await leech.start()
        leech.knows(seed)
        while not leech.swarm.downloaded_bytes:
            await asyncio.sleep(0.01)
        attack = Attack(host, leech.address, FILE.infohash, 20, Random(1))
        lying = asyncio.create_task(bad_pieces(attack))
        await leech.wait(30)
        await asyncio.wait_for(lying, 10)
        assert leech.read_back() == FILE.data
        totals = leech.transfer.totals()["swarm"]
        assert totals.bad > 0
        assert totals.useful == len(FILE.data)
        await leech.close()
        await seed.close()

    try:
        asyncio.run(asyncio.wait_for(main(), 50))
    finally:
        host.close()
