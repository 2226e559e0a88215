"""`Meter`: a rate in bytes a second, weighted towards the recent.  Pure; `now` is an argument."""

from __future__ import annotations

from math import exp

_YOUNGEST_S = 0.02
"""A meter younger than this divides by it, so that one early block is no huge rate."""


class Meter:
    """Each byte counts with weight exp(-age / `memory_s`); exact from the first second on.

    `total_bytes` is the plain sum.
    """

    __slots__ = ("_at", "_began", "_weighted", "memory_s", "total_bytes")

    def __init__(self, now: float, memory_s: float = 4.0) -> None:
        self.memory_s = memory_s
        self.total_bytes = 0
        self._weighted = 0.0
        self._began = now
        self._at = now

    def add(self, now: float, length_bytes: int) -> None:
        self.total_bytes += length_bytes
        if now > self._at:
            self._weighted *= exp((self._at - now) / self.memory_s)
            self._at = now
        self._weighted += length_bytes

    def rate_bytes_per_s(self, now: float) -> float:
        if self.total_bytes == 0:
            return 0.0
        age = max(now - self._began, _YOUNGEST_S)
        weighted = self._weighted * exp(min(0.0, self._at - now) / self.memory_s)
        return weighted / (self.memory_s * (1.0 - exp(-age / self.memory_s)))

    def restart(self, now: float) -> None:
        """Forgets the rate, not the total: after a pause in which nothing was asked for."""
        self._weighted = 0.0
        self._began = self._at = now
