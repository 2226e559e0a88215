"""What P2PCast's peers do when much happens at once: a crowd comes, a share falls, a net is cut.

`event`:
    flash      `peers` more come within `over_s` to a forest of as many as `standing`
    together   a share of them falls in one moment
    partition  a share of them is cut off from the others for `over_s`, then not any more

Measured: until when newcomers have their places; how long orphans are without a parent; the share
of the live that lack no stripe so many seconds after the event; when every rule holds again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from spinney.errors import UsageError
from spinney.lab._crowds import Crowd
from spinney.lab._traces import watch
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.sim import Constant, Link

MENDS_S = 120.0
LOOKS_S = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
"""After the event."""
EVENTS = ("flash", "together", "partition")


def _part(values: Sequence[float], part: float) -> float | None:
    rows = sorted(values)
    return round(rows[min(len(rows) - 1, int(part * len(rows)))], 2) if rows else None


async def _come(crowd: Crowd, count: int, over_s: float) -> list[float]:
    """Newcomers, evenly spread; the seconds that each needed."""
    took_s: list[float] = []

    async def one() -> None:
        began = crowd.now
        name = crowd.start()
        while name in crowd.joining or not crowd.is_placed(name):
            await asyncio.sleep(0.1)
            if crowd.now > began + MENDS_S:
                return
        took_s.append(crowd.now - began)

    tasks = []
    for _ in range(count):
        tasks.append(asyncio.get_running_loop().create_task(one()))
        await asyncio.sleep(over_s / count)
    await asyncio.gather(*tasks)
    return took_s


async def _strike(trial: Trial, crowd: Crowd) -> list[float]:
    event, share = trial["event"], trial["share"]
    if event == "flash":
        return await _come(crowd, trial["peers"], trial["over_s"])
    struck = crowd.rng.sample(crowd.live, max(1, round(share * len(crowd.live))))
    if event == "together":
        for name in struck:
            crowd.fall(name)
    else:
        cut = crowd.world.partition([crowd.hosts[name] for name in struck])
        await asyncio.sleep(trial["over_s"])
        cut.heal()
    return []


def run(trial: Trial) -> Iterator[Row]:
    """One row."""
    if trial["event"] not in EVENTS:
        raise UsageError(f"there is no event {trial['event']!r}; there are: {', '.join(EVENTS)}")
    world = trial.world(link=Link(latency=Constant(trial["hop_s"]), loss=trial["loss"]))
    crowd = Crowd(world, trial.rng("crowd"), stripes=trial["stripes"], spare=trial["spare"])

    async def scenario() -> Row:
        await crowd.open()
        await crowd.plant(trial["standing"] if trial["event"] == "flash" else trial["peers"])
        watching = asyncio.get_running_loop().create_task(watch(crowd))
        took_s = await _strike(trial, crowd)
        ended, row = crowd.now, {}
        mended = asyncio.get_running_loop().create_task(crowd.mended(MENDS_S))
        for after_s in LOOKS_S:
            await asyncio.sleep(max(0.0, ended + after_s - crowd.now))
            lacking = crowd.lacking()
            row[f"lack_none_{after_s:g}_s"] = round(lacking.count(0) / len(lacking), 4)
        whole_s = await mended
        crowd.look()
        watching.cancel()
        waits = crowd.orphaned_s
        return {
            "joined_median_s": _part(took_s, 0.5),
            "joined_p99_s": _part(took_s, 0.99),
            "joined": len(took_s),
            "orphans": len(waits),
            "without_median_s": _part(waits, 0.5),
            "without_p99_s": _part(waits, 0.99),
            "without_most_s": _part(waits, 1.0),
            "still_without": len(crowd.orphans),
            **row,
            "whole_after_s": None if whole_s is None else round(whole_s, 1),
        }

    yield world.run(scenario())


def _mends(rows: Sequence[Row]) -> bool:
    return all(row["whole_after_s"] is not None and not row["still_without"] for row in rows)


EXPERIMENT = Experiment(
    name="p2pcast-disaster",
    doc="P2PCast's forest when a crowd comes at once, a share falls together, or the net is cut",
    parameters={
        "event": "together",
        "peers": 200,
        "standing": 100,
        "stripes": 4,
        "spare": 1,
        "share": 0.1,
        "over_s": 10.0,
        "loss": 0.0,
        "hop_s": 0.1,
    },
    grid={"share": (0.01, 0.05, 0.1, 0.2)},
    run=run,
    checks=(Check("every rule holds again within 120 s, and no orphan is left", _mends),),
    plot=Plot(x="share", y="without_p99_s", title="Seconds without a parent (p99)"),
    source="P2PCast paper, sections 4 and 5",
    seeds=3,
    bounds={
        "peers": (8, 10_000),
        "standing": (8, 10_000),
        "stripes": (2, 16),
        "spare": (0, 16),
        "share": (0.0, 0.9),
        "over_s": (0.1, 600.0),
        "loss": (0.0, 0.5),
        "hop_s": (0.001, 1.0),
    },
)
