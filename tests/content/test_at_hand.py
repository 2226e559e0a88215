"""What is in memory is served without a worker: the span cache, and the system's own."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import Any

import pytest

from content.moving import Content
from spinney.content.cache import POOL_BUFFERS, SPAN_BYTES, SpanCache
from spinney.content.shared import SharedFiles, shared_paths
from spinney.content.transfer import Settings, Transfer
from spinney.errors import ChangedFileError
from spinney.net.live.host import LiveHost
from spinney.net.live.resident import FLAG

KIB = 1024
CONTENT = Content([100_000, 0, 40_000], 16 * KIB, seed=2)
needs_flag = pytest.mark.skipif(not FLAG, reason="no system call tells what is in memory")


async def shared(folder: Path) -> Transfer:
    for entry, data in zip(CONTENT.files, CONTENT.data, strict=True):
        path = folder.joinpath(*entry.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    host = LiveHost(seed=3)
    paths = shared_paths(CONTENT.descriptor, str(folder / "wood"))
    sink = SharedFiles(host.storage, CONTENT.descriptor, paths)
    transfer = Transfer(host, CONTENT.descriptor, sink, settings=Settings(idle_bytes=16 * KIB))
    await transfer.start(trust=True)
    return transfer


async def opened(transfer: Transfer) -> None:
    """The first read of a file opens it, in a worker."""
    assert transfer.at_hand(0, 100) is None
    for at in (0, 100_000):
        await transfer.read(at, 100)


@needs_flag
async def test_what_the_system_has_in_memory_is_at_hand(tmp_path: Path) -> None:
    transfer = await shared(tmp_path)
    await opened(transfer)
    for at in range(0, len(CONTENT.space) - 100, 16 * KIB):
        view = transfer.at_hand(at, 100)
        assert view is not None
        assert view.readonly
        assert bytes(view) == CONTENT.space[at : at + 100]
    assert transfer.at_hand(16 * KIB - 50, 100) is None, "beyond the span"
    await transfer.close()


@needs_flag
async def test_a_file_cut_short_is_not_at_hand_and_an_error_when_read(tmp_path: Path) -> None:
    transfer = await shared(tmp_path)
    await opened(transfer)
    os.truncate(tmp_path / "wood" / "leaf0", 70_000)
    assert transfer.at_hand(4 * 16 * KIB, 100) is None  # 65,536 to 81,920
    with pytest.raises(ChangedFileError):
        await transfer.read(4 * 16 * KIB, 100)
    await transfer.close()


async def test_an_error_for_which_nobody_waits_any_more_is_no_mistake(tmp_path: Path) -> None:
    """As when the first of two reads ends the transfer, and with it whoever waits for the other."""
    transfer = await shared(tmp_path)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, row: complaints.append(row))
    os.truncate(tmp_path / "wood" / "leaf0", 0)
    reading = asyncio.ensure_future(transfer.read(0, 100))
    await asyncio.sleep(0)
    reading.cancel()
    while transfer.reading._reads:
        await asyncio.sleep(0.001)
    await asyncio.gather(reading, return_exceptions=True)
    del reading
    gc.collect()
    await transfer.close()
    assert not complaints


@needs_flag
async def test_a_file_that_was_touched_is_believed_by_hash_only(tmp_path: Path) -> None:
    transfer = await shared(tmp_path)
    await opened(transfer)
    path = tmp_path / "wood" / "leaf0"
    with path.open("r+b") as file:
        file.write(b"other bytes")
    os.utime(path, ns=(1, 1))
    await transfer.read(32 * KIB, 100)
    transfer.cache.limit_bytes = transfer.cache.idle_bytes = 0
    transfer.cache.put(0, 0, bytearray(16 * KIB), 16 * KIB)
    assert transfer.at_hand(0, 100) is None
    await transfer.close()


def test_only_what_somebody_is_in_the_middle_of_stays_long() -> None:
    cache = SpanCache(16 * KIB, 64 * KIB, 32 * KIB)
    for piece in range(10):
        cache.put(piece, 0, cache.take_buffer(), 16 * KIB)
        assert cache.get(0, 0, 100) is not None, "begun, not ended"
    held = [piece for piece in range(10) if cache.get(piece, 0, 16 * KIB) is not None]
    assert held == [0, 9]  # 0 was served to its end only now, and took the place of 8
    assert cache.held_bytes == 32 * KIB


def test_the_newest_span_has_a_place_though_many_are_half_fetched() -> None:
    cache = SpanCache(16 * KIB, 64 * KIB, 32 * KIB)
    for piece in range(20):
        cache.put(piece, 0, cache.take_buffer(), 16 * KIB)
        assert cache.get(piece, 0, 100) is not None
        assert cache.held_bytes <= 64 * KIB


def test_few_buffers_go_round() -> None:
    cache = SpanCache(4 * SPAN_BYTES, 8 * SPAN_BYTES, 4 * SPAN_BYTES)
    seen: dict[int, bytearray] = {}
    for number in range(100):
        buffer = cache.take_buffer(SPAN_BYTES)
        seen[id(buffer)] = buffer
        cache.put(number // 4, number % 4 * SPAN_BYTES, buffer, SPAN_BYTES)
    assert len(seen) <= POOL_BUFFERS
    view = memoryview(buffer)
    for _ in range(2 * POOL_BUFFERS):
        other = cache.take_buffer(SPAN_BYTES)
        assert other is not buffer, "somebody looks at it"
        cache.recycle(buffer)
        cache.recycle(other)
    view.release()
