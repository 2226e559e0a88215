"""Cohorts: how peers without any free slot in sight are incomplete together.

The paper's incomplete peer lends the slots that its own tree does not fill yet to leaves of other
trees.  For two stripes one more join completes it; for f stripes f - 1 more, and a rule that
takes one step a join starves.  So incomplete peers form cohorts of k < f members that own k
different trees:

    each member has in its own tree k children, one in each tree that no member owns, and none in
    the trees of its mates; all of them are leaves, all distinct; at k = f all are complete.

Where spare slots exist a member may have fewer; it leaves the cohort with its last child in
another's tree.  Who joins or leaves a cohort needs the members' places (each member knows the
others), those of their children, and of the parents of whoever moves.
"""

from __future__ import annotations

from spinney.net.host import Rng
from spinney.p2pcast.draft import Draft, Planning, Sketch
from spinney.p2pcast.place import NOBODY, SPECIAL, Name
from spinney.p2pcast.scouting import (
    Prospects,
    find_leaf,
    has_slot,
    is_free_leaf,
    may_be_inner,
    take_slot,
    walk_to_leaf,
)


def members_of(draft: Draft, peer: Sketch) -> Planning[list[Sketch]]:
    """The whole cohort of an incomplete peer, itself included."""
    members = []
    for _, name in peer.cohort:
        members.append((yield from draft.must(name)))
    return members


def enter(
    draft: Draft,
    newcomer: Sketch,
    members: list[Sketch],
    stripe: int,
    prospects: Prospects,
    rng: Rng,
) -> Planning[bool]:
    """The newcomer becomes the owner of a stripe that no member owns (with no members: founds a
    cohort).  False if not enough leaves were found; the draft is spoilt then."""
    plain = [each.stripe for each in members]
    handed = []
    for member in members:
        for name in member.children[stripe]:
            handed.append((yield from draft.must(name)))
    taken = {newcomer.name, *(each.name for each in handed)}
    above = yield from _place_in_own(draft, newcomer, members, stripe, prospects, taken, rng)
    if above is None:
        return False
    for child in handed:
        draft.drop(stripe, child)
        draft.adopt(stripe, newcomer, child)
    for member in members:
        if member.free <= 0:
            plain.remove(member.stripe)
            continue
        draft.adopt(member.stripe, member, newcomer)
    for tree in range(draft.stripes):
        if tree == stripe or tree in plain:
            continue
        if not (yield from _place_elsewhere(draft, newcomer, tree, prospects, taken, rng)):
            return False
    draft.set_cohort([*members, newcomer])
    return True


def _place_in_own(
    draft: Draft,
    newcomer: Sketch,
    members: list[Sketch],
    stripe: int,
    prospects: Prospects,
    taken: set[Name],
    rng: Rng,
) -> Planning[Sketch | None]:
    """Splices it above a leaf of its own tree: a contact's, one found, or a member, which is a
    leaf there once it has handed its child over."""
    starts = prospects.asked[:1] if not members else []
    leaf = yield from find_leaf(
        draft, prospects.leaves[stripe], stripe, taken.__contains__, starts, rng
    )
    if leaf is not None:
        taken.add(leaf.name)
        draft.splice(stripe, newcomer, leaf)
        return leaf
    for member in sorted(members, key=lambda each: each.depths[stripe]):
        if member.name in taken or not (yield from may_be_inner(draft, member, stripe)):
            continue
        handed = [draft.known[name] for name in member.children[stripe]]
        for child in handed:
            draft.drop(stripe, child)
        draft.splice(stripe, newcomer, member)
        for child in handed:
            draft.adopt(stripe, member, child)
        taken.add(member.name)
        return member
    return None


def _place_elsewhere(
    draft: Draft,
    newcomer: Sketch,
    tree: int,
    prospects: Prospects,
    taken: set[Name],
    rng: Rng,
) -> Planning[bool]:
    """A free slot if one is known, else above a leaf, which becomes its child there."""
    owner = yield from take_slot(draft, prospects.slots[tree], tree)
    if owner is not None and owner is not newcomer:
        draft.adopt(tree, owner, newcomer)
        return True
    leaf = yield from find_leaf(
        draft, prospects.leaves[tree], tree, taken.__contains__, prospects.asked[:2], rng
    )
    if leaf is None:
        return False
    if leaf.name != SPECIAL:
        taken.add(leaf.name)
    draft.splice(tree, newcomer, leaf)
    return True


# -- leaving a cohort ---------------------------------------------------------------------------


def extract(draft: Draft, peer: Sketch, prospects: Prospects, rng: Rng) -> Planning[bool]:
    """Takes a peer whose children are all leaves out of every tree: the reverse of a join.

    In each tree where it has a child, that takes its place.  The other children of its own tree
    find a free slot, or go to its mates, whose slots its leaving frees.  False if a child found no
    parent; the draft is spoilt then.
    """
    own = peer.stripe
    draft.barred[peer.name] = None
    yield from _look_around(draft, peer)
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
            placed = yield from _host_by_shifting(draft, orphan, own, vacant, hosts, rng)
        if placed is None:
            return False
        orphans.remove(placed)
    if hosts:
        draft.set_cohort(hosts)
    return True


def _look_around(draft: Draft, peer: Sketch) -> Planning[None]:
    for name in peer.parents:
        yield from draft.must(name)
    for row in peer.children:
        for name in row:
            yield from draft.must(name)


