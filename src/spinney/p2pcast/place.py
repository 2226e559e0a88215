"""`Place`: where one peer stands in the forest, and `Sight`: what it answers when it is asked.

A place is its holder's own knowledge: its parent in each tree, its children in each tree, the
stripe it works for, the cohort that it belongs to while it is incomplete.  Each change of it makes
a new version; a plan names the versions that it was made from.

A sight is the place and what the holder has been told: its depth in each tree (hop counts travel
with the data) and the state of its parents (UPDATE, P2PCast paper, section 7).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Name: TypeAlias = int
"""A peer: in the model a number, on the wire its id read as a number."""

SOURCE: Name = -1
"""The content provider: the parent of the f roots."""
SPECIAL: Name = -2
"""The special node: kept by the source, a leaf in every tree, with no stripe of its own."""
NOBODY: Name = -3
"""No parent (yet)."""

LEAST_STRIPES, MOST_STRIPES = 2, 16

INCOMPLETE = -1
"""Said of a parent that is incomplete, where else its free slots stand."""

Cohort: TypeAlias = tuple[tuple[int, Name], ...]
"""The members of a cohort as (stripe, name), by stripe; empty for who is in none."""
Rows: TypeAlias = tuple[tuple[Name, ...], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One peer's place.  `parents` and `children`: one entry for each stripe.

    `spare`: children that it would carry beyond the number of stripes; negative for a peer on a
    slow line that carries fewer, where the stream allows it.  `since`: when it joined, in seconds.
    `version` rises by one with each change.
    """

    name: Name
    stripe: int
    parents: tuple[Name, ...]
    children: Rows
    cohort: Cohort = ()
    spare: int = 0
    since: float = 0.0
    version: int = 0

    @property
    def out_degree(self) -> int:
        return sum(len(row) for row in self.children)

    @property
    def is_incomplete(self) -> bool:
        """Has it a child in a tree that is not its own?"""
        return any(row for stripe, row in enumerate(self.children) if stripe != self.stripe)

    @property
    def room(self) -> int:
        """Slots that are free in its own tree: none while it is incomplete."""
        if self.name < 0 or self.is_incomplete:
            return 0
        return len(self.parents) + self.spare - len(self.children[self.stripe])

    def is_leaf(self, stripe: int) -> bool:
        return not self.children[stripe]

    def edges(self) -> Iterator[tuple[int, Name]]:
        """Its children as (stripe, name)."""
        for stripe, row in enumerate(self.children):
            for child in row:
                yield stripe, child


@dataclass(frozen=True, slots=True)
class Sight:
    """What a peer answers: its place; its depth in each tree (a root: 0); for each tree the free
    slots of its parent there, or `INCOMPLETE`; and for each tree an owner that has a free slot,
    the parent itself or one of its children (who tell it), or `NOBODY`.

    `alive` is False when the peer itself is gone and a neighbour answers with what it was told:
    such a peer is never chosen for anything, but its neighbours must be written to.
    """

    place: Place
    depths: tuple[int, ...]
    above: tuple[int, ...]
    slots: tuple[Name, ...]
    alive: bool = True


def empty_place(name: Name, stripes: int, *, spare: int = 0, since: float = 0.0) -> Place:
    """A peer before it has joined."""
    nobody = (NOBODY,) * stripes
    return Place(name, -1, nobody, ((),) * stripes, (), spare, since)
