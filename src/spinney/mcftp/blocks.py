"""`BlockBuffers`: blocks that are coming in, symbol by symbol, in bounded memory.  Pure.

A source symbol is copied to its place when it arrives; a repair symbol is kept until the block
can be solved.  Who brought a symbol is kept (as a small number, 0 for the usual sender), so that
a block whose piece failed can be looked at again sender by sender.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from spinney.mcftp.layout import SYMBOL_BYTES, BlockLayout

MIN_BLOCKS = 4
"""Held at once, however large they are: a stream's block, and some waiting for repair."""
SPARE_REPAIRS = 32
"""Repair symbols kept beyond the lost ones: more help nobody."""


class BlockBuffer:
    """One block.  `seen` has a byte for each source symbol; `missing` counts the zeros."""

    __slots__ = (
        "attempted",
        "block",
        "busy",
        "count",
        "data",
        "delivered",
        "extra",
        "last_length",
        "length",
        "lent",
        "missing",
        "offset",
        "origins",
        "repair_origins",
        "repairs",
        "seen",
        "symbols_sent",
    )

    def __init__(self, layout: BlockLayout, block: int, data: memoryview) -> None:
        self.block = block
        self.data = data
        self.offset, self.length = layout.extent(block)
        self.count = layout.source_symbols(block)
        self.last_length = layout.symbol_length(block, self.count - 1)
        self.seen = bytearray(self.count)
        self.missing = self.count
        self.repairs: dict[int, bytes] = {}
        self.origins: bytearray | None = None
        """Who brought each source symbol; None while all came from sender 0."""
        self.repair_origins: dict[int, int] = {}
        self.extra = 0
        """Repair symbols that are needed beyond the missing ones, as far as an attempt told."""
        self.attempted = 0
        """Repair symbols there were at the last attempt to solve the block."""
        self.busy = False
        """Being solved in a worker: it must not change."""
        self.delivered = False
        self.lent = False
        """Its memory is the transfer's, which uses it again when it is done with the piece."""
        known = layout.known(block)
        self.symbols_sent = self.count - len(known)
        for symbol in known:
            self.fill(symbol, bytes(layout.symbol_length(block, symbol)))

    def fill(self, symbol: int, body: bytes | memoryview) -> None:
        """A source symbol that is known to be right in length and not seen yet."""
        at = symbol * SYMBOL_BYTES
        self.data[at : at + len(body)] = body
        self.seen[symbol] = 1
        self.missing -= 1

    def fits(self, symbol: int, length: int) -> bool:
        """Has a body of this symbol this length?"""
        return length == (SYMBOL_BYTES if symbol < self.count - 1 else self.last_length)

    def note_origin(self, symbol: int, origin: int) -> None:
        if self.origins is None:
            self.origins = bytearray(self.count)
        self.origins[symbol] = origin

    def add_repair(self, number: int, body: bytes, origin: int) -> bool:
        """True if it is new and of use."""
        if number in self.repairs or len(self.repairs) >= self.missing + SPARE_REPAIRS:
            return False
        self.repairs[number] = body
        if origin:
            self.repair_origins[number] = origin
        return True

    @property
    def lack(self) -> int:
        """Symbols that must still come, at the least."""
        if not self.missing:
            return 0
        return max(0, self.missing + self.extra - len(self.repairs))

    def lost(self) -> list[int]:
        """The missing source symbols, rising."""
        rows, find = [], self.seen.find
        at = find(0)
        while at >= 0:
            rows.append(at)
            at = find(0, at + 1)
        return rows

    @property
    def untouched(self) -> bool:
        return not self.repairs and self.missing >= self.symbols_sent

    def brought_by(self) -> set[int]:
        """The origins that had a part in it."""
        rows = set(self.repair_origins.values())
        if len(self.repair_origins) < len(self.repairs) or self.origins is None:
            rows.add(0)
        if self.origins is not None:
            rows.update(
                origin for seen, origin in zip(self.seen, self.origins, strict=True) if seen
            )
        return rows

    def drop(self, origin: int | None) -> None:
        """Forgets what one origin brought; None: everything, also what was solved."""
        for symbol in range(self.count):
            mine = self.origins[symbol] if self.origins is not None else 0
            if self.seen[symbol] and (origin is None or mine == origin):
                self.seen[symbol] = 0
        self.missing = self.seen.count(0)  # what was solved counts as missing again
        for number in list(self.repairs):
            if origin is None or self.repair_origins.get(number, 0) == origin:
                del self.repairs[number]
                self.repair_origins.pop(number, None)
        self.extra = self.attempted = 0
        self.delivered = False


class BlockBuffers:
    """The open blocks by number, oldest first, at most `limit_bytes` of them."""

    def __init__(
        self,
        layout: BlockLayout,
        limit_bytes: int,
        pool_blocks: int,
        room: Callable[[], bytearray] | None = None,
    ) -> None:
        """`room` makes the memory of a block."""
        self._layout = layout
        self._room = room or (lambda: bytearray(layout.block_bytes))
        self.most = max(MIN_BLOCKS, limit_bytes // max(1, layout.block_bytes))
        self._pool_blocks = pool_blocks
        self._pool: list[memoryview] = []
        self._open: dict[int, BlockBuffer] = {}
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[BlockBuffer]:
        return iter(list(self._open.values()))

    def get(self, block: int) -> BlockBuffer | None:
        return self._open.get(block)

    def open(self, block: int) -> tuple[BlockBuffer, BlockBuffer | None]:
        """A new buffer, and the one that had to go for it."""
        victim = self._make_room() if len(self._open) >= self.most else None
        # A view: what is copied into a bytearray itself is copied twice.
        data = self._pool.pop() if self._pool else memoryview(self._room())
        buffer = self._open[block] = BlockBuffer(self._layout, block, data)
        return buffer, victim

    def _make_room(self) -> BlockBuffer | None:
        """The oldest that is only kept until it is verified, else the oldest."""
        idle = [each for each in self._open.values() if not each.busy]
        victim = next((each for each in idle if each.delivered), idle[0] if idle else None)
        if victim is not None:
            self.evicted += not victim.delivered
            self.close(victim.block)
        return victim

    def close(self, block: int) -> None:
        """The block is done with; a buffer in a worker's hands is not used again."""
        buffer = self._open.pop(block, None)
        if buffer is None or buffer.busy or buffer.lent:
            return
        if len(self._pool) < self._pool_blocks:
            self._pool.append(buffer.data)
