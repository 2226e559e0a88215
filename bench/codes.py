"""What the erasure codes and the paper's checksums cost, by processor time.

python bench/codes.py [--rounds 5]

Blocks of symbols of 1,408 bytes: `ready` is an encoder's start, `repair` one symbol more, then a
decode of blocks that lost this share (the median of rounds, one processor).  Then the descriptor
of 256 MiB without and with `--paper`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from spinney.coding.blocks import SYMBOL_BYTES
from spinney.coding.code import Code, source_symbols
from spinney.coding.fountain import FOUNTAIN
from spinney.coding.interleaved import Interleaved
from spinney.coding.parity import PARITY
from spinney.coding.reed_solomon import ReedSolomon
from spinney.content.making import make_descriptor
from spinney.net.live.host import LiveHost

MIB = 1 << 20
LOSSES = (0.01, 0.05, 0.2, 0.5, 1.0)
CODES: list[tuple[str, Code, int, tuple[float, ...]]] = [
    ("fountain, 1 MiB", FOUNTAIN, MIB, LOSSES),
    ("fountain, 2 MiB", FOUNTAIN, 2 * MIB, LOSSES),
    ("parity, 75 parts, 1 MiB", Interleaved(PARITY, 75), MIB, ()),
    ("Reed-Solomon, 4 x 187 + 38, 1 MiB", Interleaved(ReedSolomon(38), 4), MIB, (0.01, 0.05)),
    ("Reed-Solomon, 7 + 1, 10 kB", ReedSolomon(1), 7 * SYMBOL_BYTES, (1 / 7,)),
    ("Reed-Solomon, 8 + 3, 11 kB", ReedSolomon(3), 8 * SYMBOL_BYTES, (3 / 8,)),
]


def used_s(work: Callable[[], object], rounds: int) -> float:
    """Median processor seconds, after one round that fills caches."""
    rows = []
    work()
    for _ in range(rounds):
        began = time.process_time()
        work()
        rows.append(time.process_time() - began)
    return statistics.median(rows)


def row(name: str, code: Code, size: int, shares: tuple[float, ...], rounds: int) -> str:
    rng = Random(1)
    data = rng.randbytes(size)
    count = source_symbols(size, SYMBOL_BYTES)
    repeats = max(1, MIB // 4 // size)
    ready_s = used_s(lambda: code.encoder(data, SYMBOL_BYTES), rounds)
    encoder = code.encoder(data, SYMBOL_BYTES)
    some = range(count, count + min(50, code.most_repair))
    repair_s = used_s(lambda: [encoder.repair(number) for number in some], rounds) / len(some)
    cells = []
    for share in shares:
        lost = sorted(rng.sample(range(count), max(1, round(count * share))))
        most = min(len(lost) + 12, code.most_repair)
        repairs = {number: encoder.repair(number) for number in range(count, count + most)}
        block = bytearray(data)

        def decode(
            block: bytearray = block, lost: list[int] = lost, repairs: dict[int, bytes] = repairs
        ) -> None:
            for _ in range(repeats):
                if code.recover(block, SYMBOL_BYTES, lost, repairs):
                    raise SystemExit(f"{name}: {len(repairs)} symbols were not enough")

        took_s = used_s(decode, rounds) / repeats
        cells.append(f"{share:.0%} lost {took_s * 1e3:.2f} ms = {size / took_s / 1e6:.0f} MB/s")
    start = f"{name} | ready {ready_s * 1e3:.2f} ms | repair {repair_s * 1e6:.0f} us"
    return " | ".join([start, *cells])


async def made(path: str, *, paper: bool) -> None:
    await make_descriptor(LiveHost(), path, paper=paper)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for name, code, size, shares in CODES:
        print(row(name, code, size, shares, rounds))
    with tempfile.NamedTemporaryFile() as file:
        piece = Random(2).randbytes(MIB)
        for _ in range(256):
            file.write(piece)
        file.flush()
        for paper in (False, True):
            took_s = used_s(lambda paper=paper: asyncio.run(made(file.name, paper=paper)), 3)
            words = "with --paper" if paper else "plain"
            print(f"descriptor of 256 MiB, {words} | processor {took_s:.2f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
