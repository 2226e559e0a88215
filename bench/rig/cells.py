"""The cells of the multicast benchmark: what is run, and which names choose it."""

from __future__ import annotations

import dataclasses
import fnmatch

from rig.race import Cell

FIXED = [
    Cell(f"fixed-{receivers}-{percent}", receivers, loss=percent / 100, most_s=90)
    for receivers in (1, 4, 8)
    for percent in (0, 1, 5)
]
SIXTEEN = [
    Cell(f"sixteen-{percent}", 16, mib=64, loss=percent / 100, link_mbit=50, most_s=90)
    for percent in (0, 1, 5)
]
CASES = [
    Cell("slow", 4, mib=64, slow_mbit=20),
    Cell("killed", 4, mib=128, kill_at_s=3, most_s=40),
    Cell("late", 4, mib=128, late_s=3, most_s=40),
    Cell("trap", 8, snooping="trap", most_s=45),
]
UNLIMITED = [
    Cell(f"unlimited-{receivers}-{mode}", receivers, link_mbit=0, offloads=mode, most_s=30)
    for receivers in (1, 4)
    for mode in ("off", "merge")
]
FOUND = [
    Cell("found-0", 4, mib=64, find_rate=True, most_s=45),
    Cell("found-1", 4, mib=64, loss=0.01, find_rate=True, most_s=45),
    Cell("found-tcp", 4, mib=64, find_rate=True, beside_tcp=True, most_s=45),
]
ALL = [*FIXED, *SIXTEEN, *CASES, *UNLIMITED, *FOUND]
USUAL = [
    "fixed-1-0",
    "fixed-4-1",
    "fixed-8-*",
    "slow",
    "killed",
    "late",
    "found-*",
]
"""What a run for the page of figures chooses."""


def choose(patterns: list[str], mib: int | None) -> list[Cell]:
    """The cells whose name fits one of the patterns; with another size if one is given."""
    unknown = [one for one in patterns if not fnmatch.filter([c.name for c in ALL], one)]
    if unknown:
        names = " ".join(cell.name for cell in ALL)
        raise SystemExit(f"no cell is called {' '.join(unknown)}; there are: {names}")
    chosen = [cell for cell in ALL if any(fnmatch.fnmatch(cell.name, one) for one in patterns)]
    return [dataclasses.replace(cell, mib=mib) if mib else cell for cell in chosen]
