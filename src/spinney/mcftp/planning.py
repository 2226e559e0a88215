"""`Plan`: what a sender sends next.  Pure.

Source symbols first, in the stream's order; repair as asked for, soon after; whole blocks again,
and what hopeless receivers ask for, when the order has been sent once.  A request names what it
was made after, so that the largest request wins, repeated ones cost nothing and one repair symbol
serves everybody.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque
from dataclasses import dataclass
from itertools import accumulate, islice

from spinney.mcftp.datasettings import DATA_SETTINGS, DataSettings
from spinney.mcftp.layout import SENDERS, BlockLayout
from spinney.mcftp.packets import MAX_RUNS, MAX_STATES, BlockState, Lack
from spinney.mcftp.reporters import Reporters

MAX_BLOCK_STATES = 4_096
"""Blocks whose repair count is remembered; for others it begins beyond all forgotten ones."""
MAX_LISTED = 4_096
"""Blocks to come that are looked at for a mark."""
LAST_PART = 16
"""One block in so many may get the last spare symbols: it is the few at the very end that count,
and where many receivers lag behind all of them seem to be the end."""
RECENT_S = 2.5
"""So long a block stays in the marks after something happened to it."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Symbols of one block to be sent now, rising; `repair` or source."""

    block: int
    numbers: list[int]
    repair: bool


@dataclass(slots=True)
class _Block:
    """`passes` of the source symbols; repair symbols `sent`, `planned`, and `later`: planned
    when nothing else is to be done."""

    passes: int
    sent: int
    planned: int
    later: int
    touched_at: float = 0.0


class Order:
    """Blocks in the order of a stream, as runs."""

    def __init__(self, runs: tuple[tuple[int, int], ...]) -> None:
        self.runs = runs
        self._ends = list(accumulate(count for _, count in runs))
        self.count = self._ends[-1] if runs else 0
        self._by_first = sorted(
            (first, count, end - count)
            for (first, count), end in zip(runs, self._ends, strict=True)
        )
        self._firsts = [row[0] for row in self._by_first]

    def at(self, position: int) -> int:
        """The block at a position below `count`."""
        run = bisect_right(self._ends, position)
        first, count = self.runs[run]
        return first + position - (self._ends[run] - count)

    def position(self, block: int) -> int | None:
        """Where a block stands (once), None if it is not in this order."""
        run = bisect_right(self._firsts, block) - 1
        if run < 0:
            return None
        first, count, start = self._by_first[run]
        return start + block - first if block < first + count else None


