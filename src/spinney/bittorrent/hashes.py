"""Hash requests of BEP 52: what may be asked, what the answer is, whether an answer is true.  Pure.

A file's Merkle tree has its 16 KiB blocks as layer 0 and `piece length` as its piece layer; its
root is in the info dictionary.  A request names `length` neighbours of one layer, the first at
`index`, and how many layers above them (`proof_layers`) their uncles are wanted from.  What
follows from the hashes themselves is left out: the first log2(length) - 1 of those layers.

Layers from the piece layer up are served.  Layers below it (blocks within a piece) would have
to be hashed from the disk at a stranger's word: such requests are rejected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from spinney.bittorrent.messages import Hashes, HashReject, HashRequest
from spinney.errors import WireError
from spinney.trust import merkle
from spinney.trust.merkle import HASH_BYTES, ZERO_HASHES

MAX_LENGTH = 512
"""Hashes in a request, as BEP 52 has it: 16 KiB an answer, proven by itself."""
CHUNK_LEVELS = 9
"""A tree keeps its nodes from so far above the piece layer on: one for 512 pieces (their layer
is kept anyway).  What is below is hashed again when it is asked for."""
CHUNK = 1 << CHUNK_LEVELS
MAX_SPAN = 4_096
"""Pieces below the hashes of one answer that are not kept: about 3 ms of hashing."""


def uncle_count(length: int, proof_layers: int) -> int:
    """How many uncles follow `length` hashes."""
    return max(0, proof_layers - (length.bit_length() - 1) + 1)


def layer_requests(root: bytes, pieces: int, piece_length: int) -> list[HashRequest]:
    """What to ask for, to have the whole piece layer of a file of `pieces` > 1 pieces.

    Every answer leads to the root by itself.  Places that are padding alone are not asked for.
    """
    levels = merkle.levels_for(pieces)
    length = min(MAX_LENGTH, 1 << levels)
    base = merkle.piece_level(piece_length)
    return [
        HashRequest(root, base, index, length, levels - 1) for index in range(0, pieces, length)
    ]


def proven(request: HashRequest, answer: Hashes) -> bool:
    """Does the answer to such a request, which reaches up to the root, lead to that root?

    Raises `WireError` if it has not the length that was asked for.
    """
    expected = request.length + uncle_count(request.length, request.proof_layers)
    rows = merkle.split_layer(answer.hashes)
    if len(rows) != expected:
        raise WireError(f"{len(rows)} hashes instead of {expected}")
    hashes, uncles = rows[: request.length], rows[request.length :]
    node = merkle.root_of(hashes, level=request.base_layer)
    place = request.index // request.length
    return merkle.root_by_proof(node, place, uncles) == request.pieces_root


def same_place(one: HashRequest, other: Hashes | HashReject) -> bool:
    return astuple(one) == astuple(other)[:5]


class LayerTree:
    """The tree above one piece layer, from `layer` (32 bytes a piece, at least two pieces).

    It grows step by step (`grow`), so that nobody waits for the largest; then it answers.
    Memory: 64 bytes for 512 pieces.
    """

    def __init__(self, layer: bytes, piece_length: int) -> None:
        self._layer = layer
        self._base = merkle.piece_level(piece_length)
        self._pieces = len(layer) // HASH_BYTES
        self._levels = merkle.levels_for(self._pieces)
        self._upper: list[list[bytes]] = [[]]
        """Rows from `CHUNK_LEVELS` above the piece layer up to the root, without padding."""
        self.grown = self._levels <= CHUNK_LEVELS
        """A small one needs nothing kept."""

    def grow(self, chunks: int) -> None:
        """Hashes the next `chunks` times 512 pieces."""
        row = self._upper[0]
        end = min((len(row) + chunks) * CHUNK, self._pieces)
        for begin in range(len(row) * CHUNK, end, CHUNK):
            nodes = self._pieces_at(begin, min(CHUNK, self._pieces - begin))
            row.append(merkle.root_of(nodes, level=self._base, levels=CHUNK_LEVELS))
        if len(row) * CHUNK >= self._pieces:
            for level in range(self._base + CHUNK_LEVELS, self._base + self._levels):
                self._upper.append(merkle.parents(self._upper[-1], level))
            self.grown = True

    def fits(self, request: HashRequest) -> bool:
        """Is this a request that an honest peer may make, and that costs no more than allowed?"""
        above = request.base_layer - self._base
        length = request.length
        return (
            0 <= above < self._levels
            and 2 <= length <= MAX_LENGTH
            and not length & (length - 1)
            and not request.index % length
            and request.index + length <= 1 << (self._levels - above)
            and request.proof_layers < self._levels - above
            and (above >= CHUNK_LEVELS or length << above <= MAX_SPAN)
        )

    def answer(self, request: HashRequest) -> Hashes:
        """To a request that `fits`, once `grown`."""
        assert self.grown, "grow it first"
        above = request.base_layer - self._base
        rows = self._row(above, request.index, request.length)
        known = request.length.bit_length() - 1
        for level in range(known, request.proof_layers + 1):
            rows.extend(self._row(above + level, (request.index >> level) ^ 1, 1))
        return Hashes(
            request.pieces_root,
            request.base_layer,
            request.index,
            request.length,
            request.proof_layers,
            b"".join(rows),
        )

    def _row(self, above: int, index: int, count: int) -> list[bytes]:
        """`count` nodes `above` the piece layer; `index` is a multiple of `count` or count 1."""
        padding = ZERO_HASHES[self._base + above]
        if above >= CHUNK_LEVELS:
            rows = self._upper[above - CHUNK_LEVELS][index : index + count]
            return rows + [padding] * (count - len(rows))
        begin = index << above
        end = min((index + count) << above, self._pieces)
        rows = self._pieces_at(begin, max(0, end - begin))
        for level in range(above):
            rows = merkle.parents(rows, self._base + level)
        return rows + [padding] * (count - len(rows))

    def _pieces_at(self, begin: int, count: int) -> list[bytes]:
        return merkle.split_layer(self._layer[begin * HASH_BYTES : (begin + count) * HASH_BYTES])


def reject(request: HashRequest) -> HashReject:
    return HashReject(*astuple(request))


def joined(parts: Sequence[bytes], pieces: int) -> bytes:
    """A piece layer from the hashes of its requests, in order, without the padding."""
    return b"".join(parts)[: pieces * HASH_BYTES]
