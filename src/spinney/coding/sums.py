"""The prefixes and classes of a block (see `fountain`), and what is mended with them.  Pure.

Importing this loads numpy, which takes some 0.1 s: `Code.prepare`.  Its passes run at memory
speed and let go of the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from spinney.coding.fountain import CUTS, Row, Shape, words_of
from spinney.net.host import Buffer

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
STEP = 8
FEW_ROWS = 40
"""Up to so many rows only every eighth prefix is made, and the rest of each that is wanted is
added up from at most four symbols: writing them all takes longer than all the classes."""
ROWS_AT_ONCE = 8
"""Rows whose sums are laid side by side before they are added up: 260 kB."""
WORD_BITS = 64
FEW = 200
"""Sums up to which tables of 16 cost less than tables of 256."""
MOST_SPARE = 2
MOST_SPARE_BYTES = 3 << 20
"""Tables kept for the next block, and how large they may be: that of 2 MiB is 2.3 MB.  Fresh
memory costs as much as half of the passes."""
_spare: list[Array] = []


class Sums:
    """The sums of a block.

    `blank`: a symbol of zeros, if there is one: then only every eighth prefix is made, and the
    block is held.  Else it is not."""

    def __init__(
        self,
        view: memoryview,
        symbol_bytes: int,
        shape: Shape,
        table: Array | None = None,
        blank: int | None = None,
    ) -> None:
        symbols = _whole(view, symbol_bytes)
        (full, width), kind = symbols.shape, symbols.dtype
        last = bytes(view[full * symbol_bytes :]).ljust(symbol_bytes, b"\0")
        tail: Array = np.frombuffer(last, kind)
        table = np.empty((shape.sums, width), kind) if table is None else table
        table[0] = 0
        step = 1 if blank is None else STEP
        groups, left = divmod(full, step)
        if groups:
            parts = symbols
            if step > 1:
                rounds = symbols[: groups * step].reshape(groups, step, width)
                parts = np.bitwise_xor.reduce(rounds, axis=1)
            np.bitwise_xor.accumulate(parts, axis=0, out=table[1 : groups + 1])
        first = groups + 1
        if left:
            np.bitwise_xor.reduce(symbols[-left:], axis=0, out=table[first])
            table[first] ^= table[groups]
            first += 1
        if full < shape.symbols:
            np.bitwise_xor(table[first - 1], tail, out=table[first])
            first += 1
        self._table, self._first, self._shape = table, first, shape
        self._symbols, self._blank = (None if blank is None else symbols), blank
        for modulus in shape.moduli:
            _add_classes(symbols, tail, table[first : first + modulus])
            first += modulus

    def added(self, row: Row) -> bytes:
        """The sum of the symbols of a row; only where every prefix was made."""
        total: Array = np.bitwise_xor.reduce(self._table[row], axis=0)
        return total.tobytes()

    def totals(self, rows: Array) -> Array:
        """The same for many rows."""
        if self._symbols is None:
            return _added(self._table, rows)
        near, rest = _near(self._shape.symbols, len(self._symbols))
        places = rows + (self._first - self._shape.symbols - 1)
        places[:, :CUTS] = near[rows[:, :CUTS]]
        single = rest[rows[:, :CUTS]].reshape(len(rows), -1)
        single[single < 0] = self._blank
        totals = _added(self._table, places)
        totals ^= _added(self._symbols, single)
        return totals


@lru_cache(maxsize=8)
def _near(count: int, full: int) -> tuple[Array, Array]:
    """For each prefix of `count` symbols, all but `full` of them short: which of those that are
    made is nearest, and the symbols in between, -1 where there are fewer than can be."""
    cuts = np.arange(full + 1)
    low = cuts // STEP * STEP
    high = np.minimum(low + STEP, full)
    up = high - cuts < cuts - low
    made = np.where(up, -(-high // STEP), low // STEP)
    nearest = np.where(up, high, low)
    begin, end = np.minimum(cuts, nearest), np.maximum(cuts, nearest)
    rest = begin[:, None] + np.arange(STEP // 2)
    rest[rest >= end[:, None]] = -1
    if count > full:  # with the short last symbol: it is made
        made = np.append(made, -(-full // STEP) + 1)
        rest = np.concatenate((rest, np.full((1, STEP // 2), -1)))
    return made, rest


def _added(table: Array, rows: Array) -> Array:
    """For each row the exclusive or of those lines of a table that it names."""
    (count, sums), width = rows.shape, table.shape[1]
    totals = np.empty((count, width), table.dtype)
    side_by_side = np.empty((ROWS_AT_ONCE, sums, width), table.dtype)
    for at in range(0, count, ROWS_AT_ONCE):
        chosen = rows[at : at + ROWS_AT_ONCE]
        found = side_by_side[: len(chosen)]
        table.take(chosen, axis=0, out=found, mode="clip")  # another mode copies once more
        np.bitwise_xor.reduce(found, axis=1, out=totals[at : at + ROWS_AT_ONCE])
    return totals


def _whole(view: memoryview, symbol_bytes: int) -> Array:
    """The symbols of a block, a row each, but for a short last one: no copy.

    Their words are as large as can be; they may lie at any address."""
    kind = np.dtype(np.uint8 if symbol_bytes % 8 else np.uint64)
    full, width = len(view) // symbol_bytes, symbol_bytes // kind.itemsize
    if not full:
        return np.empty((0, width), kind)
    return np.frombuffer(view, kind, full * width).reshape(full, width)


def _add_classes(symbols: Array, tail: Array, room: Array) -> None:
    """Makes the classes of one modulus, which is the length of `room`."""
    modulus, (full, width) = len(room), symbols.shape
    rounds = full // modulus
    even = symbols[: rounds * modulus].reshape(rounds, modulus * width)
    np.bitwise_xor.reduce(even, axis=0, out=room.reshape(-1))
    left = symbols[rounds * modulus :]
    room[: len(left)] ^= left
    room[len(left)] ^= tail


def rows_of(shape: Shape, numbers: Sequence[int]) -> Array:
    """`fountain.row_of` of each of these repair symbols."""
    words = np.frombuffer(b"".join(words_of(shape, number) for number in numbers), "<u2")
    kinds = np.array(shape.kinds, np.int64)
    rows: Array = words.reshape(-1, len(kinds)).astype(np.int64)
    rows *= kinds[:, 0]
    rows >>= 16
    rows += kinds[:, 1]
    return rows


def marks_of(shape: Shape, missing: Sequence[int], rows: Array) -> list[int]:
    """For each row which of the missing symbols it holds, a bit each, the first lowest."""
    lost, wanted, classes = np.array(missing), len(missing), len(missing) + 1
    width = -(-wanted // WORD_BITS) * WORD_BITS
    # A prefix holds the first few of the missing: one row for each number of them.
    held = np.zeros((classes + sum(shape.moduli), width), bool)
    held[:classes] = np.tri(classes, width, -1, bool)
    first, columns = classes, np.arange(wanted)
    for modulus in shape.moduli:
        held[first + lost % modulus, columns] = True
        first += modulus
    kept = rows + (classes - shape.symbols - 1)
    kept[:, :CUTS] = np.searchsorted(lost, rows[:, :CUTS])
    words = np.packbits(held, axis=1, bitorder="little").view("<u8")
    marks = np.bitwise_xor.reduce(words.take(kept, axis=0), axis=1).tobytes()
    size = width // 8
    return [int.from_bytes(marks[at : at + size], "little") for at in range(0, len(marks), size)]


def mend(
    view: memoryview,
    symbol_bytes: int,
    shape: Shape,
    missing: Sequence[int],
    rows: Array,
    repairs: Sequence[Buffer | None],
    sums: Sequence[int],
) -> None:
    """Fills missing symbols into a block.

    `repairs`: the symbols of `rows`; None: of no use.  `sums`: for each missing symbol, a bit for
    each of the rows that make it."""
    symbols = _whole(view, symbol_bytes)
    (full, width), kind = symbols.shape, symbols.dtype
    whole = [symbol for symbol in missing if symbol < full]
    short = view[full * symbol_bytes :] if missing[-1] == full else None
    symbols[whole] = 0  # what lies in their places now is no part of any sum
    if short is not None:
        short[:] = bytes(len(short))
    most = shape.sums * width
    table = _spare.pop() if _spare else np.empty(0, kind)
    if table.size < most or table.dtype != kind:
        table = np.empty(most, kind)
    used = [at for at, repair in enumerate(repairs) if repair is not None]
    blank = whole[0] if whole and len(used) <= FEW_ROWS else None
    room = table[:most].reshape(-1, width)
    totals = Sums(view, symbol_bytes, shape, room, blank).totals(rows[used])
    if len(_spare) < MOST_SPARE and table.nbytes <= MOST_SPARE_BYTES:
        _spare.append(table)
    came = b"".join(repair for repair in repairs if repair is not None)
    totals ^= np.frombuffer(came, kind).reshape(totals.shape)
    values = np.zeros((len(rows), width), kind)
    values[used] = totals
    added = add_up(sums, values)
    symbols[whole] = added[: len(whole)]
    if short is not None:
        short[:] = added[-1].tobytes()[: len(short)]  # beyond it there are zeros, or lies


def add_up(sums: Sequence[int], values: Array) -> Array:
    """For each of the sums, the exclusive or of those values whose bits it has.

    The sums of each choice of a few values are made once and looked up ("four Russians")."""
    few = 4 if len(sums) <= FEW else 8
    stride = -(-len(values) // 8)
    bits = np.frombuffer(b"".join(s.to_bytes(stride, "little") for s in sums), np.uint8)
    bits = bits.reshape(len(sums), stride)
    columns: list[Array] = []
    for at in range(stride):
        columns += [bits[:, at]] if few == 8 else [bits[:, at] & 15, bits[:, at] >> 4]
    added = np.zeros((len(sums), values.shape[1]), values.dtype)
    found = np.empty_like(added)
    table = np.zeros((1 << few, values.shape[1]), values.dtype)
    for at in range(0, len(values), few):
        held = 1
        for value in values[at : at + few]:
            np.bitwise_xor(table[:held], value, out=table[held : 2 * held])
            held *= 2
        table.take(columns[at // few], axis=0, out=found, mode="clip")
        added ^= found
    return added
