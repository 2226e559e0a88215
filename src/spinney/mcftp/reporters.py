"""`Reporters`: who asked a sender for how much, so that one cannot set everybody's pace.  Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from spinney.mcftp.datasettings import DATA_SETTINGS, DataSettings

MAX_REPORTERS = 1_024
"""Receivers remembered; the one that was silent longest goes first."""
SLACK_SYMBOLS = 400
"""Asked before anybody is judged: half a block, what a stall of a receiver costs."""
ACTIVE_S = 30.0
LATELY_S = 1.0


@dataclass(slots=True)
class Reporter:
    """One receiver: symbols that were sent for it alone, out of how many since it came."""

    since_sent: int
    caused: int = 0
    loss: float = 0.0
    rate_bytes_per_s: int = 0
    heard_at: float = 0.0
    hopeless: bool = False
    losing_since: float | None = None
    """Since when it has lost more than its share, in every report."""


class Reporters:
    def __init__(self, settings: DataSettings = DATA_SETTINGS) -> None:
        self._share = settings.hopeless_share
        self._rows: OrderedDict[bytes, Reporter] = OrderedDict()

    def heard(self, peer: bytes, loss: float, rate_bytes_per_s: int, sent: int, now: float) -> None:
        """A report came."""
        row = self._row(peer, sent)
        row.loss, row.rate_bytes_per_s, row.heard_at = loss, rate_bytes_per_s, now
        if loss <= self._share:
            row.losing_since = None
        elif row.losing_since is None:
            row.losing_since = now

    def _row(self, peer: bytes, sent: int) -> Reporter:
        row = self._rows.get(peer)
        if row is None:
            row = self._rows[peer] = Reporter(sent)
            if len(self._rows) > MAX_REPORTERS:
                self._rows.popitem(last=False)
        self._rows.move_to_end(peer)
        return row

    def loss(self, peer: bytes) -> float:
        row = self._rows.get(peer)
        return 0.0 if row is None else row.loss

    def heard_at(self, peer: bytes) -> float:
        """When its last report came."""
        row = self._rows.get(peer)
        return float("-inf") if row is None else row.heard_at

    def charge(self, peer: bytes, symbols: int, sent: int) -> None:
        """So many symbols will be sent because this receiver asked."""
        self._row(peer, sent).caused += symbols

    def is_hopeless(self, peer: bytes, symbols: int, count: int, sent: int) -> bool:
        """Does it want more than its share, of this block or of all that was sent?"""
        row = self._row(peer, sent)
        most = self._share * (sent - row.since_sent + count) + SLACK_SYMBOLS
        row.hopeless = symbols > self._share * count + 8 or row.caused + symbols > most
        return row.hopeless

    def hopeless(self) -> list[bytes]:
        """Who wants more than its share, or loses more."""
        return [peer for peer, row in self._rows.items() if row.hopeless or row.loss > self._share]

    def any_better(self, now: float) -> bool:
        """Does anybody who was heard in the last second lose less than the hopeless?"""
        return any(
            row.loss <= self._share and now - row.heard_at < LATELY_S for row in self._rows.values()
        )

    def losing(self, seconds: float, now: float) -> list[bytes]:
        """Who has lost more than its share for so long."""
        return [
            peer
            for peer, row in self._rows.items()
            if row.losing_since is not None
            and row.heard_at - row.losing_since >= seconds
            and now - row.heard_at < LATELY_S
        ]

    def active(self, now: float) -> int:
        """Receivers heard of lately."""
        return sum(1 for row in self._rows.values() if now - row.heard_at < ACTIVE_S)

    def rows(self) -> list[tuple[bytes, Reporter]]:
        """For the progress view and the leader."""
        return list(self._rows.items())
