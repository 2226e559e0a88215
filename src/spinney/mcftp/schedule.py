"""`Schedule`: which sender sends which blocks in which order.  Pure.

Blocks held and wanted are bits of an integer: block b is `1 << b`.  A block is given to one
sender, so that nothing comes twice.  Senders are as few as hold what is wanted, those that have
sent little before those that have sent a whole file already: so what a late one missed comes
from other receivers.  Blocks that few hold go first, and each sender's share is as large as its
rate, so that all end together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

RUNS_MAX = 200
"""Runs of one sender in one schedule; what is beyond comes with the next schedule."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A member that is willing to send.

    `held`: its blocks, as bits.  `up_bytes_per_s`: 0 where it is not known.  `sent_blocks`: how
    much it has sent already, in blocks.
    """

    peer: bytes
    held: int
    up_bytes_per_s: int = 0
    sent_blocks: float = 0.0


@dataclass(frozen=True, slots=True)
class Share:
    """What one sender is to send, as (first, count) runs, and how fast."""

    peer: bytes
    runs: tuple[tuple[int, int], ...]
    rate_bytes_per_s: int

    @property
    def block_count(self) -> int:
        return sum(count for _, count in self.runs)


def bits_of(runs: Iterable[tuple[int, int]]) -> int:
    """The blocks of some runs."""
    bits = 0
    for first, count in runs:
        bits |= ((1 << count) - 1) << first
    return bits


def runs_of(bits: int) -> list[tuple[int, int]]:
    """(first, count) of the ones of `bits`, rising."""
    rows = []
    at = 0
    while bits:
        zeros = (bits & -bits).bit_length() - 1
        bits >>= zeros
        at += zeros
        ones = (~bits & (bits + 1)).bit_length() - 1
        rows.append((at, ones))
        bits >>= ones
        at += ones
    return rows


def choose(wanted: int, holders: Sequence[Holder], blocks: int, most: int) -> list[Holder]:
    """Few senders that together hold all that can be had of `wanted`.

    Those that have sent less than the whole file once come first; among equals the one that has
    sent least, then the fastest, then the lowest id."""
    chosen: list[Holder] = []
    left = wanted
    for fresh in (True, False):
        group = [each for each in holders if (each.sent_blocks < blocks) is fresh]
        while left and group and len(chosen) < most:
            best = min(
                group,
                key=lambda each: (
                    -(each.held & left).bit_count(),
                    each.sent_blocks,
                    -each.up_bytes_per_s,
                    each.peer,
                ),
            )
            if not best.held & left:
                break
            chosen.append(best)
            group.remove(best)
            left &= ~best.held
    return chosen


def assign(
    wanted: int, chosen: Sequence[Holder], rate_bytes_per_s: int, holders: Sequence[Holder] = ()
) -> list[Share]:
    """Each wanted block to one of the chosen that hold it; `rate_bytes_per_s` for all together.

    `holders`: everybody, to know what is rare."""
    shares = {each.peer: 0 for each in chosen}
    # Blocks by who can send them: those that only one holds are settled before the others.
    classes: dict[tuple[int, ...], int] = {(): wanted}
    for number, each in enumerate(chosen):
        split: dict[tuple[int, ...], int] = {}
        for who, bits in classes.items():
            if bits & each.held:
                split[(*who, number)] = split.get((*who, number), 0) | bits & each.held
            if bits & ~each.held:
                split[who] = split.get(who, 0) | bits & ~each.held
        classes = split
    classes.pop((), None)
    speeds = [_speed(each, rate_bytes_per_s) for each in chosen]
    # Who has sent more than the others before gets less now.
    least = min((each.sent_blocks for each in chosen), default=0.0)
    loads = [each.sent_blocks - least for each in chosen]
    for who in sorted(classes, key=lambda row: (len(row), row)):
        for number, bits in _divide(classes[who], who, loads, speeds):
            shares[chosen[number].peer] |= bits
    rows = [(each, shares[each.peer]) for each in chosen if shares[each.peer]]
    total = sum(bits.bit_count() for _, bits in rows)
    return [
        Share(
            each.peer,
            tuple(ordered(bits, holders)),
            max(
                1, min(_speed(each, rate_bytes_per_s), rate_bytes_per_s * bits.bit_count() // total)
            ),
        )
        for each, bits in rows
    ]


def _speed(holder: Holder, rate: int) -> int:
    return min(rate, holder.up_bytes_per_s) if holder.up_bytes_per_s else rate


def _divide(
    bits: int, who: tuple[int, ...], loads: list[float], speeds: Sequence[int]
) -> list[tuple[int, int]]:
    """Cuts blocks that several hold into one piece for each, so that all end together."""
    count = bits.bit_count()
    # Water filling: the level at which the sum of what is added is `count`.
    order = sorted(who, key=lambda number: (loads[number] / speeds[number], number))
    level, speed, used = 0.0, 0, 0.0
    for place, number in enumerate(order):
        speed += speeds[number]
        used += loads[number]
        level = (count + used) / speed
        after = order[place + 1] if place + 1 < len(order) else None
        if after is None or level <= loads[after] / speeds[after]:
            break
    rows = []
    left = bits
    for number in order:
        if not left:
            break
        amount = round(max(0.0, level * speeds[number] - loads[number]))
        piece = _lowest(left, amount) if number != order[-1] else left
        if piece:
            rows.append((number, piece))
            loads[number] += piece.bit_count()
            left &= ~piece
    if left:
        rows.append((order[0], left))
        loads[order[0]] += left.bit_count()
    return rows


def _lowest(bits: int, amount: int) -> int:
    """The `amount` lowest ones of `bits`."""
    taken = 0
    for first, count in runs_of(bits):
        if amount <= 0:
            break
        count = min(count, amount)
        taken |= ((1 << count) - 1) << first
        amount -= count
    return taken


def ordered(bits: int, holders: Sequence[Holder]) -> list[tuple[int, int]]:
    """Runs, those of rare blocks first: blocks that one holds, two hold, and the rest."""
    rare = []
    left = bits
    seen = several = many = 0
    for each in holders:
        many |= several & each.held
        several |= seen & each.held
        seen |= each.held
    for part in (left & ~several, left & several & ~many, left & many):
        rare += runs_of(part)
    return rare[:RUNS_MAX]
