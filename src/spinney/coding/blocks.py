"""The shape of source blocks: a versioned pure function of the piece length.  Pure.

Small pieces share a block of at least 1 MiB; a larger piece is cut into blocks of 1 to 2 MiB.
`mcftp.layout` lays them over a torrent; a descriptor's `mc-ftp` fields restate them.
"""

from __future__ import annotations

from typing import NamedTuple

LAYOUT_VERSION = 2
"""2: the code is `fountain-2`; 1, whose blocks were the same, was never released."""
SYMBOL_BYTES = 1_408
BLOCK_BYTES = 1 << 20
"""The smallest block that is not the last one of a torrent or a piece."""
ALIGNMENT_BYTES = 1 << 14


class Shape(NamedTuple):
    """Either `pieces_per_block` or `blocks_per_piece` is 1."""

    pieces_per_block: int
    blocks_per_piece: int
    block_bytes: int


def shape(piece_length: int) -> Shape:
    """The blocks of a torrent whose pieces have this length."""
    if piece_length <= BLOCK_BYTES:
        pieces = -(-BLOCK_BYTES // piece_length)
        return Shape(pieces, 1, pieces * piece_length)
    part = -(-piece_length // (piece_length // BLOCK_BYTES))
    block_bytes = min(-(-part // ALIGNMENT_BYTES) * ALIGNMENT_BYTES, piece_length)
    return Shape(1, -(-piece_length // block_bytes), block_bytes)
