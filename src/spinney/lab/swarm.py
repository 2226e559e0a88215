"""A swarm that begins with one seed: how near does the last peer come to the fluid bound?

All peers arrive at once and upload at one rate; some of them may be freeloaders, nodes of
another class that take and never give.  Two figures: the time of the last against the bound
max(F/u_s, N·F/(u_s + Σu_i)), and how much longer than a contributor a freeloader
waits.  (While the seed's line is the bottleneck everybody waits for the same pieces; choking
tells where peers' uploads are what is scarce: a seed with four times their rate.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from statistics import median

from spinney.bittorrent.node import BitTorrent
from spinney.lab._torrents import Freeloader, Member, Torrent, fluid_bound_s, settings
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.sim import Link, Uniform

LIMIT_S = 3_600.0


def run(trial: Trial) -> Iterator[Row]:
    """One row for the swarm: seconds, copies that left the seed, the bound, the penalty."""
    world = trial.world(link=Link(latency=Uniform(0.01, 0.05)))
    rng = trial.rng("swarm")
    torrent = Torrent(trial["size_kib"] << 10, trial["piece_kib"] << 10, rng)
    up = trial["up_kb_per_s"] * 1e3
    seed_up = trial["seed_up_kb_per_s"] * 1e3
    count, free = trial["peers"], int(trial["peers"] * trial["freeloaders"])
    ours = settings(connections=trial["connections"] + 10, ration=trial["ration"])
    seed = Member(world.host("seed"), torrent, ours, seed_up, seed=True)
    peers = [
        Member(
            world.host(f"peer {number}"),
            torrent,
            ours,
            up,
            kind=Freeloader if number < free else BitTorrent,
        )
        for number in range(count)
    ]

    async def scenario() -> float:
        for member in (seed, *peers):
            await member.start()
        began = world.loop.time()
        everybody = [seed, *peers]
        for member in everybody:  # as a tracker tells it: the seed hears of peers, too
            others = [other for other in everybody if other is not member]
            member.knows(rng.sample(others, min(trial["connections"] // 2, len(others))))
        async with asyncio.timeout(LIMIT_S):
            for peer in peers:
                await peer.done.wait()
        return began

    began = world.run(scenario())
    ends = [(peer.done_at_s or LIMIT_S) - began for peer in peers]
    honest = ends[free:]
    bound = fluid_bound_s(len(torrent.data), seed_up, [up] * (count - free) + [0.0] * free)
    mean_honest = sum(honest) / len(honest)
    yield {
        "bound_s": round(bound, 3),
        "last_s": round(max(ends), 3),
        "ratio": round(max(ends) / bound, 4),
        "mean_s": round(mean_honest, 3),
        "median_s": round(median(honest), 3),
        "freeloaders_median_s": round(median(ends[:free]), 3) if free else None,
        "copies_sent": round(seed.swarm.uploaded_bytes / len(torrent.data), 4),
        "contended": seed_up > up,
        "freeloaders_sent": sum(peer.swarm.uploaded_bytes for peer in peers[:free]),
        "penalty": round(sum(ends[:free]) / free / mean_honest, 4) if free else None,
        "fetched": round(
            sum(peer.swarm.downloaded_bytes for peer in peers) / len(torrent.data) / count, 4
        ),
    }


def _all_below(rows: Sequence[Row], most: float) -> bool:
    return all(float(row["fetched"] or 0) < most for row in rows)


def _freeloaders_wait(rows: Sequence[Row]) -> bool:
    return all(
        not row["contended"] or row["penalty"] is None or float(row["penalty"]) > 1 for row in rows
    )


EXPERIMENT = Experiment(
    name="swarm",
    doc="One seed and many peers: time of the last against the fluid bound; freeloaders",
    parameters={
        "peers": 200,
        "size_kib": 4096,
        "piece_kib": 32,
        "up_kb_per_s": 250,
        "seed_up_kb_per_s": 250,
        "connections": 40,
        "ration": True,
        "freeloaders": 0.0,
    },
    grid={"ration": (True, False), "freeloaders": (0.0, 0.1), "seed_up_kb_per_s": (250, 1000)},
    run=run,
    checks=(
        Check(
            "a freeloader gives nothing",
            lambda rows: all(not row["freeloaders_sent"] for row in rows),
        ),
        Check("nothing is fetched twice but in the endgame", lambda rows: _all_below(rows, 1.15)),
        Check(
            "where peers' uploads are what is scarce, a freeloader waits longer",
            _freeloaders_wait,
        ),
    ),
    plot=Plot(x="freeloaders", y="ratio", by="ration", title="Last / fluid bound"),
    source="lectures: BitTorrent; BEP 3, 16",
    seeds=5,
    bounds={
        "peers": (1, 5000),
        "size_kib": (1, 1 << 20),
        "piece_kib": (16, 1 << 14),
        "up_kb_per_s": (1, 10_000_000),
        "seed_up_kb_per_s": (1, 10_000_000),
        "connections": (2, 5000),
        "freeloaders": (0.0, 0.9),
    },
)
