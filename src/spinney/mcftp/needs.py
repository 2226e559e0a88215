"""`Needs`: what a receiver asks of one stream's sender, and what it leaves to others.  Pure.

A report says how many symbols of a block are lacking after so many passes and repair symbols
have gone by.  Whoever hears a report (or a mark) that covers its own lack stays silent; timers
are drawn from a truncated exponential distribution (RFC 5401, 4.3.2), so that of a thousand
receivers that lost the same burst a handful speak.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log

from spinney.mcftp.packets import Lack, Mark, Need
from spinney.net.host import Rng

MAX_RECORDS = 4_096
"""Blocks of which we know how far the sender is; of others we ask, and the next mark tells."""
MAX_COVERED = 64
"""Runs of whole blocks that somebody asked for."""
LOST_AFTER = 2.0
"""Round trips after which a mark that plans nothing for a report means that it was lost."""
ALONE = 2
"""Up to so many receivers nobody waits for anybody."""


def backoff_s(most_s: float, receivers: int, rng: Rng) -> float:
    """How long to wait with a report: up to `most_s`, late rather than early."""
    if receivers < ALONE:
        return 0.0
    scale = log(receivers) + 1.0
    low = scale / (most_s * (exp(scale) - 1.0))
    drawn = rng.uniform(low, scale / most_s + low)
    return min(most_s, most_s / scale * log(drawn * (exp(scale) - 1.0) * most_s / scale))


@dataclass(slots=True)
class Record:
    """How far the sender is with a block.  `passes` and `over`: passes and repair symbols gone
    by.  `hope`: repair symbols that are believed to come, until `hope_until`; `told_at`: since
    a report asked for them.  `lost`: once it was lost, and is believed for the whole time now: a
    sender may also have put it off."""

    passes: int = 1
    over: int = 0
    hope: int = 0
    hope_until: float = 0.0
    told_at: float = 0.0
    lost: bool = False


class Needs:
    """One stream's."""

    def __init__(self, hope_s: float, most_lacks: int, most_runs: int) -> None:
        self._hope_s = hope_s
        self._most_lacks = most_lacks
        self._most_runs = most_runs
        self._records: OrderedDict[int, Record] = OrderedDict()
        self._covered: list[tuple[int, int, float]] = []
        """(first, end, until) of runs that will be sent again."""

    def record(self, block: int) -> Record:
        row = self._records.get(block)
        if row is None:
            row = self._records[block] = Record()
            if len(self._records) > MAX_RECORDS:
                self._records.popitem(last=False)
        return row

    def forget(self, block: int) -> None:
        """It is whole."""
        self._records.pop(block, None)

    # -- what is heard ------------------------------------------------------------------

    def repair_seen(self, block: int, turn: int) -> bool:
        """A repair symbol went by; True if it is the last that was to come."""
        row = self._records.get(block) or self.record(block)
        if turn >= row.over:
            row.over = turn + 1
        return row.over >= row.hope

    def marked(self, mark: Mark, now: float) -> None:
        """What the sender itself says counts most."""
        until = now + self._hope_s
        heard_by = now - LOST_AFTER * mark.round_trip_us / 1e6
        for block, passes, repairs, planned in mark.states:
            row = self.record(block)
            if passes > row.passes:
                row.passes = passes
            if repairs > row.over:
                row.over = repairs
            if planned > row.over:
                row.hope = max(row.hope, planned)
                row.hope_until = until
                row.lost = False
            elif row.hope > planned and row.told_at < heard_by and not row.lost:
                row.hope, row.lost = row.over, True
        for first, count in mark.coming:
            self._cover(first, first + count, now)

    def overheard(self, need: Need, now: float, whole_from: float) -> None:
        """Another receiver's report, not checked: believed for a while.  Reports of more than
        `whole_from` of a block may be put off by the sender, and count for nothing here."""
        for lack in need.lacks:
            row = self.record(lack.block)
            target = lack.repairs + lack.symbols
            if lack.symbols < whole_from and lack.passes >= row.passes and target > row.hope:
                row.hope, row.hope_until, row.told_at = target, now + self._hope_s, now
        for first, count in need.whole:
            self._cover(first, first + count, now)

    def _cover(self, first: int, end: int, now: float) -> None:
        self._covered = [row for row in self._covered if row[2] > now and row[:2] != (first, end)]
        self._covered.append((first, end, now + 2 * self._hope_s))
        del self._covered[:-MAX_COVERED]

    # -- what is said -------------------------------------------------------------------

    def waits_until(self, block: int, symbols: int, now: float) -> float:
        """Until when a lack is believed to be on its way: 0.0 if it must be told now."""
        row = self._records.get(block)
        if row is None or row.hope <= row.over or row.hope_until <= now:
            return 0.0
        # What is hoped for may be too little; then say so at once, the largest lack wins.
        return row.hope_until if row.over + symbols <= row.hope else 0.0

    def report(
        self,
        lacking: Iterable[tuple[int, int]],
        whole: Iterable[tuple[int, int]],
        now: float,
    ) -> tuple[tuple[Lack, ...], tuple[tuple[int, int], ...]]:
        """The lacks of (block, symbols) and runs (first, count) that are not covered yet; from
        now on they count as told."""
        lacks: list[Lack] = []
        for block, symbols in lacking:
            if len(lacks) == self._most_lacks:
                break
            if not symbols or self.waits_until(block, symbols, now):
                continue
            row = self.record(block)
            lacks.append(Lack(block, row.passes, row.over, min(symbols, 0xFFFF)))
            row.hope, row.hope_until, row.told_at = row.over + symbols, now + self._hope_s, now
        runs: list[tuple[int, int]] = []
        for first, count in whole:
            if len(runs) == self._most_runs:
                break
            if not any(
                start <= first and first + count <= end and until > now
                for start, end, until in self._covered
            ):
                runs.append((first, count))
        for first, count in runs:
            self._cover(first, first + count, now)
        return tuple(lacks), tuple(runs)
