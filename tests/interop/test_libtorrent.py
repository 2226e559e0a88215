"""Against libtorrent, both directions, with the `spinney` command as a user types it.

By our HTTP tracker, by `x.pe` in a magnet link (which needs the metadata exchange, BEP 9, and for
v2 the exchange of hashes, BEP 52), and in a mixed swarm; v1, v2 and hybrid.  Every client has an
address of its own in a namespace.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from interop.clients import LibtorrentPeer, make_torrent
from interop.namespace import Namespace
from interop.spinney_program import Spinney
from spinney.content.descriptor import Descriptor
from spinney.wire import http

SIZE_BYTES = (8 << 20) + 12_345
PIECE_BYTES = 1 << 17
MIXED_BYTES = 12 << 20
TRACKER, SEED, LEECH = 1, 2, 3
pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(120)]
Counted = Callable[[str], None]


def make_content(folder: Path, seed: int, length: int = SIZE_BYTES) -> Path:
    folder.mkdir()
    path = folder / "data.bin"
    path.write_bytes(random.Random(seed).randbytes(length))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start_tracker(network: Namespace) -> str:
    tracker = Spinney(network, TRACKER, "tracker", port=6969)
    return str(tracker.wait("ready")["url"])


def announced(network: Namespace, url: str, version: str) -> None:
    """Waits until the tracker knows the first peer: `ready` comes before its answer, and a
    libtorrent that asks too early waits for the tracker's least interval of 30 s."""

    async def poll() -> None:
        host = network.host(9)
        check = http.unguarded(host)
        async with asyncio.timeout(15):
            while True:
                answer = await http.get(host, url.replace("announce", "stats.json"), check=check)
                if json.loads(answer.body)["peers"] >= (2 if version == "hybrid" else 1):
                    return
                await asyncio.sleep(0.02)

    asyncio.run(poll())


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_libtorrent_fetches_what_we_share_by_our_tracker(
    network: Namespace, tmp_path: Path, seed: int, version: str, counted: Counted
) -> None:
    url = start_tracker(network)
    content = make_content(tmp_path / "seed", seed)
    torrent = tmp_path / "made.torrent"
    share = Spinney(
        network, SEED, "share", content, "--format", version, "--tracker", url,
        "--torrent-out", torrent, "--until-complete", 1,
    )  # fmt: skip
    assert share.wait("ready")["sha256"] == digest(content)
    announced(network, url, version)
    other = LibtorrentPeer(network, LEECH, tmp_path / "copy", torrent=torrent)
    version_said = other.wait("ready")["version"]
    other.wait("done", 60)
    assert digest(tmp_path / "copy" / content.name) == digest(content)
    assert share.ended() == 0, "--until-complete 1 ends the sharer"
    last = [row for row in share.events if row["event"] == "progress"][-1]
    assert last["sent_bytes"] >= SIZE_BYTES
    counted(f"spinney sent {last['sent_bytes']:,} bytes to libtorrent {version_said}")


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_we_fetch_what_libtorrent_seeds_by_our_tracker(
    network: Namespace, tmp_path: Path, seed: int, version: str, counted: Counted
) -> None:
    url = start_tracker(network)
    content = make_content(tmp_path / "seed", seed)
    torrent = tmp_path / "made.torrent"
    make_torrent(content, torrent, trackers=(url,), version=version, piece_bytes=PIECE_BYTES)
    other = LibtorrentPeer(network, SEED, content.parent, torrent=torrent)
    version_said = other.wait("ready")["version"]
    other.wait("tracker", 20)
    get = Spinney(network, LEECH, "get", torrent, "-o", tmp_path / "copy")
    done = get.wait("done", 60)
    assert get.ended() == 0
    assert done["sha256"] == digest(content) == digest(tmp_path / "copy" / content.name)
    assert done["sources"]["swarm"]["useful"] == SIZE_BYTES
    counted(f"spinney took {SIZE_BYTES:,} bytes from libtorrent {version_said}")


@pytest.mark.parametrize("version", ["v1", "hybrid", "v2"])
def test_libtorrent_fetches_from_our_link_alone(
    network: Namespace, tmp_path: Path, seed: int, version: str, counted: Counted
) -> None:
    content = make_content(tmp_path / "seed", seed)
    share = Spinney(
        network, SEED, "share", content, "--format", version,
        "--torrent-out", tmp_path / "made.torrent",
    )  # fmt: skip
    link = share.wait("ready")["link"]
    other = LibtorrentPeer(network, LEECH, tmp_path / "copy", magnet=link)
    version_said = other.wait("ready")["version"]
    other.wait("done", 60)
    assert digest(tmp_path / "copy" / content.name) == digest(content)
    counted(f"libtorrent {version_said} took {SIZE_BYTES:,} bytes by magnet and x.pe")
    assert share.interrupt() == 0


@pytest.mark.parametrize("version", ["v1", "hybrid", "v2"])
def test_we_fetch_from_libtorrent_by_a_link_alone(
    network: Namespace, tmp_path: Path, seed: int, version: str, counted: Counted
) -> None:
    content = make_content(tmp_path / "seed", seed)
    torrent = tmp_path / "made.torrent"
    infohash = make_torrent(content, torrent, version=version, piece_bytes=PIECE_BYTES)
    other = LibtorrentPeer(network, SEED, content.parent, torrent=torrent)
    version_said = other.wait("ready")["version"]
    topic = "btmh:1220" if version == "v2" else "btih:"
    link = f"magnet:?xt=urn:{topic}{infohash}&x.pe={network.address(SEED)}:6881"
    get = Spinney(network, LEECH, "get", link, "-o", tmp_path / "copy")
    done = get.wait("done", 60)
    assert done["sha256"] == digest(content) == digest(tmp_path / "copy" / content.name)
    counted(f"spinney took {SIZE_BYTES:,} bytes from libtorrent {version_said} by magnet")


