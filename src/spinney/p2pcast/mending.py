"""`Mending`: an orphan's search for a parent, in one tree, over the network.

The order in which it asks: its grandparent for the dead one's slot, if it has children in that tree
itself (so the subtree keeps its depth) or if the dead one was a root; then who has room nearby, as
the dead parent's beats said; then whom the registry names.  Each ask is one call.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from spinney.errors import NoAnswerError, SpinneyError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.attaching import Candidate, candidates, with_parent
from spinney.p2pcast.finding import Finder
from spinney.p2pcast.place import NOBODY, SOURCE, Name
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.station import Station
from spinney.p2pcast.tending import Tending

LOOK_S = 0.3
"""What is waited for sights: a round trip of 200 ms; who is slower is no near parent."""
NEAR = 8
"""Neighbours that are asked for sights: with their parents some fifteen peers."""
ASKED_A_ROUND = 6
CHANGE_FROM = 5
"""The round from which a childless orphan works for the tree itself."""
HELP_FROM = 6
"""The round from which the source is asked to place everybody, if there are few."""


class Mending(Tending):
    """For one seat."""

    def __init__(self, station: Station, seat: Seat, finder: Finder) -> None:
        super().__init__(station, seat, finder)
        self.mended: list[tuple[int, float]] = []
        """(tree, seconds from the orphan's own word to the new parent's)."""
        self._near_by: dict[int, asyncio.Task[list[m.Seen]]] = {}
        self._far_off: dict[int, asyncio.Task[list[m.Seen]]] = {}
        self._given: dict[int, list[m.Seen]] = {}
        self._trees: set[int] = set()

    def suspect(self, tree: int) -> None:
        """The parent is silent: what might be needed is asked for meanwhile."""
        old = self._near_by.get(tree)
        if old is None or old.done():
            near, contacts = self._near(tree)[:NEAR], self.station.settings.contacts
            loop = asyncio.get_running_loop()
            look = self.station.look_many(near, LOOK_S)
            self._near_by[tree] = loop.create_task(look)
            self._far_off[tree] = loop.create_task(self._look_far(contacts))
            dead, up = self.seat.place.parents[tree], self.seat.limbs[tree].up
            if dead >= 0 and up != NOBODY:
                doubt = codec.pack_delete(m.Delete(self.seat.name, dead))
                self.station.tell(up, b"p2pcast.doubt", doubt)

    async def _look_far(self, count: int) -> list[m.Seen]:
        """Peers that the registry names."""
        joined = await self.finder.some(count)
        return await self.station.look_many(joined.names, LOOK_S)

    def _near(self, tree: int) -> list[Name]:
        seat = self.seat
        limb = seat.limbs[tree]
        names: list[Name] = [*limb.aunts, *limb.cousins]
        names += [each for at, each in enumerate(seat.place.parents) if at != tree and each >= 0]
        names += [child for at, child in seat.place.edges() if at != tree and child >= 0]
        if limb.up >= 0:
            names.append(limb.up)
        dead = seat.place.parents[tree]
        return [name for name in dict.fromkeys(names) if name not in (dead, seat.name)]

    async def _known(self, tree: int) -> list[m.Seen]:
        """What was asked for when the parent fell silent."""
        self.suspect(tree)
        near, far = self._near_by.pop(tree), self._far_off[tree]
        seen = await near
        if far.done() or not candidates(tree, self.seat.limbs[tree].sequence, seen):
            del self._far_off[tree]  # else they are for the next turn
            seen = [*seen, *await far]
        return seen

    def orphan(self, tree: int, dead: Name, seen: list[m.Seen] | None = None) -> None:
        """Begins to look for a parent.  `seen`: who was asked just now."""
        if tree in self._trees:
            return
        if seen is not None:
            self._given[tree] = seen
        self._trees.add(tree)
        if not self.station.spawn(self._mend(tree, dead)):
            self._trees.discard(tree)

    async def _mend(self, tree: int, dead: Name) -> None:
        seat, station = self.seat, self.station
        loop = asyncio.get_running_loop()
        began = loop.time()
        if dead >= 0:
            station.spawn(self.finder.delete(dead, tree))
        try:
            for turn in range(station.settings.rounds):
                if seat.place.parents[tree] == NOBODY and await self._turn(tree, dead, turn):
                    self.mended.append((tree, loop.time() - began))
                    station.counts["mended"] += 1
                if seat.place.parents[tree] != NOBODY or seat.name not in station.seats:
                    return
                if turn >= HELP_FROM:
                    await self.finder.place_me(seat.place)
                await asyncio.sleep(0.05 + 0.15 * station.host.rng.random() * min(turn, 8))
        finally:
            self._trees.discard(tree)

    async def _turn(self, tree: int, dead: Name, turn: int) -> bool:
        """One round of asking; True once somebody has taken us."""
        seat, station = self.seat, self.station
        limb, rng = seat.limbs[tree], station.host.rng
        if turn >= CHANGE_FROM and turn % 3 == 2:
            self._change_over(tree)
        owns = seat.place.stripe == tree
        up = limb.up
        others: list[Name] = []
        branch = owns and (up == SOURCE or bool(seat.place.children[tree]))
        if not turn and branch and up != NOBODY:
            # The dead one's slot keeps a branch where it is: asked for at once.
            answer = await self._ask(tree, up, dead, True)
            if answer is not None and answer.taking is m.Taking.TAKEN:
                return True
            others = [] if answer is None else [n for n in answer.others if n != seat.name]
        seen = self._given.pop(tree, [])
        if not turn and not seen:
            seen = await self._known(tree)
        far = self._far_off.pop(tree, None) if turn == 1 else None
        if far is not None:
            seen = await far
        elif turn:
            joined = await self.finder.some(2 * station.settings.contacts + 2 * turn)
            around = [*joined.names, *self._near(tree)[:4]]
            seen = await station.look_many(around, LOOK_S)
        # An owner without children brings free slots: in time it may take a leaf's place, too.
        inner = owns and (bool(seat.place.children[tree]) or turn > 0)
        found = candidates(tree, limb.sequence, seen, inner=inner and turn > 0)
        for name in (seat.name, dead, *seat.place.children[tree]):
            found.pop(name, None)
        rows: list[Candidate] = list(found.values())
        rng.shuffle(rows)
        # All orphans of one parent look at the same few: so leaves ask anybody who has room, in
        # random order, and only branches, for which depth matters, the shallowest first.
        rows.sort(key=lambda each: (each.last, each.depth if inner else 0))
        asks = [(each.name, False) for each in rows[:ASKED_A_ROUND]]
        told = set(others)
        rng.shuffle(others)
        asks[:0] = [(each, False) for each in others[:2]]
        if up != NOBODY and turn < 2 and (up != SOURCE or owns) and not (branch and not turn):
            asks.insert(0 if branch else len(asks), (up, True))
        if (up != SOURCE or turn >= 2) and turn % 3 == 2 and owns:
            asks.append((SOURCE, False))
        tried: set[Name] = set()
        while asks:
            name, instead = asks.pop(0)
            if name in tried or seat.place.parents[tree] != NOBODY:
                continue
            tried.add(name)
            displaces = inner and (instead or turn > 0 or name in told)
            answer = await self._ask(tree, name, dead if instead else NOBODY, displaces)
            if answer is None:
                continue
            if answer.taking is m.Taking.TAKEN:
                return True
            station.counts[f"refused: {answer.taking.name}"] += 1
            if len(tried) < ASKED_A_ROUND:
                others = [each for each in answer.others if each != seat.name]
                rng.shuffle(others)
                told.update(others)
                asks[:0] = [(each, False) for each in others[:2]]
        return False

    def _change_over(self, tree: int) -> None:
        """A childless orphan offers itself as the tree's root: nobody of its own may be left."""
        place, participant = self.seat.place, self.seat.participant
        if place.name >= 0 and not place.out_degree and participant.held is None:
            changed = replace(place, stripe=tree, version=place.version + 1)
            self.station.take(self.seat, changed)

    async def _ask(self, tree: int, name: Name, dead: Name, inner: bool) -> m.Taken | None:
        seat = self.seat
        if seat.participant.held is not None or name == seat.name:
            await asyncio.sleep(0.05)
            return None
        seat.asking[tree] = name
        try:
            return await self._asked(tree, name, dead, inner)
        finally:
            del seat.asking[tree]

    async def _asked(self, tree: int, name: Name, dead: Name, inner: bool) -> m.Taken | None:
        seat, station = self.seat, self.station
        limb = seat.limbs[tree]
        known = station.book.of([dead])
        stripe = seat.place.stripe
        call = m.TakeOn(name, seat.name, tree, limb.sequence, stripe, dead, inner, known)
        try:
            taken = codec.read_taken(await station.ask_orphan(call, codec.pack_take_on(call)))
        except NoAnswerError:
            # It may have taken us and its answers were lost.
            station.tell(name, b"p2pcast.here", seat.word(name, 0))
            return None
        except SpinneyError:
            return None
        station.book.learn(taken.known)
        if taken.taking is m.Taking.TAKEN:
            if seat.place.parents[tree] == NOBODY and seat.participant.held is None:
                station.take(seat, with_parent(seat.place, tree, name))
                limb.depth, limb.above = taken.depth + 1, taken.room
            else:
                return None
        return taken
