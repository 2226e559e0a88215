"""Section 4, for real: nodes that are processes, killed at random and started again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.p2pcast.processes import Fleet


def play(
    count: int, seconds: float, pause_s: float, *, patience: float, limit_s: float, seed: int = 1
) -> None:
    async def story() -> None:
        async with Fleet(seed, stripes=4, spare=1, patience=patience) as fleet:
            await fleet.grow(count)
            await fleet.whole(30.0)
            await fleet.churn(seconds, pause_s)
            took_s = await fleet.whole(limit_s)
            print(f"{count} processes, {fleet.kills} killed: whole {took_s:.2f} s after the last")
            assert len(fleet.all_places()) > count

    asyncio.run(story())


@pytest.mark.timeout(150)
def test_a_dozen_processes_are_killed_and_started_again() -> None:
    """Patient beyond the five seconds: tests run beside others here."""
    play(12, 12.0, 2.0, patience=2.0, limit_s=30.0)


@pytest.mark.timeout(240)
def test_while_the_registry_is_down_the_forest_mends_and_newcomers_wait(tmp_path: Path) -> None:
    async def story() -> None:
        state = str(tmp_path / "registry")
        async with Fleet(2, stripes=4, spare=1, patience=2.0, state=state) as fleet:
            await fleet.grow(8)
            await fleet.whole(40.0)
            await fleet.switch("closed")
            fleet.end()
            await asyncio.sleep(2.0)
            fleet.end()
            await asyncio.sleep(2.0)
            await fleet.mended(40.0)
            before = set(fleet.ready)
            for _ in range(2):
                await fleet.come()
            await asyncio.sleep(3.0)
            assert set(fleet.ready) == before, "nobody tells them whom to ask"
            await fleet.switch("open")
            await fleet.whole(60.0)
            assert len(fleet.ready) == 8
            fleet.end()
            await fleet.come()
            await fleet.whole(60.0)

    asyncio.run(story())


@pytest.mark.night
@pytest.mark.timeout(600)
def test_a_hundred_processes_are_killed_for_five_minutes() -> None:
    play(100, 300.0, 2.5, patience=2.0, limit_s=5.0)
