"""`Filling`: without spare slots a fallen peer's places are filled by a plan (`plan_leave`).

There is no free slot for its children anywhere, so nobody attaches: one of its neighbours makes the
plan from the will that the fallen one left with all of them (its whole place, told at each change,
UPDATE in the paper's section 7) and carries it out as a transaction.  One of
its children does that, the first of those that live, and begins as soon as it is only silent; the
others are ready to take over.

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
from spinney.p2pcast.looking import Looking
from spinney.p2pcast.place import NOBODY, SOURCE, Name, Place, Sight
from spinney.p2pcast.plans.composing import plan_fill
from spinney.p2pcast.seat import NEVER, Seat
from spinney.p2pcast.station import Station
from spinney.p2pcast.tending import Tending

RANK_S = 1.5
"""Between the first tries of two children that live: two tries of one, or they would be in each
other's way.  By the looks of the first moment each knows who of them lives."""
LAST_RANK = 4
TRIES = 30
HELP_FROM = 3
"""Tries in vain before the source is asked to place few peers."""
CONTACTS = 16
"""Random peers among whom a substitute is looked for: one in five or ten is incomplete."""
SUBSTITUTES = 4
"""Incomplete peers whose neighbours are asked before any plan wants them."""
DECLARED_S = 2.0
"""A silent parent has spoken, or is dead, after so long."""
LOOKED_S = 0.3
"""A round trip: who of the neighbours lives."""


