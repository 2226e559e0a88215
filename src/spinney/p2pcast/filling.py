"""`Filling`: without spare slots a fallen peer's places are filled by a plan (`plan_leave`).

There is no free slot for its children anywhere, so nobody attaches: one of its neighbours makes the
plan from the will that the fallen one left with all of them (its whole place, told at each change,
UPDATE in the paper's section 7) and carries it out as a transaction.  Its children in its own tree
do that first, one after the other, then the others; who finds the places filled stops.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from spinney.p2pcast import messages as m
from spinney.p2pcast.changing import Changing
from spinney.p2pcast.finding import Finder
from spinney.p2pcast.leaving import plan_leave
from spinney.p2pcast.place import Name
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.station import Station
from spinney.p2pcast.tending import Tending

TURN_S = 0.15
"""Between the first tries of two children: more than a lock takes to be seen."""
OTHERS_S = 1.5
"""Then who is no child in the fallen one's own tree."""
TRIES = 12
HELP_FROM = 3
"""Tries in vain before the source is asked to place few peers."""


class Filling(Tending):
    """For one seat."""

    def __init__(self, station: Station, seat: Seat, finder: Finder) -> None:
        super().__init__(station, seat, finder)
        self.changing = Changing(station, seat.name)
        self._dead: set[Name] = set()

    def died(self, dead: Name) -> None:
        """A parent is silent and answers nothing."""
        if dead in self._dead or dead < 0:
            return
        self._dead.add(dead)
        if not self.station.spawn(self._fill(dead)):
            self._dead.discard(dead)

    async def _fill(self, dead: Name) -> None:
        station, seat = self.station, self.seat
        try:
            will = station.wills.of(dead)
            if will is None:
                self._give_up(dead)
                return
            station.spawn(self.finder.delete(dead, max(0, seat.place.parents.index(dead))))
            await asyncio.sleep(self._turn_s(will))
            filled = await self._try(dead, will)
            if not filled and dead in seat.place.parents:
                self._give_up(dead)
        finally:
            station.wills.dead.pop(dead, None)
            self._dead.discard(dead)

    def _turn_s(self, will: m.Seen) -> float:
        place = will.sight.place
        row = sorted(place.children[place.stripe]) if place.stripe >= 0 else []
        if self.seat.name in row:
            return TURN_S * row.index(self.seat.name)
        return OTHERS_S + TURN_S * 4 * self.station.host.rng.random()

    async def _try(self, dead: Name, will: m.Seen) -> bool:
        station, seat = self.station, self.seat
        stripes, rng = len(seat.place.parents), station.host.rng
        for turn in range(TRIES):
            if dead not in seat.place.parents:
                return True
            alive = await station.look(dead, station.settings.beat_s)
            if alive is not None:
                seat.answered(alive, station.host.time())
                return False
            latest = station.wills.of(dead) or will
            station.wills.dead[dead] = replace(latest, sight=replace(latest.sight, alive=False))
            station.book.learn(latest.known)
            joined = await self.finder.some(station.settings.contacts * (1 + turn // 3))
            contacts = [name for name in joined.names if name not in (dead, seat.name)]
            place = latest.sight.place
            near = [*place.parents, *(child for _, child in place.edges()), *contacts]
            planner = partial(plan_leave, stripes, dead, contacts, rng)
            plan = await self.changing.change(planner, [name for name in near if name != dead])
            station.wills.dead.pop(dead, None)
            if plan is not None:
                station.counts["filled"] += 1
                return True
            if turn >= HELP_FROM:
                await self.finder.place_me(seat.place)
            await asyncio.sleep(0.1 + 0.3 * rng.random() * min(4, 1 + turn))
        return dead not in seat.place.parents

    def _give_up(self, dead: Name) -> None:
        """Nobody could fill its places: every tree for itself."""
        now = self.station.host.time()
        if self.seat.participant.held is not None:
            return
        for tree, parent in enumerate(self.seat.place.parents):
            if parent == dead:
                self.seat.orphaned(tree, now)
                self.station.on_orphan(self.seat, tree, dead)
