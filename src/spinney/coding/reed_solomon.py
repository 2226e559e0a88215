"""Reed-Solomon over GF(256): any m losses of k + m symbols are mended by any m repairs.  Pure.

A product with a constant is `bytes.translate` with a table of 256, a sum the exclusive or of
integers: both run at memory speed.  A repair symbol costs k of each, a decoded one as many as
there are lost symbols, so k + m is small here; large blocks are cut by `Interleaved`.

Rows, version 1: the field is GF(2)[x] / (x^8 + x^4 + x^3 + x^2 + 1).  Repair symbol k + r is the
sum over the source symbols c of g(r, c) times symbol c, with g(r, c) = (255 ^ c) / ((255 - r) ^ c),
a Cauchy matrix whose columns are scaled so that the first repair symbol is the plain parity.  All
its square parts can be inverted, so every repair symbol mends one loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from spinney.coding.code import source_symbols
from spinney.net.host import Buffer

MOST_SYMBOLS = 255
"""k + m: a symbol is named by an element of the field, and 255 and c may not meet."""
_POLYNOMIAL = 0x11D


def _powers() -> tuple[bytes, bytes]:
    """(2 to each power, twice around; the power of each value but 0)."""
    powers, logs = bytearray(510), bytearray(256)
    value = 1
    for power in range(255):
        powers[power] = powers[power + 255] = value
        logs[value] = power
        value <<= 1
        if value & 256:
            value ^= _POLYNOMIAL
    return bytes(powers), bytes(logs)


_POWERS, _LOGS = _powers()


def _divide(one: int, other: int) -> int:
    """one / other, neither of them 0."""
    return _POWERS[_LOGS[one] + 255 - _LOGS[other]]


@lru_cache(maxsize=256)
def _times(factor: int) -> bytes:
    """The table of products with `factor`."""
    if not factor:
        return bytes(256)
    log = _LOGS[factor]
    return bytes(_POWERS[_LOGS[value] + log] if value else 0 for value in range(256))


def factor(row: int, symbol: int) -> int:
    """What source symbol `symbol` counts in repair symbol k + `row`."""
    return _divide(255 ^ symbol, (255 - row) ^ symbol)


def _combined(factors: Sequence[int], symbols: Sequence[bytes]) -> int:
    """The sum of the symbols, each times its factor."""
    total = 0
    for each, symbol in zip(factors, symbols, strict=True):
        product = symbol if each == 1 else symbol.translate(_times(each))
        total ^= int.from_bytes(product, "little")
    return total


def _inverse(rows: Sequence[Sequence[int]]) -> list[bytes]:
    """The inverse of a square matrix that has one (Gauss and Jordan)."""
    size = len(rows)
    left = [
        bytes(row) + bytes(at == row_at for at in range(size)) for row_at, row in enumerate(rows)
    ]
    for column in range(size):
        lead = next(at for at in range(column, size) if left[at][column])
        left[column], left[lead] = left[lead], left[column]
        pivot = left[column].translate(_times(_divide(1, left[column][column])))
        left[column] = pivot
        for at, row in enumerate(left):
            if at != column and row[column]:
                product = int.from_bytes(pivot.translate(_times(row[column])), "little")
                total = int.from_bytes(row, "little") ^ product
                left[at] = total.to_bytes(2 * size, "little")
    return [row[size:] for row in left]


class ReedSolomonEncoder:
    """The repair symbols of one block."""

    def __init__(self, block: Buffer, symbol_bytes: int, most_repair: int) -> None:
        view = memoryview(block)
        self._bytes = symbol_bytes
        self._count = source_symbols(len(view), symbol_bytes)
        self._most_repair = most_repair
        starts = range(0, len(view), symbol_bytes)
        self._symbols = [bytes(view[at : at + symbol_bytes]) for at in starts]

    def repair(self, number: int) -> bytes:
        row = number - self._count
        if not 0 <= row < self._most_repair:
            raise ValueError(f"repair symbol {number} of a block of {self._count}")
        factors = [factor(row, symbol) for symbol in range(len(self._symbols))]
        return _combined(factors, self._symbols).to_bytes(self._bytes, "little")


class ReedSolomon:
    """See `Code`.  `most_repair`: m; a block then has at most 255 - m source symbols, or
    `ValueError` is raised."""

    def __init__(self, most_repair: int) -> None:
        if not 0 < most_repair < MOST_SYMBOLS:
            raise ValueError(f"{most_repair} repair symbols: 1 to {MOST_SYMBOLS - 1} can be")
        self.name = "reed-solomon-1"
        self.most_repair = most_repair

    def _checked(self, block_bytes: int, symbol_bytes: int) -> int:
        count = source_symbols(block_bytes, symbol_bytes)
        if count + self.most_repair > MOST_SYMBOLS:
            raise ValueError(f"{count} and {self.most_repair} symbols are more than {MOST_SYMBOLS}")
        return count

    def prepare(self) -> None: ...

    def encoder(self, block: Buffer, symbol_bytes: int) -> ReedSolomonEncoder:
        self._checked(memoryview(block).nbytes, symbol_bytes)
        return ReedSolomonEncoder(block, symbol_bytes, self.most_repair)

    def recover(
        self,
        block: bytearray | memoryview,
        symbol_bytes: int,
        missing: Sequence[int],
        repairs: Mapping[int, Buffer],
    ) -> int:
        count = self._checked(len(block), symbol_bytes)
        usable = [
            number - count
            for number in sorted(repairs)
            if 0 <= number - count < self.most_repair and len(repairs[number]) == symbol_bytes
        ][: len(missing)]
        if len(usable) < len(missing):
            return len(missing) - len(usable)
        if not missing:
            return 0
        with memoryview(block) as view:
            lost = set(missing)
            known = [at for at in range(count) if at not in lost]
            symbols = [bytes(view[at * symbol_bytes : (at + 1) * symbol_bytes]) for at in known]
            sums: list[bytes] = []
            for row in usable:
                value = int.from_bytes(repairs[count + row], "little")
                value ^= _combined([factor(row, at) for at in known], symbols)
                sums.append(value.to_bytes(symbol_bytes, "little"))
            inverse = _inverse([[factor(row, at) for at in missing] for row in usable])
            for symbol, factors in zip(missing, inverse, strict=True):
                start = symbol * symbol_bytes
                length = min(symbol_bytes, len(view) - start)
                value = _combined(factors, sums) & (1 << 8 * length) - 1
                view[start : start + length] = value.to_bytes(length, "little")
        return 0
