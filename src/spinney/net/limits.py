"""Rate limits: token buckets, pure; `now` is an argument."""

from __future__ import annotations

from collections.abc import Sequence


class Bucket:
    """Lets `rate_bytes_per_s` pass, in bursts of at most 100 ms of rate.  None: no limit.

    The level may go below zero by one `take` that was allowed, and is paid back before more
    is allowed: grains of 16 KiB pass at any rate.  What passes in any stretch of T seconds is
    at most (T + 0.1) · rate and one grain; while something always waits, T · rate and one grain.
    `rate_bytes_per_s` may be changed at any time.
    """

    BURST_S = 0.1

    def __init__(self, rate_bytes_per_s: float | None) -> None:
        assert rate_bytes_per_s is None or rate_bytes_per_s > 0, "no limit is None, not 0"
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
        # Who waited as long as told is let through: a rounding error must not cost a turn.
        return 0.0 if self._level > -0.001 else -self._level / self.rate_bytes_per_s

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
        """Seconds until all agree; who waited asks again, for another may have been first."""
        return max((bucket.wait_s(now) for bucket in self.buckets), default=0.0)

    def take(self, now: float, length_bytes: int) -> None:
        """Pays in every bucket; call it after `wait_s` gave 0.0, with no await between."""
        for bucket in self.buckets:
            bucket.take(now, length_bytes)
