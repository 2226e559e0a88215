"""The prefixes and classes of a block (see `fountain`), and what is mended with them.  Pure.

Importing this loads numpy, which takes some 0.1 s: `Code.prepare`.  Its passes run at memory
speed and let go of the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from spinney.coding.fountain import CUTS, Row, Shape
from spinney.net.host import Buffer

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
DENSE = 3
"""If a third of all prefixes is wanted, all are made: that is one pass, where each one alone
costs a call."""
ROWS_AT_ONCE = 8
"""Rows whose sums are laid side by side before they are added up: 260 kB."""
FEW = 200
"""Sums up to which tables of 16 cost less than tables of 256."""
MOST_SPARE = 2
MOST_SPARE_BYTES = 3 << 20
"""Tables kept for the next block, and how large they may be: that of 2 MiB is 2.3 MB.  Fresh
memory costs as much as half of the passes."""
_spare: list[Array] = []


class Sums:
    """The sums of which the rows of a block are made; the block itself is not held.

    `rows`: those that will be asked for; None: any."""

    def __init__(
        self,
        view: memoryview,
        symbol_bytes: int,
        shape: Shape,
        rows: Array | None = None,
        table: Array | None = None,
    ) -> None:
        symbols = _whole(view, symbol_bytes)
        (full, width), kind = symbols.shape, symbols.dtype
        last = bytes(view[full * symbol_bytes :]).ljust(symbol_bytes, b"\0")
        tail: Array = np.frombuffer(last, kind)
        # Parts of the block as it lies: their ends are the prefixes that are made.
        starts = np.arange(full)
        parts = symbols
        if rows is not None:
            cuts = np.unique(rows[:, :CUTS])
            cuts = cuts[(cuts > 0) & (cuts < full)]
            if DENSE * (len(cuts) + 1) < full:
                starts = np.concatenate((starts[:1], cuts))
                parts = np.bitwise_xor.reduceat(symbols, starts, axis=0)
        prefixes = len(starts) + 2  # of nothing; after each part; and with a short last symbol
        needed = prefixes + shape.sums - shape.symbols - 1
        self._table = np.empty((needed, width), kind) if table is None else table[:needed]
        table = self._table
        table[0] = 0
        if full:
            np.bitwise_xor.accumulate(parts, axis=0, out=table[1 : prefixes - 1])
        np.bitwise_xor(table[prefixes - 2], tail, out=table[prefixes - 1])
        first = prefixes
        for modulus in shape.moduli:
            _add_classes(symbols, tail, table[first : first + modulus])
            first += modulus
        self._places = np.empty(shape.sums, np.intp)
        """Where each sum lies in the table."""
        self._places[starts] = np.arange(len(starts))
        self._places[full : shape.symbols + 1] = range(
            prefixes - 2, prefixes - 1 + shape.symbols - full
        )
        self._places[shape.symbols + 1 :] = np.arange(prefixes, needed)

    def added(self, row: Row) -> bytes:
        """The sum of the symbols of a row."""
        total: Array = np.bitwise_xor.reduce(self._table[self._places[row]], axis=0)
        return total.tobytes()

    def totals(self, rows: Array) -> Array:
        """The same for many rows."""
        places = self._places[rows]
        totals = np.empty((len(rows), self._table.shape[1]), self._table.dtype)
        for at in range(0, len(rows), ROWS_AT_ONCE):
            side_by_side = self._table[places[at : at + ROWS_AT_ONCE]]
            np.bitwise_xor.reduce(side_by_side, axis=1, out=totals[at : at + ROWS_AT_ONCE])
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


def mend(
    view: memoryview,
    symbol_bytes: int,
    shape: Shape,
    missing: Sequence[int],
    rows: Sequence[Row],
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
    most = (shape.sums + 2) * width
    table = _spare.pop() if _spare else np.empty(0, kind)
    if table.size < most or table.dtype != kind:
        table = np.empty(most, kind)
    room = table[:most].reshape(-1, width)
    used = [at for at, repair in enumerate(repairs) if repair is not None]
    indices = np.array([rows[at] for at in used], np.intp)
    totals = Sums(view, symbol_bytes, shape, indices, room).totals(indices)
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
    table = np.zeros((1 << few, values.shape[1]), values.dtype)
    for at in range(0, len(values), few):
        held = 1
        for value in values[at : at + few]:
            np.bitwise_xor(table[:held], value, out=table[held : 2 * held])
            held *= 2
        added ^= table[columns[at // few]]
    return added