def _into_slot(
    draft: Draft, orphan: Sketch, stripe: int, prospects: Prospects
) -> Planning[bool]:
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
        if mate.free <= 0 and not (
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
    if not taker_settled and _twice(taker, child.name):
        return (yield from _other_leaf(draft, taker, child, stripe, rng))
    return True


def _twice(peer: Sketch, name: Name) -> bool:
    return name != SPECIAL and sum(row.count(name) for row in peer.children) > 1


def _other_leaf(
    draft: Draft, parent: Sketch, child: Sketch, stripe: int, rng: Rng
) -> Planning[bool]:
    """An incomplete parent has this child twice: it changes places with another leaf of the tree,
    which hangs below a settled parent (dedupe)."""

    def taken(name: Name) -> bool:
        return parent.has_child(name) or name in (parent.name, child.name)

    starts = [parent.parents[stripe], *draft.known]
    leaf = yield from _leaf_among(draft, stripe, taken, starts, rng)
    if leaf is None:
        return False
    draft.exchange(stripe, child, leaf)
    return True


def _leaf_among(
    draft: Draft, stripe: int, taken: object, starts: list[Name], rng: Rng
) -> Planning[Sketch | None]:
    assert callable(taken)
    for name in starts[:1]:
        near = yield from draft.look(name)
        for child in near.children[stripe] if near is not None and near.is_settled else ():
            if not taken(child):
                leaf = yield from draft.look(child)
                if leaf is not None and (yield from is_free_leaf(draft, leaf, stripe)):
                    return leaf
    for name in starts[1:]:
        leaf = draft.known[name]
        if name >= 0 and not taken(name) and (yield from is_free_leaf(draft, leaf, stripe)):
            return leaf
    return (yield from walk_to_leaf(draft, stripe, taken, starts[:6], rng))


def lodge(
    draft: Draft, host: Sketch, orphan: Sketch, stripe: int, rng: Rng
) -> Planning[Sketch | None]:
    """A leaf of a tree that the host does not own becomes its child there.

    The host becomes an inner node of that tree: its parent there must be settled, else it changes
    places with a leaf whose parent is.  A child that it already has, or itself, is exchanged for
    another leaf.  Returns the orphan that has a parent now: the host, if it was one itself.
    """
    placed = orphan
    if host.parents[stripe] == NOBODY:
        placed = host
    elif not (yield from _stand_below_settled(draft, host, placed, stripe, rng)):
        return None
    child = placed
    if placed is host or host.has_child(placed.name):

        def taken(name: Name) -> bool:
            return host.has_child(name) or name in (host.name, placed.name)

        starts = [host.parents[stripe], *draft.known]
        leaf = yield from _leaf_among(draft, stripe, taken, starts, rng)
        if leaf is None:
            return None
        draft.replace(stripe, leaf, placed)
        child = leaf
    draft.adopt(stripe, host, child)
    return placed


def _stand_below_settled(
    draft: Draft, host: Sketch, orphan: Sketch, stripe: int, rng: Rng
) -> Planning[bool]:
    if (yield from may_be_inner(draft, host, stripe)):
        return True
    parent = yield from draft.must(host.parents[stripe])

    def taken(name: Name) -> bool:
        return parent.has_child(name) or name in (parent.name, host.name, orphan.name)

    starts = [parent.parents[stripe], *draft.known]
    leaf = yield from _leaf_among(draft, stripe, taken, starts, rng)
    if leaf is None:
        return False
    draft.exchange(stripe, host, leaf)
    return True


def _host_by_shifting(
    draft: Draft,
    orphan: Sketch,
    own: int,
    vacant: dict[int, Sketch],
    hosts: list[Sketch],
    rng: Rng,
) -> Planning[Sketch | None]:
    """Makes a peer incomplete that was complete: whoever lost a child in some tree gets a leaf from
    a peer of that tree whose children are all leaves, and that one lodges the orphan.

    So the f - 1 slots and f - 1 leaves that a complete peer leaves behind are a new cohort.
    """
    for stripe, parent in list(vacant.items()):
        host = yield from _lowest(draft, parent, stripe, rng)
        if host is None or host.children[own] or host.stripe == own or host.cohort:
            continue
        if host is not parent:
            row = [draft.known[name] for name in host.children[stripe]]
            row.sort(key=lambda each: each is not orphan and each.alive)
            child = row[-1]
            draft.drop(stripe, child)
            draft.adopt(stripe, parent, child)
        vacant.pop(stripe)
        if host.free <= 0:
            return None
        hosts.append(host)
        return (yield from lodge(draft, host, orphan, own, rng))
    return None


def _lowest(
    draft: Draft, start: Sketch, stripe: int, rng: Rng
) -> Planning[Sketch | None]:
    """Down from a peer to one whose children are all leaves, over settled owners of the tree."""
    peer = start
    for _ in range(64):
        if peer.stripe != stripe or not peer.is_settled or not peer.alive:
            return None
        inner = []
        for name in peer.children[stripe]:
            child = yield from draft.must(name)
            if not child.is_leaf(stripe):
                inner.append(child)
        if not inner:
            return peer
        peer = rng.choice(inner)
    return None


__all__ = ["enter", "extract", "has_slot", "lodge", "members_of"]
