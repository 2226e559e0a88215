"""Peers that come and vanish at stated times: one trace, played to any crowd."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

LOOK_S = 0.5
ORPHANS_S = 0.05

Trace = list[tuple[float, bool, float]]
"""(when, does one fall, which one as a part of all that are there); else one comes."""

Lacking = tuple[int, int, int]
"""How many peers lacked no stripe, one, more."""


class Crowding(Protocol):
    """What a trace is played to: `lab._crowds.Crowd`, `lab._others.OtherCrowd`."""

    @property
    def now(self) -> float: ...

    @property
    def peers(self) -> Sequence[Any]: ...

    def start(self) -> object: ...

    def look(self) -> None:
        """Which orphans have a parent again?"""

    def fall(self, peer: Any) -> None: ...

    def depths(self) -> list[list[int | None]]:
        """For each live peer its hops from the source in each tree; None where it is cut off."""


def trace(rng: Random, per_s: float, seconds: float) -> Trace:
    """Faults and newcomers at random times, as many of both."""
    rows: Trace = []
    for falls in (True, False):
        at = rng.expovariate(per_s) if per_s else seconds
        while at < seconds:
            rows.append((at, falls, rng.random()))
            at += rng.expovariate(per_s)
    return sorted(rows)


async def watch(crowd: Crowding) -> None:
    """Looks after orphans, for ever."""
    while True:
        crowd.look()
        await asyncio.sleep(ORPHANS_S)


async def play(crowd: Crowding, events: Trace, seconds: float) -> list[Lacking]:
    """What each look found, each `LOOK_S`."""
    began, found = crowd.now, []
    looks: Trace = [(at * LOOK_S, False, -1.0) for at in range(int(seconds / LOOK_S))]
    for at, falls, part in sorted([*events, *looks]):
        await asyncio.sleep(max(0.0, began + at - crowd.now))
        if part < 0:
            lacking = [row.count(None) for row in crowd.depths()]
            none, one = lacking.count(0), lacking.count(1)
            found.append((none, one, len(lacking) - none - one))
        elif not falls:
            crowd.start()
        elif peers := crowd.peers:
            crowd.fall(peers[int(part * len(peers))])
    await asyncio.sleep(max(0.0, began + seconds - crowd.now))
    return found
