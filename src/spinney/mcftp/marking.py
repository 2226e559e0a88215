"""`Marking`: when a sender says where it is, and how far away the group is."""

from __future__ import annotations

from collections import deque

from spinney.groups.group import Group
from spinney.mcftp.datasettings import DataSettings
from spinney.mcftp.packets import (
    MARK,
    MAX_TOLD,
    Keys,
    Mark,
    encode_mark,
    order_of,
    prefix_of,
)
from spinney.mcftp.planning import Plan
from spinney.net.host import Host

LEAST_ROUND_TRIP_S = 0.002
MOST_ROUND_TRIP_S = 2.0
FADE = 0.9
"""A greatest round trip is forgotten slowly (RFC 5401, 5.4)."""
RISE = 0.25
"""A longer one counts for so much: on a busy machine single ones are ten times the usual."""
SLOWER_MARKS = 2.5
ASKING = 0.5
"""Of the usual interval, while a rate is found: each doubling waits for a report."""
FIRST_MARKS = 5
"""At the beginning and after the end so many marks follow quickly: one may be lost, data is
taken only from where a mark came, and at the end all wait."""


class Marking:
    def __init__(
        self,
        host: Host,
        stream: int,
        tag: bytes,
        keys: Keys,
        settings: DataSettings,
        plan: Plan,
    ) -> None:
        self.sequence = 0
        self.wanted = False
        """Something happened that receivers wait to hear."""
        self.asks = 0
        """Whose reports are wanted, whether something is lacking or not (`Mark.asks`)."""
        self.expected = 0
        """Receivers, as the leader knows."""
        self._host = host
        self._prefix = prefix_of(MARK, stream, tag)
        self._keys = keys
        self._settings = settings
        self._plan = plan
        self._round_trip_s = settings.round_trip_s
        self._sent_at = -1.0
        self._busy_at = 0.0
        self._quick = FIRST_MARKS
        self._was_idle = False
        self._told: deque[bytes] = deque(maxlen=4 * MAX_TOLD)

    def tell(self, peer: bytes) -> None:
        """From now on the marks say, in turns, that this peer shall go elsewhere."""
        if peer not in self._told:
            self._told.append(peer)

    def tell_nobody(self) -> None:
        """Nobody shall go elsewhere any more."""
        self._told.clear()

    def echoed(self, echo_us: int, now: float) -> None:
        """A receiver echoed a mark's time."""
        if not echo_us:
            return
        taken = now - echo_us / 1e6
        if 0.0 <= taken <= MOST_ROUND_TRIP_S:
            known = self._round_trip_s
            step = RISE if taken > known else 1.0 - FADE
            least = max(LEAST_ROUND_TRIP_S, self._settings.round_trip_s)
            self._round_trip_s = max(least, known + step * (taken - known))

    def delay_s(self, now: float) -> float:
        """Until the next mark is due."""
        if self._plan.held:
            return self._sent_at + self._settings.idle_mark_s - now
        idle = self._plan.idle
        if idle != self._was_idle:
            self._was_idle = idle
            self._quick = FIRST_MARKS if idle else 0
            self.wanted = idle
        if not idle or self.wanted:
            self._busy_at = now
        if self.wanted or self._quick:
            interval = self._settings.quick_mark_s
            if not self._plan.first_pass_over:  # nobody waits for it yet
                interval *= SLOWER_MARKS
        elif now - self._busy_at > self._settings.idle_after_s:
            interval = self._settings.idle_mark_s
        else:
            interval = self._settings.mark_interval_s * (ASKING if self.asks else 1.0)
        return self._sent_at + interval - now

    def due(self, now: float) -> bool:
        return self.delay_s(now) <= 0.0

    def send(self, group: Group) -> None:
        now, plan = self._host.time(), self._plan
        self.sequence += 1
        self._sent_at = now
        self.wanted = False
        self._quick = max(0, self._quick - 1)
        self._told.rotate(-MAX_TOLD)
        mark = Mark(
            sequence=self.sequence,
            sent=plan.sent,
            order=order_of(plan.order.runs),
            position=plan.position,
            time_us=int(now * 1e6),
            round_trip_us=int(self._round_trip_s * 1e6),
            receivers=max(self.expected, plan.reporters.active(now)),
            states=plan.states(now),
            coming=plan.coming(),
            told=tuple(self._told)[:MAX_TOLD],
            asks=0 if plan.idle else self.asks,
        )
        group.send(encode_mark(self._prefix, mark, self._keys))
