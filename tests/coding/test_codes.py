"""Every code behind the one face: what `Code` promises, whatever was lost and whatever comes."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinney.coding.code import Code, source_symbols
from spinney.coding.fountain import FOUNTAIN
from spinney.coding.interleaved import Interleaved
from spinney.coding.parity import PARITY
from spinney.coding.reed_solomon import ReedSolomon

CODES: list[Code] = [
    FOUNTAIN,
    PARITY,
    Interleaved(PARITY, 7),
    ReedSolomon(1),
    ReedSolomon(20),
    Interleaved(ReedSolomon(5), 3),
]
EXACT: list[Code] = [PARITY, ReedSolomon(1), ReedSolomon(20)]
"""Any m repair symbols mend any m losses."""


def names(code: Code) -> str:
    return f"{code.name}/{min(code.most_repair, 99)}"


def damaged(data: bytes, symbol_bytes: int, missing: list[int], rng: Random) -> bytearray:
    """The block with rubbish where symbols are missing."""
    block = bytearray(data)
    for symbol in missing:
        start = symbol * symbol_bytes
        length = len(block[start : start + symbol_bytes])
        block[start : start + length] = rng.randbytes(length)
    return block


@pytest.mark.parametrize("code", CODES, ids=names)
@given(
    length=st.integers(0, 900),
    symbol_bytes=st.sampled_from([1, 7, 16, 32]),
    losses=st.floats(0, 1),
    seed=st.integers(0, 1 << 32),
)
@settings(max_examples=60, deadline=None)
def test_a_block_comes_back_whole_or_stays_as_it_was(
    code: Code, length: int, symbol_bytes: int, losses: float, seed: int
) -> None:
    rng = Random(seed)
    length = min(length, 200 * symbol_bytes)
    data = rng.randbytes(length)
    count = source_symbols(length, symbol_bytes)
    missing = [at for at in range(count) if rng.random() < losses]
    block = damaged(data, symbol_bytes, missing, rng)
    before = bytes(block)
    encoder = code.encoder(data, symbol_bytes)
    numbers = range(count, count + min(code.most_repair, len(missing) + 12))
    repairs = {number: encoder.repair(number) for number in numbers}
    assert all(len(repair) == symbol_bytes for repair in repairs.values())
    lacks = code.recover(block, symbol_bytes, missing, repairs)
    if not lacks:
        assert block == data
    elif not isinstance(code, Interleaved):
        assert block == before
    assert len(block) == length, "a memory view is no longer held: it can still grow"
    block.append(0)


@pytest.mark.parametrize("code", EXACT, ids=names)
def test_each_repair_symbol_of_an_exact_code_mends_one_loss(code: Code) -> None:
    rng = Random(5)
    for count in (1, 2, 40, 200):
        data = rng.randbytes(count * 16 - 5)
        encoder = code.encoder(data, 16)
        for _ in range(20):
            lost = sorted(rng.sample(range(count), rng.randint(1, min(count, code.most_repair))))
            numbers = rng.sample(range(count, count + code.most_repair), len(lost))
            block = damaged(data, 16, lost, rng)
            repairs = {number: encoder.repair(number) for number in numbers}
            number = numbers[0]
            fewer = {n: repair for n, repair in repairs.items() if n != number}
            assert code.recover(block, 16, lost, fewer) == 1
            assert code.recover(block, 16, lost, repairs) == 0
            assert block == data


@pytest.mark.parametrize("code", CODES, ids=names)
def test_numbers_that_a_code_has_not_are_refused_to_the_sender(code: Code) -> None:
    encoder = code.encoder(bytes(160), 16)
    for number in (-1, 0, 9, 10 + code.most_repair):
        with pytest.raises(ValueError, match="repair symbol"):
            encoder.repair(number)
    encoder.repair(10 + code.most_repair - 1)


@pytest.mark.parametrize("code", CODES, ids=names)
def test_what_comes_from_the_network_is_ignored_or_wrong_but_never_raised(code: Code) -> None:
    """Pitfall 14: truncated, empty, oversized symbols and foreign numbers."""
    rng = Random(9)
    data = rng.randbytes(16 * 20 - 3)
    encoder = code.encoder(data, 16)
    good = {number: encoder.repair(number) for number in range(20, 20 + min(code.most_repair, 12))}
    bad = {
        -1: bytes(16),
        0: bytes(16),
        19: bytes(16),
        20 + code.most_repair: bytes(16),
        1 << 40: bytes(16),
        1 << 80: bytes(16),
        -(1 << 80): bytes(16),
    }
    lost = [4]
    block = bytearray(data)
    block[64:80] = bytes(16)
    assert code.recover(block, 16, lost, bad) == 1
    for wrong in (b"", b"x", bytes(15), bytes(17), bytes(4096)):
        assert code.recover(block, 16, lost, dict.fromkeys(good, wrong)) == 1
    assert code.recover(block, 16, lost, {**bad, **good}) == 0
    assert block == data
    for _ in range(50):  # wrong bytes: a wrong block, for hashes to find
        lies = {number: rng.randbytes(16) for number in good}
        code.recover(block, 16, sorted(rng.sample(range(20), rng.randint(0, 20))), lies)
        assert len(block) == len(data)


@pytest.mark.parametrize("code", CODES, ids=names)
def test_any_buffer_will_do(code: Code) -> None:
    data = Random(3).randbytes(16 * 9)
    kinds = (bytes(data), bytearray(data), memoryview(data))
    first = [code.encoder(kind, 16).repair(9) for kind in kinds]
    assert len(set(first)) == 1
    held = bytearray(b"before" + data + b"behind")
    numbers = range(9, 9 + min(code.most_repair, 12))
    encoder = code.encoder(data, 16)
    repairs = {number: memoryview(bytearray(encoder.repair(number))) for number in numbers}
    held[6 : 6 + 16] = bytes(16)
    with memoryview(held)[6:-6] as block:
        assert code.recover(block, 16, [0], repairs) == 0
    assert held == b"before" + data + b"behind"


def test_reed_solomon_says_what_it_cannot() -> None:
    for most in (0, 255):
        with pytest.raises(ValueError, match="repair symbols"):
            ReedSolomon(most)
    code = ReedSolomon(55)
    code.encoder(bytes(200), 1)
    with pytest.raises(ValueError, match="more than 255"):
        code.encoder(bytes(201), 1)
    with pytest.raises(ValueError, match="more than 255"):
        code.recover(bytearray(201), 1, [0], {201: b"x"})
    with pytest.raises(ValueError, match="at least one"):
        Interleaved(PARITY, 0)


def test_the_first_repair_symbol_of_reed_solomon_is_the_parity() -> None:
    data = Random(2).randbytes(1000)
    assert ReedSolomon(9).encoder(data, 10).repair(100) == PARITY.encoder(data, 10).repair(100)


def test_reed_solomon_version_1() -> None:
    data = bytes(range(240))
    encoder = ReedSolomon(4).encoder(data, 8)
    assert [encoder.repair(number).hex() for number in range(30, 34)] == RS_VECTORS


RS_VECTORS = [
    "0808080808080808",
    "b812f15b2a8063c9",
    "596a3f0c95a6f3c0",
    "b612e3471cb849ed",
]


def test_what_every_part_lacks_is_added_up() -> None:
    code = Interleaved(ReedSolomon(2), 3)
    data = Random(8).randbytes(16 * 30)
    encoder = code.encoder(data, 16)
    repairs = {number: encoder.repair(number) for number in range(30, 36)}
    block = bytearray(data)
    # Part 0 lost three of which two are mended, part 1 two more than that, part 2 one.
    lost = [0, 1, 2, 3, 4, 6, 7, 10]
    for symbol in lost:
        block[symbol * 16 : symbol * 16 + 16] = bytes(16)
    assert code.recover(block, 16, lost, repairs) == 1 + 2
    assert block[32:48] == data[32:48], "part 2 is whole"
    assert block[:32] == bytes(32)
