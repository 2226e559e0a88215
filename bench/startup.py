"""How long `spinney --version` takes, beside a bare Python and the two libraries behind it.

python bench/startup.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

GOAL_MS = 150
SIDES = {
    "python -c pass": ["-c", "pass"],
    "import click": ["-c", "import click"],
    "spinney --version": ["-m", "spinney", "--version"],
    "spinney --help": ["-m", "spinney", "--help"],
    "spinney share --help": ["-m", "spinney", "share", "--help"],
}


def once(arguments: list[str]) -> tuple[float, float]:
    """Milliseconds of clock and of processor that one start takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    clock = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return clock * 1e3, used * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    clocks: dict[str, list[float]] = {name: [] for name in SIDES}
    used: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(rounds):  # in turns, so that a busy moment hits all sides alike
        for name, arguments in SIDES.items():
            clock, processor = once(arguments)
            clocks[name].append(clock)
            used[name].append(processor)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {rounds} rounds in turns\n")
    print(f"{'':<22}{'median ms':>10}{'min':>8}{'max':>8}{'processor ms':>15}")
    for name in SIDES:
        row = clocks[name]
        middle, processor = statistics.median(row), statistics.median(used[name])
        print(f"{name:<22}{middle:>10.0f}{min(row):>8.0f}{max(row):>8.0f}{processor:>15.0f}")
    goal = statistics.median(clocks["spinney --version"])
    outcome = "met" if goal <= GOAL_MS else "MISSED"
    print(f"\nspinney --version: {goal:.0f} ms, goal {GOAL_MS} ms: {outcome}")
    return 0 if goal <= GOAL_MS else 1


if __name__ == "__main__":
    sys.exit(main())
