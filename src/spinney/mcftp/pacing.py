"""`Pacer`: a token bucket that sends in small volleys and forgets what it missed.  Pure.

This kernel's own pacing needs a queueing discipline that is rarely there, so we pace ourselves.
Timers have a grain of a millisecond or two: a volley is what the rate allows in that time.
"""

from __future__ import annotations

GRAIN_S = 0.001
"""The grain of an event loop's timers."""
BURST_S, LEAST_BURST_BYTES = 0.005, 1_500
"""A burst is no longer than what the rate allows in so long: in front of a slow line a larger one
is a queue of its own."""


class Pacer:
    """Says how much may be sent now.  Bytes are payload."""

    def __init__(
        self,
        rate_bytes_per_s: float,
        now: float,
        *,
        burst_bytes: int,
        late_s: float,
        volley_s: float,
        catch_up: float,
    ) -> None:
        """`burst_bytes`: of a burst at most; `late_s`: what is made up for at most; `volley_s`: at
        once, for on a busy machine timers come late again and again, and the rate must be kept;
        `catch_up`: how much faster than the rate it goes meanwhile."""
        assert rate_bytes_per_s > 0
        self.rate_bytes_per_s = float(rate_bytes_per_s)
        self._largest_burst_bytes = burst_bytes
        self._burst_bytes = self._burst_of(rate_bytes_per_s)
        self._late_s = late_s
        self._volley_s = volley_s
        self._catch_up = catch_up
        self._tokens = 0.0
        self._at = now
        self._volley_at = now
        self._volley_left = 0.0

    def _refill(self, now: float) -> None:
        most = max(float(self._burst_bytes), self.rate_bytes_per_s * self._late_s)
        passed, self._at = now - self._at, now
        self._tokens = min(most, self._tokens + passed * self.rate_bytes_per_s)

    def allowance(self, now: float) -> int:
        """Bytes that may be sent now: at least a burst, or nothing."""
        self._refill(now)
        passed = now - self._volley_at
        if passed >= 0.75 * GRAIN_S:
            self._volley_at = now
            seconds = min(max(passed, GRAIN_S) * self._catch_up, self._volley_s)
            self._volley_left = max(float(self._burst_bytes), self.rate_bytes_per_s * seconds)
        allowed = min(self._tokens, self._volley_left)
        return int(allowed + 1) if allowed > self._burst_bytes - 1 else 0

    def spent(self, size_bytes: int) -> None:
        """So much was sent."""
        self._tokens -= size_bytes
        self._volley_left -= size_bytes

    def delay_s(self, now: float) -> float:
        """How long to wait for the next burst."""
        self._refill(now)
        missing = (self._burst_bytes - self._tokens) / self.rate_bytes_per_s
        volley = 0.0
        if self._volley_left < self._burst_bytes:
            volley = self._volley_at + GRAIN_S - now
        return max(missing, volley, GRAIN_S / 10)

    def rested(self, now: float) -> None:
        """There was nothing to send: that is not made up for."""
        self._refill(now)
        self._tokens = min(self._tokens, float(self._burst_bytes))

    def set_rate(self, rate_bytes_per_s: float, now: float) -> None:
        assert rate_bytes_per_s > 0
        self._refill(now)
        self.rate_bytes_per_s = float(rate_bytes_per_s)
        self._burst_bytes = self._burst_of(rate_bytes_per_s)

    def _burst_of(self, rate_bytes_per_s: float) -> int:
        slow = max(LEAST_BURST_BYTES, int(rate_bytes_per_s * BURST_S))
        return min(self._largest_burst_bytes, slow)
