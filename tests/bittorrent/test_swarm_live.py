"""Real nodes on real sockets of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bittorrent.members import Member, Torrent

from spinney.bittorrent.settings import Settings
from spinney.errors import PortTakenError
from spinney.net.live.host import LiveHost


@pytest.fixture
def host() -> Iterator[LiveHost]:
    host = LiveHost()
    yield host
    host.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


def test_a_seed_and_a_leecher_move_a_file(host: LiveHost, tmp_path: Path) -> None:
    torrent = Torrent(3_000_001)

    async def main() -> None:
        seed = await Member(host, torrent, str(tmp_path / "seed"), seed=True).start()
        leech = await Member(host, torrent, str(tmp_path / "leech")).start()
        leech.knows(seed)
        await leech.wait(20)
        assert leech.read_back() == torrent.data
        assert seed.swarm.uploaded_bytes == leech.swarm.downloaded_bytes == len(torrent.data)
        assert leech.swarm.completed.is_set()
        assert not seed.swarm.completed.is_set()
        await leech.close()
        await seed.close()

    run(main())


def test_a_magnet_link_over_ipv6(host: LiveHost, tmp_path: Path) -> None:
    torrent = Torrent(700_000)
    settings = Settings(addresses=("::1",))

    async def main() -> None:
        seed = Member(host, torrent, str(tmp_path / "seed"), seed=True, settings=settings)
        leech = Member(host, torrent, str(tmp_path / "leech"), magnet=True, settings=settings)
        await seed.start()
        await leech.start()
        leech.knows(seed)
        await asyncio.wait_for(leech.describe(), 20)
        await leech.wait(20)
        assert leech.read_back() == torrent.data
        await leech.close()
        await seed.close()

    run(main())


def test_a_swarm_of_five_that_learn_of_each_other(host: LiveHost, tmp_path: Path) -> None:
    torrent = Torrent(4_000_000)

    async def main() -> None:
        seed = Member(host, torrent, str(tmp_path / "seed"), seed=True, up=4e6)
        leeches = [Member(host, torrent, str(tmp_path / f"leech{at}")) for at in range(4)]
        for member in (seed, *leeches):
            await member.start()
        for leech in leeches:
            leech.knows(seed)
        for leech in leeches:
            await leech.wait(40)
            assert leech.read_back() == torrent.data
        assert seed.swarm.uploaded_bytes < 2.5 * len(torrent.data), "they gave to each other"
        for member in (*leeches, seed):
            await member.close()

    run(main())


def test_a_taken_port_is_one_clear_error(host: LiveHost, tmp_path: Path) -> None:
    torrent = Torrent(100_000)

    async def main() -> None:
        one = await Member(host, torrent, str(tmp_path / "one"), seed=True).start()
        settings = Settings(addresses=("127.0.0.1",), port=one.node.port)
        with pytest.raises(PortTakenError):
            await Member(host, torrent, str(tmp_path / "two"), settings=settings).start()
        await one.close()

    run(main())
