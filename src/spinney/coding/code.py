"""`Code`: the one face of every erasure code.

A *block* is up to a few MiB of content, cut into `source_symbols(...)` symbols of
`symbol_bytes` bytes.  Source symbols have the numbers 0 to K-1 and are the block's own bytes;
the last may be shorter, and counts as filled up with zeros.  Repair symbols have the numbers K
and up and are always `symbol_bytes` long.  Everything a decoder must know besides is the length
of the block: the rows of a code are a pure function of (K, number).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from spinney.net.host import Buffer


def source_symbols(block_bytes: int, symbol_bytes: int) -> int:
    """K, the number of source symbols of a block: at least 1."""
    return max(1, -(-block_bytes // symbol_bytes))


class Encoder(Protocol):
    """Makes the repair symbols of one block, which must not change meanwhile."""

    def repair(self, number: int) -> bytes:
        """Repair symbol `number` (K and up), `symbol_bytes` long.

        Raises `ValueError` for a number that the code has not (below K, or beyond
        `Code.most_repair` of them)."""


class Code(Protocol):
    """One erasure code; without state."""

    name: str
    """As descriptors carry it: `fountain-2`."""
    most_repair: int
    """How many repair symbols a block can have."""

    def prepare(self) -> None:
        """Loads what coding needs, if it is not there yet: up to 0.1 s, that a stream should not
        wait for.  Call it through `Host.work` before it begins."""

    def encoder(self, block: Buffer, symbol_bytes: int) -> Encoder: ...

    def recover(
        self,
        block: bytearray | memoryview,
        symbol_bytes: int,
        missing: Sequence[int],
        repairs: Mapping[int, Buffer],
    ) -> int:
        """Fills the missing source symbols into `block`, in place, from repair symbols by number.

        `missing`: rising numbers below K.  Returns 0 when the block is whole, else how many
        more repair symbols are needed at the least (the block's missing parts are then as they
        were).  A repair symbol with a wrong length or number is ignored, never an error: it
        came from the network.  A symbol with wrong bytes gives a wrong block: hashes decide.
        Processor work of a few milliseconds: call it through `Host.work`.
        """
