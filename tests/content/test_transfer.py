"""The transfer: one source, from empty to complete, and what is told on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from content.moving import Content, Script
from needs import require_module
from spinney.content.descriptor import Descriptor
from spinney.content.pieces import Bitfield
from spinney.content.store import FolderStore
from spinney.content.transfer import Settings, Transfer
from spinney.net.live.host import LiveHost

KIB = 1024
USUAL = Settings()


def full(content: Content) -> Bitfield:
    return Bitfield(content.descriptor.piece_count, full=True)


async def begun(content: Content, folder: Path, settings: Settings = USUAL) -> Transfer:
    host = LiveHost(seed=7)
    store = FolderStore(host.storage, content.descriptor, str(folder))
    transfer = Transfer(host, content.descriptor, store, settings=settings)
    await transfer.start()
    return transfer


async def fetch(transfer: Transfer, feed: object, content: Content, batch: int = 256 * KIB) -> None:
    """Pulls everything through one feed."""
    async with asyncio.timeout(20):
        while not transfer.complete:
            rows = feed.request(batch)  # type: ignore[attr-defined]
            for piece, begin, length in rows:
                at = piece * content.piece_length + begin
                feed.deliver(at, content.space[at : at + length])  # type: ignore[attr-defined]
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "content",
    [
        Content([1_000_000], 64 * KIB),
        Content([0], 16 * KIB),
        Content([1], 16 * KIB),
        Content([100_000, 0, 1, 65_536, 300_001], 32 * KIB),
        Content([100_000, 0, 1, 65_536, 300_001], 32 * KIB, padded=True),
        Content([100_000, 0, 1, 65_536, 300_001], 32 * KIB, gaps=True),
        Content([3_500_000], 3 << 20),
        Content([99_999], 10_007),
    ],
)
async def test_one_source_fills_the_folder(content: Content, tmp_path: Path) -> None:
    transfer = await begun(content, tmp_path)
    done: list[int] = []
    transfer.on_complete(lambda: done.append(1))
    source = Script()
    feed = transfer.attach(source)
    feed.saw_bitfield(full(content))
    assert feed.interesting() == (content.descriptor.piece_count > 0)
    assert transfer.left_bytes == content.descriptor.total_bytes
    await fetch(transfer, feed, content)
    await transfer.intake.drain()
    assert done == [1]
    assert transfer.left_bytes == 0
    assert not feed.interesting()
    assert sorted(source.verified) == list(range(content.descriptor.piece_count))
    assert feed.useful_bytes == content.descriptor.total_bytes
    assert feed.pending_bytes == feed.duplicate_bytes == feed.bad_bytes == feed.refused_bytes == 0
    for entry, data in zip(content.files, content.data, strict=True):
        assert tmp_path.joinpath(*entry.path).read_bytes() == data
        if entry.length:
            assert (
                bytes(await transfer.read(entry.offset, min(entry.length, 20_000)))
                == (data[:20_000])
            )
    await transfer.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == [content.files[0].path[0]]


async def test_the_same_command_resumes(tmp_path: Path) -> None:
    content = Content([1_000_000, 70_000], 64 * KIB)
    transfer = await begun(content, tmp_path)
    feed = transfer.attach(Script())
    feed.saw_bitfield(full(content))
    for piece, begin, length in feed.request(500_000):
        at = piece * content.piece_length + begin
        feed.deliver(at, content.space[at : at + length])
    await transfer.close()
    kept = transfer.have.count
    assert kept >= 7
    again = await begun(content, tmp_path)
    assert bytes(again.have) == bytes(transfer.have)
    feed = again.attach(Script())
    feed.saw_bitfield(full(content))
    await fetch(again, feed, content)
    await again.close()
    assert (tmp_path / "wood" / "leaf0").read_bytes() == content.data[0]
    assert (tmp_path / "wood" / "leaf1").read_bytes() == content.data[1]


@pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
async def test_real_descriptors_of_every_version(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "wood"
    source.mkdir()
    plain = Content([90_000, 1, 40_000], 32 * KIB)
    for number, data in enumerate(plain.data):
        (source / f"leaf{number}").write_bytes(data)
    libtorrent = require_module("libtorrent")
    storage = libtorrent.file_storage()
    for number, data in enumerate(plain.data):
        storage.add_file(f"wood/leaf{number}", len(data))
    flags = {"v1": libtorrent.create_torrent.v1_only, "v2": libtorrent.create_torrent.v2_only}
    made = libtorrent.create_torrent(storage, 32 * KIB, flags.get(kind, 0))
    libtorrent.set_piece_hashes(made, str(tmp_path))
    descriptor = Descriptor.parse(libtorrent.bencode(made.generate()))
    space = bytearray(descriptor.space_bytes)
    for entry in descriptor.files:
        data = tmp_path.joinpath(*entry.path).read_bytes()
        space[entry.offset : entry.offset + entry.length] = data
    host = LiveHost(seed=1)
    store = FolderStore(host.storage, descriptor, str(tmp_path / "out"))
    transfer = Transfer(host, descriptor, store)
    await transfer.start()
    feed = transfer.attach(Script())
    feed.saw_bitfield(Bitfield(descriptor.piece_count, full=True))
    async with asyncio.timeout(10):
        while not transfer.complete:
            for piece, begin, length in feed.request(1 << 20):
                at = piece * descriptor.piece_length + begin
                feed.deliver(at, space[at : at + length])
            await asyncio.sleep(0)
    await transfer.intake.drain()
    await transfer.close()
    assert feed.useful_bytes == descriptor.total_bytes
    for number, data in enumerate(plain.data):
        assert (tmp_path / "out" / "wood" / f"leaf{number}").read_bytes() == data
