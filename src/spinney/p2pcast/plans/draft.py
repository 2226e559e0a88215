"""`Draft`: a change of the forest while it is thought out, and `Plan`: the change itself.

A planner is a generator.  It yields the name of a peer whose place it wants to see and is sent a
`Sight`, or None if nobody can say anything about that peer; each such question is one call
(SEARCH in the paper).  It returns a plan, or None if what it saw allows none.  So the same planner
is driven by the model in one go and by a node that waits for answers, and it can know nothing that
it was not told.

A plan names few peers.  A transaction locks those in `writes`, checks that everybody in `seen`
still is at that version, and either gives each its new place or changes nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from spinney.p2pcast.place import NOBODY, Cohort, Name, Place, Sight, empty_place

T = TypeVar("T")
Planning: TypeAlias = Generator[Name, Sight | None, T]


class Wanted(int):
    """A name that a planner asks for, with those that it will probably ask for next: over a network
    they are asked at once, or each would cost a round trip."""

    soon: tuple[Name, ...]

    @classmethod
    def first(cls, name: Name, soon: Iterable[Name]) -> Wanted:
        wanted = cls(name)
        wanted.soon = tuple(dict.fromkeys(each for each in soon if each != NOBODY))
        return wanted


@dataclass(frozen=True, slots=True)
class Move:
    """In one tree a child gets another parent; `NOBODY` before a join and after a leave."""

    stripe: int
    child: Name
    before: Name
    after: Name


@dataclass(frozen=True, slots=True)
class Plan:
    """A small change.  `seen`: the version of each peer that it relies on; `writes`: the new place
    of each peer that it changes; `gone`: who is no longer in the forest afterwards, `also_gone`:
    those who fell with it."""

    kind: str
    seen: dict[Name, int]
    writes: dict[Name, Place]
    moves: tuple[Move, ...]
    gone: Name | None = None
    also_gone: tuple[Name, ...] = ()

    @property
    def moved_edges(self) -> int:
        """Edges that somebody has to make: those that only end cost nothing."""
        return sum(1 for move in self.moves if move.after != NOBODY)


class Sketch:
    """A place that may be changed; see `Place` for the fields."""

    __slots__ = ("alive", "children", "cohort", "depths", "name", "parents", "sight", "stripe")

    def __init__(self, sight: Sight) -> None:
        place = sight.place
        self.sight = sight
        self.name = place.name
        self.stripe = place.stripe
        self.parents = list(place.parents)
        self.children = [list(row) for row in place.children]
        self.cohort = place.cohort
        self.depths = sight.depths
        self.alive = sight.alive

    @property
    def before(self) -> Place:
        return self.sight.place

    @property
    def foreign(self) -> list[int]:
        """Trees other than its own in which it has a child."""
        return [at for at, row in enumerate(self.children) if row and at != self.stripe]

    @property
    def is_settled(self) -> bool:
        """Not incomplete; so are the source and the special node."""
        own = self.stripe
        return not any(row for at, row in enumerate(self.children) if at != own and self.name >= 0)

    @property
    def load(self) -> int:
        return sum(len(row) for row in self.children)

    @property
    def near(self) -> list[Name]:
        """Parents, children, mates: whom a plan that takes it out has to look at."""
        mates = [name for _, name in self.cohort]
        children = [name for row in self.children for name in row]
        return [name for name in (*self.parents, *children, *mates) if name != NOBODY]

    @property
    def free(self) -> int:
        """Children that it can still take, in whatever tree the rules allow."""
        return len(self.parents) + self.before.spare - self.load if self.name >= 0 else 0

    @property
    def lendable(self) -> int:
        """Slots that it could lend to leaves of other trees: spare ones are for its own."""
        return len(self.parents) - self.load if self.name >= 0 else 0

    def has_child(self, name: Name) -> bool:
        return any(name in row for row in self.children)

    def is_leaf(self, stripe: int) -> bool:
        return not self.children[stripe]

    def place(self) -> Place:
        old = self.before
        rows = tuple(tuple(row) for row in self.children)
        parents = tuple(self.parents)
        changed = (self.stripe, parents, rows, self.cohort)
        if changed == (old.stripe, old.parents, old.children, old.cohort):
            return old
        return Place(self.name, *changed[:3], self.cohort, old.spare, old.since, old.version + 1)


class Draft:
    """What one planner has seen, and how it would change it."""

    def __init__(self, stripes: int) -> None:
        self.stripes = stripes
        self.known: dict[Name, Sketch] = {}
        self.relied: dict[Name, None] = {}
        self.met: dict[Name, None] = {}
        """Incomplete peers that were seen, or named as somebody's parent."""
        self.barred: dict[Name, None] = {}
        """Who must not be given anything: it leaves, or is only on its way."""

    def again(self) -> Draft:
        """A fresh draft that has seen the same."""
        fresh = Draft(self.stripes)
        fresh.known = {name: Sketch(known.sight) for name, known in self.known.items()}
        fresh.met = self.met
        fresh.barred = dict(self.barred)
        return fresh

    def look(self, name: Name, soon: Iterable[Name] = ()) -> Planning[Sketch | None]:
        """The peer as this draft has it so far; asked for at most once.  `soon`: who will be asked
        for next, unless this one ends the search."""
        known = self.known.get(name)
        if known is not None:
            return known
        sight = yield Wanted.first(name, [each for each in soon if each not in self.known])
        if sight is None:
            return None
        self.known[name] = sketch = Sketch(sight)
        if not sketch.is_settled:
            self.met[name] = None
        for parent, state in zip(sight.place.parents, sight.above, strict=True):
            if state < 0:
                self.met[parent] = None
        return sketch

    def must(self, name: Name, soon: Iterable[Name] = ()) -> Planning[Sketch]:
        """As `look`, where nothing can be planned without an answer.  Raises `Blind`."""
        known = yield from self.look(name, soon)
        if known is None:
            raise Blind(name)
        return known

    def newcomer(self, name: Name, *, spare: int, since: float) -> Sketch:
        place = empty_place(name, self.stripes, spare=spare, since=since)
        zeros = (0,) * self.stripes
        self.known[name] = Sketch(Sight(place, zeros, zeros, (NOBODY,) * self.stripes))
        self.barred[name] = None
        return self.known[name]

    def rely(self, *sketches: Sketch) -> None:
        """The plan holds only if these do not change meanwhile."""
        for sketch in sketches:
            self.relied[sketch.name] = None

    # -- changes: everybody named must have been looked at ---------------------------------

    def adopt(self, stripe: int, parent: Sketch, child: Sketch) -> None:
        assert child.parents[stripe] == NOBODY
        assert child is not parent
        child.parents[stripe] = parent.name
        parent.children[stripe].append(child.name)

    def drop(self, stripe: int, child: Sketch) -> Sketch:
        """Takes the child from its parent, which is returned."""
        parent = self.known[child.parents[stripe]]
        parent.children[stripe].remove(child.name)
        child.parents[stripe] = NOBODY
        return parent

    def replace(self, stripe: int, old: Sketch, new: Sketch) -> None:
        """The new one takes the old one's place below its parent (SUBSTITUTE)."""
        assert new.parents[stripe] == NOBODY
        parent = self.known[old.parents[stripe]]
        row = parent.children[stripe]
        row[row.index(old.name)] = new.name
        new.parents[stripe], old.parents[stripe] = parent.name, NOBODY

    def splice(self, stripe: int, new: Sketch, leaf: Sketch) -> None:
        """The new one takes the leaf's place and adopts it."""
        self.replace(stripe, leaf, new)
        self.adopt(stripe, new, leaf)

    def exchange(self, stripe: int, one: Sketch, other: Sketch) -> None:
        """Two leaves of one tree change places."""
        ours, theirs = self.known[one.parents[stripe]], self.known[other.parents[stripe]]
        row, other_row = ours.children[stripe], theirs.children[stripe]
        at, other_at = row.index(one.name), other_row.index(other.name)
        row[at], other_row[other_at] = other.name, one.name
        one.parents[stripe], other.parents[stripe] = theirs.name, ours.name

    def set_cohort(self, members: list[Sketch]) -> None:
        """These and nobody else are a cohort from now on."""
        cohort: Cohort = tuple(sorted((each.stripe, each.name) for each in members))
        for each in members:
            each.cohort = cohort

    # -- the end ----------------------------------------------------------------------------

    def finish(self, kind: str, gone: Name | None = None) -> Planning[Plan]:
        """Mends the lists of cohorts (who has no child in another's tree is in none) and makes
        the plan."""
        yield from self._mend_cohorts(gone)
        writes: dict[Name, Place] = {}
        moves: list[Move] = []
        for name, sketch in self.known.items():
            place = sketch.place()
            if place is sketch.before:
                continue
            if name != gone:
                writes[name] = place
            pairs = zip(sketch.before.parents, place.parents, strict=True)
            for stripe, (before, after) in enumerate(pairs):
                if before != after:
                    moves.append(Move(stripe, name, before, after))
        relied = {**dict.fromkeys(writes), **self.relied}
        if gone is not None:
            relied[gone] = None
        seen = {name: self.known[name].before.version for name in relied}
        return Plan(kind, seen, writes, tuple(moves), gone)

    def _mend_cohorts(self, gone: Name | None) -> Planning[None]:
        for sketch in list(self.known.values()):
            leaves = bool(sketch.cohort) and (sketch.name == gone or sketch.is_settled)
            if leaves:
                left = tuple(row for row in sketch.cohort if row[1] != sketch.name)
                sketch.cohort = ()
                for _, name in left:
                    mate = yield from self.must(name)
                    mate.cohort = left
            elif sketch.name != gone and not sketch.cohort and not sketch.is_settled:
                sketch.cohort = ((sketch.stripe, sketch.name),)


class Blind(Exception):
    """A planner could not see somebody whom its plan needs."""
