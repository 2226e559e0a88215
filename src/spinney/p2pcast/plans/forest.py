"""`Forest`: the model world.  It answers planners and applies their plans.

A node never has one.  It stands for everybody at once in tests and in the lab's runs of the
structure: it plays the registry (random contacts), answers each question with what the asked peer
knows, applies a plan if every version that it was made from still holds, and counts calls and
edges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from spinney.errors import UsageError
from spinney.net.host import Rng
from spinney.p2pcast.place import (
    INCOMPLETE,
    LEAST_STRIPES,
    MOST_STRIPES,
    NOBODY,
    SOURCE,
    SPECIAL,
    Name,
    Place,
    Sight,
    empty_place,
)
from spinney.p2pcast.plans.draft import Move, Plan, Planning
from spinney.p2pcast.plans.joining import Newcomer, plan_join
from spinney.p2pcast.plans.layout import lay_out
from spinney.p2pcast.plans.leaving import SINK_LEVELS, plan_leave
from spinney.p2pcast.plans.seniority import plan_rise
from spinney.p2pcast.plans.special import Special

CONTACTS = 4
"""Random peers that the registry names to a newcomer."""
TRIES = 6
"""Times that a plan is made anew, each with twice as many contacts."""
LAID_OUT_AT_MOST = 6
"""Times f: up to so many peers the source may lay out the forest anew."""


class Stale(Exception):
    """A plan was made from versions that no longer hold: it must be made again."""


class DeadEnd(AssertionError):
    """No legal change was found in a forest that is too large to be laid out anew."""


@dataclass(slots=True)
class Cost:
    """What one operation took.  `calls`: questions of the planner and one to each peer that is
    written to; `updates`: children that are told of a new state of their parent."""

    kind: str
    calls: int
    moved_edges: int
    written: int
    updates: int
    moves: tuple[Move, ...] = ()


@dataclass(slots=True)
class Totals:
    """Counts over the life of a forest."""

    kinds: Counter[str] = field(default_factory=Counter)
    layouts: int = 0
    retries: int = 0


class Forest:
    """f trees over the same peers.

    `stripes`: f, 2 to 16.  `spare`: slots beyond f that each peer offers, unless it says otherwise.
    `contacts`: how many random peers a newcomer asks.  `prefer_old`: see `plan_leave`.
    Raises `UsageError` for numbers out of range.
    """

    def __init__(
        self,
        stripes: int,
        rng: Rng,
        *,
        spare: int = 0,
        contacts: int = CONTACTS,
        prefer_old: bool = True,
        sink_levels: int = SINK_LEVELS,
    ) -> None:
        if not LEAST_STRIPES <= stripes <= MOST_STRIPES:
            raise UsageError(f"a forest has {LEAST_STRIPES} to {MOST_STRIPES} stripes")
        if not 0 <= spare <= stripes or contacts < 1:
            raise UsageError(f"spare slots are 0 to {stripes}, contacts at least 1")
        self.stripes = stripes
        self.spare = spare
        self.contacts = contacts
        self.prefer_old = prefer_old
        self.sink_levels = sink_levels
        self.rng = rng
        self.fallen: dict[Name, None] = {}
        """Peers that are gone but still have their places: their neighbours have not mended yet."""
        self.offers = spare > 0
        """Has anybody offered spare slots?"""
        self.totals = Totals()
        self.special = Special()
        source = empty_place(SOURCE, stripes, spare=spare)
        special = empty_place(SPECIAL, stripes)
        self.places: dict[Name, Place] = lay_out(stripes, [], source, special)
        self._names: list[Name] = []
        self._at: dict[Name, int] = {}

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> Sequence[Name]:
        """All peers that have a place, fallen ones included, in no particular order."""
        return self._names

    # -- what peers know ------------------------------------------------------------------

    def sight(self, name: Name) -> Sight | None:
        """What this peer answers; what its neighbours say if it has fallen."""
        place = self.places.get(name)
        if place is None:
            return None
        depths = tuple(self.depth(name, stripe) for stripe in range(self.stripes))
        above = tuple(self._state(parent) for parent in place.parents)
        rows = zip(place.parents, above, strict=True)
        slots = tuple(self._slot(parent, state, at) for at, (parent, state) in enumerate(rows))
        return Sight(place, depths, above, slots, name not in self.fallen)

    def _state(self, parent: Name) -> int:
        place = self.places.get(parent)
        if place is None or parent < 0:
            return 0
        if place.cohort:
            return INCOMPLETE
        return 0 if parent in self.fallen else place.room

    def _slot(self, parent: Name, state: int, stripe: int) -> Name:
        if state > 0:
            return parent
        if state < 0 or not self.offers or parent < 0:
            return NOBODY
        for child in self.places[parent].children[stripe]:
            place = self.places[child]
            if place.stripe == stripe and place.room > 0 and child not in self.fallen:
                return child
        return NOBODY

    def depth(self, name: Name, stripe: int) -> int:
        """Edges between this peer and the root of a tree; the source's is -1."""
        places, depth = self.places, -1
        while name != SOURCE:
            name = places[name].parents[stripe]
            depth += 1
            assert depth <= len(places), "a cycle"
        return depth

    def some(self, count: int) -> list[Name]:
        """What the registry answers to JOIN: random live peers, the special node if there are
        hardly any."""
        if len(self._names) <= count:
            live = [name for name in self._names if name not in self.fallen]
            return [*live, SPECIAL]
        found: dict[Name, None] = {}
        for _ in range(4 * count):
            name = self._names[self.rng.randrange(len(self._names))]
            if name not in self.fallen:
                found[name] = None
            if len(found) == count:
                break
        return list(found)

    # -- changes --------------------------------------------------------------------------

    def solve(self, planning: Planning[Plan | None]) -> tuple[Plan | None, int]:
        """Answers a planner until it has its plan: the plan, and the calls that it took."""
        calls = 0
        try:
            name = next(planning)
            while True:
                calls += 1
                name = planning.send(self.sight(name))
        except StopIteration as done:
            plan: Plan | None = done.value
            return plan, calls

    def apply(self, plan: Plan) -> None:
        """Does what a transaction does: all of it, or nothing.  Raises `Stale`."""
        for name, version in plan.seen.items():
            place = self.places.get(name)
            if (place.version if place is not None else 0) != version:
                raise Stale(f"{plan.kind}: {name} has changed since")
        for name, place in plan.writes.items():
            if name not in self.places:
                self._at[name] = len(self._names)
                self._names.append(name)
            self.places[name] = place
        if plan.gone is not None:
            for name in (plan.gone, *plan.also_gone):
                self._forget(name)

    def _forget(self, name: Name) -> None:
        del self.places[name]
        self.fallen.pop(name, None)
        at, last = self._at.pop(name), self._names.pop()
        if last != name:
            self._names[at], self._at[last] = last, at

    def join(self, name: Name, *, since: float = 0.0, spare: int | None = None) -> Cost:
        """A newcomer asks the registry for contacts and takes its places."""
        assert name >= 0
        assert name not in self.places
        offered = self.spare if spare is None else spare
        newcomer = Newcomer(name, offered, since)
        self.offers |= offered > 0
        if len(self) < self.stripes:
            return self._lay_out("join", added=newcomer)

        def plan(contacts: list[Name]) -> Planning[Plan | None]:
            return plan_join(self.stripes, newcomer, contacts, self.rng)

        cost = self._change("join", plan, self.contacts)
        return cost if cost is not None else self._lay_out("join", added=newcomer)

    def leave(self, name: Name) -> Cost:
        """A peer leaves politely, or a fallen one's places are filled."""
        if len(self) <= self.stripes + 1:
            return self._lay_out("leave", gone=name)

        def plan(contacts: list[Name]) -> Planning[Plan | None]:
            near = [each for each in contacts if each != name]
            return plan_leave(
                self.stripes,
                name,
                near,
                self.rng,
                prefer_old=self.prefer_old,
                sink_levels=self.sink_levels,
            )

        cost = self._change("leave", plan, self.contacts)
        return cost if cost is not None else self._lay_out("leave", gone=name)

    def rise(self, name: Name, now: float) -> Cost | None:
        """A peer that is much older than its parent changes places with it; None if it is not."""
        plan, asked = self.solve(plan_rise(self.stripes, name, now))
        return self._done(plan, asked) if plan is not None else None

    def fall(self, names: Iterable[Name]) -> None:
        """These peers fail, together; `mend` fills their places."""
        self.fallen.update(dict.fromkeys(names))

    def mend(self) -> list[Cost]:
        """Fills the places of all fallen peers, one after the other, roots first: a parent fills
        the places of its children before they need it.  Where no way is seen yet the others go
        first.  Raises `DeadEnd` if none of them is left that does."""
        order = sorted(
            self.fallen, key=lambda name: (self.depth(name, self.places[name].stripe), name)
        )
        costs: list[Cost] = []
        while order:
            later: list[Name] = []
            for name in order:
                try:
                    costs.append(self.leave(name))
                except DeadEnd:
                    later.append(name)
            if len(later) == len(order):
                raise DeadEnd(f"{len(later)} fallen peers that nothing can replace")
            order = later
        return costs

    def _change(
        self, kind: str, planner: Callable[[list[Name]], Planning[Plan | None]], contacts: int
    ) -> Cost | None:
        calls = 0
        for attempt in range(TRIES):
            plan, asked = self.solve(planner(self.some(contacts << attempt)))
            calls += asked + 1
            if plan is None:
                self.totals.retries += 1
                continue
            return self._done(plan, calls)
        return None

    def _done(self, plan: Plan, calls: int) -> Cost:
        self.apply(plan)
        self.totals.kinds[plan.kind] += 1
        self.special.told(plan)
        updates = sum(place.out_degree for place in plan.writes.values())
        written = len(plan.writes)
        return Cost(plan.kind, calls + written, plan.moved_edges, written, updates, plan.moves)

    def _lay_out(
        self, kind: str, *, added: Newcomer | None = None, gone: Name | None = None
    ) -> Cost:
        """The source lays out few peers anew."""
        if len(self) > LAID_OUT_AT_MOST * self.stripes:
            raise DeadEnd(f"{kind}: no way among {len(self)} peers")
        before = dict(self.places)
        kept = [before[name] for name in sorted(self._names) if name != gone]
        if added is not None:
            kept.append(empty_place(added.name, self.stripes, spare=added.spare, since=added.since))
        made = lay_out(self.stripes, kept, before[SOURCE], before[SPECIAL])
        moves = [
            Move(stripe, name, old.parents[stripe], place.parents[stripe])
            for name, place in made.items()
            if (old := before.get(name, empty_place(name, self.stripes))).parents != place.parents
            for stripe in range(self.stripes)
            if old.parents[stripe] != place.parents[stripe]
        ]
        seen = {name: before[name].version if name in before else 0 for name in made}
        plan = Plan(f"{kind}: laid out", seen, made, tuple(moves), gone)
        self.apply(plan)
        self.totals.layouts += 1
        self.totals.kinds[plan.kind] += 1
        self.special.told(plan)
        return Cost(plan.kind, len(made), plan.moved_edges, len(made), 0, plan.moves)
