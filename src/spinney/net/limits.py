"""Rate limits: token buckets, pure; `now` is an argument."""

from __future__ import annotations

from collections.abc import Sequence


class Bucket:
    """Lets `rate_bytes_per_s` pass, in bursts of at most 100 ms of rate.  None: no limit.

    The level may go below zero by one `take` that was allowed, and is paid back before more
    is allowed: grains of 16 KiB pass at any rate, and the average holds over every second.
    """

    BURST_S = 0.1

    def __init__(self, rate_bytes_per_s: float | None) -> None:
        self.rate_bytes_per_s = rate_bytes_per_s
        self._level = 0.0
        self._filled_at: float | None = None

    def _fill(self, now: float) -> None:
        rate = self.rate_bytes_per_s
        if rate is None:
            return
        if self._filled_at is None:
            self._level = rate * self.BURST_S
        elif now > self._filled_at:
            self._level = min(self._level + (now - self._filled_at) * rate, rate * self.BURST_S)
        self._filled_at = now

    def wait_s(self, now: float) -> float:
        """Seconds until something may pass; 0.0 if it may now."""
        if self.rate_bytes_per_s is None:
            return 0.0
        self._fill(now)
        return 0.0 if self._level > 0 else max(1e-4, -self._level / self.rate_bytes_per_s)

    def take(self, now: float, length_bytes: int) -> None:
        """Pays for bytes that pass; call it after `wait_s` gave 0.0."""
        if self.rate_bytes_per_s is not None:
            self._fill(now)
            self._level -= length_bytes


class Limit:
    """Several buckets that all must agree (a transfer's own and the program's)."""

    def __init__(self, buckets: Sequence[Bucket] = ()) -> None:
        self.buckets = tuple(buckets)

    @property
    def unlimited(self) -> bool:
        return all(bucket.rate_bytes_per_s is None for bucket in self.buckets)

    def wait_s(self, now: float) -> float:
        return max((bucket.wait_s(now) for bucket in self.buckets), default=0.0)

    def take(self, now: float, length_bytes: int) -> None:
        for bucket in self.buckets:
            bucket.take(now, length_bytes)
