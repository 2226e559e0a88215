"""`plan_leave`: a peer's places are filled when it leaves or fails (paper, section 5).

Needed: the place of the peer (its own word when it leaves; when it failed, what it told its
children and parents, UPDATE), the sights of its neighbours and of the peer that takes its place,
and those of that peer's neighbours.

    childless    it had no children: its parents lose a leaf, nothing else moves
    incomplete   the reverse of a join (`extracting`)
    promotion    a childless peer (spare slots make some) takes the place in the one tree, where it
                 was a leaf, and its children
    substitution an incomplete peer is taken out of its cohort and gets all f places: it comes from
                 the fallen peer's own subtree if that has one.  Nothing ripples
    last level   there is neither: a peer whose children are all leaves is taken out (or was the
                 one that left); what it leaves behind founds a cohort

The paper fills the bubble with a child and lets children ripple up; docs/decisions/p2pcast.md says
why not.  `prefer_old`: of several possible substitutes the one that has been there longest, and
inner children that are older rise first (`seniority`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spinney.net.host import Rng
from spinney.p2pcast.place import Name
from spinney.p2pcast.plans.cohorts import members_of
from spinney.p2pcast.plans.draft import Blind, Draft, Plan, Planning, Sketch
from spinney.p2pcast.plans.extracting import extract, shed_all
from spinney.p2pcast.plans.lodging import DEEPEST
from spinney.p2pcast.plans.scouting import Prospects, scout
from spinney.p2pcast.plans.seniority import sink

SEARCH_LOOKS = 48
"""Peers that are asked in search of a substitute: three rows of children at the highest arity."""
FEW = 6
"""Peers with few children that are tried when there is hardly anybody without."""
SINK_LEVELS = 1
"""Levels by which a fallen peer's place sinks, to older peers' good, before it is filled."""
AHEAD = 16
"""Of these, so many at once: two rows of children."""
ENOUGH = 3
"""Candidates after which the search for a substitute ends; one, where it took long."""


def plan_leave(
    stripes: int,
    name: Name,
    contacts: Sequence[Name],
    rng: Rng,
    *,
    prefer_old: bool = True,
    sink_levels: int = SINK_LEVELS,
) -> Planning[Plan | None]:
    """`contacts`: random peers that are asked only when the neighbourhood has nobody.  None: no way
    was found; ask for other contacts."""
    try:
        seen = Draft(stripes)
        peer = yield from seen.must(name)
        seen.barred[name] = None
        if not any(peer.children):
            return (yield from _childless(seen.again(), name))
        if peer.cohort:
            plan = yield from _taken_out(seen.again(), name, rng, contacts)
            if plan is not None:
                return plan
        found = yield from _substitutes(seen, peer, contacts, rng)
        if prefer_old:
            found.sort(key=lambda each: each.before.since)
        found.sort(key=lambda each: each.load if not each.cohort else 0)
        levels = sink_levels if prefer_old and not peer.cohort else 0
        for each in found:
            fresh = seen.again()
            if each.cohort or peer.cohort:
                plan = yield from _substitute(fresh, name, each.name, rng, contacts, levels)
            else:
                plan = yield from _promote(fresh, name, each.name, rng, contacts, levels)
            if plan is not None:
                return plan
        if peer.cohort:
            return None
        plan = yield from _last_level(seen.again(), name, rng, contacts)
        if plan is not None:
            return plan
        return (yield from _by_whom_it_met(seen, name, found, rng, contacts, levels))
    except Blind:
        return None


def _by_whom_it_met(
    seen: Draft,
    name: Name,
    tried: list[Sketch],
    rng: Rng,
    contacts: Sequence[Name],
    levels: int,
) -> Planning[Plan | None]:
    """Whoever stood in the way of taking out a last-level peer was incomplete: a substitute."""
    names = [each.name for each in tried]
    for met in [each for each in seen.met if each not in names and each != name]:
        each = yield from seen.look(met)
        if each is not None and each.cohort and _can_substitute(each):
            plan = yield from _substitute(seen.again(), name, met, rng, contacts, levels)
            if plan is not None:
                return plan
    return None


def _childless(draft: Draft, name: Name) -> Planning[Plan]:
    peer = yield from draft.must(name)
    for stripe in range(draft.stripes):
        yield from draft.must(peer.parents[stripe])
        draft.drop(stripe, peer)
    return (yield from draft.finish("leave: childless", name))


def _taken_out(
    draft: Draft, name: Name, rng: Rng, contacts: Sequence[Name]
) -> Planning[Plan | None]:
    peer = yield from draft.must(name)
    prospects = yield from _slots_near(draft, peer, contacts)
    if not (yield from extract(draft, peer, prospects, rng)):
        return None
    return (yield from draft.finish("leave: incomplete", name))


def _slots_near(draft: Draft, peer: Sketch, contacts: Sequence[Name]) -> Planning[Prospects]:
    """Free slots for its children, if anybody offers any: its neighbours tell."""
    near = [name for name in peer.parents if name >= 0] if _has_spare(draft) else []
    return (yield from scout(draft, near + list(contacts) if near else []))


def _has_spare(draft: Draft) -> bool:
    return any(known.before.spare for known in draft.known.values())


def _substitutes(
    draft: Draft, peer: Sketch, contacts: Sequence[Name], rng: Rng
) -> Planning[list[Sketch]]:
    """Childless or incomplete peers: in its own subtree, breadth first, then among the contacts;
    behind them the peers met that have fewest children.

    Each peer that is asked names the incomplete ones among its parents, too.
    """
    found: dict[Name, Sketch] = {}
    queue = list(peer.children[peer.stripe])
    rng.shuffle(queue)
    queue += [name for name in contacts if name not in queue]
    asked = 0
    for name in queue:
        if len(found) >= (ENOUGH if asked < AHEAD else 1) or asked >= SEARCH_LOOKS:
            break
        asked += 1
        each = yield from draft.look(name, _soon(draft, queue[asked:], found.values()))
        if each is None or name == peer.name:
            continue
        if asked < SEARCH_LOOKS and not each.is_leaf(peer.stripe):
            below = [row for row in each.children[peer.stripe] if row not in queue]
            at = len(queue)
            if name in peer.children[peer.stripe]:
                at = len(peer.children[peer.stripe])
            queue[at:at] = below
        if _can_substitute(each):
            found[name] = each
        for parent in list(draft.met):
            if parent not in found and parent != peer.name:
                soon = _soon(draft, queue[asked:], found.values())
                sketch = yield from draft.look(parent, soon)
                if sketch is not None and _can_substitute(sketch):
                    found[parent] = sketch
    few = [
        each for each in draft.known.values() if each.before.room > 0 and each.load and each.alive
    ]
    few = [each for each in few if each.name not in draft.barred]
    few.sort(key=lambda each: each.load)
    return [*found.values(), *few[:FEW]]


def _soon(draft: Draft, queue: Sequence[Name], found: Iterable[Sketch]) -> list[Name]:
    """Whom the search asks next: incomplete peers that were named, some in the queue, and who
    stands around a substitute."""
    near = [name for each in found for name in each.near]
    return [*draft.met, *[name for name in queue if name not in draft.known][:AHEAD], *near]


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


def _promote(
    draft: Draft,
    name: Name,
    substitute: Name,
    rng: Rng,
    contacts: Sequence[Name],
    levels: int,
) -> Planning[Plan | None]:
    """The few children that it has find other parents, such as the one that lost a leaf by this
    leave; then it is a leaf everywhere and changes over to the fallen peer's tree."""
    peer = yield from draft.must(name)
    new = yield from draft.must(substitute)
    own, left = peer.stripe, new.stripe
    draft.barred[substitute] = None
    yield from draft.must(new.parents[own])
    for stripe in range(draft.stripes):
        yield from draft.must(peer.parents[stripe])
        if stripe != own:
            draft.drop(stripe, peer)
    if new.load:
        prospects = yield from _slots_near(draft, peer, [*contacts, *peer.parents])
        prospects.slots[left].insert(0, (0, peer.before.parents[left]))
        if not (yield from shed_all(draft, new, prospects, rng)):
            return None
    draft.drop(own, new)
    new.stripe = own
    yield from sink(draft, peer, new, levels)
    yield from _take_all(draft, peer, new, own)
    return (yield from draft.finish("leave: promotion", name))


