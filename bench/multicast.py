"""One file to a LAN by multicast: Spinney, UFTP, udpcast and NORM in turns.

    python bench/multicast.py [--all] [--cells fixed-8-5 ...] [--sides spinney uftp ...]
                              [--rounds 1] [--size MIB] [--rows FILE] [--report FILE]

A switch and hosts of network namespaces, real IGMP, loss at each receiver by itself.  The clock
runs from when all receivers wait until the last has the whole file, which is then compared by
hash.  Bytes are those at the sender's interface with Ethernet headers, whatever the transport.
Needs root and Debian's iproute2, nftables, ethtool, uftp, udpcast and libnorm1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from loopback import make_torrent
from rig.cells import ALL, USUAL, choose
from rig.lan import missing_tools
from rig.multicast_table import report
from rig.race import FILE_NAME, Race, Side, Source, sha256
from sides.competitors import SIDES as OTHERS
from sides.spinney_multicast import SIDES as OURS

SIDES: dict[str, type[Side]] = {**OURS, **OTHERS}
USUAL_SIDES = ("spinney", "uftp", "udpcast", "norm")
PIECE_BYTES = 1 << 20


def make_source(folder: Path, mib: int) -> Source:
    path = folder / FILE_NAME
    torrent = folder / "data.torrent"
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    make_torrent(path, torrent, PIECE_BYTES)
    return Source(path, torrent, sha256(path))


def _say(row: dict[str, Any]) -> None:
    """One line for who watches."""
    seconds = f"{row['seconds']:.2f} s" if row.get("seconds") else "unfinished"
    sent = f", sent {row['sent']:.2f} x" if row.get("sent") else ""
    print(
        f"{row['cell']:18} {row['side']:13} {seconds}, {row['finished']} of {row['expected']}"
        f"{sent}, busy {row.get('busy', 0):.0%} {row.get('error', '')}",
        file=sys.stderr,
        flush=True,
    )


def run(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    cells = choose([cell.name for cell in ALL] if chosen.all else chosen.cells, chosen.size)
    with tempfile.TemporaryDirectory(dir=memory, prefix="spinney-bench-") as name:
        sources: dict[int, Source] = {}
        for round_ in range(chosen.rounds):
            for cell in cells:
                if cell.mib not in sources:
                    folder = Path(name) / f"source{cell.mib}"
                    folder.mkdir()
                    sources[cell.mib] = make_source(folder, cell.mib)
                for side in chosen.sides:
                    source = sources[cell.mib]
                    row = Race(SIDES[side], cell, source, Path(name)).run() | {"round": round_}
                    _say(row)
                    rows.append(row)
                    if chosen.rows:
                        with Path(chosen.rows).open("a") as file:
                            file.write(json.dumps(row) + "\n")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every cell")
    parser.add_argument("--cells", nargs="+", default=USUAL, help="names or patterns")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=USUAL_SIDES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--size", type=int, help="MiB, instead of each cell's own")
    parser.add_argument("--rows", help="a file to which the raw rows are appended, as JSON lines")
    parser.add_argument("--report", help="only print the tables of such a file")
    chosen = parser.parse_args()
    if chosen.report:
        rows = [json.loads(line) for line in Path(chosen.report).read_text().splitlines()]
    else:
        # A run that is ended from outside leaves no namespaces behind either.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        if missing := missing_tools():
            raise SystemExit(f"missing: {' '.join(missing)}")
        rows = run(chosen)
    print(report(rows))


if __name__ == "__main__":
    main()
