"""How an orphan finds a parent again, and who takes it.  Pure.

Where spare slots exist a lost parent needs no substitute: each of its children looks for a free
slot in that tree (TAKEON), or asks its grandparent for the dead one's own (SUBSTITUTE).  Two peers
are enough for that, so it is one call, not a transaction: who takes the child changes its place at
once, the child when it hears so; if the answer is lost the child asks again, or the edge, which
only one side knows, is dropped.

Cycles cannot arise: numbers of beats go down a tree only, so everybody below an orphan has seen no
newer one than the orphan; it is taken only by a peer that has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from spinney.p2pcast.messages import Seen, TakeOn, Taking
from spinney.p2pcast.place import NOBODY, SOURCE, Name, Place
from spinney.p2pcast.yielding import free_slots, may_give_way, sent_away, would_find_room

NEWER = 1 << 31
"""Numbers wrap: half of them are newer than a given one."""


def is_newer(sequence: int, than: int) -> bool:
    """0 is the number of who has heard none: it has nobody below it, and is older than all."""
    if not than or not sequence:
        return sequence != 0
    return 0 < (sequence - than) % (1 << 32) < NEWER


def taking(
    place: Place, above: int, sequence: int, call: TakeOn, *, gone: bool, leaves: int = 0
) -> Taking:
    """Does a peer take this orphan?  `above`: the state of its parent in that tree; `sequence`: the
    newest number that it has there; `gone`: the orphan's dead parent is its child and it has
    checked that it is dead.  `leaves`: children there that work for other trees; one of them makes
    way for an orphan that owns the tree: a leaf finds another slot, whole branches hardly."""
    tree = call.tree
    if tree >= len(place.parents):
        return Taking.FULL
    row = place.children[tree]
    if call.child in row:
        return Taking.TAKEN
    left = len(row) - (gone and call.dead in row)
    if place.name == SOURCE:
        # A root that cannot have children there would leave the tree to nobody.
        return Taking.TAKEN if not left and call.stripe == tree else Taking.FULL
    if place.name < 0 or place.cohort or call.child in (place.name, place.parents[tree]):
        return Taking.FULL
    if place.parents[tree] == NOBODY:
        return Taking.CUT_OFF
    if not is_newer(sequence, call.sequence):
        return Taking.BEHIND
    if not row and above < 0:
        return Taking.FULL  # an only-child stays a leaf
    if place.stripe != tree and place.out_degree:
        return Taking.FULL
    if left < len(place.parents) + place.spare or (call.inner and leaves):
        return Taking.TAKEN
    return Taking.FULL


def with_child(place: Place, tree: int, child: Name, dead: Name = NOBODY) -> Place:
    """The place with the orphan as a child, in the dead one's stead if that is there.  A childless
    peer of another stripe works for this tree from now on."""
    row = [name for name in place.children[tree] if name not in (dead, child)]
    rows = list(place.children)
    rows[tree] = (*row, child)
    stripe = tree if place.name >= 0 and place.stripe != tree else place.stripe
    return replace(place, stripe=stripe, children=tuple(rows), version=place.version + 1)


def without_children(place: Place, lost: Iterable[tuple[int, Name]]) -> Place:
    """The place without these children, given as (tree, name)."""
    rows = [list(row) for row in place.children]
    for tree, name in lost:
        if name in rows[tree]:
            rows[tree].remove(name)
    return _at(place, children=tuple(map(tuple, rows)))


def with_parent(place: Place, tree: int, parent: Name) -> Place:
    parents = (*place.parents[:tree], parent, *place.parents[tree + 1 :])
    return _at(place, parents=parents)


def with_spare(place: Place, spare: int) -> Place:
    """The same place, that offers more or less from now on."""
    return _at(place, spare=spare)


def _at(place: Place, **changed: object) -> Place:
    return replace(place, version=place.version + 1, **changed)  # type: ignore[arg-type]


def may_become(old: Place, new: Place) -> bool:
    """Does a new place in a transaction obey the rules that its holder can see alone?"""
    stripes = len(new.parents)
    load = new.out_degree
    if new.name == SOURCE:
        return all(len(row) == 1 for row in new.children)
    if new.name < 0:
        return not load
    if load > stripes + new.spare or not 0 <= new.stripe < stripes:
        return False
    if new.is_incomplete and (not new.cohort or load > stripes):
        return False
    for tree in range(stripes):
        more = set(new.children[tree]) - set(old.children[tree])
        if more and new.parents[tree] == NOBODY:
            return False
        if new.parents[tree] == new.name or new.name in new.children[tree]:
            return False
        if new.parents[tree] in new.children[tree]:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who might take an orphan, at this depth.  `last`: it has no free slot in that tree,
    but is childless and may change over to it, or has a leaf that may be displaced.  `sends_away`:
    children for whom it would have to be others' turn, if it gives way; -1: it needs not."""

    name: Name
    depth: int
    last: bool = False
    sends_away: int = -1


def candidates(
    tree: int,
    sequence: int,
    seen: Iterable[Seen],
    *,
    inner: bool = False,
    urgent: bool = False,
) -> dict[Name, Candidate]:
    """From sights: those who have room in the tree themselves, and parents that have; childless
    peers; for an orphan with children there also parents of leaves; for one that found nobody also
    who may give way."""
    found: dict[Name, Candidate] = {}
    seen = list(seen)
    free = free_slots(seen) if urgent else []
    for each in seen:
        place, above = each.sight.place, each.sight.above[tree]
        depth, parent = each.sight.depths[tree], place.parents[tree]
        if not each.sight.alive or parent == NOBODY:
            continue
        if not is_newer(each.sequences[tree], sequence):
            continue
        if above > 0 and parent >= 0 and parent not in found:
            found[parent] = Candidate(parent, depth - 1)
        slot = each.sight.slots[tree]
        if slot >= 0 and slot not in found:
            found[slot] = Candidate(slot, depth)
        if inner and above >= 0 and parent >= 0 and place.stripe != tree:
            found.setdefault(parent, Candidate(parent, depth - 1, True))
        if urgent and may_give_way(place, tree, above) and would_find_room(place, tree, free):
            away = len(sent_away(place, tree))
            found.setdefault(place.name, Candidate(place.name, depth + 1, True, away))
        if place.name < 0 or (place.is_leaf(tree) and above < 0) or place.cohort:
            continue
        if place.stripe == tree and place.room > 0:
            found[place.name] = Candidate(place.name, depth)
        elif not place.out_degree:
            found[place.name] = Candidate(place.name, depth + 1, True)
    return found