def _substitute(
    draft: Draft,
    name: Name,
    substitute: Name,
    rng: Rng,
    contacts: Sequence[Name],
    levels: int,
) -> Planning[Plan | None]:
    peer = yield from draft.must(name)
    new = yield from draft.must(substitute)
    prospects = yield from _slots_near(draft, new, contacts)
    if not (yield from extract(draft, new, prospects, rng)):
        return None
    yield from sink(draft, peer, new, levels)
    yield from _into_all_places(draft, peer, new)
    return (yield from draft.finish("leave: substitution", name))


def _into_all_places(draft: Draft, peer: Sketch, new: Sketch) -> Planning[None]:
    new.stripe = peer.stripe
    if peer.cohort:
        mates = [each for each in (yield from members_of(draft, peer)) if each is not peer]
        peer.cohort = ()
        draft.set_cohort([*mates, new])
    for stripe in range(draft.stripes):
        yield from _take_all(draft, peer, new, stripe)


def _last_level(
    draft: Draft, name: Name, rng: Rng, contacts: Sequence[Name]
) -> Planning[Plan | None]:
    """Down from the peer to one whose children are all leaves; that one is taken out."""
    peer = yield from draft.must(name)
    low, own = peer, peer.stripe
    for _ in range(DEEPEST):
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
