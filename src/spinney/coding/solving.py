"""Linear equations over GF(2) on integers, a few columns at a time ("four Russians").  Pure.

`solve` works on marks alone, small integers; `sums.add_up` then touches symbols, each as seldom
as can be.  Both take 2^g sums of g rows into a table and look up what a row needs of them: for
745 unknowns a third of the exclusive ors that one column at a time takes.
"""

from __future__ import annotations

from collections.abc import Sequence

FEW = 224
"""Unknowns up to which tables of 16 cost less than tables of 256."""


def solve(marks: Sequence[int], wanted: int) -> list[int]:
    """Which rows make each unknown when they are added up.

    `marks`: for each row, which of the `wanted` unknowns it holds, a bit each.  Returns for
    unknown 0, 1, ... a bit for each row.  If the rows do not tell all unknowns apart, the list
    is shorter: as long as their rank.
    """
    at_once = 4 if wanted <= FEW else 8
    # Above its marks each row tells what it is made of; columns that are done are shifted out.
    rest = [row | 1 << wanted + at for at, row in enumerate(marks)]
    solved: list[int] = []
    for first in range(0, wanted, at_once):
        columns = min(at_once, wanted - first)
        pivots, rest = _pivots(rest, columns)
        table = _table([pivots.get(column, 0) for column in range(columns)])
        low = (1 << columns) - 1
        solved = [(row ^ table[row & low]) >> columns for row in solved]
        solved += [pivots[column] >> columns for column in sorted(pivots)]
        rest = [(row ^ table[row & low]) >> columns for row in rest]
    return solved


def _pivots(rows: Sequence[int], columns: int) -> tuple[dict[int, int], list[int]]:
    """Rows that lead the lowest `columns` columns, by column, each with a bit in that one only;
    and the other rows."""
    low = (1 << columns) - 1
    pivots: dict[int, int] = {}
    others: list[int] = []
    for at, row in enumerate(rows):
        if len(pivots) == columns:
            others += rows[at:]
            break
        for column, pivot in pivots.items():
            if row >> column & 1:
                row ^= pivot
        if not row & low:
            others.append(row)
            continue
        column = (row & -row).bit_length() - 1
        for other, pivot in pivots.items():
            if pivot >> column & 1:
                pivots[other] = pivot ^ row
        pivots[column] = row
    return pivots, others


def _table(rows: Sequence[int]) -> list[int]:
    """The sum of each choice of these rows, in the order of the choice's bits."""
    table = [0]
    for row in rows:
        table += [held ^ row for held in table]
    return table
