"""A rateless code over GF(2) whose repair symbol costs twelve exclusive ors.  Pure.

The symbols of a block are laid out in four pseudo-random orders.  In each order the *prefix* at
c is the exclusive or of the first c symbols.  Repair symbol `number` is the exclusive or of
three prefixes out of each order, the cuts taken from a hash of the number.  Each row of the code
so covers about half of the symbols, as a random linear code does, and a block needs as many
symbols beyond the lost ones as with it: 1.6 on the average, five or fewer in 95 of 100 cases,
whatever the size of the block and however the losses lie.  One order would not do: symbols that
lie side by side in it are hardly ever told apart; four orders have no such neighbours.

Symbols are Python integers, little-endian, so that a short last symbol is filled with zeros by
itself; an exclusive or of two runs at memory speed and holds the interpreter for well under a
microsecond.

Rows, version 1.  Order p (0 to 3) of K symbols: symbols sorted by the K little-endian 64-bit
words of SHAKE-128("spinney fountain-1 order", p, K; 32-bit little-endian).  Cuts of a symbol:
the twelve little-endian 32-bit words w of BLAKE2b-384(K, number; 64-bit little-endian), each as
w * (K + 1) >> 32; the first three cut order 0, the next three order 1, and so on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce
from hashlib import blake2b, shake_128
from itertools import accumulate, compress
from operator import or_, xor
from struct import Struct

from spinney.coding.code import source_symbols
from spinney.coding.solving import add_up, solve
from spinney.net.host import Buffer

ORDERS = 4
CUTS = 3
MOST_SYMBOLS = 1 << 16
"""More than the largest block has: 2 MiB are 1,490 symbols."""
MOST_REPAIR = (1 << 32) - MOST_SYMBOLS
FIRST_CUTS = range(0, ORDERS * CUTS, CUTS)
"""Where the cuts of each order begin."""
_WORDS = Struct(f"<{ORDERS * CUTS}L")
_NAME = Struct("<QQ")


@lru_cache(maxsize=8)
def _orders(count: int) -> tuple[tuple[int, ...], ...]:
    """The four orders of `count` symbols."""
    rows = []
    for order in range(ORDERS):
        seed = b"spinney fountain-1 order" + Struct("<LL").pack(order, count)
        words = Struct(f"<{count}Q").unpack(shake_128(seed).digest(8 * count))
        rows.append(tuple(sorted(range(count), key=words.__getitem__)))
    return tuple(rows)


@lru_cache(maxsize=8)
def _places(count: int) -> tuple[tuple[int, ...], ...]:
    """Where each symbol lies in each of the four orders."""
    rows = []
    for order in _orders(count):
        places = [0] * count
        for place, symbol in enumerate(order):
            places[symbol] = place
        rows.append(tuple(places))
    return tuple(rows)


def cuts(count: int, number: int) -> list[int]:
    """The cuts of repair symbol `number` of a block of `count` symbols: three for each order."""
    words = _WORDS.unpack(blake2b(_NAME.pack(count, number), digest_size=_WORDS.size).digest())
    scale = count + 1
    return [word * scale >> 32 for word in words]


def _symbols(view: memoryview, symbol_bytes: int) -> list[int]:
    """The source symbols of a block as integers."""
    starts = range(0, max(1, len(view)), symbol_bytes)
    return [int.from_bytes(view[at : at + symbol_bytes], "little") for at in starts]


def _prefixes(symbols: Sequence[int], order: Sequence[int]) -> list[int]:
    """The prefixes of one order at 0 to K."""
    return list(accumulate(map(symbols.__getitem__, order), xor, initial=0))


class FountainEncoder:
    """Repair symbols of one block.  Takes about five times the block's size in memory."""

    def __init__(self, block: Buffer, symbol_bytes: int) -> None:
        symbols = _symbols(memoryview(block), symbol_bytes)
        self._bytes = symbol_bytes
        self._count = len(symbols)
        self._prefixes = [_prefixes(symbols, order) for order in _orders(self._count)]

    def repair(self, number: int) -> bytes:
        if not self._count <= number < self._count + MOST_REPAIR:
            raise ValueError(f"repair symbol {number} of a block of {self._count}")
        one, two, three, four = self._prefixes
        a, b, c, d, e, f, g, h, i, j, k, m = cuts(self._count, number)
        mixed = (
            one[a] ^ one[b] ^ one[c] ^ two[d] ^ two[e] ^ two[f]
            ^ three[g] ^ three[h] ^ three[i] ^ four[j] ^ four[k] ^ four[m]
        )  # fmt: skip
        return mixed.to_bytes(self._bytes, "little")


