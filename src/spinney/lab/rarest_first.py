"""Rarest first against random choice, as the lectures set them side by side.

Peers arrive at once; the only seed leaves after it has sent so many copies' worth of bytes.
What it has sent is then all there is: whoever spread every piece in time completes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from spinney.lab._torrents import Member, Torrent, settings
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.sim import Link, Uniform

LIMIT_S = 600.0


def run(trial: Trial) -> Iterator[Row]:
    """One row: how many peers completed, and the availability that was left."""
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

    async def scenario() -> float:
        for member in (seed, *peers):
            await member.start()
        began = world.loop.time()
        for at, peer in enumerate(peers):
            peer.knows([seed, *peers[:at]])
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
        return began

    began = world.run(scenario())
    ends = [peer.done_at_s - began for peer in peers if peer.done_at_s is not None]
    somewhere = {piece for peer in peers for piece in peer.transfer.have}
    yield {
        "completed": len(ends),
        "share": round(len(ends) / len(peers), 4),
        "pieces_left": round(len(somewhere) / torrent.descriptor.piece_count, 4),
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
    },
    grid={"choice": ("random", "rarest", "rationed"), "copies": (1.1, 1.5, 2.0, 3.0)},
    run=run,
    checks=(
        Check(
            "who completes has every piece, so every piece is left",
            lambda rows: all(not row["completed"] or row["pieces_left"] == 1 for row in rows),
        ),
    ),
    plot=Plot(x="copies", y="pieces_left", by="choice", title="Pieces left when the seed is gone"),
    source="lectures: BitTorrent, piece selection",
    seeds=5,
)
