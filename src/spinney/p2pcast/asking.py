"""`Asking`: whom an orphan asks next to take it, in one round.  Pure.

The order: its grandparent for the dead one's slot, if it has children in that tree itself (so the
subtree keeps its depth) or if the dead one was a root; whom a refusal named; who has room, by the
sights that have come; and when all have come, who would have to change over or send a leaf away,
and the grandparent of a leaf.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spinney.net.host import Rng
from spinney.p2pcast.attaching import Candidate, candidates
from spinney.p2pcast.gathering import Gathering
from spinney.p2pcast.place import NOBODY, SOURCE, Name
from spinney.p2pcast.reaching import Reaching
from spinney.p2pcast.seat import Seat

URGENT_FROM = 3
"""The round from which somebody is asked to give way: in each before, all answered who would."""
TOLD_AT_ONCE = 2
"""Of those that one refusal names."""


@dataclass(frozen=True, slots=True)
class Ask:
    """`dead`: whose slot it asks for, or `NOBODY`; `inner`: it may displace a leaf; `urgent`: it
    shall give way."""

    name: Name
    dead: Name
    inner: bool
    urgent: bool = False


class Asking:
    """One round of one orphan; `turn` counts its rounds."""

    def __init__(
        self,
        seat: Seat,
        tree: int,
        dead: Name,
        turn: int,
        rng: Rng,
        reaching: Reaching | None = None,
    ) -> None:
        self.seat, self.tree, self.dead, self.turn = seat, tree, dead, turn
        self.tried: set[Name] = set()
        self._rng = rng
        self._reaching = reaching
        self._is_closed = reaching is not None and reaching.is_closed(seat.name)
        place = seat.place
        self._owns = place.stripe == tree
        # Whoever carries fewer children than others would make a tree deep, as its root; and who is
        # incomplete takes nobody there: all others would be cut off.
        self._may_be_root = self._owns and place.spare >= 0 and not place.cohort
        children = bool(place.children[tree])
        # An owner without children brings free slots: in time it may take a leaf's place, too.
        # Not so who carries less than it gets: it takes what others can spare, in nobody's stead.
        self._inner = self._owns and (children or turn > 0) and place.spare >= 0
        self._up = seat.limbs[tree].up
        self._is_branch = self._owns and (self._up == SOURCE or children)
        self._told: list[Name] = []
        self._named: set[Name] = set()
        nat = reaching is not None and reaching.station.settings.nat
        # Behind NATs there may be too few slots for all: then nobody's way is another's.
        self._urgent = turn >= URGENT_FROM and not nat
        self._giving_way: set[Name] = set()

    def told(self, others: Iterable[Name]) -> None:
        """Whom a refusal named."""
        row = [each for each in others if each not in self.tried]
        self._rng.shuffle(row)
        self._named.update(row)
        self._told = [*row[:TOLD_AT_ONCE], *self._told]

    def next(self, gathering: Gathering) -> Ask | None:
        """None: nobody yet, or nobody at all if the gathering is over."""
        own, turn = self.seat.place.children[self.tree], self.turn
        barred = {self.seat.name, self.dead, *own, *self.tried}
        name = self._chosen(gathering, barred)
        if name is None:
            return None
        self.tried.add(name)
        instead = name == self._up and turn < 2
        first = instead and self._is_branch and not turn
        displaces = first or (self._inner and (instead or turn > 0 or name in self._named))
        return Ask(name, self.dead if instead else NOBODY, displaces, name in self._giving_way)

    def _chosen(self, gathering: Gathering, barred: set[Name]) -> Name | None:
        asks_up = self._up != NOBODY and self.turn < 2 and (self._up != SOURCE or self._may_be_root)
        if self._up in barred or not self._may_ask(self._up) or self._up in gathering.silent:
            asks_up = False
        if asks_up and self._is_branch:
            # The dead one's slot keeps a branch where it is: asked for at once.
            return self._up
        while self._told:
            name = self._told.pop(0)
            if name not in barred and name not in gathering.silent and self._may_ask(name):
                return name
        found = candidates(
            self.tree,
            self.seat.limbs[self.tree].sequence,
            gathering.seen,
            inner=(self._inner or self._is_closed) and self.turn > 0,
            urgent=self._urgent,
        )
        self._giving_way = {name for name, each in found.items() if each.sends_away >= 0}
        barred |= gathering.silent
        rows = [each for name, each in found.items() if name not in barred and self._may_ask(name)]
        if not gathering.is_over:
            rows = [each for each in rows if not each.last]
        if rows:
            return self._best(rows)
        if not gathering.is_over:
            return None
        if asks_up:
            return self._up
        asks_source = self._may_be_root and self.turn >= 2 and self.turn % 3 == 2
        return SOURCE if asks_source and SOURCE not in barred else None

    def _may_ask(self, name: Name) -> bool:
        return self._reaching is None or self._reaching.can_meet(name)

    def _best(self, rows: list[Candidate]) -> Name:
        """All orphans of one parent look at the same few: so leaves ask anybody who has room, in
        random order, and only branches, for which depth matters, the shallowest first.  Before
        that, those in other networks than its parents in other trees."""
        self._rng.shuffle(rows)
        near = {each.name: self.seat.is_beside_parent(each.name, self.tree) for each in rows}
        return min(
            rows,
            key=lambda each: (
                each.last,
                each.sends_away,
                near[each.name],
                each.depth if self._inner else 0,
            ),
        ).name
