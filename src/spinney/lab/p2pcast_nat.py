"""Peers that nobody can reach from outside, in P2PCast's forest: how many spare slots serve all?

A share `closed` of the peers sits behind port-restricted NATs, one each.  Such a peer serves those
that it dials itself, and two of them never pair; so the slots of the open ones must carry all of
them: at least s = f (2 closed - 1) / (1 - closed), if no slot were wasted.  s rises from
`spare` until every peer has a parent in every tree, or to f.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from spinney.lab._crowds import Crowd
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.p2pcast.reaching import is_closed
from spinney.sim import Constant, Link

FIRST = 4
"""Times f: open peers that stand when the others begin to come."""
AT_ONCE, PAUSE_S = 4, 1.5
SETTLES_S = 60.0
"""For those that have come last."""


async def _grow(crowd: Crowd, peers: int, closed: float) -> float:
    """Seconds from the last newcomer until everybody has all trees; `SETTLES_S` if not."""
    first = min(FIRST * crowd.stripes, peers - round(closed * peers))
    await crowd.plant(first)
    names = [crowd.name(at < round(closed * peers)) for at in range(peers - first)]
    crowd.rng.shuffle(names)
    for at in range(0, len(names), AT_ONCE):
        for name in names[at : at + AT_ONCE]:
            crowd.start(name)
        await asyncio.sleep(PAUSE_S)
    began = crowd.now
    while crowd.now < began + SETTLES_S:
        if not crowd.joining and not any(crowd.lacking()):
            break
        await asyncio.sleep(0.5)
    return crowd.now - began


def _serve(trial: Trial, spare: int) -> Row:
    world = trial.world(link=Link(latency=Constant(trial["hop_s"])))
    rng, closed, peers = trial.rng(f"crowd {spare}"), trial["closed"], trial["peers"]
    crowd = Crowd(world, rng, stripes=trial["stripes"], spare=spare, closed=closed)

    async def scenario() -> Row:
        await crowd.open()
        settled_s = await _grow(crowd, peers, closed)
        places = crowd.places()
        pairs = sum(
            is_closed(name) and is_closed(parent)
            for name, place in places.items()
            for parent in place.parents
        )
        unserved = [name for name, node in crowd.nodes.items() if not node.is_placed]
        return {
            "s": spare,
            "serves_all": not unserved and not any(crowd.lacking()),
            "unserved_closed": sum(map(is_closed, unserved)),
            "unserved_open": sum(not is_closed(name) for name in unserved),
            "settled_s": round(settled_s, 1),
            "pairs_closed": pairs,
            "dialled_per_peer": round(crowd.counts().get("dialled", 0) / peers, 2),
        }

    return world.run(scenario())


def run(trial: Trial) -> Iterator[Row]:
    """A row for each s that was tried; the last one is the smallest that serves all, if any."""
    for spare in range(max(1, trial["spare"]), trial["stripes"] + 1):
        row = _serve(trial, spare)
        yield row
        if row["serves_all"]:
            return


def _serves(rows: Sequence[Row]) -> bool:
    return bool(rows[-1]["serves_all"])


def _never_pair(rows: Sequence[Row]) -> bool:
    return not any(row["pairs_closed"] for row in rows)


EXPERIMENT = Experiment(
    name="p2pcast-nat",
    doc="The fewest spare slots that serve peers whom nobody can reach from outside",
    parameters={"peers": 100, "stripes": 4, "closed": 0.6, "spare": 1, "hop_s": 0.1},
    grid={"closed": (0.2, 0.4, 0.5, 0.6)},
    run=run,
    checks=(
        Check("some s up to f serves everybody", _serves),
        Check("two peers that nobody can reach never pair", _never_pair),
    ),
    plot=Plot(x="s", y="unserved_closed", by="closed", title="Peers that lack a tree"),
    source="P2PCast paper, sections 3 and 9 (equal shares); NAT: RFC 4787",
    seeds=3,
    bounds={
        "peers": (24, 2_000),
        "stripes": (2, 8),
        "closed": (0.0, 0.66),
        "spare": (1, 8),
        "hop_s": (0.001, 1.0),
    },
)