class Plan:
    """The sender's side of one stream."""

    def __init__(
        self,
        layout: BlockLayout,
        runs: tuple[tuple[int, int], ...],
        sender_number: int,
        settings: DataSettings = DATA_SETTINGS,
        *,
        first_turn: int = 0,
    ) -> None:
        """`first_turn`: where repair begins (by chance, after a restart under an old number)."""
        self._layout = layout
        self._sender_number = sender_number
        self._settings = settings
        self._floor = first_turn
        self.order = Order(runs)
        self.position = 0
        """Blocks of the order whose first pass has ended."""
        self.held = False
        """Nothing is sent yet."""
        self.skip = 0
        """Blocks that nobody lacks, as bits: their turn is passed over."""
        self.left = 0
        """Blocks that others will send, as bits: they are not sent again, though asked for."""
        self.reporters = Reporters(settings)
        self.source_symbols = 0
        self.repair_symbols = 0
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._repairs: deque[int] = deque()
        self._later: OrderedDict[int, bytes] = OrderedDict()
        """Blocks that hopeless receivers asked for, and who did."""
        self._again: dict[int, None] = {}
        self._debt = 0.0
        """Repair sent beyond its share, in datagrams."""
        self._last_left = max(1, self.order.count // LAST_PART)
        self._current: tuple[int, list[int], int] | None = None
        """The block whose source is being sent, its symbols, and how many have gone."""

    # -- what is asked ------------------------------------------------------------------

    def _block(self, block: int, now: float) -> _Block:
        known = self._blocks.get(block)
        if known is None:
            known = _Block(self._passes(block), self._floor, self._floor, self._floor)
            self._blocks[block] = known
            while len(self._blocks) > MAX_BLOCK_STATES:
                number, forgotten = self._blocks.popitem(last=False)
                self._floor = max(self._floor, forgotten.sent)
                self._recent.pop(number, None)
        self._blocks.move_to_end(block)
        known.touched_at = now
        self._recent[block] = None
        self._recent.move_to_end(block)
        while len(self._recent) > MAX_STATES:
            self._recent.popitem(last=False)
        return known

    def _passes(self, block: int) -> int:
        position = self.order.position(block)
        return int(position is not None and position < self.position)

    def asks_more(self, lack: Lack, peer: bytes) -> bool:
        """Could this request change the plan?"""
        known = self._blocks.get(lack.block)
        if known is None or lack.passes > known.passes:
            return True
        wanted = lack.symbols + self._spare(lack.symbols, peer)
        return min(lack.repairs, known.sent) + wanted > known.planned

    def ask(self, lack: Lack, peer: bytes, now: float) -> None:
        """A receiver lacks symbols of a block."""
        if lack.block >= self._layout.block_count:
            return
        count = self._layout.source_symbols(lack.block)
        block = self._block(lack.block, now)  # so that the next mark speaks of it
        if lack.passes < block.passes:
            return  # made before the pass that has just ended: the mark will say so
        if not block.passes and self.order.position(lack.block) is not None:
            return  # its turn has not come
        if self._sends_now(lack.block) or lack.block in self._again:
            return  # its source symbols are on their way
        if lack.symbols > self._settings.whole_share * count and count > 8:
            self._again[lack.block] = None
            return
        if self._leaves(lack.block, lack.symbols):
            self._again[lack.block] = None
            return
        wanted = lack.symbols + self._spare(lack.symbols, peer)
        target = min(lack.repairs + wanted, block.sent + wanted)
        if target <= block.planned:
            return
        if self.reporters.is_hopeless(peer, lack.symbols, count, self.sent):
            target = min(lack.repairs, block.sent) + lack.symbols
            if target > block.later:
                block.later = target
                self._later[lack.block] = peer
            return
        self.reporters.charge(peer, target - block.planned, self.sent)
        if block.planned == block.sent:
            self._repairs.append(lack.block)
        block.planned = target
        block.later = max(block.later, target)

    def _spare(self, symbols: int, peer: bytes) -> int:
        loss = min(0.25, self.reporters.loss(peer))
        last = 0
        if self.first_pass_over and self._last_left:
            self._last_left -= 1
            last = self._settings.last_spare_symbols
        return round(symbols * loss) + self._settings.spare_symbols + last

    def ask_whole(self, first: int, count: int) -> None:
        """A receiver has nothing of these blocks."""
        end = min(first + count, self._layout.block_count)
        for block in range(first, end):
            position = self.order.position(block)
            if position is not None and position >= self.position:
                continue  # still to come
            if not self._sends_now(block):
                self._again[block] = None

    def _leaves(self, block: int, symbols: int) -> bool:
        """Will others send it, to one who came in the middle of it?  What was lost is mended."""
        count = self._layout.source_symbols(block)
        return bool(self.left >> block & 1) and symbols > self._settings.hopeless_share * count

    def _sends_now(self, block: int) -> bool:
        return self._current is not None and self._current[0] == block

    def reorder(self, runs: tuple[tuple[int, int], ...]) -> None:
        """Another order from now on; what was asked for and not sent is still sent."""
        self.order = Order(runs)
        self.position = 0
        self._current = None

    # -- what is sent -------------------------------------------------------------------

    @property
    def sent(self) -> int:
        """Datagrams of data so far."""
        return self.source_symbols + self.repair_symbols

    @property
    def first_pass_over(self) -> bool:
        return self.position >= self.order.count

    def _pass_over(self) -> None:
        if self.skip and self._current is None:
            while not self.first_pass_over and self.skip >> self.order.at(self.position) & 1:
                self.position += 1

    def next_burst(self, most: int, now: float) -> Burst | None:
        """The next symbols, at most so many; None when there is nothing to send."""
        if self.held:
            return None
        self._pass_over()
        more_source = self._current is not None or not self.first_pass_over
        if self._repairs and (self._debt <= 0 or not more_source):
            return self._repair_burst(most, now)
        if more_source:
            return self._source_burst(most, now)
        again = self._next_again()
        if again is not None:
            self._begin(again)
            return self._source_burst(most, now)
        if self._later:
            number, peer = self._later.popitem(last=False)
            block = self._block(number, now)
            if self._leaves(number, block.later - block.sent):
                self._again[number] = None
            elif block.later > block.planned:
                # What is lost now counts, not what was when it asked.
                block.planned = block.later + self._spare(block.later - block.sent, peer)
                self._repairs.append(number)
            return self.next_burst(most, now)
        return None

    def _next_again(self) -> int | None:
        """The block to be sent again first."""
        left = self.left
        return next((block for block in self._again if not left >> block & 1), None)

    def upcoming(self, most: int) -> list[int]:
        """Blocks whose source symbols come next, to be read ahead."""
        ahead = range(self.position, min(self.order.count, self.position + most))
        rows = [self.order.at(position) for position in ahead]
        if len(rows) < most:
            rows += [block for block, _ in zip(self._again, range(most - len(rows)), strict=False)]
        return rows

    def _repair_burst(self, most: int, now: float) -> Burst:
        number = self._repairs[0]
        block = self._block(number, now)
        turns = range(block.sent, min(block.planned, block.sent + most))
        base = self._layout.repair_number(number, self._sender_number, 0)
        block.sent = turns.stop
        if block.sent >= block.planned:
            self._repairs.popleft()
        self.repair_symbols += len(turns)
        if not self.first_pass_over:
            self._debt += len(turns)
        return Burst(number, [base + SENDERS * turn for turn in turns], True)

    def _begin(self, block: int) -> None:
        self._again.pop(block, None)
        symbols = list(range(self._layout.source_symbols(block)))
        known = self._layout.known(block)
        if known:
            unsent = set(known)
            symbols = [symbol for symbol in symbols if symbol not in unsent]
        self._current = (block, symbols, 0)

    def _source_burst(self, most: int, now: float) -> Burst | None:
        if self._current is None:
            self._begin(self.order.at(self.position))
        assert self._current is not None
        block, symbols, at = self._current
        numbers = symbols[at : at + most]
        at += len(numbers)
        self._current = (block, symbols, at)
        self.source_symbols += len(numbers)
        share = self._settings.repair_share
        self._debt = max(-4.0 * most, self._debt - len(numbers) * share / (1.0 - share))
        if at >= len(symbols):
            self._end_block(block, now)
        return Burst(block, numbers, False) if numbers else self.next_burst(most, now)

    def _end_block(self, block: int, now: float) -> None:
        self._current = None
        state = self._block(block, now)
        first = not self.first_pass_over and self.order.at(self.position) == block
        if first:
            self.position += 1
        state.passes = min(255, state.passes + 1)

    # -- what is told -------------------------------------------------------------------

    def states(self, now: float) -> tuple[BlockState, ...]:
        """For the marks: recent blocks, the newest last."""
        while self._recent:
            number = next(iter(self._recent))
            state = self._blocks[number]
            if now - state.touched_at <= RECENT_S or state.planned > state.sent:
                break
            del self._recent[number]
        rows = []
        for number in self._recent:
            each = self._blocks[number]
            rows.append(BlockState(number, each.passes, each.sent, each.planned))
        return tuple(rows)

    def coming(self) -> tuple[tuple[int, int], ...]:
        """Runs of blocks that will be sent again, the first ones."""
        runs: list[tuple[int, int]] = []
        for block in islice(self._again, MAX_LISTED):
            if runs and sum(runs[-1]) == block:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            elif len(runs) == MAX_RUNS:
                break
            else:
                runs.append((block, 1))
        return tuple(runs)

    @property
    def asked_again(self) -> int:
        """How many whole blocks are asked for again."""
        return len(self._again)

    @property
    def idle(self) -> bool:
        """Nothing to send."""
        more = self._repairs or self._later or self._current or self._next_again() is not None
        return self.held or (not more and self.first_pass_over)
