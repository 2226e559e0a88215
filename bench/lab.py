"""The lectures' claims in the simulator, over several seeds: medians and spread.

    python bench/lab.py [--seeds 5] [--peers 24] [--many 200] [--many-seeds 0]

1. Rarest first against random choice, the seed leaving early: how many pieces died out, how many
   peers completed.  2. Freeloaders against contributors, with peers' uploads scarce and with the
   seed's line scarce.  3. With `--many-seeds N`: the time of the last of so many peers against
   the fluid bound (some minutes of processor time for each seed).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from spinney import lab
from spinney.cli.lab import table
from spinney.lab.summary import summary


def show(title: str, name: str, seeds: int, given: dict[str, Any], columns: list[str]) -> bool:
    """Prints one summary; True if no trial failed."""
    sweep = lab.run(name, seeds, given)
    print(f"{title} ({name}, {seeds} seeds: median, least to most)\n")
    rows = [
        {key: value for key, value in row.items() if key in given or key in columns}
        for row in summary(sweep)
    ]
    print("\n".join(table(rows)), flush=True)
    for failure in sweep.failures:
        print(f"failed: seed {failure.seed}: {failure.error.splitlines()[-1]}")
    print()
    return not sweep.failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peers", type=int, default=24)
    parser.add_argument("--many", type=int, default=200)
    parser.add_argument("--many-seeds", type=int, default=0)
    wishes = parser.parse_args()
    good = show(
        f"The seed leaves early, {wishes.peers} peers, 64 pieces",
        "rarest_first",
        wishes.seeds,
        {"peers": wishes.peers, "size_kib": 2048, "copies": [1.05, 1.5, 2.0]},
        ["choice", "copies", "stay", "completed", "extinct", "median_s", "last_s"],
    )
    shown = ["ratio", "median_s", "last_s", "freeloaders_median_s", "penalty", "copies_sent"]
    good &= show(
        "A fifth of 20 peers takes and never gives",
        "swarm",
        wishes.seeds,
        {
            "peers": 20,
            "freeloaders": 0.2,
            "up_kb_per_s": 30,
            "seed_up_kb_per_s": [30, 120],
            "ration": True,
        },
        shown,
    )
    if wishes.many_seeds:
        good &= show(
            f"{wishes.many} peers",
            "swarm",
            wishes.many_seeds,
            {
                "peers": wishes.many,
                "freeloaders": [0.0, 0.1],
                "seed_up_kb_per_s": 250,
                "ration": True,
            },
            shown,
        )
    sys.exit(not good)


if __name__ == "__main__":
    main()