FOLDER = {"big": 9_000_000, "three pieces": 40_000, "small": 5_000, "empty": 0}
"""By pieces of 16 KiB: the hashes of the first come in two answers, of the second in one."""


def make_folder(folder: Path, seed: int) -> Path:
    folder.mkdir(parents=True)
    for name, length in FOLDER.items():
        (folder / name).write_bytes(random.Random(seed + length).randbytes(length))
    return folder


def same_folder(one: Path, other: Path) -> bool:
    return all(digest(one / name) == digest(other / name) for name in FOLDER)


@pytest.mark.parametrize("version", ["v2", "hybrid"])
def test_libtorrent_fetches_a_folder_by_the_v2_infohash(
    network: Namespace, tmp_path: Path, seed: int, version: str, counted: Counted
) -> None:
    folder = make_folder(tmp_path / "seed" / "films", seed)
    torrent = tmp_path / "made.torrent"
    share = Spinney(
        network, SEED, "share", folder, "--format", version, "--piece-length", "16k",
        "--torrent-out", torrent,
    )  # fmt: skip
    share.wait("ready")
    digits = Descriptor.parse(torrent.read_bytes()).infohash_v2
    assert digits is not None
    link = f"magnet:?xt=urn:btmh:1220{digits.hex()}&x.pe={network.address(SEED)}:6881"
    other = LibtorrentPeer(network, LEECH, tmp_path / "copy", magnet=link)
    version_said = other.wait("ready")["version"]
    other.wait("done", 60)
    assert same_folder(folder, tmp_path / "copy" / "films")
    counted(f"libtorrent {version_said} took {sum(FOLDER.values()):,} bytes by btmh")


@pytest.mark.parametrize("version", ["v2", "hybrid"])
def test_we_fetch_a_folder_from_libtorrent_by_the_v2_infohash(
    network: Namespace, tmp_path: Path, seed: int, version: str, counted: Counted
) -> None:
    folder = make_folder(tmp_path / "seed" / "films", seed)
    torrent = tmp_path / "made.torrent"
    make_torrent(folder, torrent, version=version, piece_bytes=16_384)
    digits = Descriptor.parse(torrent.read_bytes()).infohash_v2
    assert digits is not None
    other = LibtorrentPeer(network, SEED, folder.parent, torrent=torrent)
    version_said = other.wait("ready")["version"]
    link = f"magnet:?xt=urn:btmh:1220{digits.hex()}&x.pe={network.address(SEED)}:6881"
    get = Spinney(network, LEECH, "get", link, "-o", tmp_path / "copy")
    get.wait("done", 60)
    assert same_folder(folder, tmp_path / "copy" / "films")
    counted(f"spinney took {sum(FOLDER.values()):,} bytes from libtorrent {version_said} by btmh")


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_a_mixed_swarm_serves_itself(
    network: Namespace, tmp_path: Path, seed: int, version: str, counted: Counted
) -> None:
    """One seed and two leechers of each maker; each maker brings its part of the bytes."""
    url = start_tracker(network)
    content = make_content(tmp_path / "seed", seed, MIXED_BYTES)
    torrent = tmp_path / "made.torrent"
    make_torrent(content, torrent, trackers=(url,), version=version, piece_bytes=PIECE_BYTES)
    limit = 2_000_000
    share = Spinney(
        network, 2, "share", content, "--torrent", torrent, "--up", limit, "--tracker", url
    )
    share.wait("ready")
    announced(network, url, version)
    seeder = LibtorrentPeer(network, 3, content.parent, torrent=torrent, upload_limit=limit)
    seeder.wait("tracker", 20)
    ours = [
        Spinney(
            network, n, "get", torrent, "-o", tmp_path / f"copy{n}", "--up", limit,
            "--seed-time", 60,
        )
        for n in (4, 5)
    ]  # fmt: skip
    theirs = [
        LibtorrentPeer(network, n, tmp_path / f"copy{n}", torrent=torrent, upload_limit=limit)
        for n in (6, 7)
    ]
    for getter in [*ours, *theirs]:
        getter.wait("done", 90)
    for n in (4, 5, 6, 7):
        assert digest(tmp_path / f"copy{n}" / content.name) == digest(content)
    for getter in ours:
        done = getter.wait("done")
        assert done["sources"]["swarm"]["useful"] == MIXED_BYTES
    makers = [seeder, *theirs]
    for maker in makers:
        maker.tell(stop=True)
        maker.wait("stopped")
    from_libtorrent = 0
    for n in (4, 5, 6, 7):
        came = sum(_sent(maker, network.address(n)) for maker in makers)
        from_libtorrent += came
        part = came / MIXED_BYTES
        counted(f"getter {n} took {part:.0%} of its bytes from libtorrent, the rest from spinney")
        if n in (4, 5):
            assert 0.1 <= part <= 0.9, "our getters take from both makers"
        else:
            assert part <= 0.9, "libtorrent takes from us (from whom of its own is its affair)"
    assert 0.1 <= from_libtorrent / (4 * MIXED_BYTES) <= 0.9


def _sent(maker: LibtorrentPeer, address: str) -> int:
    """Payload bytes that a libtorrent session sent to an address."""
    rows = maker.status()["peers"]
    return sum(row["up"] for row in rows if row["address"].rpartition(":")[0] == address)
