"""Which sender sends what: nothing twice, everything that somebody holds, the load shared."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinney.mcftp.schedule import Holder, Share, assign, bits_of, choose, runs_of

BLOCKS = 256
ALL = (1 << BLOCKS) - 1
RATE = 10_000_000


def peer(number: int) -> bytes:
    return b"%020d" % number


def partial(count: int, part: float, seed: int) -> list[Holder]:
    rng = Random(seed)
    rows = [sum(1 << block for block in range(BLOCKS) if rng.random() < part) for _ in range(count)]
    return [Holder(peer(number), held) for number, held in enumerate(rows)]


def plan(wanted: int, holders: list[Holder], most: int = 8) -> list[Share]:
    return assign(wanted, choose(wanted, holders, BLOCKS, most), RATE, holders)


def test_runs_and_bits() -> None:
    assert runs_of(0) == []
    assert runs_of(0b1101) == [(0, 1), (2, 2)]
    assert runs_of(ALL) == [(0, BLOCKS)]
    assert bits_of([(2, 2), (0, 1)]) == 0b1101


@given(st.integers(0, 1 << 200))
def test_runs_are_the_bits(bits: int) -> None:
    assert bits_of(runs_of(bits)) == bits


def test_one_that_has_all_sends_all() -> None:
    (share,) = plan(ALL, [Holder(peer(0), ALL), Holder(peer(1), ALL >> 9)])
    assert share.block_count == BLOCKS
    (share,) = plan(ALL, [Holder(peer(0), ALL)])
    assert share == Share(peer(0), ((0, BLOCKS),), RATE)


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize("seed", range(5))
def test_partial_senders_send_each_block_once_and_share_the_load(count: int, seed: int) -> None:
    holders = partial(count, 0.6, seed)
    shares = plan(ALL, holders)
    there = 0
    for holder in holders:
        there |= holder.held
    sent = 0
    for share in shares:
        bits = bits_of(share.runs)
        held = next(holder.held for holder in holders if holder.peer == share.peer)
        assert not bits & ~held
        assert not bits & sent
        sent |= bits
    assert sent == there
    sizes = [share.block_count for share in shares]
    assert max(sizes) <= 1.35 * min(sizes) + 3
    assert sum(share.rate_bytes_per_s for share in shares) <= RATE


def test_rare_blocks_go_first() -> None:
    holders = [Holder(peer(0), ALL), Holder(peer(1), ALL >> 16), Holder(peer(2), ALL >> 16)]
    (share,) = plan(ALL, holders)
    assert share.runs[0] == (BLOCKS - 16, 16)


def test_what_a_late_one_missed_comes_from_those_that_have_sent_nothing() -> None:
    missed = (1 << 100) - 1
    holders = [Holder(peer(0), ALL, sent_blocks=1.02 * BLOCKS), Holder(peer(1), ALL)]
    assert [share.peer for share in plan(missed, holders)] == [peer(1)]
    holders[1] = Holder(peer(1), ALL & ~0xF)
    shares = plan(missed, holders)
    assert {share.peer: share.block_count for share in shares} == {peer(1): 96, peer(0): 4}
    (share,) = plan(missed & ~0xF, holders)
    assert share.peer == peer(1)


def test_a_slow_line_gets_less() -> None:
    holders = [Holder(peer(0), ALL & ~1, RATE // 10), Holder(peer(1), ALL & ~2, RATE)]
    shares = {share.peer: share for share in plan(ALL, holders)}
    assert shares[peer(0)].block_count < BLOCKS // 6
    assert shares[peer(0)].rate_bytes_per_s <= RATE // 10


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(0, 1 << 40), st.integers(0, 50), st.integers(0, 99)), max_size=9
    ),
    st.integers(0, (1 << 40) - 1),
    st.integers(1, 8),
)
def test_any_holders(rows: list[tuple[int, int, int]], wanted: int, most: int) -> None:
    holders = [
        Holder(peer(number), held, up * 100_000, sent)
        for number, (held, up, sent) in enumerate(rows)
    ]
    chosen = choose(wanted, holders, 40, most)
    there = 0
    for each in chosen:
        there |= each.held
    sent = 0
    for share in assign(wanted, chosen, RATE, holders):
        bits = bits_of(share.runs)
        assert bits
        assert not bits & sent
        sent |= bits
    assert len(chosen) <= most
    assert sent == wanted & there
