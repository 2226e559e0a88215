"""`Delivering`: whole blocks are handed to the transfer, as fast as it takes them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from spinney.content.source import Feed, TransferLike
from spinney.mcftp.blocks import BlockBuffer, BlockBuffers
from spinney.mcftp.layout import BlockLayout
from spinney.mcftp.leasing import Claims
from spinney.net.host import Host

CONGESTED_WAIT_S = 0.01
REFUSED_WAIT_S = 0.1
MAX_REFUSALS = 50
"""So often a whole block that the transfer has no room for is offered again."""


class Delivering:
    """Keeps a delivered block's buffer until its pieces are verified: should one fail, it is
    looked at again.  `done` is told of each block that was handed over, `lost` of one that
    the transfer would not take."""

    def __init__(
        self,
        host: Host,
        layout: BlockLayout,
        transfer: TransferLike,
        feed: Feed,
        buffers: BlockBuffers,
        claims: Claims,
        done: Callable[[int], None],
        lost: Callable[[int], None],
    ) -> None:
        self._host = host
        self._layout = layout
        self._transfer = transfer
        self._feed = feed
        self._buffers = buffers
        self._claims = claims
        self._done = done
        self._lost = lost
        self._ready: deque[BlockBuffer] = deque()
        """At most one entry for each open block."""
        self._retry: asyncio.TimerHandle | None = None
        self._refusals: dict[int, int] = {}
        self._closed = False

    def close(self) -> None:
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()

    def add(self, buffer: BlockBuffer) -> None:
        """All of its symbols are here."""
        self._ready.append(buffer)
        if self._retry is None:
            self._flush()

    def _flush(self) -> None:
        """Hands whole blocks to the transfer, as fast as it takes them."""
        self._retry = None
        while self._ready and not self._closed:
            if self._transfer.congested:
                self._later(CONGESTED_WAIT_S)
                return
            buffer = self._ready[0]
            if self._buffers.get(buffer.block) is not buffer or buffer.delivered or buffer.missing:
                self._ready.popleft()
                continue
            self._claims.claim(buffer.block, self._host.time())
            if not self._deliver(buffer):
                self._later(REFUSED_WAIT_S)
                return
            self._ready.popleft()

    def _later(self, seconds: float) -> None:
        self._retry = asyncio.get_running_loop().call_later(seconds, self._flush)

    def _deliver(self, buffer: BlockBuffer) -> bool:
        """False: the transfer has no room, and it may be tried again."""
        before = self._feed.refused_bytes
        buffer.delivered = True
        ranges = self._wanted_ranges(buffer)
        if not self._lend(buffer, ranges):
            for start, end in ranges:
                self._feed.deliver(buffer.offset + start, buffer.data[start:end])
        block = buffer.block
        self._done(block)
        if self._feed.refused_bytes > before and self._claims.wanted(block):
            tries = self._refusals[block] = self._refusals.get(block, 0) + 1
            if tries < MAX_REFUSALS:
                buffer.delivered = False
                return False
            self._buffers.close(block)
            self._lost(block)
        self._refusals.pop(block, None)
        if not self._claims.wanted(block):
            self._buffers.close(block)
        return True

    def _lend(self, buffer: BlockBuffer, ranges: list[tuple[int, int]]) -> bool:
        """Where a block is a whole piece, the transfer gets its memory, without a copy."""
        room = buffer.data.obj
        if not self._layout.blocks_are_pieces or ranges != [(0, buffer.length)]:
            return False
        if not isinstance(room, bytearray) or not self._feed.deliver_piece(buffer.block, room):
            return False
        buffer.lent = True
        return True

    def _wanted_ranges(self, buffer: BlockBuffer) -> list[tuple[int, int]]:
        """The parts of a block that were not known beforehand and are not here."""
        ranges = sent_ranges(self._layout, buffer)
        length, needed = self._layout.piece_length, self._transfer.needed
        pieces = self._layout.pieces_of(buffer.block)
        if all(piece in needed for piece in pieces):
            return ranges
        spans = [
            (piece * length - buffer.offset, (piece + 1) * length - buffer.offset)
            for piece in pieces
            if piece in needed
        ]
        return [
            (max(start, begin), min(end, stop))
            for begin, stop in spans
            for start, end in ranges
            if max(start, begin) < min(end, stop)
        ]


def sent_ranges(layout: BlockLayout, buffer: BlockBuffer) -> list[tuple[int, int]]:
    """The parts of a block that were not known beforehand, as (begin, end)."""
    width, rows, begin = layout.symbol_bytes, [], 0
    for symbol in layout.known(buffer.block):
        at = symbol * width
        if at > begin:
            rows.append((begin, at))
        begin = at + width
    if begin < buffer.length:
        rows.append((begin, buffer.length))
    return rows