class Filling(Tending):
    """For one seat."""

    def __init__(self, station: Station, seat: Seat, finder: Finder) -> None:
        super().__init__(station, seat, finder)
        self.changing = Changing(station, seat.name)
        self.changing.find_will = self._last_word
        self.contacts: tuple[Name, ...] = ()
        """Random peers, known beforehand: to ask for some takes a round trip."""
        self._told: dict[Name, None] = {}
        """Silent children whose wills others know to find here."""
        self._cases: dict[Name, asyncio.Event] = {}
        """Silent parents; the event is set when one is dead."""

    def suspect(self, tree: int) -> None:
        """A parent is silent: a plan is made while it may still speak."""
        silent = self.seat.place.parents[tree]
        if self.station.wills.of(silent) is not None:
            self._case(silent)

    def died(self, dead: Name) -> None:
        """A parent is silent and answers nothing."""
        case = self._case(dead)
        if case is not None and not case.is_set():
            case.set()
            parents = self.seat.place.parents
            tree = parents.index(dead) if dead in parents else max(self.seat.place.stripe, 0)
            self.station.spawn(self.finder.delete(dead, tree))

    def inherited(self, child: Name) -> None:
        """A child has probably fallen.  Its own children fill its places; if they have fallen,
        too, only its parents have its will, and others look for that."""
        for name in [name for name in self._told if name not in self.seat.heard]:
            del self._told[name]
        if child not in self._told and self.station.wills.of(child) is not None:
            self._told[child] = None
            self.station.spawn(self._tell_heirs(child))

    def _case(self, name: Name) -> asyncio.Event | None:
        if name < 0:
            return None
        if name not in self._cases:
            case = self._cases[name] = asyncio.Event()
            if not self.station.spawn(self._fill(name, case)):
                del self._cases[name]
                return None
        return self._cases[name]

    async def _fill(self, dead: Name, died: asyncio.Event) -> None:
        seat = self.seat
        try:
            will = await self._will(dead)
            if will is None:
                if died.is_set():
                    self._give_up(dead)
                return
            filled = await self._try(dead, will, died)
            if not filled and died.is_set() and dead in seat.place.parents:
                self._give_up(dead)
        finally:
            self._cases.pop(dead, None)
            self.changing.forget()

    def _before(self, will: m.Seen) -> list[Name]:
        """The fallen one's other children that go first, if they live."""
        place = will.sight.place
        own = place.children[place.stripe] if place.stripe >= 0 else ()
        others = [child for tree, child in place.edges() if tree != place.stripe]
        row = list(dict.fromkeys([*sorted(own), *sorted(others)]))
        return row[: row.index(self.seat.name)] if self.seat.name in row else row

    async def _try(self, dead: Name, will: m.Seen, died: asyncio.Event) -> bool:
        station, seat, rng = self.station, self.seat, self.station.host.rng
        for turn in range(TRIES):
            latest = station.wills.of(dead) or will
            if not turn and not await self._my_turn(dead, latest, died):
                return True
            looking, contacts = await self._look_around(dead, latest, turn)
            if dead not in seat.place.parents:
                return True
            probe = None if self._is_silent(dead) else station.look(dead, station.settings.beat_s)
            looking.give(dead, replace(latest.sight, alive=False))
            planner = partial(plan_fill, len(seat.place.parents), dead, contacts, rng)
            (plan, places), alive = await asyncio.gather(
                self.changing.plan(planner), probe or _nobody()
            )
            if alive is not None:
                seat.answered(alive, station.host.time())
                # It lives: nothing is to be done unless it has another in our place.
                return all(
                    limb.heard > NEVER
                    for limb, parent in zip(seat.limbs, seat.place.parents, strict=True)
                    if parent == dead
                )
            if not await self._is_dead(died) or dead not in seat.place.parents:
                return True
            if plan is not None and await self.changing.carry_out(plan, places):
                station.counts["filled"] += 1 + len(plan.also_gone)
                return True
            if turn >= HELP_FROM:
                await self.finder.place_me(seat.place)
            await asyncio.sleep(0.05 + 0.3 * rng.random() * min(4, turn))
        return dead not in seat.place.parents

    async def _look_around(self, dead: Name, will: m.Seen, turn: int) -> tuple[Looking, list[Name]]:
        """Asks the neighbours of the fallen one and some others what they know."""
        self.station.book.learn(will.known)
        place = will.sight.place
        near = [*place.parents, *(child for _, child in place.edges())]
        near = [name for name in dict.fromkeys(near) if name != NOBODY]
        again = [name for name in self.changing.seen if turn]
        looking = self.changing.prepare([*near, *again])
        looking.follow = partial(_worth_asking, {}, place)
        names = self.contacts
        if turn > 2 or not names:
            names = (await self.finder.some(CONTACTS)).names
        contacts = [name for name in names if name not in (dead, self.seat.name)]
        looking.ask(contacts, briefly=True)
        return looking, contacts

    async def _my_turn(self, dead: Name, will: m.Seen, died: asyncio.Event) -> bool:
        """Waits until this child is the one to try.  False: the fallen one lives, or is filled."""
        before = self._before(will)
        if not before:
            return True
        live = await self.station.look_many(before, LOOKED_S)
        if not live:
            return True
        if not await self._is_dead(died):
            return False
        await asyncio.sleep(min(LAST_RANK, len(live)) * RANK_S)
        return dead in self.seat.place.parents

    async def _is_dead(self, died: asyncio.Event) -> bool:
        try:
            async with asyncio.timeout(DECLARED_S):
                await died.wait()
        except TimeoutError:
            return False
        return True

    def _is_silent(self, dead: Name) -> bool:
        """Has it said nothing for so long that its silence is an answer?"""
        seat, now = self.seat, self.station.host.time()
        heard = [
            limb.heard
            for limb, parent in zip(seat.limbs, seat.place.parents, strict=True)
            if parent == dead
        ]
        return max(heard, default=NEVER) <= now - self.station.settings.probe_s

    async def _last_word(self, name: Name) -> m.Seen | None:
        """Of somebody whom a plan asked in vain: it is asked once more, or its will answers."""
        if name < 0:
            return None
        seen, will = await asyncio.gather(
            self.station.look(name, self.station.settings.lock_s / 2), self._will(name)
        )
        if seen is not None or will is None:
            return seen
        self.station.book.learn(will.known)
        return replace(will, sight=replace(will.sight, alive=False))

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


def _worth_asking(substitutes: dict[Name, None], fallen: Place, sight: Sight) -> list[Name]:
    """Whom the plan will ask after this answer: children of the fallen one's children, incomplete
    peers, and who stands around the first of these.  `substitutes`: those so far."""
    place = sight.place
    found: list[Name] = []
    if fallen.stripe >= 0 and place.name in fallen.children[fallen.stripe]:
        found += place.children[fallen.stripe]
    for parent, state in zip(place.parents, sight.above, strict=True):
        if state < 0 and parent >= 0 and len(substitutes) < SUBSTITUTES:
            found.append(parent)
    if place.cohort and place.name >= 0 and len(substitutes) < SUBSTITUTES:
        substitutes[place.name] = None
        found += [*place.parents, *(child for _, child in place.edges())]
        found += [name for _, name in place.cohort]
    return found


async def _nobody() -> m.Seen | None:
    return None
