"""The fountain: rows that never change, how many symbols it takes, what it costs."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from functools import reduce
from hashlib import sha256
from random import Random
from statistics import mean

import pytest

from spinney.coding.code import source_symbols
from spinney.coding.fountain import FOUNTAIN, MOST_REPAIR, cuts
from spinney.coding.solving import add_up, solve

GOLDEN_CUTS: dict[tuple[int, int], list[int]] = {
    (1, 1): [1, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 0],
    (2, 2): [0, 0, 1, 1, 0, 1, 2, 2, 1, 1, 0, 2],
    (94, 94): [86, 51, 53, 37, 80, 32, 78, 3, 42, 77, 21, 35],
    (745, 745): [292, 280, 660, 689, 455, 738, 236, 736, 232, 212, 122, 215],
    (745, 1000): [90, 235, 561, 366, 630, 23, 136, 400, 700, 2, 541, 682],
    (745, 4294967295): [252, 85, 472, 115, 521, 639, 452, 471, 631, 361, 389, 484],
    (1490, 1490): [572, 179, 610, 289, 751, 990, 711, 996, 710, 36, 68, 841],
}
GOLDEN_SYMBOLS: dict[tuple[int, int], str] = {
    (1, 1): "3ab79f83e4b3136e",
    (1, 2): "66687aadf862bd77",
    (2, 3): "67050eeb5f95abf5",
    (3, 7): "9c2e4d8fe97d8814",
    (12, 12): "ad7bd33fef1c9ccf",
    (94, 95): "fe565649e49d1a53",
    (745, 745): "772ef1b8acebc398",
    (745, 746): "19b903e877c133ae",
    (745, 2147483648): "e04f793eef8aec50",
    (1490, 1490): "02623be17b4fa9dd",
    (1490, 1745): "4667b06001f5eabf",
}
"""(K, number) to the SHA-256 (16 digits) of the repair symbol of `content(K)`."""


def content(count: int) -> bytes:
    """A block of `count` symbols of 32 bytes, the last one short."""
    return b"".join(sha256(b"%d" % at).digest() for at in range(count))[:-5]


def test_the_rows_of_version_1_never_change() -> None:
    for (count, number), expected in GOLDEN_CUTS.items():
        assert cuts(count, number) == expected
    for (count, number), expected in GOLDEN_SYMBOLS.items():
        symbol = FOUNTAIN.encoder(content(count), 32).repair(number)
        assert sha256(symbol).hexdigest()[:16] == expected, (count, number)
    assert FOUNTAIN.name == "fountain-1"


def lost_at_random(count: int, rng: Random) -> list[int]:
    return sorted(rng.sample(range(count), max(1, count // 20)))


def lost_in_bursts(count: int, rng: Random) -> list[int]:
    length = max(1, count // 60)
    starts = [rng.randrange(count) for _ in range(3)]
    return sorted({at for start in starts for at in range(start, min(count, start + length))})


def lost_in_strides(count: int, rng: Random) -> list[int]:
    return list(range(rng.randrange(min(8, count)), count, 8))


def one_burst(count: int, rng: Random) -> list[int]:
    length = max(1, count // 10)
    start = rng.randrange(count - length + 1)
    return list(range(start, start + length))


PATTERNS: list[Callable[[int, Random], list[int]]] = [
    lost_at_random,
    lost_in_bursts,
    lost_in_strides,
    one_burst,
]


def beyond(count: int, missing: list[int], numbers: range, data: bytes) -> int:
    """How many symbols more than the lost ones a receiver needs that hears `numbers`."""
    encoder = FOUNTAIN.encoder(data, 8)
    block = bytearray(data)
    for symbol in missing:
        block[symbol * 8 : (symbol + 1) * 8] = bytes(len(data[symbol * 8 : (symbol + 1) * 8]))
    heard: dict[int, bytes] = {}
    for number in numbers:
        heard[number] = encoder.repair(number)
        if len(heard) < len(missing):
            continue
        if not FOUNTAIN.recover(block, 8, missing, heard):
            assert block == data
            return len(heard) - len(missing)
    raise AssertionError(f"{len(heard)} symbols were not enough for {len(missing)}")


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
def test_a_block_takes_two_symbols_more_than_it_lost(
    pattern: Callable[[int, Random], list[int]],
) -> None:
    rng = Random(pattern.__name__)
    figures = []
    for _ in range(60):
        count = rng.choice([20, 94, 188, 373, 745, 1490])
        data = rng.randbytes(count * 8 - 3)
        missing = pattern(count, rng)
        sender = rng.randrange(256)
        first = count + sender + 256 * rng.randrange(1000)
        numbers = range(first, first + 256 * (len(missing) + 40), 256)
        figures.append(beyond(count, missing, numbers, data))
    figures.sort()
    assert mean(figures) < 2.6
    assert figures[int(len(figures) * 0.9)] <= 6


@pytest.mark.parametrize("count", [1, 2, 3, 5, 11, 12, 47, 223, 224, 225, 300])
def test_blocks_of_any_size_from_repair_symbols_alone(count: int) -> None:
    rng = Random(count)
    data = rng.randbytes(count * 8 - rng.randrange(8))
    figures = [
        beyond(count, list(range(count)), range(first, first + count + 60), data)
        for first in (count, count + 10_000, count + MOST_REPAIR - 400)
    ]
    assert mean(figures) < 8


def test_symbols_of_several_senders_mend_one_block() -> None:
    rng = Random(1)
    data = rng.randbytes(94 * 8)
    encoder = FOUNTAIN.encoder(data, 8)
    for _ in range(20):
        missing = sorted(rng.sample(range(94), 12))
        block = bytearray(data)
        for symbol in missing:
            block[symbol * 8 : symbol * 8 + 8] = bytes(8)
        numbers = [94 + sender + 256 * turn for sender in (0, 7, 255) for turn in range(8)]
        repairs = {number: encoder.repair(number) for number in numbers}
        assert FOUNTAIN.recover(block, 8, missing, repairs) == 0
        assert block == data


def test_what_is_lacking_is_counted() -> None:
    data = Random(4).randbytes(100 * 8)
    encoder = FOUNTAIN.encoder(data, 8)
    block = bytearray(data)
    assert FOUNTAIN.recover(block, 8, [], {}) == 0
    assert FOUNTAIN.recover(block, 8, list(range(30)), {}) == 30
    some = {number: encoder.repair(number) for number in range(100, 120)}
    assert FOUNTAIN.recover(block, 8, list(range(30)), some) == 10
    # One equation twice, in other words: two numbers of the same row are rank one.
    assert len(solve([0b11, 0b11, 0b01], 3)) == 2


@pytest.mark.parametrize("wanted", [1, 4, 5, 100, 224, 225, 260])
def test_solving_is_what_linear_algebra_says(wanted: int) -> None:
    rng = Random(wanted)
    values = [rng.getrandbits(64) for _ in range(wanted)]
    marks = [rng.getrandbits(wanted) for _ in range(wanted + 20)]
    sums = [
        reduce(int.__xor__, (values[at] for at in range(wanted) if row >> at & 1), 0)
        for row in marks
    ]
    found = solve(marks, wanted)
    assert len(found) == wanted
    assert add_up(found, sums) == values
    # A column that nobody has costs exactly one of the rank.
    hole = [row & ~(1 << wanted // 2) for row in marks]
    assert len(solve(hole, wanted)) == wanted - 1


def test_memory_is_a_few_times_the_block() -> None:
    data = Random(6).randbytes(1 << 20)
    count = source_symbols(len(data), 1408)
    missing = list(range(0, count, 20))
    encoder = FOUNTAIN.encoder(data, 1408)
    repairs = {number: encoder.repair(number) for number in range(count, count + 50)}
    del encoder
    block = bytearray(data)
    gc.collect()
    tracemalloc.start()
    try:
        assert FOUNTAIN.recover(block, 1408, missing, repairs) == 0
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
        tracemalloc.reset_peak()
        encoder = FOUNTAIN.encoder(data, 1408)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        del encoder
    finally:
        tracemalloc.stop()
    assert block == data
