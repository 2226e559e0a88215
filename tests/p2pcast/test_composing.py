"""Several neighbours fall together: one plan, of those who live."""

from __future__ import annotations

from random import Random

import pytest
from tests.p2pcast.churning import grown

from spinney.p2pcast.place import Name
from spinney.p2pcast.plans import checks
from spinney.p2pcast.plans.composing import MOST_FALLEN, plan_fill
from spinney.p2pcast.plans.draft import Plan
from spinney.p2pcast.plans.forest import Forest, Stale
from spinney.p2pcast.plans.leaving import plan_leave


def together(forest: Forest, rng: Random, count: int) -> list[Name]:
    """So many peers, each a neighbour of one before it."""
    found = [rng.choice(forest.names)]
    while len(found) < count:
        place = forest.places[rng.choice(found)]
        near = [*place.parents, *(child for _, child in place.edges())]
        new = [name for name in near if name >= 0 and name not in found]
        if new:
            found.append(rng.choice(new))
    return found


def filled(forest: Forest, fallen: list[Name]) -> Plan:
    forest.fall(fallen)
    live = [name for name in forest.names if name not in fallen]
    for _ in range(6):
        contacts = forest.rng.sample(live, 4)
        plan, _ = forest.solve(plan_fill(forest.stripes, fallen[0], contacts, forest.rng))
        if plan is not None:
            return plan
    raise AssertionError("no way was found")


@pytest.mark.parametrize("stripes", [2, 4])
@pytest.mark.parametrize("seed", range(6))
def test_neighbours_that_fell_together_are_filled_by_one_plan(stripes: int, seed: int) -> None:
    forest = grown(stripes, 0, 60, seed, every=20)
    rng = Random(seed)
    fallen = together(forest, rng, 2 + seed % 3)
    plan = filled(forest, fallen)
    gone = [plan.gone, *plan.also_gone]
    assert not set(gone) & set(plan.writes), "nothing is written to the dead"
    assert set(plan.seen) & set(fallen) <= set(gone), "nobody waits for the dead"
    for name, place in plan.writes.items():
        assert place.version == forest.places[name].version + 1
    forest.apply(plan)
    for name in [name for name in fallen if name in forest.places]:
        forest.leave(name)
    checks.whole(forest.places)


def test_one_that_fell_alone_is_filled_as_by_plan_leave() -> None:
    forest = grown(4, 0, 60, 3, every=20)
    name = forest.names[7]
    forest.fall([name])
    contacts = [forest.names[1], forest.names[2]]
    plan, _ = forest.solve(plan_fill(4, name, contacts, Random(1)))
    single, _ = forest.solve(plan_leave(4, name, contacts, Random(1)))
    assert plan is not None
    assert single is not None
    assert (plan.kind, plan.writes, plan.seen) == (single.kind, single.writes, single.seen)
    assert plan.moved_edges == single.moved_edges


def test_a_composed_plan_is_as_stale_as_the_oldest_that_it_saw() -> None:
    forest = grown(4, 0, 60, 2, every=20)
    fallen = together(forest, Random(2), 3)
    plan = filled(forest, fallen)
    touched = next(name for name in plan.writes if name >= 0 and name not in fallen)
    forest.leave(touched)
    with pytest.raises(Stale):
        forest.apply(plan)


def test_no_plan_is_made_for_more_than_it_can_hold() -> None:
    forest = grown(4, 0, 60, 1, every=20)
    forest.fall(list(forest.names)[: len(forest) - 8])
    dead = next(iter(forest.fallen))
    plan, _ = forest.solve(plan_fill(4, dead, forest.names[-4:], Random(1)))
    assert plan is None or 1 + len(plan.also_gone) <= MOST_FALLEN
