"""Section 4: how a newcomer is placed, case by case."""

from __future__ import annotations

from random import Random

import pytest
from tests.p2pcast.churning import grown

from spinney.p2pcast.place import SOURCE, SPECIAL, Name
from spinney.p2pcast.plans import checks
from spinney.p2pcast.plans.forest import Forest
from spinney.p2pcast.plans.joining import Newcomer, plan_join


def join_at(forest: Forest, contacts: list[Name], name: Name = 1000) -> str:
    """Joins with exactly these contacts; the kind of plan."""
    newcomer = Newcomer(name, forest.spare)
    plan, _ = forest.solve(plan_join(forest.stripes, newcomer, contacts, forest.rng))
    assert plan is not None
    forest.apply(plan)
    checks.whole(forest.places)
    return plan.kind


def test_the_first_peer_adopts_the_special_node_everywhere() -> None:
    forest = Forest(4, Random(0))
    assert [forest.places[SOURCE].children[at] for at in range(4)] == [(SPECIAL,)] * 4
    forest.join(0)
    assert forest.places[0].children == ((SPECIAL,),) * 4
    assert forest.places[0].parents == (SOURCE,) * 4


def test_the_special_node_as_contact_is_adopted_everywhere() -> None:
    forest = Forest(2, Random(0))
    for name in range(12):
        forest.join(name)
    above = [forest.places[SPECIAL].parents[at] for at in range(2)]
    settled = all(not forest.places[name].cohort for name in above)
    kind = join_at(forest, [SPECIAL])
    if settled:
        assert kind == "join: founds"
        assert forest.places[SPECIAL].parents == (1000, 1000)
    else:
        assert kind == "join: completes"  # only-child: the incomplete parent goes first


@pytest.mark.parametrize("stripes", [2, 3, 4, 8])
def test_an_incomplete_contact_takes_the_newcomer_into_its_cohort(stripes: int) -> None:
    forest = grown(stripes, 0, 6 * stripes + 1, 5)
    contact = next(place for place in forest.places.values() if place.cohort)
    size = len(contact.cohort)
    kind = join_at(forest, [contact.name])
    newcomer = forest.places[1000]
    if size + 1 == stripes:
        assert kind == "join: completes"
        assert not newcomer.cohort
        assert not forest.places[contact.name].cohort
        assert len(newcomer.children[newcomer.stripe]) == stripes
    else:
        assert kind == "join: cohort"
        assert len(newcomer.cohort) == size + 1
        assert forest.places[contact.name].cohort == newcomer.cohort
    # Each member adopts it in its own tree.
    for stripe, name in contact.cohort:
        assert newcomer.parents[stripe] == name


def test_an_only_child_redirects_to_its_parent() -> None:
    forest = grown(2, 0, 41, 5)
    parent = next(place for place in forest.places.values() if place.cohort)
    child = next(name for _, name in parent.edges() if name >= 0 and not forest.places[name].cohort)
    assert join_at(forest, [child]) == "join: completes"
    assert not forest.places[parent.name].cohort


def complete_forest(stripes: int) -> Forest:
    """One in which nobody is incomplete."""
    for seed in range(200):
        forest = grown(stripes, 0, 12 * stripes, seed)
        if not any(place.cohort for place in forest.places.values()):
            return forest
    raise AssertionError("no such forest")


@pytest.mark.parametrize("stripes", [2, 3])
def test_a_complete_contact_and_a_walk_to_a_leaf_found_a_cohort(stripes: int) -> None:
    forest = complete_forest(stripes)
    contact = forest.names[5]
    assert join_at(forest, [contact]) == "join: founds"
    newcomer = forest.places[1000]
    assert newcomer.cohort == ((newcomer.stripe, 1000),)
    assert [len(row) for row in newcomer.children] == [1] * stripes
    assert any(contact in row for row in newcomer.children)  # it adopts whom it asked


def test_a_root_has_no_sibling_and_can_be_asked_all_the_same() -> None:
    forest = complete_forest(2)
    root = forest.places[SOURCE].children[0][0]
    assert join_at(forest, [root]) == "join: founds"


@pytest.mark.parametrize("stripes", [2, 4, 8])
def test_a_join_moves_2f_edges_without_spare_slots(stripes: int) -> None:
    forest = grown(stripes, 0, 8 * stripes, 2)
    rows = [forest.join(name) for name in range(1000, 1040)]
    assert {cost.moved_edges for cost in rows if "laid" not in cost.kind} == {2 * stripes}


@pytest.mark.parametrize(("stripes", "spare"), [(4, 1), (8, 2)])
def test_with_spare_slots_most_joins_are_plain_and_move_little_more_than_f(
    stripes: int, spare: int
) -> None:
    forest = grown(stripes, spare, 300, 2, every=20)
    rows = [forest.join(name) for name in range(1000, 1100)]
    plain = [cost for cost in rows if cost.kind == "join: plain"]
    assert len(plain) > 60
    assert max(cost.moved_edges for cost in plain) <= stripes + 1


def depth_mean(contacts: int) -> float:
    forest = Forest(4, Random(3), contacts=contacts)
    for name in range(300):
        forest.join(name)
    depths = [forest.depth(name, stripe) for name in forest.names for stripe in range(4)]
    return sum(depths) / len(depths)


def test_of_several_contacts_the_shallowest_is_taken() -> None:
    one, four, sixteen = depth_mean(1), depth_mean(4), depth_mean(16)
    assert one > four + 0.3
    assert four > sixteen


def test_a_dead_contact_is_passed_over_and_no_contact_is_no_plan() -> None:
    forest = grown(4, 0, 40, 1)
    forest.fall([3])
    newcomer = Newcomer(1000)
    for contacts in ([], [3], [777]):
        plan, _ = forest.solve(plan_join(4, newcomer, contacts, forest.rng))
        assert plan is None
    assert join_at(forest, [777, 3, 5])


def test_twice_asked_with_one_seed_it_plans_the_same() -> None:
    plans = []
    for _ in range(2):
        forest = grown(4, 1, 60, 9)
        plan, calls = forest.solve(plan_join(4, Newcomer(500, 1), forest.some(4), forest.rng))
        plans.append((plan, calls))
    assert plans[0] == plans[1]
