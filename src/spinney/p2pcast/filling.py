"""`Filling`: without spare slots a fallen peer's places are filled by a plan (`plan_leave`).

There is no free slot for its children anywhere, so nobody attaches: one of its neighbours makes the
plan from the will that the fallen one left with all of them (its whole place, told at each change,
UPDATE in the paper's section 7) and carries it out as a transaction.  Its children in its own tree
do that first, one after the other, then the others; who finds the places filled stops.

A neighbour that fell with it is filled by the same plan.  Its will has who found it dead: the
source, to whom all who do say so, names them to each other (`heirs`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from spinney.errors import SpinneyError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.changing import Changing
from spinney.p2pcast.finding import Finder
from spinney.p2pcast.place import NOBODY, SOURCE, Name
from spinney.p2pcast.plans.composing import plan_fill
from spinney.p2pcast.seat import NEVER, Seat
from spinney.p2pcast.station import Station
from spinney.p2pcast.tending import Tending

TURN_S = 0.15
"""Between the first tries of two children: more than a lock takes to be seen."""
OTHERS_S = 1.5
"""Then who is no child in the fallen one's own tree."""
TRIES = 30
HELP_FROM = 3
"""Tries in vain before the source is asked to place few peers."""


class Filling(Tending):
    """For one seat."""

    def __init__(self, station: Station, seat: Seat, finder: Finder) -> None:
        super().__init__(station, seat, finder)
        self.changing = Changing(station, seat.name)
        self.changing.find_will = self._last_word
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
            will = await self._will(dead)
            if will is None:
                self._give_up(dead)
                return
            parents = seat.place.parents
            tree = parents.index(dead) if dead in parents else max(seat.place.stripe, 0)
            station.spawn(self.finder.delete(dead, tree))
            await asyncio.sleep(self._turn_s(will))
            filled = await self._try(dead, will)
            if not filled and dead in seat.place.parents:
                self._give_up(dead)
        finally:
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
            latest = station.wills.of(dead) or will
            place = latest.sight.place
            near = [*place.parents, *(child for _, child in place.edges())]
            alive, joined, fallen = await asyncio.gather(
                station.look(dead, station.settings.beat_s),
                self.finder.some(station.settings.contacts * (1 + turn // 3)),
                self._fallen_with(near),
            )
            if alive is not None:
                seat.answered(alive, station.host.time())
                # It lives: nothing is to be done unless it has another in our place.
                return all(
                    limb.heard > NEVER
                    for limb, parent in zip(seat.limbs, seat.place.parents, strict=True)
                    if parent == dead
                )
            if dead not in seat.place.parents:
                return True
            contacts = [name for name in joined.names if name not in (dead, seat.name)]
            gone = {dead: latest, **fallen}
            for name in gone:
                station.wills.bury(name, gone[name])
            try:
                planner = partial(plan_fill, stripes, dead, contacts, rng)
                around = [name for name in (*near, *contacts) if name not in gone]
                plan = await self.changing.change(planner, around)
            finally:
                for name in gone:
                    station.wills.dead.pop(name, None)
            if plan is not None:
                station.counts["filled"] += 1 + len(plan.also_gone)
                return True
            if turn >= HELP_FROM:
                await self.finder.place_me(seat.place)
            await asyncio.sleep(0.1 + 0.3 * rng.random() * min(4, 1 + turn))
        return dead not in seat.place.parents

    async def _fallen_with(self, near: Iterable[Name]) -> dict[Name, m.Seen]:
        """The dead one's neighbours that are dead as well, by their wills."""
        names = [name for name in dict.fromkeys(near) if name >= 0 and name != self.seat.name]
        seen = await self.station.look_many(names, self.station.settings.call_s)
        answered = {each.sight.place.name for each in seen}
        silent = [name for name in names if name not in answered]
        wills = await asyncio.gather(*(self._check_dead(name) for name in silent))
        return {name: will for name, will in zip(silent, wills, strict=True) if will is not None}

    async def _check_dead(self, name: Name) -> m.Seen | None:
        """Asks once more; the will of who says nothing, if anybody has it."""
        if await self.station.look(name, self.station.settings.call_s) is not None:
            return None
        return await self._will(name)

    async def _last_word(self, name: Name) -> m.Seen | None:
        """Of somebody further away whom a plan asked in vain."""
        will = await self._will(name) if name >= 0 else None
        return None if will is None else replace(will, sight=replace(will.sight, alive=False))

    async def _will(self, name: Name) -> m.Seen | None:
        own = self.station.wills.of(name)
        if own is not None:
            # Others may look for it.
            self.station.spawn(self._tell_heirs(name))
            return own
        return await self._will_of(name, await self._heirs(name, NOBODY))

    async def _tell_heirs(self, dead: Name) -> None:
        await self._heirs(dead, self.seat.name)

    async def _heirs(self, dead: Name, heir: Name) -> list[Name]:
        """Who has the will of this one, since they were its neighbours and found it dead: the
        source brings us together, and remembers `heir`, unless that is `NOBODY`."""
        body = codec.pack_delete(m.Delete(heir, dead))
        station = self.station
        try:
            data = await station.ask(
                SOURCE, b"p2pcast.heirs", body, timeout_s=station.settings.call_s, attempts=2
            )
            joined = codec.read_joined(data)
        except SpinneyError:
            return []
        station.book.learn(joined.known)
        return [name for name in joined.names if name not in (self.seat.name, dead)]

    async def _will_of(self, dead: Name, heirs: Iterable[Name]) -> m.Seen | None:
        wills = await asyncio.gather(*(self.station.ask_will(heir, dead) for heir in heirs))
        found = [will for will in wills if will is not None]
        return max(found, key=lambda will: will.sight.place.version, default=None)

    def _give_up(self, dead: Name) -> None:
        """Nobody could fill its places: every tree for itself."""
        now = self.station.host.time()
        if self.seat.participant.held is not None:
            return
        for tree, parent in enumerate(self.seat.place.parents):
            if parent == dead:
                self.seat.orphaned(tree, now)
                self.station.on_orphan(self.seat, tree, dead)
