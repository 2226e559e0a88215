"""`Leases`: exclusive claims on pieces, each with an end.  Pure.

"The group will bring piece 17": nobody else fetches it until the lease is given back or runs
out.  Only the endgame breaks one, for one second copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

MAX_LEASE_S = 20.0
"""A lease reaches at most this far ahead: a dead group holds nothing up for longer."""

S = TypeVar("S")


class Leases(Generic[S]):
    """Who holds which piece until when (seconds of the caller's clock)."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[S, float]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[int]:
        return iter(list(self._held))

    def holder(self, piece: int) -> S | None:
        row = self._held.get(piece)
        return None if row is None else row[0]

    def claim(self, piece: int, holder: S, seconds: float, now: float) -> float | None:
        """When it ends; None if somebody else holds it.  The holder renews by the same call."""
        row = self._held.get(piece)
        if row is not None and row[0] is not holder and row[1] > now:
            return None
        end = now + max(0.0, min(seconds, MAX_LEASE_S))
        self._held[piece] = (holder, end)
        return end

    def end(self, piece: int) -> S | None:
        """The lease is over (given back, or the piece is here); returns who held it."""
        row = self._held.pop(piece, None)
        return None if row is None else row[0]

    def of(self, holder: S) -> list[int]:
        return [piece for piece, row in self._held.items() if row[0] is holder]

    def expired(self, now: float) -> list[int]:
        return [piece for piece, row in self._held.items() if row[1] <= now]

    def next_end(self) -> float | None:
        """When the first lease runs out."""
        return min((row[1] for row in self._held.values()), default=None)
