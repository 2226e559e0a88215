"""How fast a sender sends: the `Rate` Protocol, and a rate that is found.  Pure.

Loss alone says little: radio and cheap cables lose at any rate, a full queue only beyond its
own.  So a found rate climbs while the reported loss is what it was at lower rates and the queue
on the way (the delay of marks beyond the least that was seen, as LEDBAT measures it, RFC 6817)
stays short, and falls to what was delivered when either grows.  A queue that stays long after
that is filled by somebody else: then the rate falls on to half of the way's capacity.  If it is
long even so, its length says nothing about us: as a TCP flow does, the rate then climbs steadily
and falls at each loss, until the queue is short again.
"""

from __future__ import annotations

from typing import Protocol

INTERVAL_S = 0.3
"""Between two decisions: a mark, a report's timer and a round trip of a busy machine."""
START_INTERVAL_S = 0.1
"""…until the first limit: a small file must not be over before its rate is found."""
START_FACTOR, FAST_FACTOR = 2.0, 1.5
"""Growth of an interval until the first limit; the second beyond a tenth of a gigabit: what is sent
too much, until a report says so, is sent twice."""
FAST_BYTES_PER_S = 10e6
CLIMB, NEAR_CLIMB, MOST_CLIMB = 1.06, 0.015, 0.25
"""Growth of an interval after it: a fifth a second, a twentieth near the capacity, and there half
as much more with each interval that goes well: a limit that was none is soon forgotten."""
LONG_QUEUE_S = 0.012
EXCESS, EXCESS_FACTOR = 0.02, 1.5
"""Loss is congestion when it is more than so many times the usual loss and so much."""
BELOW = 0.95
"""Of what was delivered: lets the queue drain."""
MIDWAY = 0.75
"""Between the last rate that was carried and its double."""
DRAIN = 1.3
"""So much more than the queue is left out in the first interval after a limit: it is gone before
it is judged again."""
REPORT_S = 0.03
"""A queue is reported so much later than it was: it has grown meanwhile by what was too much."""
LEAST_DRAIN, MOST_DRAIN = 0.5, 0.9
"""Of the capacity, in that interval."""
SHRINKING, MOST_DRAINS = 0.8, 3
"""A queue of so much less than at its longest is still that of before: it is waited for, at most so
many intervals, before it is judged."""
MOST_MORE = 1.2
"""So many times what was thought that the way carries, by a second measure."""
YIELD = 0.75
"""Fall of an interval while the queue stays long."""
EASE = 0.85
"""Of the capacity: below, there is no queue of ours."""
SAME_LOSS = 0.8
SILENT = 3
"""So many decisions without a report, though reports are asked for: they are stuck in a queue of
ours, or lost as all else is."""
SILENT_FALL = 0.5
HALF = 0.45
"""Of the capacity, a little less than half: nobody makes us go below by a long queue alone."""
CONTENDED_AFTER = 3
"""Reports of a long queue at half of the capacity: it is not ours."""
CONTENDED_STEP_BYTES_PER_S = 1e6
"""Growth of an interval beside somebody who fills the queue: what a TCP flow of 20 ms adds."""
CONTENDED_EXCESS, CONTENDED_FALL = 0.004, 0.7
"""There loss is the signal, and the fall about that of TCP (RFC 9438: 0.7)."""
CALM_AFTER = 4
"""Intervals with a short queue: whoever filled it has gone."""
LARGEST_USUAL_LOSS = 0.25
FADE = 0.7


class Rate(Protocol):
    """Says the rate, and hears what became of it."""

    @property
    def bytes_per_s(self) -> float:
        """Payload, headers excluded."""

    @property
    def is_found(self) -> bool:
        """Does it depend on what is heard?  Then our own volleys must not look like a queue."""

    @property
    def asks(self) -> int:
        """What marks ask for (`Mark.asks`)."""

    def heard(self, loss: float, queue_s: float, now: float, came_bytes_per_s: float = 0) -> None:
        """A receiver reported so much loss (0 to 1) and delay of what was sent lately, and what
        came (0: not known)."""

    def sent(self, size_bytes: int, now: float) -> None:
        """So much was handed to the network."""


