"""`Mending`: an orphan's search for a parent, in one tree, over the network.

When its parent falls silent it asks neighbours, and some peers that the registry names, what they
know; when the parent is dead it asks them to take it, one after the other (`asking.py`: whom, in
which order).  Each ask is one call.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from spinney.errors import CallError, NoAnswerError, SpinneyError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.asking import Ask, Asking
from spinney.p2pcast.attaching import with_parent
from spinney.p2pcast.finding import Finder
from spinney.p2pcast.gathering import Gathering
from spinney.p2pcast.place import NOBODY, Name
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.station import Station
from spinney.p2pcast.tending import Tending
from spinney.p2pcast.trust.signing import CANNOT_CARRY

LOOK_S = 0.3
"""What is waited for sights: a round trip of 200 ms; who is slower is no near parent."""
NEAR = 9
"""Neighbours that are asked for sights: with their parents some fifteen peers."""
FRESH_S = 1.5
"""Sights from the first doubt serve for so long: longer than a parent takes from there to dead."""
SLOWER = 0.5
"""By so much of the first wait each round waits longer: whoever is slow, or sits on a busy machine,
answers in the end, when those who are quick had no room."""
SLOWEST = 6.0
ASKED_A_ROUND = 6
CHANGE_FROM = 5
"""The round from which a childless orphan works for the tree itself."""
HELP_FROM = 6
"""The round from which the source is asked to place everybody, if there are few."""


def patience(turn: int) -> float:
    """By how many times a round waits longer than the first."""
    return min(1.0 + SLOWER * turn, SLOWEST)


class Mending(Tending):
    """For one seat."""

    def __init__(self, station: Station, seat: Seat, finder: Finder) -> None:
        super().__init__(station, seat, finder)
        self.mended: list[tuple[int, float]] = []
        """(tree, seconds from the orphan's own word to the new parent's)."""
        self._gathered: dict[int, Gathering] = {}
        self._trees: set[int] = set()

    def suspect(self, tree: int) -> None:
        """The parent is silent: what might be needed is asked for meanwhile."""
        old, station = self._gathered.get(tree), self.station
        if old is not None and station.host.time() - old.began < FRESH_S:
            return
        self._gathered[tree] = gathering = Gathering(station, LOOK_S)
        gathering.ask(self._near(tree)[:NEAR])
        # More than there may be orphans of one parent: they should not all ask the same.
        gathering.ask_far(self.finder, max(station.settings.contacts, 2 * station.stripes))
        dead, up = self.seat.place.parents[tree], self.seat.limbs[tree].up
        if dead >= 0 and up != NOBODY:
            doubt = codec.pack_delete(m.Delete(self.seat.name, dead))
            station.tell(up, b"p2pcast.doubt", doubt)

    def _near(self, tree: int) -> list[Name]:
        seat = self.seat
        limb = seat.limbs[tree]
        names: list[Name] = [limb.up] if limb.up >= 0 else []
        names += [*limb.aunts, *limb.cousins]
        names += [each for at, each in enumerate(seat.place.parents) if at != tree and each >= 0]
        names += [child for at, child in seat.place.edges() if at != tree and child >= 0]
        dead = seat.place.parents[tree]
        return [name for name in dict.fromkeys(names) if name not in (dead, seat.name)]

    def orphan(self, tree: int, dead: Name, seen: list[m.Seen] | None = None) -> None:
        """Begins to look for a parent.  `seen`: who was asked just now."""
        if tree in self._trees:
            return
        if seen is not None:
            self._gathered[tree] = Gathering(self.station, LOOK_S, seen)
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
        if turn >= CHANGE_FROM and turn % 3 == 2:
            self._change_over(tree)
        if not turn:
            self.suspect(tree)
        gathering = self._gathered.pop(tree, None)
        if gathering is None:
            gathering = Gathering(station, LOOK_S * patience(turn))
            gathering.ask_far(self.finder, 2 * station.settings.contacts + 2 * turn)
            gathering.ask(self._near(tree)[:4])
        asking = Asking(seat, tree, dead, turn, station.host.rng, station.reaching)
        refused = False
        while len(asking.tried) < ASKED_A_ROUND and seat.place.parents[tree] == NOBODY:
            chosen = asking.next(gathering)
            if chosen is None:
                if not await gathering.more():
                    return False
                continue
            answer = await self._ask(tree, chosen, patience(turn))
            if answer is None:
                continue
            if answer.taking is m.Taking.TAKEN:
                return True
            station.counts[f"refused: {answer.taking.name}"] += 1
            if answer.taking is m.Taking.FULL and not refused:
                # Others were quicker: what was seen before is old, so others yet are asked.
                gathering.ask_far(self.finder, 2 * station.stripes)
                refused = True
            asking.told(answer.others)
        return False

    def _change_over(self, tree: int) -> None:
        """A childless orphan offers itself as the tree's root: nobody of its own may be left."""
        place, participant = self.seat.place, self.seat.participant
        if place.name >= 0 and not place.out_degree and participant.held is None:
            changed = replace(place, stripe=tree, version=place.version + 1)
            self.station.take(self.seat, changed)

    async def _ask(self, tree: int, chosen: Ask, patience: float) -> m.Taken | None:
        seat = self.seat
        if seat.participant.held is not None:
            await asyncio.sleep(0.05)
            return None
        seat.asking[tree] = chosen.name
        try:
            return await self._asked(tree, chosen, patience)
        finally:
            del seat.asking[tree]

    async def _asked(self, tree: int, chosen: Ask, patience: float) -> m.Taken | None:
        seat, station, name = self.seat, self.station, chosen.name
        limb = seat.limbs[tree]
        known = station.book.of([chosen.dead])
        stripe = seat.place.stripe
        slots = seat.slots
        call = m.TakeOn(
            name,
            seat.name,
            tree,
            limb.sequence,
            stripe,
            chosen.dead,
            chosen.inner,
            known,
            chosen.urgent,
            slots,
        )
        try:
            body = codec.pack_take_on(call)
            taken = codec.read_taken(await station.ask_orphan(call, body, patience))
        except NoAnswerError:
            # It may have taken us and its answers were lost.  In other trees it may be our parent.
            trees = sum(1 << at for at, each in enumerate(seat.place.parents) if each == name)
            station.tell(name, b"p2pcast.here", seat.word(name, trees))
            return None
        except CallError as error:
            if error.code == CANNOT_CARRY:
                station.refusal = error
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
