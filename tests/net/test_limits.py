"""Token buckets: the cap over every second, bursts of 100 ms, grains of 16 KiB, fair shares."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.net.limits import Bucket, Limit

GRAIN_BYTES = 16_384


def busy(limit: Limit, seconds: float, *, late_s: float = 0.0, start: float = 100.0) -> list[float]:
    """Times at which grains pass when something always waits, timers firing up to `late_s` late."""
    rng, now, passed = random.Random(1), start, []
    while now < start + seconds:
        wait = limit.wait_s(now)
        if wait:
            now += wait + rng.uniform(0, late_s)
            continue
        limit.take(now, GRAIN_BYTES)
        passed.append(now - start)
    return passed


def worst_window(times: list[float], width_s: float) -> int:
    """The most bytes that pass in any window of this width."""
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - width_s:
            first += 1
        most = max(most, last - first + 1)
    return most * GRAIN_BYTES


@pytest.mark.parametrize("rate", [20_000, 500_000, 5_000_000, 90_000_000])
@pytest.mark.parametrize("late_s", [0.0, 0.003, 0.05])
def test_the_average_over_each_second_keeps_the_cap(rate: float, late_s: float) -> None:
    times = busy(Limit([Bucket(rate)]), 5.0, late_s=late_s)
    assert worst_window(times, 1.0) <= rate * 1.1 + GRAIN_BYTES
    total = sum(GRAIN_BYTES for at in times if at < 5.0)
    assert total <= rate * 5.1 + GRAIN_BYTES


@pytest.mark.parametrize("rate", [200_000, 5_000_000])
@pytest.mark.parametrize("late_s", [0.0, 0.02, 0.08])
def test_late_timers_lose_nothing_up_to_100_ms(rate: float, late_s: float) -> None:
    times = busy(Limit([Bucket(rate)]), 10.0, late_s=late_s)
    assert len(times) * GRAIN_BYTES >= 0.98 * rate * 10


def test_after_a_pause_at_most_100_ms_of_rate_passes_at_once() -> None:
    bucket = Bucket(1_000_000)
    bucket.take(0.0, 1)
    passed = 0
    while bucket.wait_s(60.0) == 0.0:
        bucket.take(60.0, 1_000)
        passed += 1_000
    assert 100_000 <= passed <= 100_000 + 1_000


def test_a_grain_larger_than_the_burst_passes_and_is_paid_back() -> None:
    bucket = Bucket(10_000)
    assert bucket.wait_s(0.0) == 0.0
    bucket.take(0.0, GRAIN_BYTES)
    wait = bucket.wait_s(0.0)
    assert wait == pytest.approx((GRAIN_BYTES - 1_000) / 10_000)
    assert bucket.wait_s(wait / 2) == pytest.approx(wait / 2)
    assert bucket.wait_s(wait + 0.001) == 0.0


def test_shares_of_a_common_bucket_differ_by_at_most_one_grain_in_turns() -> None:
    common = Bucket(1_000_000)
    limits = [Limit([Bucket(None), common]) for _ in range(7)]
    passed = [0] * 7
    now, turns = 0.0, itertools.cycle(range(7))
    while now < 3.0:
        which = next(turns)
        now += limits[which].wait_s(now)
        if limits[which].wait_s(now) == 0.0:
            limits[which].take(now, GRAIN_BYTES)
            passed[which] += GRAIN_BYTES
    assert max(passed) - min(passed) <= 2 * GRAIN_BYTES
    assert sum(passed) == pytest.approx(3_000_000, rel=0.05)


def test_the_slower_of_two_buckets_decides_and_both_pay() -> None:
    own, common = Bucket(100_000), Bucket(1_000_000)
    times = busy(Limit([own, common]), 5.0)
    assert len(times) * GRAIN_BYTES <= 100_000 * 5.1 + GRAIN_BYTES
    limit = Limit([own, common])
    while own.wait_s(200.0) == 0.0:
        limit.take(200.0, GRAIN_BYTES)
    assert common.wait_s(200.0) == 0.0
    before = common.wait_s(200.0)
    common.take(200.0, 10_000_000)
    assert limit.wait_s(200.0) > before


def test_no_rate_is_no_limit() -> None:
    limit = Limit([Bucket(None)])
    assert limit.unlimited
    assert Limit().unlimited
    limit.take(0.0, 1 << 40)
    assert limit.wait_s(0.0) == 0.0
    assert not Limit([Bucket(None), Bucket(5.0)]).unlimited


def test_a_rate_that_changes_counts_at_once() -> None:
    bucket = Bucket(None)
    bucket.take(0.0, 1_000_000)
    bucket.rate_bytes_per_s = 1_000
    assert bucket.wait_s(1.0) == 0.0
    bucket.take(1.0, 1_100)
    assert bucket.wait_s(1.0) == pytest.approx(1.0)
    bucket.rate_bytes_per_s = 10_000
    assert bucket.wait_s(1.0) == pytest.approx(0.1)


@given(
    rate=st.floats(1_000, 1e9),
    steps=st.lists(st.tuples(st.floats(0, 2), st.integers(1, 200_000)), min_size=1, max_size=60),
)
def test_no_history_passes_more_than_rate_burst_and_one_take(
    rate: float, steps: list[tuple[float, int]]
) -> None:
    bucket, now, paid, largest = Bucket(rate), 0.0, 0, 0
    bucket.wait_s(0.0)
    for pause, size in steps:
        now += pause
        if bucket.wait_s(now) == 0.0:
            bucket.take(now, size)
            paid, largest = paid + size, max(largest, size)
    assert paid <= rate * (now + Bucket.BURST_S) * 1.000001 + largest
