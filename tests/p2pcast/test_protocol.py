"""The forest as nodes make it over a network: they join, leave and mend by messages alone.

Every machine is 100 ms from every other.  `checks.whole` looks at all places from above when all is
quiet; no node can.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from spinney.errors import NoPeersError
from spinney.lab._crowds import HOP, PORT, STREAM, Crowd
from spinney.lab._traces import watch
from spinney.p2pcast.node import ForestNode
from spinney.p2pcast.place import SOURCE, Name
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.settings import Settings
from spinney.sim import Constant, Link, World

Story = Callable[[Crowd], Awaitable[None]]


def play(story: Story, seed: int = 1, *, stripes: int = 4, spare: int = 1, **link: Any) -> Crowd:
    """Runs a story in a fresh world."""
    world = World(seed, link=Link(latency=Constant(0.1), **link) if link else HOP)
    crowd = Crowd(world, Random(seed), stripes=stripes, spare=spare)

    async def told() -> None:
        await crowd.open()
        await story(crowd)

    with world:
        world.run(told())
    return crowd


def inner(crowd: Crowd) -> list[Name]:
    return [name for name in crowd.live if crowd.nodes[name].place.out_degree >= crowd.stripes]


# -- nobody knows the forest ----------------------------------------------------------------------


def test_a_node_holds_no_other_nodes_objects() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.grow(9, at_once=3)
        crowd.fall(inner(crowd)[0])
        await asyncio.sleep(1.1)  # amid repairs
        for node in crowd.nodes.values():
            assert [seat for seat in reached(node) if type(seat) is Seat] == [node.seat]

    play(story)


def reached(start: object) -> list[object]:
    """All objects that one holds, but for its machine, the loop, and what classes hold."""
    found: dict[int, object] = {}
    queue = [start]
    while queue:
        one = queue.pop()
        outside = type(one).__module__.startswith(("spinney.sim", "asyncio", "_asyncio"))
        if id(one) in found or outside or isinstance(one, type) or gc.is_tracked(one) is False:
            continue
        if type(one).__name__ in ("module", "function", "builtin_function_or_method"):
            continue
        found[id(one)] = one
        queue.extend(gc.get_referents(one))
    return list(found.values())


# -- joining --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stripes", [2, 4])
def test_one_after_the_other_from_none_and_every_rule_holds_after_each(stripes: int) -> None:
    async def story(crowd: Crowd) -> None:
        for _ in range(3 * stripes + 1):
            await crowd.grow(1)
            await crowd.whole(2.0)

    play(story, stripes=stripes)


def many_join(seed: int, peers: int, count: int, **link: Any) -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.plant(peers)
        await crowd.whole(0.0)
        for _ in range(count):
            crowd.start()
        await crowd.joined(40.0)
        await crowd.whole(5.0)
        assert len(crowd.live) == peers + count

    play(story, seed, **link)


def test_many_join_at_once_and_every_rule_holds_when_it_is_quiet() -> None:
    many_join(1, 64, 32)


@pytest.mark.night
@pytest.mark.parametrize("seed", range(8))
def test_32_join_200_at_once(seed: int) -> None:
    many_join(seed, 200, 32)


def test_without_a_source_a_newcomer_is_told_so() -> None:
    world = World(1, link=HOP)
    host = world.host("alone")

    async def story() -> None:
        node = ForestNode(
            host,
            STREAM,
            ("20.9.9.9", PORT),
            name=5,
            stripes=4,
            spare=1,
            settings=Settings(join_s=3.0),
        )
        await node.open((host.address, PORT))
        with pytest.raises(NoPeersError):
            await node.join()
        node.close()

    with world:
        world.run(story())


# -- leaving --------------------------------------------------------------------------------------


def test_who_leaves_politely_leaves_no_gap() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.plant(40)
        for name in crowd.rng.sample(inner(crowd), 4):
            await crowd.leave(name)
            await asyncio.sleep(0.5)
            assert sum(crowd.lacking()) == 0
            await crowd.whole(5.0)

    play(story)


def test_few_are_laid_out_anew_when_one_of_them_leaves_or_falls() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.grow(5)
        await crowd.leave(crowd.live[0])
        await crowd.whole(8.0)
        crowd.fall(crowd.live[0])
        await crowd.whole(12.0)

    play(story)


# -- failing --------------------------------------------------------------------------------------


def after(fault: Callable[[Crowd], Awaitable[None]], seed: int, limit_s: float = 12.0) -> None:
    """A fault among 60; nobody lacks a stripe and every rule holds in bounded time."""

    async def story(crowd: Crowd) -> None:
        await crowd.plant(60)
        watching = asyncio.get_running_loop().create_task(watch(crowd))
        await fault(crowd)
        await crowd.whole(limit_s)
        assert not any(crowd.lacking())
        crowd.look()
        assert not crowd.orphans
        watching.cancel()

    play(story, seed)


def test_the_children_of_one_that_fell_find_parents() -> None:
    async def fault(crowd: Crowd) -> None:
        crowd.fall(crowd.rng.choice(inner(crowd)))
        await asyncio.sleep(2.5)
        assert not crowd.orphans
        assert max(crowd.orphaned_s) <= 2.5

    after(fault, 3)


def test_a_root_falls() -> None:
    async def fault(crowd: Crowd) -> None:
        crowd.fall(crowd.source.source.place.children[2][0])

    after(fault, 2)


def test_a_parent_and_its_child_fall_together() -> None:
    async def fault(crowd: Crowd) -> None:
        for name in inner(crowd):
            place = crowd.nodes[name].place
            below = [child for _, child in place.edges() if child in inner(crowd)]
            if below:
                crowd.fall(name)
                crowd.fall(below[0])
                return

    after(fault, 4)


def test_a_grandparent_falls_in_mid_repair() -> None:
    async def fault(crowd: Crowd) -> None:
        for name in inner(crowd):
            place = crowd.nodes[name].place
            above = place.parents[place.stripe]
            if above != SOURCE:
                crowd.fall(name)
                await asyncio.sleep(1.2)
                crowd.fall(above)
                return

    after(fault, 5)


def test_a_tenth_falls_at_once() -> None:
    async def fault(crowd: Crowd) -> None:
        for name in crowd.rng.sample(crowd.live, 6):
            crowd.fall(name)

    after(fault, 6, 20.0)


@pytest.mark.parametrize("dies_after_s", [0.35, 0.65, 0.85, 1.05])
def test_a_coordinator_dies_amid_its_transaction(dies_after_s: float) -> None:
    async def fault(crowd: Crowd) -> None:
        names = [crowd.start() for _ in range(3)]
        await asyncio.sleep(dies_after_s)
        for name in names:
            crowd.fall(name)

    after(fault, 7)


def test_a_peer_comes_back_under_its_old_name() -> None:
    async def fault(crowd: Crowd) -> None:
        name = inner(crowd)[0]
        host = crowd.hosts[name]
        crowd.fall(name)
        await asyncio.sleep(0.4)
        host.restart()
        crowd.start(name, host)
        await crowd.joined()

    after(fault, 8)


def test_a_partition_heals() -> None:
    async def fault(crowd: Crowd) -> None:
        side = [crowd.hosts[name] for name in crowd.rng.sample(crowd.live, 12)]
        cut = crowd.world.partition(side)
        await asyncio.sleep(6.0)
        cut.heal()

    after(fault, 9, 40.0)


@pytest.mark.parametrize("stripes", [2, 4])
def test_without_spare_slots_a_plan_fills_the_places_of_who_fell(stripes: int) -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.plant(30)
        await crowd.whole(0.0)
        for _ in range(2):
            crowd.fall(crowd.rng.choice(crowd.live))
            await asyncio.sleep(2.0)
            await crowd.whole(15.0)
        await crowd.grow(2, at_once=2)
        await crowd.whole(8.0)

    play(story, 2, stripes=stripes, spare=0)


@pytest.mark.parametrize("seed", [1, 2])
def test_without_spare_slots_orphans_of_one_that_fell_wait_less_than_two_seconds(seed: int) -> None:
    crowds: list[Crowd] = []

    async def story(crowd: Crowd) -> None:
        crowds.append(crowd)
        await crowd.plant(40)
        watching = asyncio.get_running_loop().create_task(watch(crowd))
        await asyncio.sleep(10.0)  # all have heard of some others
        crowd.fall(inner(crowd)[0])
        await asyncio.sleep(3.0)
        await crowd.whole(1.0)
        watching.cancel()

    play(story, seed, spare=0)
    assert crowds[0].orphaned_s
    assert max(crowds[0].orphaned_s) <= 2.0


@pytest.mark.parametrize("seed", [2, 3])
def test_without_spare_slots_a_parent_and_its_child_fall_together(seed: int) -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.plant(40)
        name = next(name for name in crowd.live if crowd.nodes[name].place.stripe == 1)
        place = crowd.nodes[name].place
        crowd.fall(name)
        crowd.fall(next(child for _, child in place.edges() if child >= 0))
        await asyncio.sleep(2.0)
        await crowd.whole(15.0)
        assert crowd.counts()["applied"] == 1, "one plan for both"

    play(story, seed, spare=0)


@pytest.mark.parametrize("seed", [1, 4])
def test_without_spare_slots_a_parent_falls_with_all_its_children(seed: int) -> None:
    """Among so many: then only its parents have its will, and they say so."""

    async def story(crowd: Crowd) -> None:
        await crowd.plant(48)
        for name in crowd.rng.sample(crowd.live, 12):
            crowd.fall(name)
        await crowd.whole(30.0)

    play(story, seed, stripes=2, spare=0)


def test_without_spare_slots_a_tenth_falls_at_once() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.plant(40)
        for name in crowd.rng.sample(crowd.live, 4):
            crowd.fall(name)
        await asyncio.sleep(2.0)
        await crowd.whole(40.0)

    play(story, 5, spare=0)


@pytest.mark.night
@pytest.mark.parametrize("seed", range(3))
def test_without_spare_slots_a_fifth_falls_at_once(seed: int) -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.plant(60)
        for name in crowd.rng.sample(crowd.live, 12):
            crowd.fall(name)
        await asyncio.sleep(2.0)
        await crowd.whole(60.0)

    play(story, seed, spare=0)


@pytest.mark.night
@pytest.mark.timeout(600)
def test_without_spare_slots_more_than_sixteen_neighbours_fall_at_once() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.plant(100)
        for name in crowd.rng.sample(crowd.live, 20):
            crowd.fall(name)
        await asyncio.sleep(2.0)
        await crowd.whole(60.0)

    play(story, 0, spare=0)


@pytest.mark.night
@pytest.mark.parametrize("seed", range(3))
def test_without_spare_slots_peers_come_and_vanish(seed: int) -> None:
    churn(seed, 60, 60.0, 60 * 0.05 / 60, 30.0, spare=0)


# -- churn ----------------------------------------------------------------------------------------


def churn(
    seed: int,
    peers: int,
    seconds: float,
    per_s: float,
    limit_s: float,
    *,
    spare: int = 1,
    **link: Any,
) -> list[float]:
    crowds: list[Crowd] = []

    async def story(crowd: Crowd) -> None:
        crowds.append(crowd)
        await crowd.plant(peers)
        watching = asyncio.get_running_loop().create_task(watch(crowd))
        until = crowd.now + seconds
        while crowd.now < until:
            crowd.fall(crowd.rng.choice(crowd.live))
            crowd.start()
            await asyncio.sleep(crowd.rng.expovariate(per_s))
        assert await crowd.mended(limit_s) is not None, crowd.broken()
        watching.cancel()

    play(story, seed, spare=spare, **link)
    return sorted(crowds[0].orphaned_s)


def test_peers_come_and_vanish_for_a_while() -> None:
    waits = churn(1, 60, 15.0, 0.2, 15.0)
    assert waits[len(waits) // 2] <= 2.0


def test_peers_come_and_vanish_while_one_call_in_twenty_is_lost() -> None:
    churn(2, 48, 10.0, 0.2, 30.0, loss=0.05)


@pytest.mark.night
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
def test_five_percent_a_minute_at_200(seed: int) -> None:
    waits = churn(seed, 200, 120.0, 200 * 0.05 / 60, 15.0)
    assert sum(each <= 2.0 for each in waits) >= 0.99 * len(waits)
