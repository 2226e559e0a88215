"""Taking a peer out of every tree: the reverse of a join.

Needed: the peer's place, the sights of its parents, children and mates, and of those who lend a
slot to the children that are left over.
"""

from __future__ import annotations

from spinney.net.host import Rng
from spinney.p2pcast.place import NOBODY
from spinney.p2pcast.plans.cohorts import members_of
from spinney.p2pcast.plans.draft import Draft, Planning, Sketch
from spinney.p2pcast.plans.lodging import (
    host_by_shifting,
    host_with_room,
    lodge,
    other_leaf,
    twice,
)
from spinney.p2pcast.plans.scouting import Prospects, may_be_inner, take_slot


def extract(draft: Draft, peer: Sketch, prospects: Prospects, rng: Rng) -> Planning[bool]:
    """Takes a peer whose children are all leaves out of every tree: the reverse of a join.

    In each tree where it has a child, that takes its place.  The other children of its own tree
    find a free slot, or go to its mates, whose slots its leaving frees.  False if a child is no
    leaf or found no parent; the draft is spoilt then.
    """
    own = peer.stripe
    draft.barred[peer.name] = None
    yield from _look_around(draft, peer)
    if not all(
        draft.known[name].is_leaf(at) for at, row in enumerate(peer.children) for name in row
    ):
        return False
    mates = [each for each in (yield from members_of(draft, peer)) if each is not peer]
    for mate in mates:
        mate.cohort = tuple(row for row in mate.cohort if row[1] != peer.name)
    peer.cohort = ()
    vacant: dict[int, Sketch] = {}
    orphans: list[Sketch] = []
    mate_names = [mate.name for mate in mates]
    for stripe in range(draft.stripes):
        row = [draft.known[name] for name in peer.children[stripe]]
        # A mate must get the place below a settled parent: it will have a child there.
        row.sort(key=lambda each: each.name not in mate_names)
        for child in row:
            draft.drop(stripe, child)
        if row:
            draft.replace(stripe, peer, row[0])
        else:
            vacant[stripe] = draft.drop(stripe, peer)
        if stripe == own:
            orphans = row[1:]
        else:
            assert len(row) <= 1
    hosts: list[Sketch] = []
    while orphans:
        orphan = orphans[0]
        placed: Sketch | None = orphan
        if not (yield from _into_slot(draft, orphan, own, prospects)):
            placed = yield from _to_mate(draft, orphan, own, mates, vacant, rng)
        if placed is None:
            placed = yield from host_with_room(draft, orphan, own, hosts, rng)
        if placed is None:
            placed = yield from host_by_shifting(draft, orphan, own, vacant, hosts, rng)
        if placed is None:
            return False
        orphans.remove(placed)
    if hosts:
        draft.set_cohort(hosts)
    return True


def shed_all(draft: Draft, peer: Sketch, prospects: Prospects, rng: Rng) -> Planning[bool]:
    """The children of a settled peer, all of them leaves, find free slots, or lodgings with peers
    that have few children.  False if not; the draft is spoilt then."""
    own = peer.stripe
    hosts: list[Sketch] = []
    orphans = []
    for name in list(peer.children[own]):
        orphans.append((yield from draft.must(name)))
    if not all(orphan.is_leaf(own) for orphan in orphans):
        return False
    for orphan in orphans:
        draft.drop(own, orphan)
    while orphans:
        placed: Sketch | None = orphans[0]
        if not (yield from _into_slot(draft, orphans[0], own, prospects)):
            placed = yield from host_with_room(draft, orphans[0], own, hosts, rng)
        if placed is None:
            return False
        orphans.remove(placed)
    if hosts:
        draft.set_cohort(hosts)
    return True


def _look_around(draft: Draft, peer: Sketch) -> Planning[None]:
    near = peer.near
    for name in peer.parents:
        yield from draft.must(name, near)
    for row in peer.children:
        for name in row:
            yield from draft.must(name, near)


def _into_slot(draft: Draft, orphan: Sketch, stripe: int, prospects: Prospects) -> Planning[bool]:
    owner = yield from take_slot(draft, prospects.slots[stripe], stripe)
    if owner is None:
        return False
    if owner is orphan or owner.parents[stripe] == NOBODY:
        return False
    draft.adopt(stripe, owner, orphan)
    return True


def _to_mate(
    draft: Draft,
    orphan: Sketch,
    own: int,
    mates: list[Sketch],
    vacant: dict[int, Sketch],
    rng: Rng,
) -> Planning[Sketch | None]:
    """The first mate that has no child in this tree lends a slot; who was placed (see `lodge`)."""
    ordered = sorted(mates, key=lambda each: (each.has_child(orphan.name), each is orphan))
    for mate in ordered:
        if mate.children[own] or mate.stripe not in vacant:
            continue
        if mate.lendable <= 0 and not (
            yield from _shed(draft, mate, vacant[mate.stripe], orphan, own, rng)
        ):
            continue
        placed = yield from lodge(draft, mate, orphan, own, rng)
        if placed is not None:
            vacant.pop(mate.stripe)
        return placed
    return None


def _shed(
    draft: Draft, giver: Sketch, taker: Sketch, orphan: Sketch, own: int, rng: Rng
) -> Planning[bool]:
    """A leaf of the giver's own tree goes to the taker, who has just lost a child there."""
    stripe = giver.stripe
    if taker.parents[stripe] == giver.name:
        return False  # it stays a leaf below the giver
    if not (yield from may_be_inner(draft, taker, stripe)):
        return False
    row = []
    for name in giver.children[stripe]:
        child = yield from draft.must(name)
        if child.is_leaf(stripe) and child is not taker:
            row.append(child)
    if not row:
        return False
    taker_settled = taker.is_settled
    # Best is the child that also the orphan's lodging would have to avoid.
    row.sort(key=lambda each: (taker.has_child(each.name), each is not orphan))
    child = row[0]
    draft.drop(stripe, child)
    draft.adopt(stripe, taker, child)
    if not taker_settled and twice(taker, child.name):
        return (yield from other_leaf(draft, taker, child, stripe, rng))
    return True
