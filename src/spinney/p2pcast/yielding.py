"""How a tree that is short of slots gets an owner, though nobody is without children.  Pure.

A failure takes slots from one tree only.  While some peer has no children it changes over to the
tree that lacks them (`attaching.py`).  But where everybody has some, each in a tree that has more
slots than it needs, an orphan would look for ever; and below a root that is incomplete, whose
children stay leaves, all others would.  So an orphan that has asked in vain looks for somebody who
*gives way*: who sends its children in other trees away, all leaves, and works for the orphan's tree
alone from then on.  The orphan asks this only of those for whose children it has seen free slots
elsewhere, so that fewer lack a parent afterwards and not more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from spinney.p2pcast.messages import Seen
from spinney.p2pcast.place import INCOMPLETE, NOBODY, Name, Place

GIVES_WAY_S = 5.0
"""Between two changes of one peer: those that it sent away have found parents by then; and who
makes up orphans disturbs nobody oftener."""


def sent_away(place: Place, tree: int) -> list[tuple[int, Name]]:
    """The children that it would send away, as (tree, name)."""
    return [(at, child) for at, child in place.edges() if at != tree]


def may_give_way(place: Place, tree: int, above: int) -> bool:
    """Could it, as far as its place and the state of its parent in that tree show?  Not one that
    serves the tree anyway; nor where nobody has a slot to spare; nor an only-child, which stays a
    leaf."""
    if place.name < 0 or place.spare <= 0 or place.parents[tree] == NOBODY:
        return False
    if not place.cohort and (place.stripe == tree or not place.out_degree):
        return False
    return bool(place.children[tree]) or above != INCOMPLETE


def given_way(place: Place, tree: int) -> Place:
    """Its place when it has."""
    rows = tuple(row if at == tree else () for at, row in enumerate(place.children))
    return replace(place, stripe=tree, children=rows, cohort=(), version=place.version + 1)


def free_slots(seen: Iterable[Seen]) -> list[dict[Name, int]]:
    """For each tree, who has free slots there and how many, by these sights: those who were asked,
    and parents of whom they told."""
    rows: list[dict[Name, int]] = []
    own: list[dict[Name, int]] = []
    for each in seen:
        place = each.sight.place
        while len(rows) < len(place.parents):
            rows.append({})
            own.append({})
        if not each.sight.alive:
            continue
        if place.stripe >= 0:
            own[place.stripe][place.name] = max(place.room, 0)
        for tree, (parent, above) in enumerate(zip(place.parents, each.sight.above, strict=True)):
            if above > 0 and parent >= 0:
                rows[tree][parent] = above
    return [{**told, **said} for told, said in zip(rows, own, strict=True)]


def would_find_room(place: Place, tree: int, free: list[dict[Name, int]]) -> bool:
    """Is there a slot elsewhere for each child that it would send away?"""
    wanted = [0] * len(place.parents)
    for at, _ in sent_away(place, tree):
        wanted[at] += 1
    return all(
        count <= sum(slots for name, slots in free[at].items() if name != place.name)
        for at, count in enumerate(wanted)
        if count
    )
