"""Sinks: a pipe in order and a block device in place."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from typing import Any, cast

import pytest

from content.moving import Content, InlineHost, Script, everything, give, settle
from spinney.content.device import DeviceSink
from spinney.content.pipe import PipeSink
from spinney.content.transfer import Settings, Transfer
from spinney.errors import NotFoundError, StorageError, UsageError
from spinney.sim.world import World

KIB = 1024


class Reader:
    """The program behind the pipe: takes what it is given when `gate` is open."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.gate = asyncio.Event()
        self.gate.set()
        self.gone = False

    async def write(self, data: memoryview) -> None:
        await self.gate.wait()
        if self.gone:
            raise BrokenPipeError("no reader")
        self.got += data


async def piped(content: Content, reader: Reader, seed: int = 1, **limits: int) -> Transfer:
    sink = PipeSink(content.descriptor, reader.write)
    host = cast(Any, InlineHost(seed))
    transfer = Transfer(host, content.descriptor, sink, settings=Settings(**limits))  # type: ignore[arg-type]
    await transfer.start()
    return transfer


@pytest.mark.parametrize("seed", range(6))
async def test_bytes_come_out_in_order_whatever_the_order_of_arrival(seed: int) -> None:
    rng = random.Random(seed)
    content = Content([500_000, 7, 60_000], 32 * KIB, seed=seed, padded=seed % 2 == 0)
    reader = Reader()
    transfer = await piped(content, reader, seed, window_bytes=256 * KIB, cache_bytes=64 * KIB)
    done: list[int] = []
    transfer.on_complete(lambda: done.append(len(reader.got)))
    feeds = [transfer.attach(Script(f"peer{number}")) for number in range(3)]
    waiting: list[Any] = []
    for feed in feeds:
        feed.saw_bitfield(everything(content))
    async with asyncio.timeout(20):
        while not done:
            for feed in feeds:
                waiting += [(feed, row) for row in feed.request(64 * KIB - feed.pending_bytes)]
            rng.shuffle(waiting)
            for feed, row in waiting[:4]:
                give(content, feed, [row])
            del waiting[:4]
            await settle(transfer)
    assert bytes(reader.got) == b"".join(content.data)
    assert done == [content.descriptor.total_bytes]
    await transfer.close()


async def test_a_slow_reader_bounds_what_is_fetched() -> None:
    content = Content([4 << 20], 64 * KIB)
    reader = Reader()
    reader.gate.clear()
    transfer = await piped(content, reader, window_bytes=512 * KIB)
    feed = transfer.attach(Script())
    group = transfer.attach(Script("group", "multicast"))
    feed.saw_bitfield(everything(content))
    got = 0
    for _ in range(50):
        rows = feed.request(1 << 20)
        got += sum(row[2] for row in rows)
        give(content, feed, rows)
        await settle(transfer)
    assert got == 512 * KIB
    group.deliver(2 << 20, content.space[2 << 20 :][:1400])  # beyond the window
    assert group.refused_bytes == 1400
    reader.gate.set()
    async with asyncio.timeout(10):
        while not transfer.complete:
            give(content, feed, feed.request(1 << 20))
            await settle(transfer)
    await transfer.close()


async def test_only_what_is_in_memory_can_be_served() -> None:
    content = Content([1 << 20], 64 * KIB)
    reader = Reader()
    transfer = await piped(content, reader, cache_bytes=128 * KIB)
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(content))
    while not transfer.complete:
        give(content, feed, feed.request(64 * KIB))
        await settle(transfer)
    assert not transfer.readable(0)
    assert transfer.readable(15)
    with pytest.raises(StorageError):
        await transfer.read(0, 100)
    assert len(await transfer.read(15 * 64 * KIB, 100)) == 100
    await transfer.close()


async def test_a_reader_that_goes_away_ends_the_transfer() -> None:
    content = Content([1 << 20], 64 * KIB)
    reader = Reader()
    transfer = await piped(content, reader)
    failed: list[str] = []
    transfer.on_failure(lambda error: failed.append(str(error)))
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(content))
    reader.gone = True
    give(content, feed, feed.request(64 * KIB))
    await settle(transfer)
    await asyncio.sleep(0)
    assert failed
    assert "went away" in failed[0]
    assert feed.request(64 * KIB) == []
    await transfer.close()


@pytest.mark.parametrize(
    ("number", "kind", "word"),
    [
        (errno.ENOSPC, "disk-full", "no room"),
        (errno.EFBIG, "disk-full", "no room"),
        (errno.EIO, "storage", "cannot write"),
    ],
)
async def test_an_output_that_cannot_be_written_says_why(number: int, kind: str, word: str) -> None:
    """`-o - > FILE` on a full disk is a full disk; no reader went away."""

    async def write(_: memoryview) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(StorageError) as refused:
        await PipeSink(Content([1], 64 * KIB).descriptor, write).put(memoryview(b"x"))
    assert refused.value.kind == kind
    assert word in str(refused.value)
    assert "went away" not in str(refused.value)


def test_a_block_device_is_written_in_place_and_checked_first() -> None:
    content = Content([300_000], 32 * KIB)
    with World(1) as world:
        host = world.host("getter")

        async def main() -> None:
            with pytest.raises(NotFoundError):
                DeviceSink(host.storage, content.descriptor, "/dev/sdx").open()
            host.storage.make_folders("/dev")
            device = host.storage.open("/dev/sdx", "create")
            device.truncate(200_000)
            with pytest.raises(StorageError, match="not a block device"):
                DeviceSink(host.storage, content.descriptor, "/dev/sdx").open()
            host.disk.root.names["dev"].names["sdx"].kind = "block"
            with pytest.raises(StorageError, match="choose a larger device"):
                DeviceSink(host.storage, content.descriptor, "/dev/sdx").open()
            device.truncate(1_000_000)
            device.write(999_990, [b"end of dev"])
            for start in range(2):
                sink = DeviceSink(host.storage, content.descriptor, "/dev/sdx")
                transfer = Transfer(host, content.descriptor, sink)
                await transfer.start()
                assert transfer.complete == (start == 1)
                feed = transfer.attach(Script())
                feed.saw_bitfield(everything(content))
                while not transfer.complete:
                    give(content, feed, feed.request(64 * KIB))
                    await asyncio.sleep(0.01)
                assert bytes(await transfer.read(100_000, 999)) == content.space[100_000:100_999]
                await transfer.close()
            assert device.size() == 1_000_000
            assert device.read(0, 300_000) == content.data[0]
            assert device.read(999_990, 10) == b"end of dev"

        world.run(host.start(main()))


def test_a_folder_does_not_fit_a_device() -> None:
    content = Content([10, 10], 16 * KIB)
    with World(1) as world, pytest.raises(UsageError, match="is a folder"):
        DeviceSink(world.host("getter").storage, content.descriptor, "/dev/sdx")
