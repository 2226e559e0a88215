"""`Carrying`: what a peer can carry, what the stream asks of it, and how both learn the truth.

A stream of f stripes asks f slots of each peer: it uploads what it downloads.  Who says that its
line carries fewer is refused with one error, unless the source's rules (`Settings.least_slots`)
allow it; then it offers what it has (a negative `spare`), and the spare slots of others make up
for it, if there are any.  Who says that it can and delivers late is found out by its children: a
number comes later in its tree than in others, though it has had it itself.  They leave it and say
so (`late`); it offers what is left, or, where that is too little, is told that it cannot carry its
share, and goes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from spinney.errors import CannotCarryError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.attaching import is_newer, with_spare
from spinney.p2pcast.place import Name
from spinney.p2pcast.settings import Settings

if TYPE_CHECKING:
    from spinney.p2pcast.node import ForestNode

LOOKS_EVERY_S = 1.0
LATE_FOR_S = 4.0
"""So long behind, each second: a queue that does not drain, no burst."""
LATE_AT_MOST_S = 20.0
"""Behind for so long a parent is left even if it says that it is behind itself."""
SAID_WITHIN_S = 60.0
"""Words of children that are counted together."""
WITNESSES = 2
"""Children who say the same, before a peer believes that its line is too slow; if it has only one
child, that one."""
AVOIDED_S = 120.0


def slots_of(upload_bytes_per_s: float | None, settings: Settings, stripes: int, spare: int) -> int:
    """Children that a line carries, at most f + s.  None: it carries all of them."""
    most = stripes + spare
    if upload_bytes_per_s is None or settings.stripe_bytes_per_s <= 0:
        return most
    return min(most, int(upload_bytes_per_s // settings.stripe_bytes_per_s))


def least_of(settings: Settings, stripes: int) -> int:
    """Slots that the stream's rules ask of each peer."""
    return stripes if settings.least_slots is None else min(settings.least_slots, stripes)


def shortfall(slots: int, settings: Settings, stripes: int, why: str = "") -> CannotCarryError:
    """What is needed, and what there is."""
    least, rate = least_of(settings, stripes), settings.stripe_bytes_per_s
    needed, has = f"{least} slots", f"{slots}"
    if rate > 0:
        needed += f" of {rate:.0f} bytes/s each ({least * rate:.0f} bytes/s up)"
        has += f" ({slots * rate:.0f} bytes/s)"
    return CannotCarryError(
        f"this peer cannot carry its share: the stream needs {needed}, and it has {has}{why}"
    )


class Carrying:
    """Of one node.  `late_s` 0: nobody is found to be late."""

    def __init__(self, node: ForestNode) -> None:
        self.node = node
        self.station, self.seat, self.settings = node.station, node.seat, node.settings
        self._late_since: dict[int, float] = {}
        self._asking: dict[int, Name] = {}
        self._said: dict[Name, float] = {}
        self.station.on_late = self.told

    async def watch(self) -> None:
        """Until cancelled: looks each second."""
        while True:
            await asyncio.sleep(LOOKS_EVERY_S)
            self.look(asyncio.get_running_loop().time())

    # -- children, of their parents -------------------------------------------------------

    def behind(self, tree: int, number: int) -> float:
        """By how many seconds a number is older than the newest that came in any tree."""
        newest = number
        for limb in self.seat.limbs:
            if is_newer(limb.sequence, newest):
                newest = limb.sequence
        return ((newest - number) % (1 << 32)) * self.settings.beat_s if number else 0.0

    def look(self, now: float) -> None:
        seat, settings = self.seat, self.settings
        for tree, limb in enumerate(seat.limbs):
            parent = seat.place.parents[tree]
            late = parent >= 0 and self.behind(tree, limb.sequence) >= settings.late_s
            # A parent that is new had no time to be late.
            if not late or now - limb.since < LATE_FOR_S or now - limb.fresh > settings.late_s:
                self._late_since.pop(tree, None)
                continue
            since = self._late_since.setdefault(tree, now)
            if now - since >= LATE_FOR_S and tree not in self._asking:
                self._asking[tree] = parent
                if not self.station.spawn(self._ask(tree, parent, now - since >= LATE_AT_MOST_S)):
                    del self._asking[tree]

    async def _ask(self, tree: int, parent: Name, at_any_rate: bool) -> None:
        """Is it late itself?  Then what is above it is to blame, and it will leave that."""
        seat, station = self.seat, self.station
        try:
            seen = await station.look(parent, self.settings.call_s)
            if seat.place.parents[tree] != parent or seat.participant.held is not None:
                return
            said_s = self.behind(tree, seen.sequences[tree]) if seen is not None else 0.0
            if said_s >= self.settings.late_s and not at_any_rate:
                return
            behind_s = self.behind(tree, seat.limbs[tree].sequence)
            if behind_s < self.settings.late_s:
                return
            station.counts["left: late"] += 1
            call = m.Late(seat.name, parent, tree, min(int(behind_s * 1_000), m.LATE_MOST_MS))
            station.tell(parent, b"p2pcast.late", codec.pack_late(call))
            if station.guard is not None:
                station.guard.avoid(parent, AVOIDED_S)
            station.on_cheat(parent, tree)
            seat.orphaned(tree, station.host.time())
            station.on_orphan(seat, tree, parent)
        finally:
            del self._asking[tree]

    # -- a parent, of itself --------------------------------------------------------------

    def told(self, call: m.Late) -> None:
        """A child leaves since this peer's line is too slow."""
        seat, now = self.seat, self.station.host.time()
        place = seat.place
        row = place.children[call.tree] if call.tree < len(place.children) else ()
        if call.sender not in row:
            return
        count = place.out_degree
        self._said = {name: at for name, at in self._said.items() if now - at < SAID_WITHIN_S}
        self._said[call.sender] = now
        near = [name for name in self._said if name in seat.heard]
        if len(near) < min(WITNESSES, count) or seat.participant.held is not None:
            return
        self._said.clear()
        self.offers(max(count - len(near), 0))

    def offers(self, slots: int) -> None:
        """It carries so many from now on; too few for the stream's rules, and it goes."""
        node, stripes = self.node, self.station.stripes
        error = shortfall(slots, self.settings, stripes, ", as its children say who wait for it")
        self.station.counts["offers less"] += 1
        self.station.take(self.seat, with_spare(self.seat.place, slots - stripes))
        if slots < least_of(self.settings, stripes):
            node.problem = error
            node.on_problem(error)
            if not self.seat.leaves:
                self.station.spawn(node.leave())
