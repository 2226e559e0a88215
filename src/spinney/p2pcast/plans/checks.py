"""The invariants of the forest, each with its name, for tests, simulator and lab.

`whole` looks at everything.  `around` looks at given peers and their neighbours: after a change it
is enough to look around the peers that it touched, so a forest of 10,000 can be checked at every
step.  Both raise `Broken` with every rule that does not hold.

While there are fewer peers than stripes the source lays them out and three rules cannot hold:
they are left out below f peers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from spinney.p2pcast.place import NOBODY, SOURCE, SPECIAL, Name, Place

Places: TypeAlias = Mapping[Name, Place]
"""Everybody's place: the peers, `SOURCE` and `SPECIAL`."""

SAID_AT_MOST = 5
"""Findings of one rule that an error names."""


class Broken(AssertionError):
    """Rules of the forest that do not hold.  `rules`: their names."""

    def __init__(self, findings: list[tuple[str, str]]) -> None:
        self.rules = tuple(dict.fromkeys(rule for rule, _ in findings))
        super().__init__("\n".join(f"{rule}: {finding}" for rule, finding in findings))


def edges_agree(places: Places, place: Place) -> Iterator[str]:
    """Parent and child say the same of each other; everybody has one parent in each tree."""
    for stripe, parent in enumerate(place.parents):
        if place.name == SOURCE:
            continue
        if parent == NOBODY or parent not in places:
            yield f"{place.name} has no parent in tree {stripe} ({parent})"
        elif places[parent].children[stripe].count(place.name) != 1:
            yield f"{place.name} is not a child of {parent} in tree {stripe}"
    for stripe, child in place.edges():
        if child not in places:
            yield f"{place.name} has {child} in tree {stripe}, which is gone"
        elif places[child].parents[stripe] != place.name:
            yield f"{child} calls {places[child].parents[stripe]} its parent, not {place.name}"


def reaches_source(places: Places, place: Place) -> Iterator[str]:
    """Upwards from it every tree ends at the source: no cycle."""
    for stripe in range(len(place.parents)):
        name, steps = place.name, 0
        while name != SOURCE and name in places and steps <= len(places):
            name, steps = places[name].parents[stripe], steps + 1
        if name != SOURCE:
            yield f"{place.name} is cut off from the source in tree {stripe}"


def degree(places: Places, place: Place) -> Iterator[str]:
    """At most f + s children; exactly f where nobody offers spare slots.  The source has one child
    a tree, the special node none."""
    stripes = len(place.parents)
    load = place.out_degree
    if place.name == SOURCE:
        if any(len(row) != 1 for row in place.children):
            yield "the source has not one child in each tree"
    elif place.name == SPECIAL:
        if load:
            yield "the special node has children"
    elif load > stripes + place.spare:
        yield f"{place.name} has {load} children, more than {stripes} + {place.spare}"


def inner_in_own_tree(places: Places, place: Place) -> Iterator[str]:
    """Whoever is in no cohort has children in its own tree only; whoever is in one has a child
    elsewhere (is incomplete)."""
    if place.name < 0:
        return
    if not 0 <= place.stripe < len(place.parents):
        yield f"{place.name} has no stripe of its own"
    if place.is_incomplete and not place.cohort:
        yield f"{place.name} is an inner node of several trees and in no cohort"
    if place.cohort and not place.is_incomplete:
        yield f"{place.name} is in a cohort but an inner node of one tree only"


def incomplete_has_leaves(places: Places, place: Place) -> Iterator[str]:
    """All children of an incomplete peer are leaves, and distinct but for the special node."""
    if not place.is_incomplete or place.name < 0:
        return
    children = [child for _, child in place.edges() if child != SPECIAL]
    if len(set(children)) != len(children):
        yield f"{place.name} is incomplete and has a child twice"
    for stripe, child in place.edges():
        if child in places and not places[child].is_leaf(stripe):
            yield f"{child} is no leaf in tree {stripe}, but its parent {place.name} is incomplete"


def only_child_is_redirected(places: Places, place: Place) -> Iterator[str]:
    """An only-child has no children in the tree of its incomplete parent: so the parents of an
    incomplete peer, wherever it has children, are settled."""
    if place.name < 0:
        return
    for stripe, row in enumerate(place.children):
        parent = places.get(place.parents[stripe])
        if row and parent is not None and parent.name >= 0 and parent.is_incomplete:
            yield f"{place.name} has children in tree {stripe} below incomplete {parent.name}"


