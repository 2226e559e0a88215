"""Section 5: leaving and failing.  A substitute fills the place; nothing ripples."""

from __future__ import annotations

from random import Random

import pytest
from tests.p2pcast.churning import grown

from spinney.p2pcast.place import SPECIAL
from spinney.p2pcast.plans import checks
from spinney.p2pcast.plans.forest import DeadEnd, Forest
from spinney.p2pcast.plans.joining import Newcomer, plan_join
from spinney.p2pcast.plans.leaving import plan_leave
from spinney.p2pcast.plans.literal import LiteralForest
from spinney.p2pcast.plans.seniority import OLDER


def test_an_incomplete_peer_leaves_by_the_reverse_of_its_join() -> None:
    forest = grown(4, 0, 41, 5)
    incomplete = next(place.name for place in forest.places.values() if place.cohort)
    newcomer = Newcomer(1000)
    plan, _ = forest.solve(plan_join(4, newcomer, [incomplete], forest.rng))
    assert plan is not None
    forest.apply(plan)
    gone = forest.places[1000]
    assert len(gone.cohort) > 1
    mates = [name for _, name in gone.cohort if name != gone.name]
    cost = forest.leave(gone.name)
    checks.whole(forest.places)
    assert cost.kind == "leave: incomplete"
    assert all(len(forest.places[mate].cohort) == len(mates) for mate in mates)


def test_an_incomplete_peer_fills_all_places_of_a_complete_one() -> None:
    forest = grown(4, 0, 62, 5)
    gone = next(
        place
        for place in forest.places.values()
        if place.name >= 0 and not place.cohort and forest.depth(place.name, place.stripe) == 1
    )
    cost = forest.leave(gone.name)
    checks.whole(forest.places)
    assert cost.kind == "leave: substitution"
    assert cost.moved_edges <= 5 * 4


def test_where_nobody_is_incomplete_a_last_level_peer_founds_a_cohort() -> None:
    for seed in range(100):
        forest = grown(3, 0, 36, seed)
        if not any(place.cohort for place in forest.places.values()):
            break
    cost = forest.leave(forest.names[0])
    checks.whole(forest.places)
    assert cost.kind == "leave: last level"
    assert sum(bool(place.cohort) for place in forest.places.values()) == 2


def test_with_spare_slots_a_childless_peer_is_promoted_in_one_tree() -> None:
    forest = grown(8, 2, 200, 4, every=20)
    kinds = []
    for _ in range(40):
        gone = forest.rng.choice(forest.names)
        cost = forest.leave(gone)
        checks.around(forest.places, {move.child for move in cost.moves})
        kinds.append(cost.kind)
        if cost.kind == "leave: childless":
            assert cost.moved_edges == 0
    checks.whole(forest.places)
    assert kinds.count("leave: promotion") > 20


@pytest.mark.parametrize("stripes", [2, 3, 4, 8])
def test_few_peers_come_and_go_down_to_none(stripes: int) -> None:
    forest = Forest(stripes, Random(1))
    for turn in range(3):
        names = [100 * turn + at for at in range(3 * stripes)]
        for name in names:
            forest.join(name)
            checks.whole(forest.places)
        for name in names:
            forest.leave(name)
            checks.whole(forest.places)
    assert not forest.names
    assert forest.places[SPECIAL].parents == (-1,) * stripes


@pytest.mark.parametrize(("stripes", "spare"), [(2, 0), (4, 0), (4, 1), (8, 2)])
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_peers_that_fall_together_are_mended_one_by_one(
    stripes: int, spare: int, share: float
) -> None:
    forest = grown(stripes, spare, 200, 3, every=50)
    fallen = forest.rng.sample(list(forest.names), round(200 * share))
    forest.fall(fallen)
    costs = forest.mend()
    assert len(costs) == len(fallen)
    assert not forest.fallen
    assert not set(fallen) & set(forest.names)
    checks.whole(forest.places)


def test_a_fallen_peer_is_never_given_anything() -> None:
    forest = grown(4, 1, 100, 3, every=50)
    fallen = forest.rng.sample(list(forest.names), 15)
    forest.fall(fallen)
    for name in range(1000, 1030):
        cost = forest.join(name)
        assert cost.moved_edges
        assert not {move.after for move in cost.moves} & set(fallen)


def test_a_forest_too_large_for_the_source_says_so_when_there_is_no_way() -> None:
    forest = grown(2, 0, 40, 3)
    forest.fall(forest.names)
    with pytest.raises(DeadEnd):
        forest.join(1000)


def hours_of_churn(*, prefer_old: bool) -> float:
    """Mean age, in steps, of inner peers less than two levels below a root."""
    forest = Forest(4, Random(5), spare=1, prefer_old=prefer_old)
    rng = Random(6)
    for name in range(120):
        forest.join(name, since=float(name))
    for name in range(120, 400):
        # Half of those who fall came lately: who has been there long stays long.
        young = sorted(forest.names, key=lambda each: -forest.places[each].since)[:40]
        forest.leave(rng.choice(young if rng.random() < 0.5 else list(forest.names)))
        forest.join(name, since=float(name))
    checks.whole(forest.places)
    ages = [
        400 - place.since
        for place in forest.places.values()
        if place.name >= 0 and place.out_degree and forest.depth(place.name, place.stripe) < 2
    ]
    return sum(ages) / len(ages)


def test_newcomers_sit_low_and_long_lived_peers_high() -> None:
    assert hours_of_churn(prefer_old=True) > 1.3 * hours_of_churn(prefer_old=False)


def test_a_peer_much_older_than_its_parent_changes_places_with_it() -> None:
    forest = Forest(4, Random(5), spare=1, prefer_old=False)
    for name in range(120):
        forest.join(name, since=float(name))
    for name in range(120, 240):
        forest.leave(forest.rng.choice(forest.names))
        forest.join(name, since=float(name))
    now, rises = 250.0, 0
    for name in list(forest.names):
        place = forest.places[name]
        parent = forest.places[place.parents[place.stripe]]
        if forest.rise(name, now) is None:
            continue
        rises += 1
        assert now - place.since >= OLDER * (now - parent.since)
        assert forest.places[parent.name].parents[place.stripe] == name
        checks.whole(forest.places)
    assert rises > 2


def test_the_papers_text_to_the_letter_breaks_its_own_rules() -> None:
    broken_at, cut_at = [], []
    for seed in range(8):
        rng = Random(seed)
        forest = LiteralForest(rng)
        for name in range(100):
            forest.join(name)
        checks.whole(forest.places())  # insertion holds
        first = 0
        for failure in range(1, 200):
            forest.fail(rng.choice([name for name in forest.nodes if name >= 0]))
            if not first:
                try:
                    checks.whole(forest.places())
                except checks.Broken:
                    first = failure
            if forest.cut_off():
                break
            forest.join(100 + failure)
        broken_at.append(first)
        cut_at.append(failure)
        calls = {"takeon", "substitute", "search", "replace", "direct", "update"}
        assert set(forest.calls) == calls
    assert sorted(broken_at)[4] <= 4
    assert sorted(cut_at)[4] < 40


def test_who_leaves_is_not_asked_for_more_than_its_place() -> None:
    """What a failed peer's neighbours cannot know is never needed: its own word is its place."""
    forest = grown(4, 1, 80, 1, every=20)
    planning = plan_leave(4, 11, [], forest.rng)
    asked, plan = [], None
    try:
        name = next(planning)
        while True:
            asked.append(name)
            name = planning.send(forest.sight(name))
    except StopIteration as done:
        plan = done.value
    assert plan is not None
    assert asked.count(11) == 1
    assert len(asked) < 200
