"""What a transfer costs for each block, in processor time.

    python bench/transfer.py [--mebibytes 1024] [--piece-kib 1024]

One source, blocks of 16 KiB in order.  First the calls alone, while the worker stands still:
microseconds a block of `request`, of `deliver`, and of a bare copy of the same bytes to memory of
the same size.  Then the whole way into files: processor seconds a GiB of the event loop's thread
and of the process, hashing and writing included.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from hashlib import sha1
from pathlib import Path
from typing import Any, cast

sys.path[:0] = [str(Path(__file__).parent.parent / part) for part in ("src", "tests")]

from content.moving import Content, InlineHost, MemorySink, Script
from spinney.content.descriptor import Descriptor, FileEntry
from spinney.content.layout import Layout
from spinney.content.pieces import Bitfield
from spinney.content.store import FolderStore
from spinney.content.transfer import Settings, Transfer
from spinney.net.live.host import LiveHost

BLOCK = 16 << 10


class SamePieces:
    """A descriptor of `count` pieces that all hold the same bytes."""

    def __init__(self, count: int, piece: bytes) -> None:
        self.piece_length, self.piece_count = len(piece), count
        self.total_bytes = count * len(piece)
        self.files = (FileEntry(("bench",), self.total_bytes, 0),)
        self.name, self.single_file = "bench", True
        self.infohash_v1, self.infohash_v2 = bytes(20), None
        self._hash = sha1(piece).digest()

    def piece_bytes(self, piece: int) -> int:
        return self.piece_length

    def can_check(self, piece: int) -> bool:
        return True

    def check_piece(self, piece: int, data: Any) -> bool:
        return sha1(data).digest() == self._hash


def blocks_of(piece: bytes) -> list[memoryview]:
    return [memoryview(piece)[at : at + BLOCK] for at in range(0, len(piece), BLOCK)]


async def calls_alone(piece: bytes) -> None:
    """64 MiB into buffers that exist already; nothing is hashed until the clock has stopped."""
    count = (64 << 20) // len(piece)
    descriptor = cast(Descriptor, SamePieces(count, piece))
    host, sink = InlineHost(), MemorySink(Content([1], 1))
    sink.layout, sink.space = Layout(descriptor), bytearray(64 << 20)
    no_bound = Settings(open_bytes=1 << 40, waiting_bytes=1 << 40)
    transfer = Transfer(cast(Any, host), descriptor, cast(Any, sink), settings=no_bound)
    await transfer.start()
    buffers = [bytearray(piece) for _ in range(count)]
    transfer.cache.take_buffer = buffers.pop  # type: ignore[method-assign]
    transfer.picker.taken = 4  # past the random first pieces
    feed = transfer.attach(Script())
    feed.saw_bitfield(Bitfield(count, full=True))
    blocks, clock = blocks_of(piece), time.thread_time
    host.gate.clear()
    asking = bringing = 0.0
    number = 0
    while True:
        start = clock()
        rows = feed.request(1 << 20)
        middle = clock()
        for index, begin, _length in rows:
            feed.deliver(index * len(piece) + begin, blocks[begin // BLOCK])
        bringing += clock() - middle
        asking += middle - start
        number += len(rows)
        if not rows:
            break
    cold = memoryview(bytearray(piece) * count)
    start = clock()
    for at in range(number):
        cold[at * BLOCK : (at + 1) * BLOCK] = blocks[at % len(blocks)]
    copying = clock() - start
    host.gate.set()
    await transfer.intake.drain()
    for name, seconds in (("request", asking), ("deliver", bringing), ("bare copy", copying)):
        print(f"{name:16} {seconds / number * 1e6:6.2f} us a block")


async def into_files(mebibytes: int, piece: bytes, folder: str) -> None:
    """The whole way, hashing and writing in the worker."""
    descriptor = cast(Descriptor, SamePieces((mebibytes << 20) // len(piece), piece))
    host = LiveHost(seed=1)
    transfer = Transfer(host, descriptor, FolderStore(host.storage, descriptor, folder))
    await transfer.start()
    feed = transfer.attach(Script())
    feed.saw_bitfield(Bitfield(descriptor.piece_count, full=True))
    blocks = blocks_of(piece)
    began, loop_began, wall_began = time.process_time(), time.thread_time(), time.perf_counter()
    while not transfer.complete:
        rows = feed.request(1 << 20)
        for number, begin, _length in rows:
            feed.deliver(number * len(piece) + begin, blocks[begin // BLOCK])
        await asyncio.sleep(0 if rows else 0.0005)
    loop_s, whole_s = time.thread_time() - loop_began, time.process_time() - began
    wall_s = time.perf_counter() - wall_began
    await transfer.close()
    print(f"loop thread      {loop_s * 1024 / mebibytes:6.2f} processor seconds a GiB")
    print(f"whole process    {whole_s * 1024 / mebibytes:6.2f} processor seconds a GiB")
    print(f"clock            {(mebibytes << 20) / 1e6 / wall_s:6.0f} MB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--piece-kib", type=int, default=1024)
    parser.add_argument("--folder", default="/dev/shm", help="memory-backed by default")
    options = parser.parse_args()
    piece = bytes(range(256)) * (options.piece_kib * 4)
    asyncio.run(calls_alone(piece))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asyncio.run(into_files(options.mebibytes, piece, folder))


if __name__ == "__main__":
    main()
