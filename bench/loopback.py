"""One seeder to one leecher, Spinney and libtorrent in turns.

    python bench/loopback.py [--mib 1024] [--piece-kib 1024] [--rounds 5] [--folder DIR] [--mixed]

Both sides run in one network namespace, each with an address of its own.  The clock starts when
both are ready and ends when the leecher says that all is verified and can be read; the copy is
then compared.  In memory (/dev/shm), then on disk.  Needs root.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import libtorrent as lt

from rig.network import Network
from rig.rounds import Side, spread

HERE = Path(__file__).parent


def make_torrent(source: Path, torrent: Path, piece_bytes: int) -> None:
    """A v1 torrent of one file, by libtorrent: the same for all sides."""
    files = lt.file_storage()
    lt.add_files(files, str(source))
    maker = lt.create_torrent(files, piece_bytes, lt.create_torrent.v1_only)
    lt.set_piece_hashes(maker, str(source.parent))
    torrent.write_bytes(lt.bencode(maker.generate()))


def run_round(
    network: Network, maker: str, leecher_maker: str, torrent: Path, source: Path, folder: Path
) -> dict[str, float | str]:
    """One transfer; returns seconds, processor seconds and memory of each side."""
    target = folder / "copy"
    target.mkdir()
    sides = []
    for number, (kind, role, where) in enumerate(
        ((maker, "seed", source.parent), (leecher_maker, "leech", target))
    ):
        script = HERE / "sides" / f"{kind}_side.py"
        address = network.addresses[number]
        command = [sys.executable, str(script), address, "6881", str(torrent), str(where)]
        sides.append(Side(network.start([*command, role, "0"])))
    seeder, leecher = sides
    seeder.wait_ready()
    leecher.wait_ready()
    begun = time.monotonic()
    leecher.say(f"go {network.addresses[0]}:6881")
    seconds = float(leecher.hear("done")["at"]) - begun
    leecher.stop()
    seeder.stop()
    same = filecmp.cmp(source, target / source.name, shallow=False)
    if not same:
        raise SystemExit(f"the copy that {leecher_maker} made differs")
    shutil.rmtree(target)
    return {
        "seconds": seconds,
        "seed_cpu": seeder.cost["cpu_s"],
        "leech_cpu": leecher.cost["cpu_s"],
        "seed_mib": seeder.cost["rss_mib"],
        "leech_mib": leecher.cost["rss_mib"],
        "version": leecher.version,
    }


PAIRS = {
    "spinney": ("spinney", "spinney"),
    "libtorrent": ("libtorrent", "libtorrent"),
    "spinney to libtorrent": ("spinney", "libtorrent"),
    "libtorrent to spinney": ("libtorrent", "spinney"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--piece-kib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", action="append", help="[in memory, then on disk]")
    parser.add_argument("--mixed", action="store_true", help="also across makers")
    chosen = parser.parse_args()
    for where in chosen.folder or ["/dev/shm", tempfile.gettempdir()]:
        print(f"\n{chosen.mib} MiB {'in memory' if where == '/dev/shm' else 'on disk'}:")
        compare(chosen, where)


def compare(chosen: argparse.Namespace, where: str) -> None:
    """All rounds in one folder, and their table."""
    pairs = list(PAIRS) if chosen.mixed else list(PAIRS)[:2]
    rows: dict[str, list[dict[str, float | str]]] = {pair: [] for pair in pairs}
    with tempfile.TemporaryDirectory(dir=where, prefix="spinney-bench-") as name:
        folder = Path(name)
        source = folder / "data.bin"
        with source.open("wb") as file:
            for _ in range(chosen.mib):
                file.write(os.urandom(1 << 20))
        torrent = folder / "data.torrent"
        make_torrent(source, torrent, chosen.piece_kib << 10)
        with Network(2) as network:
            for number in range(chosen.rounds + 1):
                for pair in pairs:
                    row = run_round(network, *PAIRS[pair], torrent, source, folder)
                    warm = " (warm-up, not counted)" if number == 0 else ""
                    rate = chosen.mib * 1.048576 / float(row["seconds"])
                    print(f"{pair:22} {rate:7.0f} MB/s{warm}", file=sys.stderr)
                    if number:
                        rows[pair].append(row)
    report(rows, chosen.mib)


def report(rows: dict[str, list[dict[str, float | str]]], mib: int) -> None:
    """Prints the table and the ratio, round by round."""
    megabytes = mib * 1.048576

    def of(pair: str, key: str) -> list[float]:
        return [float(row[key]) for row in rows[pair]]

    print("\npair | MB/s, both ready to verified | processor s seed / leech | MiB seed / leech")
    for pair in rows:
        rates = [megabytes / seconds for seconds in of(pair, "seconds")]
        costs = " / ".join(
            f"{statistics.median(of(pair, key)):.2f}" for key in ("seed_cpu", "leech_cpu")
        )
        sizes = " / ".join(
            f"{statistics.median(of(pair, key)):.0f}" for key in ("seed_mib", "leech_mib")
        )
        print(f"{pair} ({rows[pair][0]['version']}) | {spread(rates, 0)} | {costs} | {sizes}")
    ratios = [
        theirs / ours
        for ours, theirs in zip(of("spinney", "seconds"), of("libtorrent", "seconds"), strict=True)
    ]
    print(f"rate of spinney / libtorrent, pair by pair: {spread(ratios)}")


if __name__ == "__main__":
    main()
