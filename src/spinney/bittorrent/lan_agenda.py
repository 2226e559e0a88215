"""When LAN discovery speaks, and whom it has heard (BEP 14); pure, `now` is an argument.

Regular announces: at the start and every 5 minutes, never more than one a minute for a torrent.
Answers: whoever hears a newcomer announces that torrent again within a quarter of a second, so
that the newcomer need not wait for the next round.  BEP 14 does not know answers; they are kept
few: one a second and six a minute for a torrent, and only to a peer not heard in 10 minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spinney.net.host import Address, Rng

INTERVAL_S = 300.0
GAP_S = 60.0
"""Between two regular announces of one torrent."""
ANSWER_GAP_S = 1.0
ANSWERS_PER_MINUTE = 6
ANSWER_DELAY_S = (0.02, 0.25)
"""Spread, so that two hundred machines do not answer one in the same millisecond."""
TOLD_AGAIN_S = 30.0
"""A swarm is told of one peer at most this often."""
FORGOTTEN_S = 600.0
"""Silent for two rounds: a newcomer when heard again."""
TORRENTS_MAX = 1000
HEARD_MAX = 4096
"""(torrent, address, cookie) remembered; beyond it the longest silent is forgotten."""
NEWCOMERS_PER_SECOND = 200
"""Of all torrents; more than that in one second is a flood, and is not believed."""


@dataclass(slots=True)
class _Torrent:
    next_at: float
    announced_at: float = float("-inf")
    answer_at: float | None = None
    answers: list[float] = field(default_factory=list)
    """Times of the answers of the last minute: at most `ANSWERS_PER_MINUTE`."""


class Agenda:
    """The torrents that are announced, each with its next time."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._torrents: dict[bytes, _Torrent] = {}
        self._heard: dict[tuple[bytes, Address, str], float] = {}
        self._second = float("-inf")
        self._newcomers = 0
        self._left: dict[bytes, float] = {}
        """When torrents that were taken off last spoke: adding one again is no way round."""

    def __contains__(self, infohash: bytes) -> bool:
        return infohash in self._torrents

    def add(self, infohash: bytes, now: float) -> bool:
        """From now on announced, first at once; False if there are too many already."""
        if infohash in self._torrents:
            return True
        if len(self._torrents) >= TORRENTS_MAX:
            return False
        spoke = self._left.pop(infohash, float("-inf"))
        self._torrents[infohash] = _Torrent(max(now, spoke + GAP_S), spoke)
        return True

    def remove(self, infohash: bytes) -> None:
        torrent = self._torrents.pop(infohash, None)
        if torrent is not None:
            self._left[infohash] = torrent.announced_at
            if len(self._left) > TORRENTS_MAX:
                del self._left[next(iter(self._left))]
        for who in [who for who in self._heard if who[0] == infohash]:
            del self._heard[who]

    def heard(self, infohash: bytes, peer: Address, cookie: str, now: float) -> bool:
        """Somebody announced a torrent.  True if it is ours and the swarm should be told.

        A program that was restarted has a new cookie, and counts as new on its old port.
        """
        torrent = self._torrents.get(infohash)
        if torrent is None:
            return False
        who = (infohash, peer, cookie)
        known_at = self._heard.pop(who, float("-inf"))
        if now - known_at >= TOLD_AGAIN_S:
            if now - self._second >= 1.0:
                self._second, self._newcomers = now, 0
            self._newcomers += 1
            if self._newcomers > NEWCOMERS_PER_SECOND:
                return False
        self._heard[who] = now
        if len(self._heard) > HEARD_MAX:
            del self._heard[next(iter(self._heard))]
        if now - known_at >= FORGOTTEN_S and torrent.answer_at is None:
            at = max(now, torrent.announced_at + ANSWER_GAP_S)
            torrent.answer_at = at + self._rng.uniform(*ANSWER_DELAY_S)
        return now - known_at >= TOLD_AGAIN_S

    def due(self, now: float) -> list[bytes]:
        """The torrents to announce now, in the order in which they were added; books them."""
        rows = []
        for infohash, torrent in self._torrents.items():
            regular = torrent.next_at <= now
            answer = torrent.answer_at is not None and torrent.answer_at <= now
            if answer and not regular:
                torrent.answer_at = None
                torrent.answers = [at for at in torrent.answers if now - at < GAP_S]
                if len(torrent.answers) >= ANSWERS_PER_MINUTE:
                    continue
                torrent.answers.append(now)
            elif regular:
                torrent.answer_at = None
                torrent.next_at = now + max(GAP_S, INTERVAL_S * self._rng.uniform(0.95, 1.05))
            else:
                continue
            torrent.announced_at = now
            rows.append(infohash)
        return rows

    def next_at(self) -> float | None:
        """The next time that anything is due; None while there is no torrent."""
        times = [
            torrent.next_at
            if torrent.answer_at is None
            else min(torrent.next_at, torrent.answer_at)
            for torrent in self._torrents.values()
        ]
        return min(times, default=None)
