"""A swarm of one seeder and eight leechers with limited uploads, Spinney and libtorrent in turns.

    python bench/swarm.py [--mib 32] [--leechers 8] [--up 5000000] [--rounds 3] [--piece-kib 256]

The clock starts when all are ready and ends when the last leecher has all of it, verified.  The
fluid bound is max(F/u_s, F/d_min, N·F/(u_s+Σu_i)).  Every sender's bytes are read four times a
second from the kernel's counters and held against its cap over every second.  Needs root.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from loopback import make_torrent
from network import Network
from rounds import Side, spread

HERE = Path(__file__).parent
SAMPLE_S = 0.25
MOST_OVER_CAP = 1.15
"""One second may hold a burst of 100 ms of rate (10 %), and IP and TCP headers are counted."""


class Meter(threading.Thread):
    """Samples what every address has sent; tells the most that one sent in any second."""

    def __init__(self, network: Network) -> None:
        super().__init__(daemon=True)
        self.network = network
        self.samples: list[tuple[float, list[int]]] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(SAMPLE_S):
            before = time.monotonic()
            sent = self.network.sent_bytes()
            self.samples.append(((before + time.monotonic()) / 2, sent))

    def most_bytes_per_s(self) -> float:
        """The highest rate of one sender over one second (four samples)."""
        most = 0.0
        window = round(1 / SAMPLE_S)
        for (began, first), (ended, last) in zip(self.samples, self.samples[window:], strict=False):
            rate = max(b - a for a, b in zip(first, last, strict=True)) / (ended - began)
            most = max(most, rate)
        return most


def run_round(
    network: Network, kind: str, torrent: Path, source: Path, folder: Path, up: int
) -> dict[str, float | str]:
    """One swarm; returns seconds of the last leecher, costs, and the highest second."""
    script = HERE / "sides" / f"{kind}_side.py"
    sides = []
    for number, address in enumerate(network.addresses):
        where = source.parent if number == 0 else folder / f"copy{number}"
        where.mkdir(exist_ok=True)
        role = "leech" if number else "seed"
        command = [sys.executable, str(script), address, "6881", str(torrent), str(where)]
        sides.append(Side(network.start([*command, role, str(up)])))
    for side in sides:
        side.wait_ready()
    started = network.sent_bytes()
    meter = Meter(network)
    meter.start()
    begun = time.monotonic()
    known = [f"{address}:6881" for address in network.addresses]
    for number, side in enumerate(sides[1:], 1):
        side.say("go " + " ".join(known[:number]))
    ends = [float(side.hear("done")["at"]) - begun for side in sides[1:]]
    meter.over.set()
    meter.join()
    sent = [b - a for a, b in zip(started, network.sent_bytes(), strict=True)]
    for side in sides:
        side.stop()
    for number in range(1, len(sides)):
        copy = folder / f"copy{number}"
        if not filecmp.cmp(source, copy / source.name, shallow=False):
            raise SystemExit(f"copy {number} differs")
        shutil.rmtree(copy)
    return {
        "seconds": max(ends),
        "first": min(ends),
        "seeder_sent": sent[0],
        "most": meter.most_bytes_per_s(),
        "cpu": sum(side.cost["cpu_s"] for side in sides),
        "mib": max(side.cost["rss_mib"] for side in sides),
        "version": sides[1].version,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=32)
    parser.add_argument("--leechers", type=int, default=8)
    parser.add_argument("--up", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--piece-kib", type=int, default=256)
    parser.add_argument("--only", choices=["spinney", "libtorrent"])
    chosen = parser.parse_args()
    kinds = [chosen.only] if chosen.only else ["spinney", "libtorrent"]
    total = chosen.mib << 20
    peers = chosen.leechers + 1
    bound = max(total / chosen.up, chosen.leechers * total / (peers * chosen.up))
    rows: dict[str, list[dict[str, float | str]]] = {kind: [] for kind in kinds}
    shared_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=shared_memory, prefix="spinney-bench-") as name:
        folder = Path(name)
        source = folder / "data.bin"
        torrent = folder / "data.torrent"
        source.write_bytes(os.urandom(total))
        make_torrent(source, torrent, chosen.piece_kib << 10)
        with Network(peers) as network:
            for _ in range(chosen.rounds):
                for kind in kinds:
                    row = run_round(network, kind, torrent, source, folder, chosen.up)
                    seconds = float(row["seconds"])
                    print(
                        f"{kind:11} last {seconds:6.2f} s = {seconds / bound:.2f} x bound, "
                        f"first {row['first']:.2f} s, seeder sent "
                        f"{float(row['seeder_sent']) / total:.2f} x file, "
                        f"highest second {float(row['most']) / chosen.up:.2f} x cap",
                        file=sys.stderr,
                    )
                    rows[kind].append(row)
    print(
        f"\n{chosen.mib} MiB to {chosen.leechers}, {chosen.up:,} B/s up each: bound {bound:.2f} s"
    )
    print("side | last / bound | seeder sent / file | highest second / cap | processor s | MiB")
    for kind in kinds:
        print(
            f"{kind} ({rows[kind][0]['version']}) | "
            f"{spread([float(row['seconds']) / bound for row in rows[kind]])} | "
            f"{spread([float(row['seeder_sent']) / total for row in rows[kind]])} | "
            f"{max(float(row['most']) for row in rows[kind]) / chosen.up:.2f} | "
            f"{statistics.median(float(row['cpu']) for row in rows[kind]):.1f} | "
            f"{max(float(row['mib']) for row in rows[kind]):.0f}"
        )
    over = max((float(row["most"]) / chosen.up for row in rows.get("spinney", [])), default=0.0)
    if over > MOST_OVER_CAP:
        raise SystemExit(f"a sender of ours took {over:.2f} times its cap in one second")


if __name__ == "__main__":
    main()
