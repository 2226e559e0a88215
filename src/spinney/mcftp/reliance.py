"""`Reliance`: of whom a leader expects that he will send what he says to hold.  Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from spinney.mcftp.members import Members
from spinney.mcftp.schedule import Holder
from spinney.mcftp.settings import Settings

FAILURES = 2
"""After so many senders in a row that never sent, only those send of whom we know that they can."""


class Reliance:
    """Remembers who failed, at most as many as there may be members."""

    def __init__(self, me: bytes, settings: Settings) -> None:
        self._me = me
        self._settings = settings
        self._failed: OrderedDict[bytes, None] = OrderedDict()
        """Who was to send and did not: perhaps what it says to hold is a lie."""
        self._failures = 0

    def failed(self, peer: bytes, *, sent: bool) -> None:
        """A sender fell silent; `sent`: after it had sent something."""
        if not sent:
            self._failures += 1
        self._failed[peer] = None
        if len(self._failed) > self._settings.members:
            self._failed.popitem(last=False)

    def succeeded(self) -> None:
        """A stream has brought all that it was to bring."""
        self._failures = 0

    def tiers(
        self, holders: Sequence[Holder], members: Members, asked_at: float
    ) -> list[list[Holder]]:
        """Whom to choose first, next, last: each tier sends only what those before do not hold.
        `asked_at`: when members were asked last."""
        silent = self._silent(members, asked_at)
        last = [each for each in holders if each.peer in self._failed or each.peer in silent]
        rest = [each for each in holders if each not in last]
        if self._failures < FAILURES:
            return [rest, last]
        known = [each for each in rest if each.peer == self._me or each.sent_blocks]
        return [known, [each for each in rest if each not in known], last]

    def _silent(self, members: Members, asked_at: float) -> dict[bytes, None]:
        """Who has not answered, though all were asked: perhaps it died without a word."""
        if len(members) > self._settings.status_share:
            return {}  # they are asked in turns
        rows = (each.peer for each in members if each.heard_at < asked_at)
        return dict.fromkeys(peer for peer in rows if peer != self._me)
