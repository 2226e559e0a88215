"""What erasure codes save when a download is partial: losses at random, in bursts, a part missed.

A file of chunks is sent once, a chunk after the other, each with its share of redundancy;
the receiver loses some of it.  Within chunks, each chunk is a block of its own code.  Across
chunks (the paper's recovery from partial downloads), symbol i of every chunk makes a block, and
the redundancy is whole chunks at the end: chunks that never came can be made from the others.

Every code has the same share of redundancy and no feedback; the cost of encoding is that of the
repair symbols that came.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Mapping
from random import Random

from spinney.coding.code import Code, source_symbols
from spinney.coding.fountain import FOUNTAIN
from spinney.coding.interleaved import Interleaved
from spinney.coding.parity import PARITY
from spinney.coding.reed_solomon import MOST_SYMBOLS, ReedSolomon
from spinney.errors import UsageError
from spinney.lab._raptorq import RaptorQ
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial

Symbol = tuple[int, int]
"""(block, number)."""


def burst_losses(count: int, share: float, run: int, rng: Random) -> set[int]:
    """Positions lost in runs of `run` on the average (Gilbert's channel), `share` in all."""
    lost: set[int] = set()
    into = share / max(1e-9, 1 - share) / run
    is_lost = rng.random() < share
    for at in range(count):
        if is_lost:
            lost.add(at)
        is_lost = rng.random() >= 1 / run if is_lost else rng.random() < into
    return lost


def losses(pattern: str, count: int, share: float, run: int, rng: Random) -> set[int]:
    """Which of `count` datagrams, in the order of sending, are lost."""
    if pattern == "random":
        return {at for at in range(count) if rng.random() < share}
    if pattern == "bursts":
        return burst_losses(count, share, run, rng)
    if pattern == "absent":  # went away and came back
        begin = rng.randrange(count)
        return {(begin + at) % count for at in range(round(count * share))}
    raise UsageError(f"there is no pattern {pattern!r}: random, bursts or absent")


def code_named(name: str, source: int, repair: int) -> Code | None:
    """The code for blocks of `source` symbols with `repair` more; None for none."""
    if name == "none" or not repair:
        return None
    if name == "parity":
        return Interleaved(PARITY, repair)
    if name in ("reed-solomon", "across"):
        # As few codewords as there may be: the fewer, the more losses one can be lent.
        parts = -(-(source + repair) // MOST_SYMBOLS)
        while -(-source // parts) + -(-repair // parts) > MOST_SYMBOLS:
            parts += 1
        code = ReedSolomon(-(-repair // parts))
        return Interleaved(code, parts) if parts > 1 else code
    if name == "fountain":
        return FOUNTAIN
    if name == "raptorq":
        return RaptorQ()
    raise UsageError(f"there is no code {name!r}")


def cut(trial: Trial, data: bytes) -> list[bytearray]:
    """The blocks: chunks, or for `across` the symbols of one place in each chunk."""
    size = trial["symbol_bytes"]
    chunk = trial["symbols"] * size
    starts = range(0, len(data), chunk)
    if trial["code"] != "across":
        return [bytearray(data[at : at + chunk]) for at in starts]
    return [
        bytearray().join(data[at + place : at + place + size] for at in starts)
        for place in range(0, chunk, size)
    ]


def sent(trial: Trial, source: int, repair: int) -> list[Symbol]:
    """Every symbol in the order of sending: chunk after chunk, redundant chunks last."""
    chunks, symbols = trial["chunks"], trial["symbols"]
    if trial["code"] == "across":
        return [(place, at) for at in range(source + repair) for place in range(symbols)]
    return [(chunk, at) for chunk in range(chunks) for at in range(source + repair)]


def run(trial: Trial) -> Iterator[Row]:
    """One row: what a receiver has of the file, as it came and after decoding, and the cost."""
    if trial["code"] == "raptorq" and importlib.util.find_spec("raptorq") is None:
        yield {"available": False}
        return
    rng = trial.rng("file")
    size = trial["symbol_bytes"]
    source = trial["chunks"] if trial["code"] == "across" else trial["symbols"]
    repair = round(source * trial["redundancy"]) if trial["code"] != "none" else 0
    data = rng.randbytes(trial["chunks"] * trial["symbols"] * size)
    blocks = cut(trial, data)
    assert all(source_symbols(len(block), size) == source for block in blocks)
    code = code_named(trial["code"], source, repair)
    order = sent(trial, source, repair)
    gone = losses(trial["pattern"], len(order), trial["loss"], trial["run"], trial.rng("loss"))
    heard = {symbol for at, symbol in enumerate(order) if at not in gone}
    encoding_s = decoding_s = 0.0
    came = known = whole_blocks = wrong = 0
    lacks: dict[int, set[int]] = {}
    for number, block in enumerate(blocks):
        missing = [at for at in range(source) if (number, at) not in heard]
        came += source - len(missing)
        held = bytearray(block)
        for at in missing:
            held[at * size : (at + 1) * size] = bytes(size)
        if code is not None and repair:
            wanted = [at for at in range(source, source + repair) if (number, at) in heard]
            begin_s = time.process_time()
            encoder = code.encoder(block, size)
            repairs = {at: encoder.repair(at) for at in wanted}
            encoded_s = time.process_time()
            code.recover(held, size, missing, repairs)
            decoding_s += time.process_time() - encoded_s
            encoding_s += encoded_s - begin_s
        left = {at for at in missing if symbol_of(held, at, size) != symbol_of(block, at, size)}
        wrong += sum(1 for at in left if any(symbol_of(held, at, size)))
        lacks[number] = left
        known += source - len(left)
        whole_blocks += not left
    total = trial["chunks"] * trial["symbols"]
    mib = len(data) / (1 << 20)
    yield {
        "available": True,
        "sent": round(len(order) / total, 4),
        "came": round(came / total, 4),
        "recovered": round(known / total, 4),
        "whole_chunks": round(whole(trial, lacks) / trial["chunks"], 4),
        "whole_file": known == total,
        "wrong_symbols": wrong,
        "encode_ms_per_mib": round(encoding_s * 1e3 / mib, 3),
        "decode_ms_per_mib": round(decoding_s * 1e3 / mib, 3),
    }


def symbol_of(block: bytearray, at: int, size: int) -> bytearray:
    return block[at * size : (at + 1) * size]


def whole(trial: Trial, lacks: Mapping[int, set[int]]) -> int:
    """Chunks of which nothing is lacking."""
    chunks: int = trial["chunks"]
    if trial["code"] != "across":
        return sum(not left for left in lacks.values())
    return chunks - len(set().union(*lacks.values()))


EXPERIMENT = Experiment(
    name="erasure-codes",
    doc="Erasure codes on partial downloads and bursts: what comes back, and what it costs",
    parameters={
        "code": "fountain",
        "pattern": "random",
        "loss": 0.05,
        "redundancy": 0.1,
        "run": 40,
        "chunks": 40,
        "symbols": 190,
        "symbol_bytes": 1408,
    },
    grid={
        "code": ("none", "parity", "reed-solomon", "fountain", "raptorq", "across"),
        "pattern": ("random", "bursts", "absent"),
        "loss": (0.01, 0.05, 0.08, 0.15),
    },
    run=run,
    checks=(
        Check("no wrong symbol", lambda rows: not any(row.get("wrong_symbols") for row in rows)),
        Check(
            "nothing that came is lost by decoding",
            lambda rows: all(
                float(row["recovered"] or 0) >= float(row["came"] or 0)
                for row in rows
                if row["available"]
            ),
        ),
    ),
    plot=Plot(x="loss", y="whole_chunks", by="code", title="Whole chunks / chunks, all patterns"),
    source="MC-FTP paper, section IV: erasure encodings for partial downloads",
    seeds=2,
)
