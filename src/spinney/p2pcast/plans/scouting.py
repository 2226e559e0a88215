"""What a newcomer learns from its contacts, and walks that look for more.

Asked are the contacts themselves; each knows its depth in every tree and the free slots of its
parents, so the best of several contacts is chosen tree by tree without asking the parents first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from spinney.net.host import Rng
from spinney.p2pcast.place import NOBODY, SOURCE, SPECIAL, Name
from spinney.p2pcast.plans.draft import Draft, Planning, Sketch

WALK_LOOKS = 40
"""Peers that one walk asks at most: several levels of a tree of arity 16 down to a leaf."""
CLIMB = 4
"""Levels that are climbed in one tree for a free slot: a parent there knows f + s others."""


@dataclass(slots=True)
class Prospects:
    """For each tree: owners with a free slot, as (depth of the slot, owner); leaves below settled
    parents, as (depth, leaf); and how many free slots were heard of."""

    slots: list[list[tuple[int, Name]]]
    leaves: list[list[tuple[int, Name]]]
    room: list[int]
    asked: list[Name] = field(default_factory=list)


def scout(draft: Draft, contacts: Iterable[Name]) -> Planning[Prospects]:
    """Asks the contacts, one call each."""
    rows = range(draft.stripes)
    found = Prospects([[] for _ in rows], [[] for _ in rows], [0 for _ in rows])
    heard: dict[Name, None] = {}
    for name in contacts:
        if name in heard:
            continue
        heard[name] = None
        sketch = yield from draft.look(name)
        if sketch is None or not sketch.alive:
            continue
        found.asked.append(name)
        for stripe in rows:
            _note(found, sketch, stripe, heard)
    for row in (*found.slots, *found.leaves):
        row.sort()
    return found


def _note(found: Prospects, sketch: Sketch, stripe: int, heard: dict[Name, None]) -> None:
    above, depth = sketch.sight.above[stripe], sketch.depths[stripe]
    parent = sketch.parents[stripe]
    if sketch.is_leaf(stripe) and above >= 0:
        found.leaves[stripe].append((depth, sketch.name))
    slot = sketch.sight.slots[stripe]
    if slot != NOBODY and slot not in heard:
        heard[slot] = None  # an owner has slots in one tree only
        found.slots[stripe].append((depth if slot == parent else depth + 1, slot))
        found.room[stripe] += max(1, above)
    own_room = sketch.before.room
    if stripe == sketch.stripe and own_room > 0 and above >= 0:
        found.slots[stripe].append((depth + 1, sketch.name))
        found.room[stripe] += own_room


def climb(draft: Draft, found: Prospects, stripe: int) -> Planning[None]:
    """Asks the ancestors of a contact in one tree for a free slot, a few levels up."""
    name = found.asked[0]
    for _ in range(CLIMB):
        sketch = yield from draft.look(name)
        if sketch is None or not sketch.alive:
            return
        slot = sketch.sight.slots[stripe]
        if slot != NOBODY:
            found.slots[stripe].append((sketch.depths[stripe], slot))
            return
        name = sketch.parents[stripe]
        if name < 0:
            return


def take_slot(draft: Draft, row: list[tuple[int, Name]], stripe: int) -> Planning[Sketch | None]:
    """The shallowest owner of the tree that really has a free slot; not yet taken."""
    for _, name in row:
        owner = yield from draft.look(name)
        if owner is not None and (yield from has_slot(draft, owner, stripe)):
            return owner
    return None


def has_slot(draft: Draft, owner: Sketch, stripe: int) -> Planning[bool]:
    """May it take one more child in its own tree?  A leaf there must not hang below an incomplete
    peer, whose children stay leaves."""
    if owner.name in draft.barred or not owner.alive:
        return False
    if owner.stripe != stripe or owner.free <= 0 or not owner.is_settled:
        return False
    if owner.is_leaf(stripe):
        return (yield from may_be_inner(draft, owner, stripe))
    return True


def may_be_inner(draft: Draft, peer: Sketch, stripe: int) -> Planning[bool]:
    """Is its parent in this tree settled?  The plan then relies on that."""
    if peer.parents[stripe] == NOBODY:
        return True
    parent = yield from draft.look(peer.parents[stripe])
    if parent is None or not parent.is_settled:
        return False
    draft.rely(parent)
    return True


def is_free_leaf(draft: Draft, leaf: Sketch, stripe: int) -> Planning[bool]:
    """May somebody be spliced above it, or change places with it?"""
    if leaf.name in draft.barred or not leaf.alive:
        return False
    if not leaf.is_leaf(stripe) or leaf.parents[stripe] == NOBODY:
        return False
    parent = yield from draft.look(leaf.parents[stripe])
    if parent is None or not parent.alive:
        return False
    return (yield from may_be_inner(draft, leaf, stripe))


Taken = Callable[[Name], bool]


def find_leaf(
    draft: Draft,
    row: list[tuple[int, Name]],
    stripe: int,
    taken: Taken,
    starts: Iterable[Name],
    rng: Rng,
) -> Planning[Sketch | None]:
    """A leaf of this tree below a settled parent: the shallowest known one, else by a walk down
    from `starts` (the paper's walk from the contact's sibling)."""
    for _, name in row:
        if not taken(name):
            leaf = yield from draft.look(name)
            if leaf is not None and (yield from is_free_leaf(draft, leaf, stripe)):
                return leaf
    return (yield from walk_to_leaf(draft, stripe, taken, starts, rng))


def walk_to_leaf(
    draft: Draft, stripe: int, taken: Taken, starts: Iterable[Name], rng: Rng
) -> Planning[Sketch | None]:
    """Down from the starts, or from their parents in this tree where they are leaves."""
    frontier: list[Name] = []
    seen: dict[Name, None] = {}
    for start in starts:
        sketch = yield from draft.look(start)
        if sketch is None:
            continue
        parent = sketch.parents[stripe]
        frontier.append(parent if sketch.is_leaf(stripe) and parent >= 0 else start)
    asked = 0
    while frontier and asked < WALK_LOOKS:
        name = frontier.pop(0)
        if name in seen or name == NOBODY:
            continue
        seen[name] = None
        sketch = yield from draft.look(name)
        asked += 1
        if sketch is None:
            continue
        if sketch.is_leaf(stripe):
            usable = name != SOURCE and not taken(name)
            if usable and (yield from is_free_leaf(draft, sketch, stripe)):
                return sketch
            continue
        if sketch.is_settled:
            children = list(sketch.children[stripe])
            rng.shuffle(children)
            frontier = [*children, *frontier] if name != SPECIAL else frontier
        else:
            frontier.insert(0, sketch.parents[stripe])
    return None
