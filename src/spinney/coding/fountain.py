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
from functools import lru_cache
from hashlib import blake2b, shake_128
from itertools import accumulate
from operator import xor
from struct import Struct

from spinney.coding.code import source_symbols
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


def _prefixes(symbols: Sequence[int]) -> list[list[int]]:
    """For each order: the prefixes at 0 to K."""
    return [
        list(accumulate(map(symbols.__getitem__, order), xor, initial=0))
        for order in _orders(len(symbols))
    ]


def _mixed(prefixes: Sequence[Sequence[int]], at: Sequence[int]) -> int:
    one, two, three, four = prefixes
    a, b, c, d, e, f, g, h, i, j, k, m = at
    return (
        one[a] ^ one[b] ^ one[c] ^ two[d] ^ two[e] ^ two[f]
        ^ three[g] ^ three[h] ^ three[i] ^ four[j] ^ four[k] ^ four[m]
    )  # fmt: skip


class FountainEncoder:
    """Repair symbols of one block.  Takes about five times the block's size in memory."""

    def __init__(self, block: Buffer, symbol_bytes: int) -> None:
        view = memoryview(block)
        self._bytes = symbol_bytes
        self._count = source_symbols(len(view), symbol_bytes)
        self._prefixes = _prefixes(
            [
                int.from_bytes(view[at * symbol_bytes : (at + 1) * symbol_bytes], "little")
                for at in range(self._count)
            ]
        )

    def repair(self, number: int) -> bytes:
        if not self._count <= number < self._count + MOST_REPAIR:
            raise ValueError(f"repair symbol {number} of a block of {self._count}")
        mixed = _mixed(self._prefixes, cuts(self._count, number))
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
        usable = {
            number: data
            for number, data in repairs.items()
            if len(data) == symbol_bytes and count <= number < count + MOST_REPAIR
        }
        if len(usable) < wanted:
            return wanted - len(usable)
        with memoryview(block) as view:
            pivots = _eliminate(
                _equations(view, symbol_bytes, missing, usable), wanted, 8 * symbol_bytes
            )
            if len(pivots) < wanted:
                return wanted - len(pivots)
            solved = _substitute(pivots, wanted, 8 * symbol_bytes)
            for symbol, value in zip(missing, solved, strict=True):
                start = symbol * symbol_bytes
                length = min(symbol_bytes, len(view) - start)
                value &= (1 << 8 * length) - 1  # beyond the end there are zeros, or lies
                view[start : start + length] = value.to_bytes(length, "little")
        return 0


def _equations(
    view: memoryview, symbol_bytes: int, missing: Sequence[int], repairs: Mapping[int, Buffer]
) -> list[int]:
    """One integer for each repair symbol: which missing ones it holds, above their sum."""
    count = source_symbols(len(view), symbol_bytes)
    symbols = [
        int.from_bytes(view[at * symbol_bytes : (at + 1) * symbol_bytes], "little")
        for at in range(count)
    ]
    for symbol in missing:
        symbols[symbol] = 0
    width = 8 * symbol_bytes
    # A prefix is that of the symbols that are here and a mark for each missing one in it.
    marked = []
    for prefixes, places in zip(_prefixes(symbols), _places(count), strict=True):
        lost = sorted((places[symbol], bit) for bit, symbol in enumerate(missing))
        at = [place for place, _ in lost]
        masks = list(accumulate((1 << width + bit for _, bit in lost), xor, initial=0))
        marked.append((prefixes, at, masks))
    rows = []
    for number, data in repairs.items():
        row = int.from_bytes(data, "little")
        cut = iter(cuts(count, number))
        for prefixes, at, masks in marked:
            for _ in range(CUTS):
                place = next(cut)
                row ^= prefixes[place] ^ masks[bisect_left(at, place)]
        rows.append(row)
    return rows


def _eliminate(rows: list[int], wanted: int, width: int) -> dict[int, int]:
    """Independent rows by the length in bits of each: its highest mark leads it."""
    pivots: dict[int, int] = {}
    for row in rows:
        while (length := row.bit_length()) > width:
            pivot = pivots.get(length)
            if pivot is None:
                pivots[length] = row
                break
            row ^= pivot
        if len(pivots) == wanted:
            break
    return pivots


def _substitute(pivots: dict[int, int], wanted: int, width: int) -> list[int]:
    """The missing symbols, lowest mark first: each row's lower marks are solved before it."""
    solved: list[int] = []
    for bit in range(wanted):
        row = pivots[width + bit + 1]
        marks = (row >> width) ^ (1 << bit)
        row ^= (marks | 1 << bit) << width
        while marks:
            lowest = marks & -marks
            row ^= solved[lowest.bit_length() - 1]
            marks ^= lowest
        solved.append(row)
    return solved


FOUNTAIN = Fountain()
