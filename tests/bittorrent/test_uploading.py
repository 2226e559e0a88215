"""What is asked of us is read once and sent, wherever it lies."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from spinney.bittorrent.uploading import READ_AHEAD_SPANS, SPAN_BYTES, Uploader

BLOCK = 16_384
PIECE = 2 * SPAN_BYTES


class Disk:
    """A transfer whose bytes lie on a disk, and of which nothing stays in memory."""

    descriptor = SimpleNamespace(piece_length=PIECE)

    def __init__(self) -> None:
        self.content = bytes(range(256)) * (2 * PIECE // 256)
        self.reads: list[tuple[int, int]] = []
        self.memory = False

    def readable(self, piece: int) -> bool:
        return True

    def at_hand(self, offset: int, length: int) -> memoryview | None:
        if not self.memory or offset // SPAN_BYTES != (offset + length - 1) // SPAN_BYTES:
            return None
        return memoryview(self.content)[offset : offset + length]

    async def read(self, offset: int, length: int) -> memoryview:
        self.reads.append((offset, length))
        await asyncio.sleep(0)
        return memoryview(self.content)[offset : offset + length]


async def served(disk: Disk, rows: list[tuple[int, int, int]]) -> list[bytes]:
    sent: list[bytes] = []
    connection: Any = SimpleNamespace(
        writable=True,
        closed=False,
        batch_bytes=1 << 20,
        send_blocks=lambda buffers: sent.extend(bytes(each) for each in buffers[1::2]),
    )
    swarm: Any = SimpleNamespace(
        up=SimpleNamespace(unlimited=True),
        turns=SimpleNamespace(forget=lambda sender: None),
        count_sent=lambda length: None,
        storage_failed=lambda error: None,
    )
    uploader = Uploader(connection, swarm, 0.0, lambda ranges: None)
    uploader.begin(disk)  # type: ignore[arg-type]
    uploader.ask(rows)
    async with asyncio.timeout(5):
        while uploader.pending:
            assert len(uploader._reading) <= READ_AHEAD_SPANS + 1
            await asyncio.sleep(0)
    uploader.close()
    return sent


def of(disk: Disk, rows: list[tuple[int, int, int]]) -> list[bytes]:
    return [disk.content[p * PIECE + begin :][:length] for p, begin, length in rows]


def test_a_range_over_two_spans_is_read_once() -> None:
    for memory in (False, True):
        disk = Disk()
        disk.memory = memory
        rows = [(0, SPAN_BYTES - 100, BLOCK), (1, SPAN_BYTES - BLOCK + 1, BLOCK)]
        assert asyncio.run(served(disk, rows)) == of(disk, rows)
        assert len(disk.reads) <= len(rows) + 1


def test_runs_in_memory_are_cut_at_spans_and_gaps() -> None:
    disk = Disk()
    disk.memory = True
    rows = [(0, begin, BLOCK) for begin in range(SPAN_BYTES - 3 * BLOCK, PIECE, BLOCK)]
    rows += [(1, 0, 5), (1, 5, 7), (1, 100, BLOCK), (0, 0, BLOCK), (1, PIECE - 9, 9)]
    assert asyncio.run(served(disk, rows)) == of(disk, rows)
    assert disk.reads == []
