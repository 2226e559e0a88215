"""A simulated swarm of 200 peers: the last against the fluid bound, and what a freeloader pays.

    python bench/simulated_swarm.py [--peers 200] [--seeds 5]

The experiment `swarm` of `spinney lab`, each trial in a process of its own, a tenth of the
peers freeloaders, 20 connections a peer (the lectures: 10 to 30), 2 MiB.  Peers send 15 KB/s, so
that the download lasts for a dozen rounds of choking.  The penalty is the mean time of a
freeloader over that of a contributor: choking decides where peers' uploads are what is scarce (a
seed of four times their rate), and hardly where all wait for the seed.  Every figure but the
processor seconds and the memory is the same at every run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor

from rig.rounds import spread
from spinney.lab.experiment import Row
from spinney.lab.sweep import run_trial

POINTS = ((15, 60, 0.1), (15, 15, 0.1))
"""A peer's upload and the seed's in KB/s, and which part of the peers are freeloaders."""
Trial = tuple[int, int, int, int, float]


def measure(trial: Trial) -> Row:
    """One trial, in a fresh process: memory is that process's peak."""
    seed, peers, up, seed_up, freeloaders = trial
    begun = time.process_time()
    result = run_trial(
        "swarm",
        seed,
        {
            "peers": peers,
            "size_kib": 2048,
            "connections": 20,
            "up_kb_per_s": up,
            "seed_up_kb_per_s": seed_up,
            "freeloaders": freeloaders,
        },
    )
    if result.error:
        raise SystemExit(f"seed {seed}: {result.error}")
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return {
        **result.rows[0],
        "cpu_s": time.process_time() - begun,
        "memory_mib": memory_mib,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args()
    trials: list[Trial] = [
        (seed, chosen.peers, *point) for seed in range(chosen.seeds) for point in POINTS
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, max_tasks_per_child=1) as pool:
        rows = list(pool.map(measure, trials))
    print(f"{chosen.peers} peers, {chosen.seeds} seeds: median (least to most)")
    print(
        "KB/s of a peer / of the seed | freeloaders | last / bound"
        " | freeloader / contributor | copies that left the seed | processor s | MiB"
    )
    for point in POINTS:
        mine = [row for row, trial in zip(rows, trials, strict=True) if trial[2:] == point]
        penalties = [float(row["penalty"]) for row in mine if row["penalty"] is not None]
        cells = (
            f"{point[0]} / {point[1]}",
            f"{point[2]:.0%}",
            spread([float(row["ratio"] or 0) for row in mine]),
            spread(penalties) if penalties else "-",
            spread([float(row["copies_sent"] or 0) for row in mine]),
            spread([float(row["cpu_s"] or 0) for row in mine], 1),
            spread([float(row["memory_mib"] or 0) for row in mine], 0),
        )
        print(" | ".join(cells))


if __name__ == "__main__":
    main()
