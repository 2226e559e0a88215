"""Which tracker is asked next, and when: tiers (BEP 12), intervals, back-off.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from spinney.bittorrent.tracker.messages import AnnounceReply, Refusal
from spinney.net.host import Rng

TRACKERS_MAX = 64
"""Of one torrent; some lists hold hundreds of dead ones, and each costs a time limit."""
URL_CHARACTERS_MAX = 2048

NOT_ASKED = "not asked yet"
BACK_OFF_FIRST_S = 5.0
"""Short, because a tracker that is being restarted is back within seconds."""
BACK_OFF_MAX_S = 1800.0
LONELY_FIRST_S = 30.0
"""A tracker that knew nobody is asked again after this, then twice as long each time."""
LATE_SHARE = 0.05
"""Announces come up to this share of the interval late, so that clients drift apart."""


def short_name(url: str) -> str:
    """Scheme, host and port: what people and logs see.  The rest may be a private pass key."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        host = parts.hostname or "?"
    except ValueError:
        return "an unreadable address"
    if not parts.scheme:
        return "an unreadable address"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}"


@dataclass(slots=True)
class KnownTracker:
    """What one torrent knows of one tracker.  Times are `Host.time` seconds."""

    url: str
    failures: int = 0
    not_before: float = 0.0
    never: bool = False
    """The tracker said `retry in: never`, or its scheme is not spoken."""
    told: bool = False
    """It may know us: `started` was sent, so that it is owed a `stopped`."""
    answered: bool = False
    """It accepted `started`: later announces carry no event."""
    tracker_id: bytes | None = None
    lonely: int = 0
    peers: int = 0
    """That its last answer named."""
    outcome: str = NOT_ASKED


class Tiers:
    """BEP 12: tiers in order, each shuffled once; who answers moves to the front of its tier."""

    def __init__(self, tiers: Sequence[Sequence[str]], rng: Rng) -> None:
        self._tiers: list[list[KnownTracker]] = []
        seen: dict[str, None] = {}
        for tier in tiers:
            urls: list[str] = []
            for url in tier:
                if url in seen or len(url) > URL_CHARACTERS_MAX or len(seen) >= TRACKERS_MAX:
                    continue
                seen[url] = None
                urls.append(url)
            rng.shuffle(urls)
            if urls:
                self._tiers.append([KnownTracker(url) for url in urls])

    def all(self) -> list[KnownTracker]:
        """Every tracker, in the order in which they are asked."""
        return [tracker for tier in self._tiers for tracker in tier]

    def due(self, now: float) -> list[KnownTracker]:
        return [t for t in self.all() if not t.never and t.not_before <= now]

    def wait_s(self, now: float) -> float | None:
        """Seconds until any tracker may be asked again; None: never."""
        times = [tracker.not_before for tracker in self.all() if not tracker.never]
        return max(0.0, min(times) - now) if times else None

    def succeeded(self, tracker: KnownTracker, reply: AnnounceReply, now: float, rng: Rng) -> float:
        """Books an answer; returns the seconds until the next regular announce."""
        for tier in self._tiers:
            if tracker in tier:
                tier.remove(tracker)
                tier.insert(0, tracker)
        tracker.failures = 0
        tracker.not_before = now
        tracker.answered = True
        tracker.peers = len(reply.peers)
        tracker.tracker_id = reply.tracker_id or tracker.tracker_id
        tracker.outcome = f"{tracker.peers} peer{'' if tracker.peers == 1 else 's'}"
        wait = float(max(reply.interval_s, reply.min_interval_s))
        if reply.peers:
            tracker.lonely = 0
        else:
            early = LONELY_FIRST_S * 2 ** min(tracker.lonely, 10)
            wait = min(wait, max(early, float(reply.min_interval_s)))
            tracker.lonely += 1
        return wait * rng.uniform(1.0, 1.0 + LATE_SHARE)

    def failed(
        self, tracker: KnownTracker, reason: str, now: float, rng: Rng, refusal: Refusal | None
    ) -> None:
        """Books a failure: back-off doubles from 5 s to 30 min, a random half of it taken off.

        A refusal with `retry in` (BEP 31) is obeyed instead.
        """
        tracker.failures += 1
        tracker.outcome = reason
        tracker.peers = 0
        if refusal is not None and refusal.never:
            tracker.never = True
            return
        if refusal is not None and refusal.retry_in_s is not None:
            tracker.not_before = now + refusal.retry_in_s * rng.uniform(1.0, 1.0 + LATE_SHARE)
            return
        back_off = min(BACK_OFF_FIRST_S * 2 ** min(tracker.failures - 1, 20), BACK_OFF_MAX_S)
        tracker.not_before = now + back_off * rng.uniform(0.5, 1.0)
