"""A rateless code over GF(2) that is mended by five passes over a block.  Pure.

A repair symbol is the exclusive or of sums of two kinds.  A *prefix* at c is the sum of the first
c symbols as they lie; each row has six, at cuts taken from a hash of its number.  A *class* is
the sum of every p-th symbol from a first one on; for each of four moduli p, a little above the
square root of the number of symbols and without a common divisor, each row has five.  All sums of
a block come from passes over it in the order of memory, without sorting or copying symbols.

Prefixes let any loss be mended, and classes tell apart what lies side by side: no two symbols
share two classes, and a burst as long as the moduli together has a class pattern of its own for
every choice of symbols.  So a block needs as many symbols beyond the lost ones as with a random
linear code: 1.6 on the average, five or fewer in 95 of 100 cases, whatever the size of the block
and however the losses lie.  (Prefixes alone are no code against bursts, prefixes of two orders
not a good one: docs/decisions/mc-ftp.md.)

Rows, version 2.  Moduli of K symbols: from the least number whose square is K or more (2 at the
least) upwards, the first four numbers of which no two have a common divisor.  A row is read
from the 26 little-endian 16-bit words w of BLAKE2b-416(K, number; 64-bit little-endian): the
first six give the cuts w * (K + 1) >> 16, then for each modulus p five give the classes
w * p >> 16.  What a row has twice it has not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce
from hashlib import blake2b
from itertools import count as counting
from itertools import islice
from math import gcd, isqrt
from operator import or_
from struct import Struct
from typing import NamedTuple

from spinney.coding.code import source_symbols
from spinney.coding.solving import solve
from spinney.net.host import Buffer

CUTS = 6
MODULI = 4
PICKS = 5
"""Classes of each modulus in a row."""
MOST_SYMBOLS = 1 << 16
"""More than the largest block has: 2 MiB are 1,490 symbols."""
MOST_REPAIR = (1 << 32) - MOST_SYMBOLS
_WORDS = Struct(f"<{CUTS + MODULI * PICKS}H")
_NAME = Struct("<QQ")

Row = list[int]
"""Which sums make a repair symbol, numbered through: 0 to K are the prefixes, then come the
classes of the first modulus, and so on."""


class Shape(NamedTuple):
    """What the rows of all blocks of K symbols have in common."""

    symbols: int
    """K."""
    moduli: tuple[int, ...]
    sums: int
    """How many there are."""
    kinds: tuple[tuple[int, int], ...]
    """For each sum of a row, of how many it is one, and the number of the first of them."""


@lru_cache(maxsize=64)
def shape_of(count: int) -> Shape:
    moduli: list[int] = []
    least = max(2, isqrt(count - 1) + 1)
    fitting = (p for p in counting(least) if all(gcd(p, other) == 1 for other in moduli))
    kinds, first = [(count + 1, 0)] * CUTS, count + 1
    for modulus in islice(fitting, MODULI):
        moduli.append(modulus)
        kinds += [(modulus, first)] * PICKS
        first += modulus
    return Shape(count, tuple(moduli), first, tuple(kinds))


def words_of(shape: Shape, number: int) -> bytes:
    """What the row of repair symbol `number` is read from."""
    return blake2b(_NAME.pack(shape.symbols, number), digest_size=_WORDS.size).digest()


def row_of(shape: Shape, number: int) -> Row:
    """Repair symbol `number`; `sums.rows_of` is the same for many."""
    words = _WORDS.unpack(words_of(shape, number))
    return [
        (word * many >> 16) + first for word, (many, first) in zip(words, shape.kinds, strict=True)
    ]


class FountainEncoder:
    """Repair symbols of one block.  Takes 1.2 times the block's size in memory."""

    def __init__(self, block: Buffer, symbol_bytes: int) -> None:
        from spinney.coding.sums import Sums

        with memoryview(block) as view:
            self._shape = shape_of(source_symbols(len(view), symbol_bytes))
            self._sums = Sums(view, symbol_bytes, self._shape)

    def repair(self, number: int) -> bytes:
        count = self._shape.symbols
        if not count <= number < count + MOST_REPAIR:
            raise ValueError(f"repair symbol {number} of a block of {count}")
        return self._sums.added(row_of(self._shape, number))


class Fountain:
    """See `Code`."""

    name = "fountain-2"
    most_repair = MOST_REPAIR

    def prepare(self) -> None:
        import spinney.coding.sums  # noqa: F401

    def encoder(self, block: Buffer, symbol_bytes: int) -> FountainEncoder:
        return FountainEncoder(block, symbol_bytes)

    def recover(
        self,
        block: bytearray | memoryview,
        symbol_bytes: int,
        missing: Sequence[int],
        repairs: Mapping[int, Buffer],
    ) -> int:
        wanted = len(missing)
        if not wanted:
            return 0
        count = source_symbols(len(block), symbol_bytes)
        usable = [
            number
            for number, data in repairs.items()
            if len(data) == symbol_bytes and count <= number < count + MOST_REPAIR
        ]
        if len(usable) < wanted:
            return wanted - len(usable)
        from spinney.coding.sums import marks_of, mend, rows_of

        shape = shape_of(count)
        rows = rows_of(shape, usable)
        sums = solve(marks_of(shape, missing, rows), wanted)
        if len(sums) < wanted:
            return wanted - len(sums)  # found out before a symbol was touched
        used = reduce(or_, sums)  # what is too much is left out: fewer cuts, fewer sums
        values = [repairs[at] if used >> row & 1 else None for row, at in enumerate(usable)]
        with memoryview(block) as view:
            mend(view, symbol_bytes, shape, missing, rows, values, sums)
        return 0


FOUNTAIN = Fountain()
