"""`BlockLayout`: chunks, source blocks and symbols of a torrent.  A pure function of `info`.

Version 2 (`coding.blocks`).  Positions lie in the torrent's piece space (`content.layout`).  A
*chunk* of the MC-FTP paper is a piece.  A *block* is what the erasure code works on: pieces of
at most 1 MiB share one (as few as make 1 MiB), larger pieces are cut into parts of 1 to 2 MiB.
A *symbol* is 1,408 bytes of a block: with our header of 16 bytes it fits an Ethernet frame over
IPv6, with room for a tunnel.  The last symbol of a block is short.

Symbols that lie wholly in padding (BEP 47, the gaps of BEP 52) are known to be zeros: they are
never sent and never missing.
"""

from __future__ import annotations

from functools import lru_cache

from spinney.coding.blocks import SYMBOL_BYTES, shape
from spinney.coding.code import source_symbols
from spinney.content.descriptor import Descriptor
from spinney.content.layout import Layout

__all__ = ["SENDERS", "SYMBOL_BYTES", "BlockLayout"]

SENDERS = 256
"""Sender numbers of one reign: each draws repair symbols that no other does."""


class BlockLayout:
    """Which bytes make block b, and which symbols of it are ever sent."""

    symbol_bytes = SYMBOL_BYTES

    def __init__(self, descriptor: Descriptor) -> None:
        self._files = Layout(descriptor)
        self.piece_length = descriptor.piece_length
        self.size_bytes = self._files.size_bytes
        self.pieces_per_block, self.blocks_per_piece, self.block_bytes = shape(self.piece_length)
        self.block_count = self._count()
        self._known = lru_cache(maxsize=64)(self._find_known)

    @property
    def blocks_are_pieces(self) -> bool:
        """Is each block a whole piece?"""
        return self.pieces_per_block == self.blocks_per_piece == 1

    def _count(self) -> int:
        if not self.size_bytes:
            return 0
        if self.blocks_per_piece == 1:
            return -(-self.size_bytes // self.block_bytes)
        whole, rest = divmod(self.size_bytes, self.piece_length)
        return whole * self.blocks_per_piece + -(-rest // self.block_bytes)

    def extent(self, block: int) -> tuple[int, int]:
        """(offset, length) in piece space.  Raises `IndexError` for no block of ours."""
        if not 0 <= block < self.block_count:
            raise IndexError(f"block {block} of {self.block_count}")
        if self.blocks_per_piece == 1:
            start = block * self.block_bytes
            return start, min(self.block_bytes, self.size_bytes - start)
        piece, part = divmod(block, self.blocks_per_piece)
        start = piece * self.piece_length + part * self.block_bytes
        end = min((piece + 1) * self.piece_length, self.size_bytes, start + self.block_bytes)
        return start, end - start

    def source_symbols(self, block: int) -> int:
        """K: how many source symbols the block has."""
        return source_symbols(self.extent(block)[1], SYMBOL_BYTES)

    def symbol_length(self, block: int, symbol: int) -> int:
        """Bytes of a source symbol on the wire: less than 1,408 for the last one only."""
        return min(SYMBOL_BYTES, self.extent(block)[1] - symbol * SYMBOL_BYTES)

    def known(self, block: int) -> tuple[int, ...]:
        """Source symbols that lie wholly in padding: zeros, never sent."""
        return () if self._files.solid else self._known(block)

    def _find_known(self, block: int) -> tuple[int, ...]:
        offset, length = self.extent(block)
        rows: list[int] = []
        for begin, end in self._files.padding(offset, length):
            first = -(-begin // SYMBOL_BYTES)
            last = end // SYMBOL_BYTES if end < length else source_symbols(length, SYMBOL_BYTES)
            rows += range(first, last)
        return tuple(rows)

    def blocks_of(self, piece: int) -> range:
        """The blocks that hold bytes of a piece."""
        if self.blocks_per_piece == 1:
            block = piece // self.pieces_per_block
            return range(block, block + 1)
        first = piece * self.blocks_per_piece
        return range(first, min(first + self.blocks_per_piece, self.block_count))

    def pieces_of(self, block: int) -> range:
        """The pieces that a block holds bytes of."""
        offset, length = self.extent(block)
        return range(offset // self.piece_length, (offset + length - 1) // self.piece_length + 1)

    def repair_number(self, block: int, sender_number: int, turn: int) -> int:
        """The number of the repair symbol that sender `sender_number` sends as its `turn`th."""
        return self.source_symbols(block) + sender_number + SENDERS * turn
