"""Merkle trees of BEP 52: SHA-256 over leaves of 16 KiB, binary, padded with zeros.  Pure.

A file's tree has one leaf for each 16 KiB block (the last block may be shorter) and as many
leaves of 32 zero bytes behind them as make the next power of two.  Its root is the file's
`pieces root`.  The row of nodes that cover one piece each is the file's piece layer; it is
stored without the padding.  Levels count from the leaves, which are level 0.

`hashlib` releases the interpreter lock for blocks of this size: trees grow on all cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from spinney.errors import WireError

LEAF_BYTES = 16_384
HASH_BYTES = 32
MAX_LEVELS = 64
"""More than any file has: a proof that is longer is no proof."""


def _zero_hashes() -> tuple[bytes, ...]:
    row = [bytes(HASH_BYTES)]
    while len(row) < MAX_LEVELS:
        row.append(sha256(row[-1] * 2).digest())
    return tuple(row)


ZERO_HASHES = _zero_hashes()
"""By level: the root of a tree of padding alone."""


def levels_for(count: int) -> int:
    """Levels above a row of `count` nodes: 0 for one, 1 for two, 2 for three or four."""
    return max(0, count - 1).bit_length()


def piece_level(piece_length: int) -> int:
    """The level whose nodes cover a piece each; `piece_length` is a power of two >= 16 KiB."""
    return (piece_length // LEAF_BYTES).bit_length() - 1


def leaves(data: bytes | bytearray | memoryview) -> list[bytes]:
    """The hash of each 16 KiB block of `data`."""
    view = memoryview(data)
    return [sha256(view[at : at + LEAF_BYTES]).digest() for at in range(0, len(view), LEAF_BYTES)]


def parents(row: Sequence[bytes], level: int) -> list[bytes]:
    """The nodes above a row of `level`; an odd one is padded."""
    nodes = list(row)
    if len(nodes) % 2:
        nodes.append(ZERO_HASHES[level])
    return [sha256(nodes[at] + nodes[at + 1]).digest() for at in range(0, len(nodes), 2)]


def root_of(row: Sequence[bytes], *, level: int = 0, levels: int | None = None) -> bytes:
    """The root over a row of nodes of `level`, padded with zero hashes.

    `levels`: how many levels up the root is; by default as many as the row needs.  The root of
    an empty row is the zero hash.
    """
    if levels is None:
        levels = levels_for(len(row))
    nodes = list(row) or [ZERO_HASHES[level]]
    for height in range(level, level + levels):
        nodes = parents(nodes, height)
    assert len(nodes) == 1, "the row does not fit below one root at that level"
    return nodes[0]


def piece_hash(data: bytes | bytearray | memoryview, piece_length: int) -> bytes:
    """The node of a piece layer: of a file that is longer than one piece."""
    return root_of(leaves(data), levels=piece_level(piece_length))


def file_root(data: bytes | bytearray | memoryview) -> bytes:
    """The pieces root of a whole file, or of one that fits in a piece."""
    return root_of(leaves(data))


def split_layer(layer: bytes) -> list[bytes]:
    """The nodes of a stored piece layer; `WireError` if it is no multiple of 32 bytes."""
    if len(layer) % HASH_BYTES:
        raise WireError(f"{len(layer)} bytes of a piece layer are no multiple of {HASH_BYTES}")
    return [layer[at : at + HASH_BYTES] for at in range(0, len(layer), HASH_BYTES)]


def layer_root(layer: Sequence[bytes], piece_length: int) -> bytes:
    """The pieces root that a whole piece layer belongs to."""
    return root_of(layer, level=piece_level(piece_length))


def proof(row: Sequence[bytes], index: int, *, level: int = 0) -> list[bytes]:
    """The uncles of node `index` of a whole row, from below to the root (BEP 52 `hashes`)."""
    uncles: list[bytes] = []
    nodes = list(row)
    for height in range(level, level + levels_for(len(row))):
        uncles.append(nodes[index ^ 1] if index ^ 1 < len(nodes) else ZERO_HASHES[height])
        nodes = parents(nodes, height)
        index >>= 1
    return uncles


def root_by_proof(node: bytes, index: int, uncles: Sequence[bytes]) -> bytes:
    """The root that follows from a node, its place in its row, and its uncles.

    Raises `WireError` if the uncles cannot belong to that place.
    """
    if len(uncles) >= MAX_LEVELS or index < 0 or index >> len(uncles):
        raise WireError(f"{len(uncles)} uncles do not lead to the root from place {index}")
    for uncle in uncles:
        if len(uncle) != HASH_BYTES:
            raise WireError("an uncle hash that is not 32 bytes long")
        node = sha256(uncle + node if index & 1 else node + uncle).digest()
        index >>= 1
    return node
