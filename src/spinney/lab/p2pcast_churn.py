"""P2PCast's peers, each a node that knows its neighbours only, while others come and vanish.

`peers` join, `at_once` at a time (0: they begin where a model of the forest puts them); then for
`minutes` a share `churn` of them vanishes each minute (as a crash: no word to anybody) and as many
join.  Measured: how long a child of a vanished peer is without a parent that knows it; how many
peers lack a stripe, looked at each half second; calls and bytes; and how long the forest takes to
obey every rule after the last fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from spinney.lab._crowds import Crowd
from spinney.lab._traces import LOOK_S, Lacking, play, trace, watch
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.sim import Constant, Link

JOINS_S = 600.0
"""A crowd that has not joined by then never will."""
SETTLES_S = 3.0
MENDS_S = 30.0


def _share(values: Sequence[float], part: float) -> float | None:
    rows = sorted(values)
    return rows[min(len(rows) - 1, int(part * len(rows)))] if rows else None


def _by_minute(rows: Sequence[Lacking]) -> str:
    """The share of peers that lack no stripe, minute by minute."""
    looks = round(60 / LOOK_S)
    minutes = [rows[at : at + looks] for at in range(0, len(rows), looks)]
    shares = [sum(row[0] for row in each) / sum(map(sum, each)) for each in minutes]
    return " ".join(f"{share:.4f}" for share in shares)


def run(trial: Trial) -> Iterator[Row]:
    """One row."""
    world = trial.world(link=Link(latency=Constant(trial["hop_s"]), loss=trial["loss"]))
    crowd = Crowd(world, trial.rng("crowd"), stripes=trial["stripes"], spare=trial["spare"])

    async def scenario() -> Row:
        await crowd.open()
        if trial["at_once"]:
            await crowd.grow(trial["peers"], at_once=trial["at_once"], limit_s=JOINS_S)
        else:
            await crowd.plant(trial["peers"])
        joined_s = crowd.now
        await asyncio.sleep(SETTLES_S)
        watching = asyncio.get_running_loop().create_task(watch(crowd))
        before, seconds = crowd.counts(), 60.0 * trial["minutes"]
        spent = crowd.spent()
        events = trace(crowd.rng, trial["churn"] * trial["peers"] / 60.0, seconds)
        looks = await play(crowd, events, seconds)
        after = crowd.counts()
        spent = [b - a for a, b in zip(spent, crowd.spent(), strict=True)]
        moved = after.get("taken", 0) - before.get("taken", 0)
        mended_s = await crowd.mended(MENDS_S)
        watching.cancel()
        none, one, more = (sum(column) for column in zip(*looks, strict=True))
        total = none + one + more or 1
        waits = crowd.orphaned_s
        faults = len(crowd.fallen) or 1
        return {
            "joined_s": round(joined_s, 1),
            "faults": len(crowd.fallen),
            "orphans": len(waits),
            "without_median_s": _share(waits, 0.5),
            "without_p99_s": _share(waits, 0.99),
            "without_most_s": max(waits, default=None),
            "within_2_s": round(sum(each <= 2.0 for each in waits) / max(1, len(waits)), 4),
            "lack_none": round(none / total, 5),
            "lack_one": round(one / total, 5),
            "lack_more": round(more / total, 5),
            "lack_none_by_minute": _by_minute(looks),
            "datagrams_per_peer_s": round(spent[0] / seconds / trial["peers"], 2),
            "bytes_per_peer_s": round(spent[1] / seconds / trial["peers"], 1),
            "attached_per_fault": round(moved / faults, 2),
            "whole_after_s": None if mended_s is None else round(mended_s, 1),
        }

    yield world.run(scenario())


def _mends(rows: Sequence[Row]) -> bool:
    return all(row["whole_after_s"] is not None for row in rows)


EXPERIMENT = Experiment(
    name="p2pcast-churn",
    doc="P2PCast's forest while peers vanish and join: repair times, stripes lacking, traffic",
    parameters={
        "peers": 200,
        "stripes": 4,
        "spare": 1,
        "churn": 0.05,
        "minutes": 2.0,
        "loss": 0.0,
        "hop_s": 0.1,
        "at_once": 16,
    },
    grid={"churn": (0.0, 0.01, 0.05, 0.1), "loss": (0.0, 0.01, 0.05)},
    run=run,
    checks=(Check("every rule holds again within 30 s after the last fault", _mends),),
    plot=Plot(x="churn", y="without_p99_s", by="loss", title="Seconds without a parent (p99)"),
    source="P2PCast paper, sections 4 and 5",
    seeds=3,
    bounds={
        "peers": (8, 10_000),
        "stripes": (2, 16),
        "spare": (0, 16),
        "churn": (0.0, 1.0),
        "minutes": (0.05, 60.0),
        "loss": (0.0, 0.5),
        "hop_s": (0.001, 1.0),
        "at_once": (0, 1_000),
    },
)
