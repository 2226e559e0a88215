"""P2PCast beside one tree (SpreadIt) and random striped trees (SplitStream's shape).

The same network, the same times at which a peer vanishes or comes, the same intervals of noticing.
`upload`: what the busiest peer sends, as a multiple of what it receives; `idle`: the share of peers
that send nothing; `lack_*`: how many stripes of the stream peers lack, looked at each half second
(of one tree there is one, the whole stream).  One tree needs peers that send `degree` copies of the
stream; P2PCast and SplitStream's shape send one, and what their spare slots allow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from spinney.lab._crowds import Crowd
from spinney.lab._others import OtherCrowd, Shape
from spinney.lab._traces import play, trace, watch
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.sim import Constant, Link, World

SETTLES_S = 5.0
JOINS_S = 600.0


def _row(system: str, upload: float, crowd: Crowd | OtherCrowd, counts: Sequence[int]) -> Row:
    waits = sorted(crowd.orphaned_s)
    hops = [max(each for each in row if each is not None) for row in crowd.depths() if any(row)]
    loads, total = crowd.loads(), sum(counts) or 1
    return {
        "system": system,
        "upload": round(max(loads) * upload, 2),
        "idle": round(loads.count(0) / len(loads), 3),
        "hops_mean": round(sum(hops) / len(hops), 1),
        "hops_most": max(hops),
        "orphans": len(waits),
        "without_median_s": round(waits[len(waits) // 2], 2) if waits else None,
        "without_p99_s": round(waits[int(0.99 * len(waits))], 2) if waits else None,
        "lack_none": round(counts[0] / total, 5),
        "lack_one": round(counts[1] / total, 5),
        "lack_more": round(counts[2] / total, 5),
    }


def run(trial: Trial) -> Iterator[Row]:
    """A row for each system."""
    stripes, peers, spare = trial["stripes"], trial["peers"], trial["spare"]
    seconds = 60.0 * trial["minutes"]
    events = trace(trial.rng("trace"), trial["churn"] * peers / 60.0, seconds)
    link = Link(latency=Constant(trial["hop_s"]), loss=trial["loss"])
    systems: list[tuple[str, float, Callable[[World], Crowd | OtherCrowd]]] = [
        (
            "P2PCast",
            1 / stripes,
            lambda world: Crowd(world, trial.rng("crowd"), stripes=stripes, spare=spare),
        ),
        (
            "SplitStream's shape",
            1 / stripes,
            lambda world: OtherCrowd(
                world, trial.rng("crowd"), Shape(stripes, stripes + spare, own_only=True)
            ),
        ),
        (
            "SpreadIt",
            1.0,
            lambda world: OtherCrowd(
                world, trial.rng("crowd"), Shape(1, trial["degree"], own_only=False)
            ),
        ),
    ]
    for system, upload, made in systems:
        crowd = made(trial.world(link=link))

        async def scenario(crowd: Crowd | OtherCrowd = crowd) -> list[int]:
            await crowd.open()
            for first in range(0, peers, trial["at_once"]):
                for _ in range(min(trial["at_once"], peers - first)):
                    crowd.start()
                until = crowd.now + JOINS_S
                while crowd.joining:
                    assert crowd.now < until, f"{len(crowd.joining)} have not joined"
                    await asyncio.sleep(0.1)
            await asyncio.sleep(SETTLES_S)
            watching = asyncio.get_running_loop().create_task(watch(crowd))
            looks = await play(crowd, events, seconds)
            watching.cancel()
            return [sum(column) for column in zip(*looks, strict=True)]

        yield _row(system, upload, crowd, crowd.world.run(scenario()))


def _mean(rows: Sequence[Row], system: str, *columns: str) -> float:
    values = [sum(float(row[each] or 0) for each in columns) for row in rows
              if row["system"] == system]  # fmt: skip
    return sum(values) / len(values)


def _two_less_often(rows: Sequence[Row]) -> bool:
    whole = _mean(rows, "SpreadIt", "lack_one", "lack_more")
    return _mean(rows, "P2PCast", "lack_more") <= whole


EXPERIMENT = Experiment(
    name="p2pcast-beside",
    doc="P2PCast beside one tree and random striped trees: upload, depth, repair, stripes lacking",
    parameters={
        "peers": 100,
        "stripes": 4,
        "spare": 1,
        "degree": 2,
        "churn": 0.05,
        "minutes": 1.0,
        "loss": 0.0,
        "hop_s": 0.1,
        "at_once": 8,
    },
    grid={"churn": (0.01, 0.05, 0.1)},
    run=run,
    checks=(
        Check(
            "P2PCast's peers lack two stripes no more often than one tree's the stream",
            _two_less_often,
        ),
    ),
    plot=Plot(x="churn", y="lack_more", by="system", title="Share of peers that lack two or more"),
    source="P2PCast paper, sections 1 and 2",
    seeds=3,
    bounds={
        "peers": (8, 2_000),
        "stripes": (2, 16),
        "spare": (0, 16),
        "degree": (1, 16),
        "churn": (0.0, 1.0),
        "minutes": (0.05, 60.0),
        "loss": (0.0, 0.5),
        "hop_s": (0.001, 1.0),
        "at_once": (1, 1_000),
    },
)
