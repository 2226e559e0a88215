"""The fountain: rows that never change, how many symbols it takes, what it costs."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from functools import reduce
from hashlib import blake2b, sha256
from itertools import combinations
from math import gcd
from random import Random
from statistics import mean

import numpy as np
import pytest

from spinney.coding.code import source_symbols
from spinney.coding.fountain import FOUNTAIN, MOST_REPAIR, row_of, shape_of
from spinney.coding.solving import solve
from spinney.coding.sums import add_up

GOLDEN_ROWS: dict[tuple[int, int], str] = {
    (1, 1): "1 0 1 0 0 1 3 3 3 2 2 4 5 6 6 6 11 7 8 10 11 17 14 18 16 16",
    (2, 2): "2 1 0 1 2 1 3 4 4 4 4 6 6 5 5 7 9 12 12 11 8 15 19 19 13 17",
    (94, 94): (
        "12 4 85 85 73 93 96 95 104 99 99 111 115 106 111 105 121 124 126 118 118 140 132 130 "
        "140 130"
    ),
    (745, 745): (
        "650 664 491 647 586 202 751 757 750 769 762 787 784 776 791 782 804 827 813 805 805 "
        "866 837 854 862 859"
    ),
    (745, 1000): (
        "508 417 228 302 279 218 767 760 766 769 755 790 792 797 777 779 815 821 828 827 819 "
        "856 853 845 860 865"
    ),
    (745, 4294967295): (
        "306 647 681 313 3 125 764 768 747 748 764 800 796 776 797 793 816 824 833 827 804 "
        "863 841 835 834 835"
    ),
    (1490, 1490): (
        "59 1438 960 359 574 1311 1523 1518 1498 1502 1504 1562 1538 1562 1563 1557 1574 1593 "
        "1571 1593 1584 1625 1622 1631 1620 1643"
    ),
}
"""(K, number) to six prefixes and twenty classes, numbered through."""
GOLDEN_SYMBOLS: dict[tuple[int, int], str] = {
    (1, 1): "3ab79f83e4b3136e",
    (1, 2): "3ab79f83e4b3136e",
    (2, 3): "67050eeb5f95abf5",
    (3, 7): "9c2e4d8fe97d8814",
    (12, 12): "a5599dcbc0bf5ec2",
    (94, 95): "91064a374c7dc42c",
    (745, 745): "46728ee0ad9cb7e6",
    (745, 746): "02d713418f3dff03",
    (745, 2147483648): "d0915ded7141fd8d",
    (1490, 1490): "6b8f5ce8890eed36",
    (1490, 1745): "888172963779f13e",
}
"""(K, number) to the SHA-256 (16 digits) of the repair symbol of `content(K)`."""


def content(count: int) -> bytes:
    """A block of `count` symbols of 32 bytes, the last one short."""
    return b"".join(sha256(b"%d" % at).digest() for at in range(count))[:-5]


def said(count: int, number: int) -> bytes:
    """A repair symbol of `content(count)` as the module's words define it, symbol by symbol."""
    block = content(count)
    symbols = [block[at * 32 : at * 32 + 32].ljust(32, b"\0") for at in range(count)]
    moduli: list[int] = []
    candidate = next(p for p in range(2, 1 << 16) if p * p >= count)
    while len(moduli) < 4:
        if all(gcd(candidate, other) == 1 for other in moduli):
            moduli.append(candidate)
        candidate += 1
    name = number.to_bytes(8, "little")
    digest = blake2b(count.to_bytes(8, "little") + name, digest_size=52).digest()
    words = [int.from_bytes(digest[at : at + 2], "little") for at in range(0, 52, 2)]
    total = 0
    for word in words[:6]:
        for symbol in symbols[: word * (count + 1) >> 16]:
            total ^= int.from_bytes(symbol, "little")
    for at, word in enumerate(words[6:]):
        modulus = moduli[at // 5]
        for symbol in symbols[word * modulus >> 16 :: modulus]:
            total ^= int.from_bytes(symbol, "little")
    return total.to_bytes(32, "little")


def test_the_rows_of_version_2_never_change() -> None:
    for (count, number), expected in GOLDEN_ROWS.items():
        assert row_of(shape_of(count), number) == [int(word) for word in expected.split()]
    for (count, number), digest in GOLDEN_SYMBOLS.items():
        symbol = FOUNTAIN.encoder(content(count), 32).repair(number)
        assert sha256(symbol).hexdigest()[:16] == digest, (count, number)
    assert FOUNTAIN.name == "fountain-2"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 10, 94, 745])
def test_a_repair_symbol_is_what_the_words_say(count: int) -> None:
    encoder = FOUNTAIN.encoder(content(count), 32)
    for number in (count, count + 1, count + 300, count + MOST_REPAIR - 1):
        assert encoder.repair(number) == said(count, number)


@pytest.mark.parametrize("count", [*range(1, 40), 94, 745, 1490, 65_535])
def test_no_two_symbols_share_two_classes(count: int) -> None:
    moduli = shape_of(count).moduli
    assert len(moduli) == 4
    for one, other in combinations(moduli, 2):
        assert gcd(one, other) == 1
        assert one * other >= count


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


def one_small_burst(count: int, rng: Random) -> list[int]:
    length = max(1, min(count, 7))
    start = rng.randrange(count - length + 1)
    return list(range(start, start + length))


def every_so_many(count: int, rng: Random) -> list[int]:
    """All symbols of one class."""
    modulus = rng.choice(shape_of(count).moduli)
    return list(range(rng.randrange(min(modulus, count)), count, modulus))


PATTERNS: list[Callable[[int, Random], list[int]]] = [
    lost_at_random,
    lost_in_bursts,
    lost_in_strides,
    one_burst,
    one_small_burst,
    every_so_many,
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


def test_equations_that_say_the_same_are_one() -> None:
    data = Random(5).randbytes(100 * 8)
    encoder = FOUNTAIN.encoder(data, 8)
    lacks = []
    for first in range(100, 180, 2):
        block = bytearray(data)
        block[:16] = bytes(16)
        repairs = {number: encoder.repair(number) for number in (first, first + 1)}
        lacks.append(FOUNTAIN.recover(block, 8, [0, 1], repairs))
        assert block == (bytes(16) + data[16:] if lacks[-1] else data)
    # Two random equations tell two unknowns apart in three of eight cases.
    assert {0, 1} <= set(lacks)


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
    rows = np.array(sums, np.uint64).reshape(-1, 1)
    assert add_up(found, rows).ravel().tolist() == values
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