class Fountain:
    """See `Code`."""

    name = "fountain-1"
    most_repair = MOST_REPAIR

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
        rows = [cuts(count, number) for number in usable]
        sums = solve(_marks(count, missing, rows), wanted)
        if len(sums) < wanted:
            return wanted - len(sums)  # found out before a symbol was touched
        values = [0] * len(rows)
        used = reduce(or_, sums)  # what is too much is left out: each row cuts every order
        chosen = [at for at in range(len(rows)) if used >> at & 1]
        with memoryview(block) as view:
            totals = _totals(view, symbol_bytes, missing, [rows[at] for at in chosen])
            for at, total in zip(chosen, totals, strict=True):
                values[at] = total ^ int.from_bytes(repairs[usable[at]], "little")
            for symbol, value in zip(missing, add_up(sums, values), strict=True):
                start = symbol * symbol_bytes
                length = min(symbol_bytes, len(view) - start)
                value &= (1 << 8 * length) - 1  # beyond the end there are zeros, or lies
                view[start : start + length] = value.to_bytes(length, "little")
        return 0


def _marks(count: int, missing: Sequence[int], rows: Sequence[Sequence[int]]) -> list[int]:
    """For each row which of the missing symbols it holds, a bit each, the first lowest."""
    marks = [0] * len(rows)
    for places, first in zip(_places(count), FIRST_CUTS, strict=True):
        lost = sorted((places[symbol], 1 << bit) for bit, symbol in enumerate(missing))
        ends = [place for place, _ in lost]
        before = list(accumulate((mark for _, mark in lost), xor, initial=0))
        marks = [
            mark
            ^ before[bisect_left(ends, row[first])]
            ^ before[bisect_left(ends, row[first + 1])]
            ^ before[bisect_left(ends, row[first + 2])]
            for mark, row in zip(marks, rows, strict=True)
        ]
    return marks


def _totals(
    view: memoryview, symbol_bytes: int, missing: Sequence[int], rows: Sequence[Sequence[int]]
) -> list[int]:
    """For each row the sum of the symbols of a block that are here.

    The cuts of all rows part an order into stretches; each symbol is added to its stretch of
    each order as it is read, so that no integer outlives its turn in the processor's cache.
    """
    count = source_symbols(len(view), symbol_bytes)
    here = bytearray(b"\1") * count
    for symbol in missing:
        here[symbol] = 0
    stretches, sums = [], []
    for places, first in zip(_places(count), FIRST_CUTS, strict=True):
        is_cut = bytearray(count + 1)
        for row in rows:
            for cut in row[first : first + CUTS]:
                is_cut[cut] = 1
        stretch = list(accumulate(is_cut))
        stretches.append((stretch, map(stretch.__getitem__, places)))
        sums.append([0] * (stretch[-1] + 1))
    (cut_a, of_a), (cut_b, of_b), (cut_c, of_c), (cut_d, of_d) = stretches
    one, two, three, four = sums
    number_of, starts = int.from_bytes, range(0, max(1, len(view)), symbol_bytes)
    for at, a, b, c, d in compress(zip(starts, of_a, of_b, of_c, of_d, strict=True), here):
        value = number_of(view[at : at + symbol_bytes], "little")
        one[a] ^= value
        two[b] ^= value
        three[c] ^= value
        four[d] ^= value
    # What lies before a cut is what the stretches before it hold together.
    one, two, three, four = (list(accumulate(each, xor, initial=0)) for each in sums)
    return [
        one[cut_a[a]] ^ one[cut_a[b]] ^ one[cut_a[c]]
        ^ two[cut_b[d]] ^ two[cut_b[e]] ^ two[cut_b[f]]
        ^ three[cut_c[g]] ^ three[cut_c[h]] ^ three[cut_c[i]]
        ^ four[cut_d[j]] ^ four[cut_d[k]] ^ four[cut_d[m]]
        for a, b, c, d, e, f, g, h, i, j, k, m in rows
    ]  # fmt: skip


FOUNTAIN = Fountain()
