"""libtorrent (PyPI) and our tracker: it announces, is told of peers, and says goodbye.

Each client has its own address on the loopback interface of a namespace (`namespace.py` says
why).  The report of each test names the other's version.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bittorrent.swarms import RememberingSwarm
from interop.clients import LibtorrentPeer, make_torrent
from interop.namespace import Namespace
from needs import require_module, require_root
from spinney.bittorrent.lan import LanDiscovery
from spinney.bittorrent.tracker.client import TrackerSource
from spinney.bittorrent.tracker.server import Tracker
from spinney.bittorrent.tracker.settings import TrackerSettings
from spinney.wire import http

pytestmark = pytest.mark.needs_root

TRACKER, SEED, LEECH, OURS = 9, 2, 3, 4
SIZE_BYTES = 3_000_000


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    require_root()
    require_module("libtorrent")
    with Namespace(addresses=9) as made:
        yield made


@pytest.fixture
def content(tmp_path: Path) -> Path:
    folder = tmp_path / "seed"
    folder.mkdir()
    file = folder / "content.bin"
    file.write_bytes(bytes(at * 7919 % 251 for at in range(SIZE_BYTES // 100)) * 100)
    return file


async def open_tracker(namespace: Namespace) -> Tracker:
    tracker = Tracker(
        namespace.host(),
        TrackerSettings(port=6969, addresses=(namespace.address(TRACKER),)),
    )
    await tracker.start()
    return tracker


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_two_libtorrents_find_each_other_through_our_tracker(
    namespace: Namespace,
    content: Path,
    tmp_path: Path,
    version: str,
    record_property: pytest.RecordProperty,
) -> None:
    async def scenario() -> None:
        tracker = await open_tracker(namespace)
        url = f"http://{namespace.address(TRACKER)}:6969/announce"
        torrent = tmp_path / "x.torrent"
        infohash = make_torrent(content, torrent, trackers=(url,), version=version)
        target = tmp_path / "leech"
        target.mkdir()
        seed = LibtorrentPeer(namespace, SEED, content.parent, torrent=torrent)
        ready = await asyncio.to_thread(seed.wait, "ready")
        record_property("libtorrent", ready["version"])
        await asyncio.to_thread(seed.wait, "tracker")
        leech = LibtorrentPeer(namespace, LEECH, target, torrent=torrent)
        done = await asyncio.to_thread(leech.wait, "done")
        assert done["bytes"] == SIZE_BYTES
        assert (target / "content.bin").read_bytes() == content.read_bytes()

        # A hybrid is announced under both its infohashes, each a torrent to the tracker.
        known = tracker.state.torrents[bytes.fromhex(infohash)]
        assert len(tracker.state.torrents) == (2 if version == "hybrid" else 1)
        async with asyncio.timeout(10):
            while known.downloaded == 0:
                await asyncio.sleep(0.02)
        assert known.seed_count == 2
        host = namespace.host(OURS)
        figures = await http.get(
            host,
            f"http://{namespace.address(TRACKER)}:6969/stats.json",
            check=http.unguarded(host),
        )
        assert json.loads(figures.body)["refused"] == 0
        await asyncio.to_thread(leech.stop)
        await asyncio.to_thread(seed.stop)
        async with asyncio.timeout(5):
            while tracker.state.peer_count:
                await asyncio.sleep(0.02)
        await tracker.close()

    asyncio.run(scenario())


class Knock(asyncio.Protocol):
    """Waits for whoever dials, and keeps his first bytes."""

    def __init__(self, heard: asyncio.Future[bytes]) -> None:
        self._heard = heard

    def data_received(self, data: bytes) -> None:
        if not self._heard.done():
            self._heard.set_result(data)


def test_our_client_and_libtorrent_hear_of_each_other(
    namespace: Namespace, content: Path, tmp_path: Path
) -> None:
    async def scenario() -> None:
        knocked: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        tracker = await open_tracker(namespace)
        url = f"http://{namespace.address(TRACKER)}:6969/announce"
        torrent = tmp_path / "x.torrent"
        infohash = bytes.fromhex(make_torrent(content, torrent, trackers=(url,)))
        host = namespace.host()
        listener = await host.listen(lambda: Knock(knocked), (namespace.address(OURS), 7001))
        swarm = RememberingSwarm(infohash, 7001)
        source = TrackerSource(host, [[url]], local=namespace.address(OURS))
        task = asyncio.create_task(source.run(swarm))
        async with asyncio.timeout(5):
            while not tracker.state.peer_count:
                await asyncio.sleep(0.01)
        seed = LibtorrentPeer(namespace, SEED, content.parent, torrent=torrent)
        # libtorrent was told of us, dials, and says its handshake.
        assert (await asyncio.wait_for(knocked, 15))[1:20] == b"BitTorrent protocol"
        second = RememberingSwarm(infohash, 7002, name="second")
        other = TrackerSource(host, [[url]], local=namespace.address(5))
        task2 = asyncio.create_task(other.run(second))
        assert await second.hears_of(6881) == seed.address
        assert await second.hears_of(7001) == (namespace.address(OURS), 7001)
        counts = (await other.scrape([infohash])).torrents[infohash]
        assert (counts.complete, counts.incomplete) == (1, 2)
        for running in (task, task2):
            running.cancel()
        await asyncio.gather(task, task2, return_exceptions=True)
        assert tracker.state.peer_count == 1
        await asyncio.to_thread(seed.stop)
        listener.close()
        await tracker.close()

    asyncio.run(scenario())


def test_lan_discovery_and_libtorrent_hear_each_other(content: Path, tmp_path: Path) -> None:
    require_root()
    require_module("libtorrent")

    async def scenario(namespace: Namespace) -> None:
        torrent = tmp_path / "x.torrent"
        infohash = bytes.fromhex(make_torrent(content, torrent))
        knocked: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        host = namespace.host()
        listener = await host.listen(lambda: Knock(knocked), (namespace.address(OURS), 7001))
        lan = LanDiscovery(host, interface=namespace.address(OURS))
        await lan.start()
        swarm = RememberingSwarm(infohash, 7001)
        task = asyncio.create_task(lan.run(swarm))
        seed = LibtorrentPeer(
            namespace, SEED, content.parent, torrent=torrent, settings={"enable_lsd": True}
        )
        assert await swarm.hears_of(6881, 20) == seed.address
        # Our first announce came before it listened; our answer to its own made it dial us.
        assert (await asyncio.wait_for(knocked, 15))[1:20] == b"BitTorrent protocol"
        listener.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await lan.close()
        await asyncio.to_thread(seed.stop)

    with Namespace(addresses=5, prefix_bits=16) as namespace:
        asyncio.run(scenario(namespace))
