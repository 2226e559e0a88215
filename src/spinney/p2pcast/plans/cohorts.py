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
from spinney.p2pcast.place import SPECIAL, Name
from spinney.p2pcast.plans.draft import Draft, Planning, Sketch
from spinney.p2pcast.plans.scouting import Prospects, find_leaf, may_be_inner, take_slot


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
        may_adopt = not member.is_leaf(member.stripe) or (
            yield from may_be_inner(draft, member, member.stripe)
        )
        if member.lendable <= 0 or not may_adopt:
            plain.remove(member.stripe)
            continue
        draft.adopt(member.stripe, member, newcomer)
    for tree in range(draft.stripes):
        if tree == stripe or tree in plain:
            continue
        lent = tree not in (member.stripe for member in members)
        if not (yield from _place_elsewhere(draft, newcomer, tree, prospects, taken, lent, rng)):
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
    starts = prospects.asked if not members else []
    leaf = yield from find_leaf(
        draft, prospects.leaves[stripe], stripe, taken.__contains__, starts, rng
    )
    if leaf is not None:
        if leaf.name != SPECIAL:
            taken.add(leaf.name)
        draft.splice(stripe, newcomer, leaf)
        return leaf
    for member in sorted(members, key=lambda each: each.depths[stripe]):
        if member.name in taken or not (yield from may_be_inner(draft, member, stripe)):
            continue
        if not draft.known[member.parents[stripe]].alive:
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
    may_lend: bool,
    rng: Rng,
) -> Planning[bool]:
    """A free slot if one is known, else above a leaf, which becomes its child there."""
    owner = yield from take_slot(draft, prospects.slots[tree], tree)
    if owner is not None and owner is not newcomer:
        draft.adopt(tree, owner, newcomer)
        return True
    if not may_lend:
        return False
    leaf = yield from find_leaf(
        draft, prospects.leaves[tree], tree, taken.__contains__, prospects.asked, rng
    )
    if leaf is None:
        return False
    if leaf.name != SPECIAL:
        taken.add(leaf.name)
    draft.splice(tree, newcomer, leaf)
    return True
