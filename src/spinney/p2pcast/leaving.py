"""`plan_leave`: a peer's places are filled when it leaves or fails (paper, section 5).

Needed: the place of the peer (its own word when it leaves; when it failed, what it told its
children and parents, UPDATE), the sights of its neighbours and of the peer that takes its place,
and those of that peer's neighbours.

    childless    it had no children: its parents lose a leaf, nothing else moves
    incomplete   the reverse of a join (`cohorts.extract`)
    promotion    a childless peer (spare slots make some) takes the place in the one tree, where it
                 was a leaf, and its children
    substitution an incomplete peer is taken out of its cohort and gets all f places: it comes from
                 the fallen peer's own subtree if that has one.  Nothing ripples
    last level   there is neither: a peer whose children are all leaves is taken out (or was the
                 one that left); what it leaves behind founds a cohort

The paper fills the bubble with a child and lets children ripple up; docs/decisions/p2pcast.md says
why not.  `prefer_old`: of several possible substitutes the one that has been there longest.
"""

from __future__ import annotations

from collections.abc import Sequence

from spinney.net.host import Rng
from spinney.p2pcast.cohorts import extract
from spinney.p2pcast.draft import Blind, Draft, Plan, Planning, Sketch
from spinney.p2pcast.joining import _again
from spinney.p2pcast.place import Name
from spinney.p2pcast.scouting import Prospects, scout

SEARCH_LOOKS = 48
"""Peers of its subtree that are asked for a substitute: three children rows at the highest arity."""
ENOUGH = 3
"""Candidates after which the search for a substitute ends."""


def plan_leave(
    stripes: int,
    name: Name,
    contacts: Sequence[Name],
    rng: Rng,
    *,
    prefer_old: bool = True,
) -> Planning[Plan | None]:
    """`contacts`: random peers that are asked only when the neighbourhood has nobody.  None: no way
    was found; ask for other contacts."""
    try:
        seen = Draft(stripes)
        peer = yield from seen.must(name)
        seen.barred[name] = None
        if not any(peer.children):
            return (yield from _childless(_again(seen), name))
        if peer.cohort:
            return (yield from _taken_out(_again(seen), name, rng, contacts, "leave: incomplete"))
        found = yield from _substitutes(seen, peer, contacts, rng)
        if prefer_old:
            found.sort(key=lambda each: each.before.since)
        for each in found:
            fresh = _again(seen)
            if each.cohort:
                plan = yield from _substitute(fresh, name, each.name, rng, contacts)
            else:
                plan = yield from _promote(fresh, name, each.name)
            if plan is not None:
                return plan
        return (yield from _last_level(_again(seen), name, rng, contacts))
    except Blind:
        return None


def _childless(draft: Draft, name: Name) -> Planning[Plan]:
    peer = yield from draft.must(name)
    for stripe in range(draft.stripes):
        yield from draft.must(peer.parents[stripe])
        draft.drop(stripe, peer)
    return (yield from draft.finish("leave: childless", name))


def _taken_out(
    draft: Draft, name: Name, rng: Rng, contacts: Sequence[Name], kind: str
) -> Planning[Plan | None]:
    peer = yield from draft.must(name)
    prospects = yield from _slots_near(draft, peer, contacts)
    if not (yield from extract(draft, peer, prospects, rng)):
        return None
    return (yield from draft.finish(kind, name))


def _slots_near(draft: Draft, peer: Sketch, contacts: Sequence[Name]) -> Planning[Prospects]:
    """Free slots for its children, if anybody offers any: its neighbours tell."""
    near = [name for name in peer.parents if name >= 0] if _has_spare(draft) else []
    return (yield from scout(draft, near + list(contacts) if near else []))


def _has_spare(draft: Draft) -> bool:
    return any(known.before.spare for known in draft.known.values())


def _substitutes(
    draft: Draft, peer: Sketch, contacts: Sequence[Name], rng: Rng
) -> Planning[list[Sketch]]:
    """Childless or incomplete peers: in its own subtree, breadth first, then among the contacts.

    Each peer that is asked names the incomplete ones among its parents, too.
    """
    found: dict[Name, Sketch] = {}
    queue = list(peer.children[peer.stripe])
    rng.shuffle(queue)
    queue += [name for name in contacts if name not in queue]
    asked = 0
    for name in queue:
        if len(found) >= ENOUGH or asked >= SEARCH_LOOKS:
            break
        asked += 1
        each = yield from draft.look(name)
        if each is None or name == peer.name:
            continue
        if asked < SEARCH_LOOKS and not each.is_leaf(peer.stripe):
            at = queue.index(name) + 1
            below = [row for row in each.children[peer.stripe] if row not in queue]
            if name in peer.children[peer.stripe]:
                at = len(peer.children[peer.stripe])
            queue[at:at] = below
        if _can_substitute(each):
            found[name] = each
        for parent in list(draft.met):
            if parent not in found and parent != peer.name:
                sketch = yield from draft.look(parent)
                if sketch is not None and _can_substitute(sketch):
                    found[parent] = sketch
    return list(found.values())


def _can_substitute(peer: Sketch) -> bool:
    return peer.alive and peer.name >= 0 and (bool(peer.cohort) or not peer.load)


def _take_all(draft: Draft, old: Sketch, new: Sketch, stripe: int) -> Planning[None]:
    """The new one takes the old one's place and children in this tree."""
    yield from draft.must(old.parents[stripe])
    draft.replace(stripe, old, new)
    for name in list(old.children[stripe]):
        child = yield from draft.must(name)
        draft.drop(stripe, child)
        draft.adopt(stripe, new, child)


def _promote(draft: Draft, name: Name, substitute: Name) -> Planning[Plan | None]:
    peer = yield from draft.must(name)
    new = yield from draft.must(substitute)
    own = peer.stripe
    yield from draft.must(new.parents[own])
    draft.drop(own, new)
    new.stripe = own
    yield from _take_all(draft, peer, new, own)
    for stripe in range(draft.stripes):
        if stripe != own:
            yield from draft.must(peer.parents[stripe])
            draft.drop(stripe, peer)
    return (yield from draft.finish("leave: promotion", name))


def _substitute(
    draft: Draft, name: Name, substitute: Name, rng: Rng, contacts: Sequence[Name]
) -> Planning[Plan | None]:
    peer = yield from draft.must(name)
    new = yield from draft.must(substitute)
    prospects = yield from _slots_near(draft, new, contacts)
    if not (yield from extract(draft, new, prospects, rng)):
        return None
    yield from _into_all_places(draft, peer, new)
    return (yield from draft.finish("leave: substitution", name))


def _into_all_places(draft: Draft, peer: Sketch, new: Sketch) -> Planning[None]:
    new.stripe = peer.stripe
    for stripe in range(draft.stripes):
        yield from _take_all(draft, peer, new, stripe)


def _last_level(
    draft: Draft, name: Name, rng: Rng, contacts: Sequence[Name]
) -> Planning[Plan | None]:
    """Down from the peer to one whose children are all leaves; that one is taken out."""
    peer = yield from draft.must(name)
    low, own = peer, peer.stripe
    for _ in range(64):
        inner = []
        for child_name in low.children[own]:
            child = yield from draft.must(child_name)
            if not child.is_leaf(own) and child.alive:
                inner.append(child)
        if not inner:
            break
        low = rng.choice(inner)
    prospects = yield from _slots_near(draft, low, contacts)
    if not (yield from extract(draft, low, prospects, rng)):
        return None
    if low is not peer:
        yield from _into_all_places(draft, peer, low)
    return (yield from draft.finish("leave: last level", name))
