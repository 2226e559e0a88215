"""Rarest first against random choice, as the lectures set them side by side.

The only seed leaves after it has sent so many copies' worth of bytes.  What it has sent is then
all there is: whoever spread every piece in time completes, and a piece that only one peer has
dies with that peer.  `stay`: those who complete go on serving; without, they leave at once, as
users do.  `arrive_s`: peers come one by one over so many seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from statistics import median

from spinney.lab._torrents import Member, Torrent, settings
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.sim import Link, Uniform

LIMIT_S = 600.0


def run(trial: Trial) -> Iterator[Row]:
    """One row: how many peers completed and when, and how many pieces nobody has any more."""
    world = trial.world(link=Link(latency=Uniform(0.01, 0.05)))
    torrent = Torrent(trial["size_kib"] << 10, trial["piece_kib"] << 10, trial.rng("torrent"))
    up = trial["up_kb_per_s"] * 1e3
    choice = trial["choice"]
    ours = settings(connections=60, ration=choice == "rationed")
    seed = Member(world.host("seed"), torrent, ours, up, seed=True)
    peers = [
        Member(world.host(f"peer {at}"), torrent, ours, up, random_choice=choice == "random")
        for at in range(trial["peers"])
    ]

    async def leave_when_done(peer: Member) -> None:
        await peer.done.wait()
        await peer.close()

    async def arrive(leaving: list[asyncio.Task[None]]) -> None:
        for at, peer in enumerate(peers):
            peer.came_at_s = world.loop.time()
            peer.knows([seed, *peers[:at]])
            if not trial["stay"]:
                leaving.append(asyncio.ensure_future(leave_when_done(peer)))
            await asyncio.sleep(trial["arrive_s"] / len(peers))

    async def scenario() -> None:
        for member in (seed, *peers):
            await member.start()
        leaving: list[asyncio.Task[None]] = []
        arriving = asyncio.ensure_future(arrive(leaving))
        enough = trial["copies"] * len(torrent.data)
        while seed.swarm.uploaded_bytes < enough and not all(p.done.is_set() for p in peers):
            await asyncio.sleep(0.1)
        await seed.close()
        last, quiet = -1, 0
        while quiet < 20 and not all(peer.done.is_set() for peer in peers):
            await asyncio.sleep(1.0)
            have = sum(peer.transfer.have.count for peer in peers)
            quiet = quiet + 1 if have == last else 0
            last = have
        await arriving
        await asyncio.gather(*(task for task in leaving if task.done()))
        for task in leaving:
            task.cancel()

    world.run(scenario())
    ends = [peer.done_at_s - peer.came_at_s for peer in peers if peer.done_at_s is not None]
    here = [peer for peer in peers if trial["stay"] or peer.done_at_s is None]
    somewhere = {piece for peer in here for piece in peer.transfer.have}
    count = torrent.descriptor.piece_count
    extinct = count - len(somewhere) if any(not peer.done.is_set() for peer in here) else 0
    yield {
        "stayed": trial["stay"],
        "completed": len(ends),
        "share": round(len(ends) / len(peers), 4),
        "extinct": extinct,
        "pieces_left": round(1 - extinct / count, 4),
        "median_s": round(median(ends), 3) if ends else None,
        "last_s": round(max(ends), 3) if ends else None,
        "copies_sent": round(seed.swarm.uploaded_bytes / len(torrent.data), 4),
    }


EXPERIMENT = Experiment(
    name="rarest_first",
    doc="The seed leaves early: rarest first, random choice, and a seed that rations",
    parameters={
        "choice": "rarest",
        "copies": 1.5,
        "peers": 30,
        "size_kib": 4096,
        "piece_kib": 32,
        "up_kb_per_s": 250,
        "stay": True,
        "arrive_s": 0.0,
    },
    grid={
        "choice": ("random", "rarest", "rationed"),
        "copies": (1.05, 1.5, 2.0, 3.0),
        "stay": (True, False),
    },
    run=run,
    checks=(
        Check(
            "where those who complete stay, one of them is enough for all",
            lambda rows: all(
                not row["stayed"] or not row["completed"] or row["pieces_left"] == 1 for row in rows
            ),
        ),
    ),
    plot=Plot(x="copies", y="pieces_left", by="choice", title="Pieces left when the seed is gone"),
    source="lectures: BitTorrent, piece selection",
    seeds=5,
    bounds={
        "copies": (0.0, 1_000_000),
        "peers": (1, 5000),
        "size_kib": (1, 1 << 20),
        "piece_kib": (16, 1 << 14),
        "up_kb_per_s": (1, 10_000_000),
        "arrive_s": (0.0, 1_000_000),
    },
)