def cohort_is_whole(places: Places, place: Place) -> Iterator[str]:
    """Members name each other, own different trees, have at most one child in a tree that none
    owns and none in their mates'."""
    if not place.cohort:
        return
    stripes = [stripe for stripe, _ in place.cohort]
    if (place.stripe, place.name) not in place.cohort:
        yield f"{place.name} is not in its own cohort"
    if len(set(stripes)) != len(stripes) or len(stripes) >= len(place.parents):
        yield f"the cohort of {place.name} owns {stripes}"
    for _, name in place.cohort:
        if name not in places or places[name].cohort != place.cohort:
            yield f"{name} and {place.name} do not agree on their cohort"
    for stripe, row in enumerate(place.children):
        if stripe == place.stripe:
            continue
        if len(row) > (0 if stripe in stripes else 1):
            yield f"{place.name} has {len(row)} children in tree {stripe}, cohort {stripes}"


def no_slot_is_empty(places: Places, place: Place) -> Iterator[str]:
    """Where nobody offers spare slots every peer has f children, and a member of a cohort of k has
    k in its own tree and one in each that nobody of the cohort owns."""
    if place.name < 0:
        return
    stripes = len(place.parents)
    if place.out_degree != stripes:
        yield f"{place.name} has {place.out_degree} children, not {stripes}"
    own, k = len(place.children[place.stripe]), len(place.cohort) or stripes
    if own != k:
        yield f"{place.name} has {own} children in its own tree, not {k}"


def spare_in_own_tree(places: Places, place: Place) -> Iterator[str]:
    """Children beyond f hang in the peer's own tree."""
    stripes = len(place.parents)
    if place.name >= 0 and place.out_degree > stripes and place.is_incomplete:
        yield f"{place.name} is incomplete with {place.out_degree} children"


def one_tree_only(places: Places, place: Place) -> Iterator[str]:
    """Nobody is below the same peer in two trees (but the special node)."""
    if place.name < 0:
        return
    above: dict[Name, int] = {}
    for stripe in range(len(place.parents)):
        name, steps = place.parents[stripe], 0
        while name >= 0 and name in places and steps <= len(places):
            if name in above:
                yield f"{place.name} is below {name} in trees {above[name]} and {stripe}"
            above[name] = stripe
            name, steps = places[name].parents[stripe], steps + 1


Rule: TypeAlias = Callable[[Places, Place], Iterator[str]]

ALWAYS: dict[str, Rule] = {
    "spanning": edges_agree,
    "acyclic": reaches_source,
    "degree": degree,
    "own tree": inner_in_own_tree,
    "cohorts": cohort_is_whole,
    "spare": spare_in_own_tree,
}
"""Rules that hold for any number of peers."""
FROM_F_PEERS: dict[str, Rule] = {
    "leaves of incomplete peers": incomplete_has_leaves,
    "only-child": only_child_is_redirected,
    "one tree only": one_tree_only,
}
"""Rules that hold from f peers on."""
NO_SPARE: dict[str, Rule] = {"no empty slot": no_slot_is_empty}
"""Rules that hold where nobody offers spare slots."""


def congruence(places: Places) -> Iterator[str]:
    """Without spare slots: in each tree the children of incomplete peers are n modulo f."""
    peers = [place for name, place in places.items() if name >= 0]
    stripes = len(places[SOURCE].parents)
    for stripe in range(stripes):
        lent = sum(len(place.children[stripe]) for place in peers if place.is_incomplete)
        if (lent - len(peers)) % stripes:
            yield f"tree {stripe}: {lent} children of incomplete peers among {len(peers)} peers"


def rules(places: Places) -> dict[str, Rule]:
    """Those that apply to a forest of this size.  (`spare` of the source: the forest's most.)"""
    stripes = len(places[SOURCE].parents)
    chosen = dict(ALWAYS)
    if len(places) - 2 >= stripes:
        chosen |= FROM_F_PEERS
    if not places[SOURCE].spare:
        chosen |= NO_SPARE
    return chosen


def _find(places: Places, names: Iterable[Name]) -> list[tuple[str, str]]:
    chosen = rules(places)
    findings: list[tuple[str, str]] = []
    counts: dict[str, int] = {}
    for name in names:
        place = places.get(name)
        if place is None:
            continue
        for rule, check in chosen.items():
            for finding in check(places, place):
                counts[rule] = counts.get(rule, 0) + 1
                if counts[rule] <= SAID_AT_MOST:
                    findings.append((rule, finding))
    return findings


def whole(places: Places) -> None:
    """Checks every peer.  Raises `Broken`."""
    findings = _find(places, places)
    if not places[SOURCE].spare and len(places) - 2 >= len(places[SOURCE].parents):
        findings += [("congruence", finding) for finding in congruence(places)]
    if findings:
        raise Broken(findings)


def around(places: Places, names: Iterable[Name]) -> None:
    """Checks these peers and their children and parents.  Raises `Broken`."""
    near: dict[Name, None] = {}
    for name in names:
        place = places.get(name)
        if place is None:
            continue
        near[name] = None
        near.update(dict.fromkeys(parent for parent in place.parents if parent != NOBODY))
        near.update(dict.fromkeys(child for _, child in place.edges()))
    findings = _find(places, near)
    if findings:
        raise Broken(findings)
