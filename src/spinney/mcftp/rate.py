"""How fast a sender sends: a rate that was given, or one that is found.  Pure.

Loss alone says little: radio and cheap cables lose at any rate, a full queue only beyond its
own.  So a found rate climbs while the reported loss is what it was at lower rates and the queue
on the way (the delay of marks beyond the least that was seen, as LEDBAT measures it, RFC 6817)
stays short, and falls to what was delivered when either grows.  A queue that stays long after
that is filled by somebody else: then the rate falls on to half of the way's capacity, so that a
TCP flow gets the other half.
"""

from __future__ import annotations

from typing import Protocol

INTERVAL_S = 0.3
"""Between two decisions: a mark, a report's timer and a round trip of a busy machine."""
START_FACTOR = 2.0
"""Growth of an interval until the first limit."""
CLIMB = 1.03
"""Growth of an interval after it: a tenth a second."""
LONG_QUEUE_S = 0.012
EXCESS, EXCESS_FACTOR = 0.02, 1.5
"""Loss is congestion when it is more than so many times the usual loss and so much."""
BELOW = 0.95
"""Of what was delivered: lets the queue drain."""
YIELD = 0.85
"""Fall of an interval while the queue stays long."""
HALF = 0.5
"""Of the capacity: nobody makes us go below by a long queue alone."""
LARGEST_USUAL_LOSS = 0.25
FADE = 0.7


class Rate(Protocol):
    """Says the rate, and hears what became of it."""

    @property
    def bytes_per_s(self) -> float:
        """Payload, headers excluded."""

    def heard(self, loss: float, queue_s: float, now: float) -> None:
        """A receiver reported so much loss (0 to 1) and delay of what was sent lately."""

    def sent(self, size_bytes: int, now: float) -> None:
        """So much was handed to the network."""


class FixedRate:
    """The user's or the leader's."""

    def __init__(self, bytes_per_s: float) -> None:
        assert bytes_per_s > 0
        self.bytes_per_s = float(bytes_per_s)

    def heard(self, loss: float, queue_s: float, now: float) -> None: ...

    def sent(self, size_bytes: int, now: float) -> None: ...


class FoundRate:
    """A rate between `floor` and `ceiling`, from `start` on."""

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
        self._known_loss = False
        self._holds = 0
        self._congested = False

    def heard(self, loss: float, queue_s: float, now: float) -> None:
        self._loss = max(loss, self._loss or 0.0)
        self._queue_s = max(queue_s, self._queue_s)

    def sent(self, size_bytes: int, now: float) -> None:
        if self._decided_at is None:
            self._decided_at = now
        elif now - self._decided_at >= INTERVAL_S:
            self._decided_at = now
            self._decide()
            self._loss, self._queue_s = None, 0.0

    def _decide(self) -> None:
        loss = self._loss or 0.0
        excess = loss - EXCESS_FACTOR * self.usual_loss - EXCESS
        if not self._known_loss and self._queue_s < LONG_QUEUE_S:
            excess = loss - LARGEST_USUAL_LOSS
        if excess > 0 or self._queue_s > LONG_QUEUE_S:
            self._fall(loss, excess)
            return
        self._congested = False
        if self._loss is not None:
            least = min(loss, LARGEST_USUAL_LOSS)
            self.usual_loss = (
                FADE * self.usual_loss + (1 - FADE) * least if self._known_loss else least
            )
            self._known_loss = True
        if self._holds:
            self._holds -= 1
            return
        grown = self.bytes_per_s * (START_FACTOR if self.capacity is None else CLIMB)
        if self.capacity is not None:
            self.capacity = max(self.capacity, self.bytes_per_s)
        self._set(grown)

    def _fall(self, loss: float, excess: float) -> None:
        """A limit: first to what was delivered, then on while the queue stays long."""
        delivered = self.bytes_per_s * (1 - max(0.0, loss - self.usual_loss))
        if self.capacity is None or not self._congested:
            self.capacity = max(delivered, 0.8 * (self.capacity or 0.0))
            self._set(BELOW * min(delivered, self.capacity))
        elif excess > 0:
            self.capacity = min(self.capacity, max(delivered, HALF * self.capacity))
            self._set(min(YIELD * self.bytes_per_s, BELOW * delivered))
        else:
            self._set(max(YIELD * self.bytes_per_s, HALF * self.capacity))
        self._congested = True
        self._holds = 1

    def _set(self, bytes_per_s: float) -> None:
        self.bytes_per_s = min(max(bytes_per_s, self._floor), self._ceiling)
