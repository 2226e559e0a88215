"""Parity: one repair symbol, the exclusive or of all.  Mends one lost symbol.  Pure.

`interleaved.Interleaved(PARITY, n)` makes n of them, each over every n-th symbol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import xor

from spinney.coding.code import source_symbols
from spinney.net.host import Buffer

ONE_PASS_SYMBOLS = 64
"""Symbols that become one integer: a few large ones are added up faster than many small."""


def _sum(view: memoryview, symbol_bytes: int) -> int:
    """The exclusive or of all symbols of a block."""
    wide = symbol_bytes * ONE_PASS_SYMBOLS
    parts = (view[at : at + wide] for at in range(0, len(view), wide))
    added = reduce(xor, (int.from_bytes(part, "little") for part in parts), 0)
    width = ONE_PASS_SYMBOLS * 8 * symbol_bytes
    while width > 8 * symbol_bytes:
        width //= 2
        added = (added >> width) ^ (added & (1 << width) - 1)
    return added


class ParityEncoder:
    """The one repair symbol of a block."""

    def __init__(self, block: Buffer, symbol_bytes: int) -> None:
        view = memoryview(block)
        self._count = source_symbols(len(view), symbol_bytes)
        self._symbol = _sum(view, symbol_bytes).to_bytes(symbol_bytes, "little")

    def repair(self, number: int) -> bytes:
        if number != self._count:
            raise ValueError(f"repair symbol {number} of a block of {self._count}")
        return self._symbol


class Parity:
    """See `Code`."""

    name = "parity-1"
    most_repair = 1

    def prepare(self) -> None: ...

    def encoder(self, block: Buffer, symbol_bytes: int) -> ParityEncoder:
        return ParityEncoder(block, symbol_bytes)

    def recover(
        self,
        block: bytearray | memoryview,
        symbol_bytes: int,
        missing: Sequence[int],
        repairs: Mapping[int, Buffer],
    ) -> int:
        if not missing:
            return 0
        repair = repairs.get(source_symbols(len(block), symbol_bytes))
        if repair is None or len(repair) != symbol_bytes:
            return len(missing)
        if len(missing) > 1:
            return len(missing) - 1
        with memoryview(block) as view:
            start = missing[0] * symbol_bytes
            length = min(symbol_bytes, len(view) - start)
            with view[start : start + length] as lost:
                # What lies in its place now is not part of the sum.
                value = int.from_bytes(repair, "little") ^ int.from_bytes(lost, "little")
                value ^= _sum(view, symbol_bytes)
                value &= (1 << 8 * length) - 1
                lost[:] = value.to_bytes(length, "little")
        return 0


PARITY = Parity()
