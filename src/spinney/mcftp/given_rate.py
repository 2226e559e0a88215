"""A rate that the user or the leader gave: a ceiling, obeyed as long as anybody can take it.  Pure.

A line that loses at random is sent to at the rate that was given.  But what no receiver takes,
not even the best one, is sent for nothing, and mending it costs the receivers the time in which
they would take more.  So when the best receiver loses more than chance explains, the rate falls
to what that one really got, and climbs again with care.  If as much is lost then, it is chance
all the same, and the rate is what was given.

Beyond a full gigabit it is seldom the line that is at its end, but a receiver's processor: such
rates are climbed to, and while the best receiver's queue is long it is sent as much as it takes.
"""

from __future__ import annotations

WINDOW_S = 0.1
"""Between two decisions: two marks and their reports."""
WINDOW_BYTES = 400 * 1_408
"""…and enough datagrams that their loss says something."""
START_BYTES_PER_S = 118e6
"""A full gigabit: rates up to it are obeyed from the first moment."""
CHANCE = 0.1
"""Of the best receiver's datagrams: a cable or a radio that loses more is no way for a file."""
LIMITED_CHANCE = 0.02
"""…once it was seen that the rate can be too much."""
EXCESS_FACTOR = 1.5
"""So many times the loss that was found to be chance."""
BELOW = 0.97
"""Of what came: a receiver's queue shrinks."""
LONG_QUEUE_S = 0.012
AIM_S = 0.03
"""The queue that is held then: a receiver never waits, and its buffer is not full."""
DRAIN_S, MOST_DRAIN = 0.3, 0.5
"""What is too much of a queue shall be gone after so long; so much is left out for it at most."""
START_FACTOR, CLIMB = 1.5, 1.04
"""Growth of a window, before and after the first limit."""
SAME_LOSS = 0.8
FALLS_IN_VAIN = 2
"""So many falls in a row after which as much is lost: it is chance."""
LARGEST_CHANCE = 0.95
"""What is worse is no way at all."""
SLOWEST_PART = 50
"""Nobody slows a stream below such a part of what was given."""
ASKING_S = 0.12
"""Until the next mark has asked them, and a busy machine has answered."""
TAKEN_S = 0.3
"""So long somebody is believed to take it all: his next report may be late or lost."""
SUSPECTS_S = 0.5
"""So long after a loss that is too much, receivers are asked who loses least."""
BEST = 2
"""What marks ask for then: reports of who loses least (`Mark.asks`)."""


class GivenRate:
    """Says the rate, never more than `ceiling`, and hears what became of it (see `rate.Rate`)."""

    is_found = False

    def __init__(self, ceiling: float) -> None:
        assert ceiling > 0
        self.ceiling = float(ceiling)
        self.bytes_per_s = min(self.ceiling, START_BYTES_PER_S)
        self.chance = 0.0
        """A loss that was no smaller at lower rates."""
        self._limited = False
        self._suspected_until = float("-inf")
        self._now = float("-inf")
        self._decided_at: float | None = None
        self._sent_bytes = 0
        self._taken_at = float("-inf")
        """When somebody said that he loses no more than chance explains."""
        self._deaf = False
        """What is reported now was sent before the fall."""
        self._loss: float | None = None
        self._queue_s = 0.0
        self._came = 0.0
        self._fall_loss = 0.0
        self._before = self.bytes_per_s
        self._in_vain = 0

    @property
    def asks(self) -> int:
        """What marks ask for: once there is doubt, reports of those who lose least."""
        doubt = self.bytes_per_s < self.ceiling or self._now < self._suspected_until
        return BEST if doubt else 0

    def heard(self, loss: float, queue_s: float, now: float, came_bytes_per_s: float = 0) -> None:
        self._now = now
        if loss > self._most_loss:
            suspected, self._suspected_until = self.asks, now + SUSPECTS_S
            if not suspected:  # those who lose less have not been asked yet
                self._begin_window(now + ASKING_S)
                return
        else:
            self._taken_at = now
        if self._loss is None or loss < self._loss:
            self._loss = loss
        self._queue_s = queue_s if not self._came else min(queue_s, self._queue_s)
        self._came = max(came_bytes_per_s, self._came)

    def sent(self, size_bytes: int, now: float) -> None:
        self._now = now
        self._sent_bytes += size_bytes
        if self._decided_at is None:
            self._decided_at = now
        elif now - self._decided_at >= WINDOW_S and self._sent_bytes >= WINDOW_BYTES:
            self._decide(now)
            self._begin_window(now)

    def _begin_window(self, now: float) -> None:
        self._decided_at, self._sent_bytes = now, 0
        self._loss, self._queue_s, self._came = None, 0.0, 0.0

    @property
    def _most_loss(self) -> float:
        return EXCESS_FACTOR * self.chance + (LIMITED_CHANCE if self._limited else CHANCE)

    def _decide(self, now: float) -> None:
        if self._deaf:
            self._deaf = False
            return
        if not self.asks:
            return
        if self._loss is not None and self._loss > self._most_loss:
            taken = not self._limited and now - self._taken_at <= TAKEN_S
            if self._came > 0 and not taken:
                self._fall(self._loss)
            return
        self._in_vain = 0
        if self.bytes_per_s >= self.ceiling:
            return
        if self._queue_s > LONG_QUEUE_S and self.ceiling > START_BYTES_PER_S and self._came:
            self._limited = True
            drain = min(MOST_DRAIN, (self._queue_s - AIM_S) / DRAIN_S)
            self._set((1 - drain) * self._came)
        else:
            self._set(self.bytes_per_s * (CLIMB if self._limited else START_FACTOR))

    def _fall(self, loss: float) -> None:
        same = SAME_LOSS * self._fall_loss < loss <= LARGEST_CHANCE
        self._in_vain = self._in_vain + 1 if same and self._before > self.bytes_per_s else 0
        if self._in_vain >= FALLS_IN_VAIN:
            # Slower, and yet as much is lost: it is not the rate that loses it.
            self.chance, self._in_vain = loss, 0
            self._limited = False
            self._set(self._before)
            return
        if not self._in_vain:
            self._before = self.bytes_per_s
        self._fall_loss, self._limited, self._deaf = loss, True, True
        self._set(min(self.bytes_per_s, BELOW * self._came))

    def _set(self, bytes_per_s: float) -> None:
        least = self.ceiling / SLOWEST_PART
        self.bytes_per_s = min(self.ceiling, max(least, bytes_per_s))
