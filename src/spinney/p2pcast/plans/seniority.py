"""Newcomers low, long-lived peers high (P2PCast paper, section 2: some are more equal).

Peers that have been there long stay longer, so they should have most others below them.  A
newcomer starts above leaves; a substitute would bring it up, which is the paper's objection to
moving a bottom node.  So the place of a fallen peer goes to its oldest inner child, that one's to
its own oldest child, for some levels, and the substitute fills the last: all in one tree.  And a
peer that has become much older than its parent may change places with it, when nothing has failed.
"""

from __future__ import annotations

from spinney.p2pcast.place import Name
from spinney.p2pcast.plans.draft import Blind, Draft, Plan, Planning, Sketch

OLDER = 2.0
"""A peer rises when it is so many times as old as its parent."""


def swap(draft: Draft, stripe: int, parent: Sketch, child: Sketch) -> None:
    """Parent and child change places in the tree that both work for; their children, who must have
    been looked at, stay where they are.  Twice as many edges move as one of them has."""
    others = [draft.known[name] for name in parent.children[stripe] if name != child.name]
    below = [draft.known[name] for name in child.children[stripe]]
    for each in (child, *others, *below):
        draft.drop(stripe, each)
    draft.replace(stripe, parent, child)
    for each in others:
        draft.adopt(stripe, child, each)
    draft.adopt(stripe, child, parent)
    for each in below:
        draft.adopt(stripe, parent, each)


def _may_swap(draft: Draft, stripe: int, parent: Sketch, child: Sketch) -> bool:
    slots = len(child.parents) + child.before.spare
    return child.is_settled and child.alive and len(parent.children[stripe]) <= slots


def sink(draft: Draft, peer: Sketch, substitute: Sketch, levels: int) -> Planning[None]:
    """Before a substitute takes the place of a fallen peer: the place moves down, as many levels
    as there are inner children older than the substitute."""
    stripe = peer.stripe
    for _ in range(levels):
        heirs = []
        for name in peer.children[stripe]:
            child = yield from draft.must(name)
            older = child.before.since < substitute.before.since
            if child.stripe == stripe and child.children[stripe] and older:
                heirs.append(child)
        heirs = [each for each in heirs if _may_swap(draft, stripe, peer, each)]
        heirs = [each for each in heirs if each is not substitute]
        if not heirs:
            return
        heir = min(heirs, key=lambda each: each.before.since)
        yield from draft.must(peer.parents[stripe])
        for name in heir.children[stripe]:
            yield from draft.must(name)
        swap(draft, stripe, peer, heir)


def plan_rise(stripes: int, name: Name, now: float) -> Planning[Plan | None]:
    """A settled inner peer changes places with its parent in its own tree, if it is `OLDER`.

    Needed: the sights of its parent, of the parent's parent and of both peers' children.
    """
    draft = Draft(stripes)
    try:
        peer = yield from draft.must(name)
        own = peer.stripe
        if not peer.is_settled or not peer.children[own] or peer.parents[own] < 0:
            return None
        parent = yield from draft.must(peer.parents[own])
        age, parent_age = now - peer.before.since, now - parent.before.since
        if not parent.alive or age < OLDER * parent_age:
            return None
        if not _may_swap(draft, own, parent, peer):
            return None
        slots = stripes + parent.before.spare
        if len(peer.children[own]) > slots:
            return None
        for other in (parent.parents[own], *parent.children[own], *peer.children[own]):
            yield from draft.must(other)
        swap(draft, own, parent, peer)
        return (yield from draft.finish("rise"))
    except Blind:
        return None
