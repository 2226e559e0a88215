"""Section 3: what the forest is; every rule of `checks` notices what it is for."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from tests.p2pcast.churning import grown

from spinney.errors import UsageError
from spinney.p2pcast.place import NOBODY, SOURCE, SPECIAL, Name, Place
from spinney.p2pcast.plans import checks
from spinney.p2pcast.plans.forest import Forest
from spinney.p2pcast.plans.special import take_census

Places = dict[Name, Place]


def with_row(place: Place, stripe: int, row: tuple[Name, ...]) -> Place:
    rows = [*place.children]
    rows[stripe] = row
    return replace(place, children=tuple(rows))


def with_parent(place: Place, stripe: int, parent: Name) -> Place:
    parents = [*place.parents]
    parents[stripe] = parent
    return replace(place, parents=tuple(parents))


def move(places: Places, stripe: int, child: Name, parent: Name) -> None:
    """Both sides agree, whatever the rules say."""
    old = places[places[child].parents[stripe]]
    row = tuple(name for name in old.children[stripe] if name != child)
    places[old.name] = with_row(old, stripe, row)
    new = places[parent]
    places[parent] = with_row(new, stripe, (*new.children[stripe], child))
    places[child] = with_parent(places[child], stripe, parent)


def broken(places: Places) -> tuple[str, ...]:
    with pytest.raises(checks.Broken) as caught:
        checks.whole(places)
    return caught.value.rules


@pytest.mark.parametrize("stripes", [2, 3, 4, 8, 16])
def test_a_forest_of_any_arity_and_any_size_keeps_every_rule(stripes: int) -> None:
    forest = Forest(stripes, Random(stripes))
    for name in range(4 * stripes):
        forest.join(name)
        checks.whole(forest.places)


def test_every_peer_has_f_children_without_spare_slots_and_the_special_node_none() -> None:
    forest = grown(4, 0, 61, 1)
    degrees = {place.out_degree for name, place in forest.places.items() if name >= 0}
    assert degrees == {4}
    assert forest.places[SPECIAL].out_degree == 0
    assert forest.places[SOURCE].out_degree == 4


def test_spare_slots_are_offered_and_never_exceeded() -> None:
    forest = grown(8, 2, 150, 1)
    degrees = [place.out_degree for name, place in forest.places.items() if name >= 0]
    assert 8 < max(degrees) <= 10
    assert sum(degrees) == 8 * 150


def test_no_peer_is_below_another_in_two_trees_so_one_failure_costs_one_stripe() -> None:
    forest = grown(4, 1, 80, 2)
    for name in forest.names:
        lost: dict[Name, int] = {}
        for stripe in range(4):
            queue = [*forest.places[name].children[stripe]]
            while queue:
                each = queue.pop()
                lost[each] = lost.get(each, 0) + 1
                queue += forest.places[each].children[stripe]
        lost.pop(SPECIAL, None)
        assert max(lost.values(), default=0) <= 1


def test_numbers_out_of_range_are_refused() -> None:
    for stripes, spare, contacts in ((1, 0, 4), (17, 0, 4), (4, 5, 4), (4, -1, 4), (4, 0, 0)):
        with pytest.raises(UsageError):
            Forest(stripes, Random(0), spare=spare, contacts=contacts)


def test_spanning_is_noticed() -> None:
    places = grown(4, 0, 40, 3).places
    places[7] = with_parent(places[7], 1, NOBODY)
    assert "spanning" in broken(places)


def test_a_cycle_is_noticed() -> None:
    places = grown(4, 0, 40, 3).places
    top = places[SOURCE].children[0][0]
    low = next(name for name in places[top].children[0] if name >= 0)
    move(places, 0, top, low)
    assert "acyclic" in broken(places)


def test_a_child_too_many_is_noticed() -> None:
    places = grown(4, 0, 40, 3).places
    owner = next(place for place in places.values() if place.name >= 0 and not place.cohort)
    stripe = owner.stripe
    other = next(
        name
        for name in places
        if name >= 0
        and places[name].is_leaf(stripe)
        and places[name].parents[stripe] != owner.name
        and name not in owner.parents
    )
    move(places, stripe, other, owner.name)
    assert {"degree", "no empty slot"} <= set(broken(places))


def test_an_inner_node_of_two_trees_is_noticed() -> None:
    places = grown(4, 1, 40, 3).places
    owner = next(
        place
        for place in places.values()
        if place.name >= 0 and not place.cohort and place.out_degree < 4
    )
    stripe = (owner.stripe + 1) % 4
    leaf = next(
        name
        for name in places
        if name >= 0 and name != owner.name and places[name].is_leaf(stripe)
        and owner.parents[stripe] != name
    )  # fmt: skip
    move(places, stripe, leaf, owner.name)
    assert "own tree" in broken(places)


def incomplete_forest() -> tuple[Places, Place]:
    places = grown(4, 0, 41, 3).places
    return places, next(place for place in places.values() if place.cohort)


def test_children_of_incomplete_peers_are_leaves_and_distinct() -> None:
    places, incomplete = incomplete_forest()
    stripe = incomplete.stripe
    child = next(name for name in incomplete.children[stripe] if name >= 0)
    leaf = next(name for name in places if name >= 0 and name not in incomplete.children[stripe]
                and places[name].is_leaf(stripe) and name != child)  # fmt: skip
    move(places, stripe, leaf, child)
    assert {"leaves of incomplete peers", "only-child"} <= set(broken(places))


def test_a_cohort_whose_members_disagree_is_noticed() -> None:
    places, incomplete = incomplete_forest()
    places[incomplete.name] = replace(incomplete, cohort=(*incomplete.cohort, (3, 99)))
    assert "cohorts" in broken(places)


def test_without_spare_slots_children_of_incomplete_peers_are_n_modulo_f() -> None:
    for peers in (40, 41, 42, 43):
        places = grown(4, 0, peers, peers).places
        assert not list(checks.congruence(places))
        members = sum(bool(place.cohort) for place in places.values())
        assert members % 4 == peers % 4


def test_a_look_around_finds_what_a_look_at_everything_finds() -> None:
    places = grown(4, 0, 40, 3).places
    places[7] = with_parent(places[7], 1, NOBODY)
    with pytest.raises(checks.Broken):
        checks.around(places, [7])


def test_the_special_node_collects_statistics() -> None:
    forest = grown(4, 1, 60, 1)
    assert sum(forest.special.changes.values()) == 60
    planning = take_census(forest.some(20))
    try:
        name = next(planning)
        while True:
            name = planning.send(forest.sight(name))
    except StopIteration as done:
        census = done.value
    assert census.asked == 20
    assert 0 <= census.incomplete_share < 1
    assert sum(census.own_depths.values()) == 20
