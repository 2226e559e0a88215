"""What a transfer costs for each block, in processor time.

    python bench/transfer.py [--mebibytes 1024] [--piece-kib 1024]

One source, blocks of 16 KiB in order.  Prints microseconds a block on the event loop's thread:
of `request`, of `deliver`, of a bare copy of the same bytes, and of what remains of the loop
(judging, telling); then the whole process's seconds a GiB, hashing and writing included.
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

from content.moving import Script

from spinney.content.descriptor import Descriptor, FileEntry
from spinney.content.pieces import Bitfield
from spinney.content.store import FolderStore
from spinney.content.transfer import Transfer
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


async def run(mebibytes: int, piece_bytes: int, folder: str) -> None:
    piece = bytes(range(256)) * (piece_bytes // 256)
    descriptor = cast(Descriptor, SamePieces((mebibytes << 20) // piece_bytes, piece))
    host = LiveHost(seed=1)
    transfer = Transfer(host, descriptor, FolderStore(host.storage, descriptor, folder))
    await transfer.start()
    feed = transfer.attach(Script())
    feed.saw_bitfield(Bitfield(descriptor.piece_count, full=True))
    blocks = [memoryview(piece)[at : at + BLOCK] for at in range(0, piece_bytes, BLOCK)]
    clock = time.thread_time
    asking = bringing = 0.0
    began, loop_began, wall_began = time.process_time(), clock(), time.perf_counter()
    while not transfer.complete:
        start = clock()
        rows = feed.request(1 << 20)
        middle = clock()
        for number, begin, _length in rows:
            feed.deliver(number * piece_bytes + begin, blocks[begin // BLOCK])
        bringing += clock() - middle
        asking += middle - start
        await asyncio.sleep(0 if rows else 0.0005)
    await transfer.intake.drain()
    loop_s, whole, wall = clock() - loop_began, time.process_time() - began, time.perf_counter()
    count = (mebibytes << 20) // BLOCK
    spare = bytearray(piece_bytes)
    view = memoryview(spare)
    start = clock()
    for at in range(count):
        place = at % len(blocks) * BLOCK
        view[place : place + BLOCK] = blocks[at % len(blocks)]
    copying = clock() - start
    await transfer.close()
    print(f"request          {asking / count * 1e6:6.2f} us a block")
    print(f"deliver          {bringing / count * 1e6:6.2f} us a block")
    print(f"  of it the copy {copying / count * 1e6:6.2f} us a block (with its loop)")
    print(f"rest of the loop {(loop_s - asking - bringing) / count * 1e6:6.2f} us a block")
    per_gib = 1024 / mebibytes
    print(f"loop thread      {loop_s * per_gib:6.2f} processor seconds a GiB")
    print(f"whole process    {whole * per_gib:6.2f} processor seconds a GiB")
    print(f"clock            {(mebibytes << 20) / 1e6 / (wall - wall_began):6.0f} MB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--piece-kib", type=int, default=1024)
    parser.add_argument("--folder", default="/dev/shm", help="memory-backed by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asyncio.run(run(options.mebibytes, options.piece_kib << 10, folder))


if __name__ == "__main__":
    main()
