"""`plan_join`: how a newcomer finds its places (P2PCast paper, section 4).

Needed: the sights of its contacts (random peers that the registry names), of the parents of the
places that it takes, and, if it enters a cohort, of that cohort's members and the children that
they hand over.  In the order in which it is tried:

    plain    free slots are known in all trees but one at most: one edge a tree, and the peer
             works for the tree that has the fewest
    cohort   a contact is incomplete, or the child of one that is (only-child): the newcomer works
             for a stripe that the cohort lacks; at f members all of them are complete
    found    otherwise it goes above a leaf in every tree and is incomplete alone; should a walk
             to a leaf meet an incomplete peer, that peer's cohort is entered instead

The special node is a leaf like any other, but that it may be one child in several trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spinney.net.host import Rng
from spinney.p2pcast.place import Name
from spinney.p2pcast.plans.cohorts import enter, members_of
from spinney.p2pcast.plans.draft import Blind, Draft, Plan, Planning
from spinney.p2pcast.plans.scouting import (
    Prospects,
    climb,
    find_leaf,
    scout,
    take_slot,
    walk_to_leaf,
)

COHORTS_TRIED = 8
"""Cohorts that a newcomer tries to enter before it founds one."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who joins: its name, the spare slots that it offers, and the time (seconds)."""

    name: Name
    spare: int = 0
    since: float = 0.0


def plan_join(
    stripes: int, newcomer: Newcomer, contacts: Sequence[Name], rng: Rng
) -> Planning[Plan | None]:
    """None: the contacts show no way; ask for others."""
    scouting = Draft(stripes)
    try:
        prospects = yield from scout(scouting, contacts)
        if not prospects.asked:
            return None
        if any(prospects.slots):
            for stripe, row in enumerate(prospects.slots):
                if not row:
                    yield from climb(scouting, prospects, stripe)
        lacking = [stripe for stripe, row in enumerate(prospects.slots) if not row]
        if len(lacking) <= 1:
            plan = yield from _plain(scouting.again(), newcomer, prospects, rng)
            if plan is not None:
                return plan
        if not scouting.met:
            yield from _walk_as_the_paper(scouting, prospects, rng)
        for name in list(scouting.met)[:COHORTS_TRIED]:
            draft = scouting.again()
            plan = yield from _by_cohort(draft, newcomer, name, prospects, rng)
            if plan is not None:
                return plan
        return (yield from _found(scouting.again(), newcomer, prospects, rng))
    except Blind:
        return None


def _plain(
    draft: Draft, newcomer: Newcomer, prospects: Prospects, rng: Rng
) -> Planning[Plan | None]:
    """A free slot in each tree but its own; in its own above the shallowest leaf, or in a slot
    that is shallower still."""
    own = min(
        range(draft.stripes),
        key=lambda stripe: (prospects.room[stripe], _depth(prospects.slots[stripe])),
    )
    peer = draft.newcomer(newcomer.name, spare=newcomer.spare, since=newcomer.since)
    peer.stripe = own
    slot, leaf = _depth(prospects.slots[own]), _depth(prospects.leaves[own])
    owner = None
    if slot <= leaf:
        owner = yield from take_slot(draft, prospects.slots[own], own)
    if owner is not None:
        draft.adopt(own, owner, peer)
    else:
        found = yield from find_leaf(
            draft, prospects.leaves[own], own, lambda _: False, prospects.asked[:2], rng
        )
        if found is None:
            return None
        draft.splice(own, peer, found)
    for tree in range(draft.stripes):
        if tree == own:
            continue
        owner = yield from take_slot(draft, prospects.slots[tree], tree)
        if owner is None or owner is peer:
            return None
        draft.adopt(tree, owner, peer)
    return (yield from draft.finish("join: plain"))


FAR = 1 << 30


def _depth(row: list[tuple[int, Name]]) -> int:
    return row[0][0] if row else FAR


def _walk_as_the_paper(draft: Draft, prospects: Prospects, rng: Rng) -> Planning[None]:
    """Down the contact's own tree from its sibling; whoever is met incomplete is noted."""
    contact = yield from draft.must(prospects.asked[0])
    tree = max(contact.stripe, 0)
    yield from walk_to_leaf(draft, tree, lambda _: False, [contact.parents[tree]], rng)


def _by_cohort(
    draft: Draft, newcomer: Newcomer, name: Name, prospects: Prospects, rng: Rng
) -> Planning[Plan | None]:
    incomplete = yield from draft.look(name)
    if incomplete is None or incomplete.is_settled:
        return None
    members = yield from members_of(draft, incomplete)
    if not all(member.alive for member in members):
        return None
    owned = {member.stripe for member in members}
    free = [
        stripe
        for stripe in range(draft.stripes)
        if stripe not in owned and any(member.children[stripe] for member in members)
    ]
    if not free:
        return None
    best = min(
        free,
        key=lambda stripe: (bool(prospects.slots[stripe]), _depth(prospects.leaves[stripe])),
    )
    peer = draft.newcomer(newcomer.name, spare=newcomer.spare, since=newcomer.since)
    peer.stripe = best
    if not (yield from enter(draft, peer, members, best, prospects, rng)):
        return None
    complete = len(members) + 1 == draft.stripes
    return (yield from draft.finish("join: completes" if complete else "join: cohort"))


def _found(
    draft: Draft, newcomer: Newcomer, prospects: Prospects, rng: Rng
) -> Planning[Plan | None]:
    own = min(
        range(draft.stripes),
        key=lambda stripe: (prospects.room[stripe], _depth(prospects.leaves[stripe])),
    )
    peer = draft.newcomer(newcomer.name, spare=newcomer.spare, since=newcomer.since)
    peer.stripe = own
    if not (yield from enter(draft, peer, [], own, prospects, rng)):
        return None
    return (yield from draft.finish("join: founds"))
