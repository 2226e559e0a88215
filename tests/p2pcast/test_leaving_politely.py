"""Who leaves politely costs fewer datagrams than who fails, and leaves nobody without a stripe."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from spinney.lab._crowds import HOP, Crowd
from spinney.p2pcast.place import Name
from spinney.sim import World

SEEDS = (1, 2, 3)
WATCHED_S = 12.0
GOING = 3


def gone(seed: int, *, politely: bool) -> tuple[int, float]:
    """Datagrams beyond those of a quiet forest, and seconds in which a peer lacked a stripe,
    while three inner peers go one after the other."""
    crowd = Crowd(World(seed, link=HOP), Random(seed), stripes=4, spare=1)
    lacked_s = 0.0

    async def watched(lasting_s: float) -> int:
        nonlocal lacked_s
        before = crowd.spent()[0]
        until = crowd.now + lasting_s
        while crowd.now < until:
            await asyncio.sleep(0.1)
            lacked_s += 0.1 * sum(crowd.lacking())
        return crowd.spent()[0] - before

    async def story() -> int:
        nonlocal lacked_s
        await crowd.open()
        await crowd.plant(30)
        quiet = await watched(WATCHED_S)
        assert lacked_s == 0
        more = 0
        for _ in range(GOING):
            rows = {name: crowd.nodes[name].place.out_degree for name in crowd.live}
            name: Name = max(rows, key=rows.__getitem__)
            going = asyncio.ensure_future(crowd.leave(name)) if politely else crowd.fall(name)
            more += await watched(WATCHED_S) - quiet * (len(rows) - 1) // 30
            if going is not None:
                await going
        await crowd.whole(10.0)
        return more

    with crowd.world:
        return crowd.world.run(story()), round(lacked_s, 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_leaving_politely_is_cheaper_than_failing(seed: int) -> None:
    polite, failed = gone(seed, politely=True), gone(seed, politely=False)
    assert polite[0] < failed[0], f"datagrams: {polite}, {failed}"
    assert polite[1] < failed[1] / 2, f"seconds without a stripe: {polite}, {failed}"
