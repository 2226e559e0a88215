"""Lodging: a leaf finds a parent that lends it a slot in a tree that it does not own.

Needed: the sights of the host, of its children (all must be leaves), of its parent in that tree
(settled, since the host becomes an inner node there), and of a leaf to exchange if the host already
has this child elsewhere (dedupe).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from spinney.net.host import Rng
from spinney.p2pcast.place import NOBODY, SPECIAL, Name
from spinney.p2pcast.plans.draft import Draft, Planning, Sketch
from spinney.p2pcast.plans.scouting import is_free_leaf, may_be_inner, walk_to_leaf

HOSTS_AHEAD = 3
"""Hosts whose children are asked for at once."""
DEEPEST = 64
"""Levels of a walk down: more than any tree has that is not a chain."""


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
        leaf = yield from leaf_among(draft, stripe, taken, starts, rng)
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
    leaf = yield from leaf_among(draft, stripe, taken, starts, rng)
    if leaf is None:
        return False
    draft.exchange(stripe, host, leaf)
    return True


def leaf_among(
    draft: Draft, stripe: int, taken: Callable[[Name], bool], starts: list[Name], rng: Rng
) -> Planning[Sketch | None]:
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


def twice(peer: Sketch, name: Name) -> bool:
    return name != SPECIAL and sum(row.count(name) for row in peer.children) > 1


def other_leaf(
    draft: Draft, parent: Sketch, child: Sketch, stripe: int, rng: Rng
) -> Planning[bool]:
    """An incomplete parent has this child twice: it changes places with another leaf of the tree,
    which hangs below a settled parent (dedupe)."""

    def taken(name: Name) -> bool:
        return parent.has_child(name) or name in (parent.name, child.name)

    starts = [parent.parents[stripe], *draft.known]
    leaf = yield from leaf_among(draft, stripe, taken, starts, rng)
    if leaf is None:
        return False
    draft.exchange(stripe, child, leaf)
    return True


def host_with_room(
    draft: Draft, orphan: Sketch, own: int, hosts: list[Sketch], rng: Rng
) -> Planning[Sketch | None]:
    """Where spare slots leave some peers with few children: one of those lends a slot."""
    owned = {own, *(host.stripe for host in hosts)}
    row = [each for each in draft.known.values() if _may_host(draft, each, own, owned, hosts)]
    for at, host in enumerate(row):
        soon = [name for each in row[at : at + HOSTS_AHEAD] for name in _asked_of(each, own)]
        if not host.cohort and not (yield from _has_leaves(draft, host, soon)):
            continue
        placed = yield from lodge(draft, host, orphan, own, rng)
        if placed is not None and not host.cohort:
            hosts.append(host)
        return placed
    return None


def _may_host(draft: Draft, host: Sketch, own: int, owned: set[int], hosts: list[Sketch]) -> bool:
    if host.name < 0 or host.name in draft.barred or not host.alive or host in hosts:
        return False
    if host.lendable <= 0 or not host.is_leaf(own):
        return False
    if host.cohort:
        return own not in (stripe for stripe, _ in host.cohort)
    return host.stripe not in owned


def _asked_of(host: Sketch, own: int) -> list[Name]:
    return [*host.children[host.stripe], host.parents[own]]


def _has_leaves(draft: Draft, peer: Sketch, soon: Iterable[Name]) -> Planning[bool]:
    for name in peer.children[peer.stripe]:
        child = yield from draft.look(name, soon)
        if child is None or not child.is_leaf(peer.stripe):
            return False
        draft.rely(child)
    return True


def host_by_shifting(
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
    owned = {own, *(host.stripe for host in hosts)}
    for stripe, parent in list(vacant.items()):
        if stripe in owned:
            continue
        start = parent
        if not parent.is_settled and parent.parents[stripe] >= 0:
            start = yield from draft.must(parent.parents[stripe], _around(vacant))
        host = yield from _lowest(draft, start, stripe, rng, _around(vacant))
        if host is None or host.children[own] or host.cohort:
            continue
        if host.lendable < (0 if host is not parent else 1):
            continue
        if host is not parent:
            row = [draft.known[name] for name in host.children[stripe] if name != parent.name]
            if not row or parent.parents[stripe] == host.name:
                continue  # it stays a leaf below the host
            if not (yield from may_be_inner(draft, parent, stripe)):
                continue
            row.sort(key=lambda each: each is not orphan and each.alive)
            child = row[-1]
            draft.drop(stripe, child)
            draft.adopt(stripe, parent, child)
            again = not parent.is_settled and twice(parent, child.name)
            if again and not (yield from other_leaf(draft, parent, child, stripe, rng)):
                return None
        vacant.pop(stripe)
        hosts.append(host)
        return (yield from lodge(draft, host, orphan, own, rng))
    return None


def _around(vacant: dict[int, Sketch]) -> list[Name]:
    rows = [(each.parents[stripe], *each.children[stripe]) for stripe, each in vacant.items()]
    return [name for row in rows for name in row]


def _lowest(
    draft: Draft, start: Sketch, stripe: int, rng: Rng, soon: Iterable[Name]
) -> Planning[Sketch | None]:
    """Down from a peer to one whose children are all leaves, over settled owners of the tree.

    Fallen ones count: whoever fills their places finds them as they are left here.
    """
    peer = start
    for _ in range(DEEPEST):
        if peer.stripe != stripe or not peer.is_settled:
            return None
        children = []
        for name in peer.children[stripe]:
            children.append((yield from draft.must(name, [*peer.children[stripe], *soon])))
        inner = [child for child in children if not child.is_leaf(stripe)]
        if not inner:
            draft.rely(*children)
            return peer
        inner = [each for each in inner if each.is_settled]
        if not inner:
            return None
        peer = rng.choice(inner)
    return None
