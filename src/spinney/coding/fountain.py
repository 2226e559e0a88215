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
from itertools import accumulate
from operator import xor
from struct import Struct

from spinney.coding.code import source_symbols
from spinney.coding.solving import add_up, solve
from spinney.net.host import Buffer

ORDERS = 4
CUTS = 3
MOST_SYMBOLS = 1 << 16
"""More than the largest block has: 2 MiB are 1,490 symbols."""
MOST_REPAIR = (1 << 32) - MOST_SYMBOLS
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
        # First what to add up: it costs little, and tells whether there is enough.
        sums = solve(_marks(count, missing, rows), wanted)
        if len(sums) < wanted:
            return wanted - len(sums)
        with memoryview(block) as view:
            known = _symbols(view, symbol_bytes)
            for symbol in missing:
                known[symbol] = 0
            values = [int.from_bytes(repairs[number], "little") for number in usable]
            for order, begin in zip(_orders(count), range(0, ORDERS * CUTS, CUTS), strict=True):
                prefix = _prefixes(known, order)
                for at, row in enumerate(rows):
                    one, two, three = row[begin : begin + CUTS]
                    values[at] ^= prefix[one] ^ prefix[two] ^ prefix[three]
            for symbol, value in zip(missing, add_up(sums, values), strict=True):
                start = symbol * symbol_bytes
                length = min(symbol_bytes, len(view) - start)
                value &= (1 << 8 * length) - 1  # beyond the end there are zeros, or lies
                view[start : start + length] = value.to_bytes(length, "little")
        return 0


def _marks(count: int, missing: Sequence[int], rows: Sequence[Sequence[int]]) -> list[int]:
    """For each row: which missing symbols it holds, a bit each, the first lowest."""
    marked = []
    for places in _places(count):
        lost = sorted((places[symbol], 1 << bit) for bit, symbol in enumerate(missing))
        at = [place for place, _ in lost]
        # A prefix holds the missing symbols that lie before its cut.
        marked += [(at, list(accumulate((bit for _, bit in lost), xor, initial=0)))] * CUTS
    return [
        reduce(
            xor, (held[bisect_left(at, cut)] for (at, held), cut in zip(marked, row, strict=True))
        )
        for row in rows
    ]


FOUNTAIN = Fountain()
