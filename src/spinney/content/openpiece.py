"""`OpenPiece`: a piece that is coming in: which ranges are held, who brought them, who is asked.

Held bytes are a sorted list of segments (start, end, sender) over the piece: it answers what
is new, what is a duplicate and who is to blame.  Reservations are kept by block of 16 KiB.
Pure: no clock, no disk, no callbacks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Generic, TypeVar

BLOCK_BYTES = 16 << 10
FREE, ASKED, TWICE, HELD = 0, 1, 2, 3
"""States of a block: nobody is asked, one is, two are (endgame), all its bytes are here."""

MAX_SEGMENTS = 4096
"""Segments of one piece that unasked-for bytes may make: a sender of single bytes with holes
between them would otherwise cost a hundred bytes of memory for each byte sent."""

S = TypeVar("S")


class OpenPiece(Generic[S]):
    """One piece in progress.  `S` is a sender; padding has the sender None."""

    __slots__ = (
        "askers",
        "block_held",
        "blocks",
        "buffer",
        "ends",
        "free",
        "held",
        "key",
        "length",
        "offset",
        "owner",
        "piece",
        "senders",
        "solo",
        "starts",
        "state",
        "view",
    )

    def __init__(
        self,
        piece: int,
        offset: int,
        length: int,
        key: int,
        buffer: bytearray,
        padding: list[tuple[int, int]],
    ) -> None:
        self.piece = piece
        self.offset = offset
        self.length = length
        self.key = key
        """Number of the first block, over the whole content."""
        self.buffer = buffer
        self.view = memoryview(buffer)
        self.blocks = (length + BLOCK_BYTES - 1) // BLOCK_BYTES
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.senders: list[S | None] = []
        self.held = 0
        self.state = bytearray(self.blocks)
        self.block_held = [0] * self.blocks
        self.askers: list[tuple[S, ...]] = [()] * self.blocks
        self.free = self.blocks
        self.owner: S | None = None
        """Who fetches this piece; others join only when they have nothing else to do."""
        self.solo = False
        """Only the owner may bring bytes: after a failure, or while the owner is suspected."""
        for start, end in padding:
            self.view[start:end] = bytes(end - start)
            self.hold(start, end, None)

    def move(self, buffer: bytearray) -> bytearray:
        """From now on it lies in this buffer, as what is held does already; gives the old one."""
        old, self.buffer = self.buffer, buffer
        self.view.release()
        self.view = memoryview(buffer)
        return old

    @property
    def full(self) -> bool:
        return self.held == self.length

    def block_end(self, block: int) -> int:
        return min((block + 1) * BLOCK_BYTES, self.length)

    def gaps(self, begin: int, end: int) -> list[tuple[int, int]]:
        """The ranges within [begin, end) that are not held, in order."""
        rows: list[tuple[int, int]] = []
        at = max(0, bisect_right(self.starts, begin) - 1)
        while begin < end and at < len(self.starts) and self.starts[at] < end:
            if self.ends[at] > begin:
                if self.starts[at] > begin:
                    rows.append((begin, self.starts[at]))
                begin = self.ends[at]
            at += 1
        if begin < end:
            rows.append((begin, end))
        return rows

    def hold(self, begin: int, end: int, sender: S | None) -> list[int]:
        """Marks a range, of which nothing was held, as held; returns blocks now whole."""
        at = bisect_left(self.starts, begin)
        joins_left = at > 0 and self.ends[at - 1] == begin and self.senders[at - 1] is sender
        joins_right = (
            at < len(self.starts) and self.starts[at] == end and self.senders[at] is sender
        )
        if joins_left and joins_right:
            self.ends[at - 1] = self.ends[at]
            del self.starts[at], self.ends[at], self.senders[at]
        elif joins_left:
            self.ends[at - 1] = end
        elif joins_right:
            self.starts[at] = begin
        else:
            self.starts.insert(at, begin)
            self.ends.insert(at, end)
            self.senders.insert(at, sender)
        self.held += end - begin
        whole: list[int] = []
        for block in range(begin // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1):
            start, stop = block * BLOCK_BYTES, self.block_end(block)
            self.block_held[block] += min(end, stop) - max(begin, start)
            if self.block_held[block] == stop - start:
                if self.state[block] == FREE:
                    self.free -= 1
                self.state[block] = HELD
                whole.append(block)
        return whole

    def makes_segment(self, begin: int, end: int, sender: S) -> bool:
        """Would holding this range add a segment (and not only lengthen one)?"""
        at = bisect_left(self.starts, begin)
        if at > 0 and self.ends[at - 1] == begin and self.senders[at - 1] is sender:
            return False
        joins_right = at < len(self.starts) and self.starts[at] == end
        return not (joins_right and self.senders[at] is sender)

    def missing(self, block: int) -> tuple[int, int]:
        """(begin, length): from the first to the last byte of a block that is not held."""
        start, stop = block * BLOCK_BYTES, self.block_end(block)
        if not self.block_held[block]:
            return start, stop - start
        gaps = self.gaps(start, stop)
        return gaps[0][0], gaps[-1][1] - gaps[0][0]

    def ask(self, block: int, sender: S) -> None:
        """Reserves a block that is not held for one more sender."""
        if self.state[block] == FREE:
            self.free -= 1
        self.state[block] += 1
        self.askers[block] = (*self.askers[block], sender)

    def release(self, block: int, sender: S) -> None:
        """Ends a sender's reservation of a block."""
        self.askers[block] = tuple(each for each in self.askers[block] if each is not sender)
        if self.state[block] != HELD:
            self.state[block] = min(len(self.askers[block]), TWICE)
            if self.state[block] == FREE:
                self.free += 1

    def asked_of_nobody(self) -> bool:
        return ASKED not in self.state and TWICE not in self.state

    @property
    def untouched(self) -> bool:
        """Nobody brought anything, nobody is asked for anything."""
        brought = any(sender is not None for sender in self.senders)  # ends at the first
        return not brought and self.asked_of_nobody()

    def segments(self) -> list[tuple[int, int, S]]:
        """(start, end, sender) of all that senders brought, without padding."""
        return [
            (start, end, sender)
            for start, end, sender in zip(self.starts, self.ends, self.senders, strict=True)
            if sender is not None
        ]

    def drop(self, sender: S) -> int:
        """Forgets what one sender brought; returns how many bytes that was."""
        kept = [
            row
            for row in zip(self.starts, self.ends, self.senders, strict=True)
            if row[2] is not sender
        ]
        before = self.held
        self.starts, self.ends, self.senders, self.held = [], [], [], 0
        self.block_held = [0] * self.blocks
        for block in range(self.blocks):
            self.state[block] = min(len(self.askers[block]), TWICE)
        self.free = self.state.count(FREE)
        for start, end, owner in kept:
            self.hold(start, end, owner)
        return before - self.held
