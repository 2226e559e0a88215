"""When a transfer that has everything may stop: pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SeedWish:
    """How long to go on serving; with several wishes, the first one fulfilled counts."""

    ratio: float | None = None
    time_s: float | None = None
    complete_peers: int | None = None

    @property
    def empty(self) -> bool:
        return self.ratio is None and self.time_s is None and self.complete_peers is None

    def fulfilled(
        self, *, sent_bytes: int, total_bytes: int, since_s: float, complete_peers: int
    ) -> bool:
        """`since_s`: seconds since the content is whole here."""
        return (
            (self.ratio is not None and sent_bytes >= self.ratio * total_bytes)
            or (self.time_s is not None and since_s >= self.time_s)
            or (self.complete_peers is not None and complete_peers >= self.complete_peers)
        )


@dataclass(slots=True)
class Patience:
    """Notices that nothing comes.  `warn_s`: tell the user; `give_up_s`: end; None never."""

    warn_s: float
    give_up_s: float | None
    since: float
    _bytes: int = -1
    _warned: bool = False

    def look(self, now: float, have_bytes: int) -> str | None:
        """`warn` once in each drought, `give up` at its end, else None."""
        if have_bytes != self._bytes:
            self._bytes, self.since, self._warned = have_bytes, now, False
        waited = now - self.since
        if self.give_up_s is not None and waited >= self.give_up_s:
            return "give up"
        if waited >= self.warn_s and not self._warned:
            self._warned = True
            return "warn"
        return None
