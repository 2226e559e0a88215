"""Section 4, for real: nodes that are processes, killed at random and started again."""

from __future__ import annotations

import asyncio

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


@pytest.mark.night
@pytest.mark.timeout(600)
def test_a_hundred_processes_are_killed_for_five_minutes() -> None:
    play(100, 300.0, 2.5, patience=2.0, limit_s=5.0)