class FoundRate:
    """A rate between `floor` and `ceiling`, from `start` on."""

    is_found = True
    asks = 1

    def __init__(self, start: float = 2e6, *, floor: float = 1e5, ceiling: float = 118e6) -> None:
        assert 0 < floor <= ceiling
        self.bytes_per_s = min(max(start, floor), ceiling)
        self.usual_loss = 0.0
        self.capacity: float | None = None
        """What the way carries, once a limit was met."""
        self._floor = floor
        self._ceiling = ceiling
        self._decided_at: float | None = None
        self._loss: float | None = None
        self._queue_s = 0.0
        self._deaf = False
        self._fall_loss = 0.0
        self._drained: float | None = None
        """The rate after a fall, once the queue has drained."""
        self._longest_s = self._latest_s = 0.0
        """The queue since the last fall, and as it was reported last."""
        self._drains = 0
        self._before: tuple[float | None, float] = (None, self.bytes_per_s)
        """Capacity and rate before the fall, should it have been for nothing."""
        self._congested = False
        self.contended = False
        """Somebody else fills the queue."""
        self._long, self._calm, self._good = 0, 0, 0
        """Decisions in a row: a long queue at half, a short one beside another, climbs near."""
        self._heard_any = False
        self._silent = 0
        """Decisions in a row that nobody had reported for."""
        self._limited = False
        """A report says that it is too much: decided at once."""
        self._came = 0.0
        """The least that came, by the reports that say so."""

    def heard(self, loss: float, queue_s: float, now: float, came_bytes_per_s: float = 0) -> None:
        self._loss = max(loss, self._loss or 0.0)
        self._queue_s = max(queue_s, self._queue_s)
        self._longest_s, self._latest_s = max(queue_s, self._longest_s), queue_s
        if self._excess(loss) > 0 or (queue_s > LONG_QUEUE_S and not self.contended):
            self._limited = not self._deaf
            if came_bytes_per_s > 0:
                self._came = min(came_bytes_per_s, self._came or came_bytes_per_s)

    def sent(self, size_bytes: int, now: float) -> None:
        if self._decided_at is None:
            self._decided_at = now
        elif now - self._decided_at >= self._interval_s or self._limited:
            self._decided_at = now
            self._decide()
            self._loss, self._queue_s, self._came, self._limited = None, 0.0, 0.0, False

    def _excess(self, loss: float) -> float:
        return loss - EXCESS_FACTOR * self.usual_loss - EXCESS

    @property
    def _interval_s(self) -> float:
        return START_INTERVAL_S if self.capacity is None and not self._deaf else INTERVAL_S

    def _decide(self) -> None:
        if self._deaf:
            if self._drained is not None and self._drains_still:
                self._drains += 1
                return
            self._deaf = False  # what is reported now was sent before the fall
            if self._drained is not None:
                self._set(max(self._drained, BELOW * self._carried()))
                self._drained = None
            return
        if self._loss is None:  # nobody has said anything: faster would be blind
            self._silent += 1
            if self._silent >= SILENT:
                self._set(SILENT_FALL * self.bytes_per_s)
            return
        self._silent = 0
        loss = self._loss
        if not self._heard_any and loss <= LARGEST_USUAL_LOSS and self._queue_s <= LONG_QUEUE_S:
            self.usual_loss = loss  # at a modest rate it is not we who cause it
        self._heard_any = True
        if self.contended:
            self._contend(loss)
            return
        excess = self._excess(loss)
        if excess > 0 or self._queue_s > LONG_QUEUE_S:
            self._good = 0
            self._fall(loss, excess)
            return
        self._congested = False
        self._long = 0
        self._learn(min(loss, LARGEST_USUAL_LOSS))
        if self.capacity is None:
            slow = self.bytes_per_s < FAST_BYTES_PER_S
            self._set(self.bytes_per_s * (START_FACTOR if slow else FAST_FACTOR))
            return
        self.capacity = max(self.capacity, self.bytes_per_s)
        if self.bytes_per_s > BELOW * BELOW * self.capacity:
            growth = 1 + min(MOST_CLIMB, NEAR_CLIMB * 1.5**self._good)
            self._good += 1
        else:
            growth = CLIMB
        self._set(self.bytes_per_s * growth)

    def _contend(self, loss: float) -> None:
        """Beside somebody who fills the queue: as TCP does, until the queue is short again."""
        if self._queue_s <= LONG_QUEUE_S:
            self._calm += 1
            if self._calm >= CALM_AFTER:
                self.contended = self._congested = False
                self.capacity = max(self.capacity or 0.0, self.bytes_per_s)
                return
        else:
            self._calm = 0
        if loss > EXCESS_FACTOR * self.usual_loss + CONTENDED_EXCESS:
            self._set(CONTENDED_FALL * self.bytes_per_s)
            self._deaf = True
        else:
            self._set(self.bytes_per_s + CONTENDED_STEP_BYTES_PER_S)

    def _learn(self, loss: float) -> None:
        """The usual loss is what there is at rates that the way carries with ease."""
        if loss < self.usual_loss or self.capacity is None or self._at_ease:
            self.usual_loss = FADE * self.usual_loss + (1 - FADE) * loss

    @property
    def _at_ease(self) -> bool:
        return self.capacity is not None and self.bytes_per_s < EASE * self.capacity

    def _carried(self) -> float:
        """What came while the queue of before was served: at a limit one short measure told it,
        perhaps too little.  Also the capacity is no less."""
        if not self._came or self.capacity is None or not self._is_first_limit:
            return 0.0
        carried = min(self._came / (1 - self.usual_loss), MOST_MORE * self.capacity)
        self.capacity = max(self.capacity, carried)
        return carried

    @property
    def _drains_still(self) -> bool:
        shrinking = LONG_QUEUE_S < self._latest_s < SHRINKING * self._longest_s
        return self._is_first_limit and shrinking and self._drains < MOST_DRAINS

    @property
    def _is_first_limit(self) -> bool:
        """Later ones may be somebody else's: those are yielded to at once."""
        return self._before[0] is None

    def _fall(self, loss: float, excess: float) -> None:
        """A limit: first to what was delivered, then on while the queue stays long."""
        same = SAME_LOSS * self._fall_loss < loss <= LARGEST_USUAL_LOSS
        same = same and self._queue_s <= LONG_QUEUE_S
        if excess > 0 and self._congested and same:
            # Slower, and yet as much is lost: it is not the queue that loses it.
            self.usual_loss = loss
            self._congested = False
            self.capacity, before = self._before
            self._set(before)
            return
        self._fall_loss = loss
        if not self._congested:
            self._before = self.capacity, self.bytes_per_s
        delivered = self.bytes_per_s * (1 - max(0.0, loss - self.usual_loss))
        if self._came:
            delivered = min(self.bytes_per_s, self._came / (1 - self.usual_loss))
        elif self.capacity is None and excess <= 0:
            delivered *= MIDWAY  # the queue has grown, and does not tell how fast it is served
        if self.capacity is None or not self._congested:
            self.capacity = max(delivered, 0.8 * (self.capacity or 0.0))
            self._drained = BELOW * min(delivered, self.capacity)
            beyond = max(0.0, self.bytes_per_s / max(1.0, delivered) - 1)
            drain = 1 - DRAIN * (self._queue_s + REPORT_S * beyond) / INTERVAL_S
            drain = min(MOST_DRAIN, max(LEAST_DRAIN, drain))
            self._set(drain * min(delivered, self.capacity))
        elif excess > 0:
            self.capacity = min(self.capacity, max(delivered, HALF * self.capacity))
            self._set(min(YIELD * self.bytes_per_s, BELOW * delivered))
        else:
            self._long += self.bytes_per_s <= 1.05 * HALF * self.capacity
            self._set(max(YIELD * self.bytes_per_s, HALF * self.capacity))
            if self._long >= CONTENDED_AFTER:
                self.contended, self._long, self._calm = True, 0, 0
                self._drained = None
        self._congested = True
        self._deaf = True
        self._longest_s, self._drains = self._queue_s, 0

    def _set(self, bytes_per_s: float) -> None:
        self.bytes_per_s = min(max(bytes_per_s, self._floor), self._ceiling)
