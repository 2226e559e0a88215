"""Real nodes on real sockets of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bittorrent.members import Member, Torrent

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
