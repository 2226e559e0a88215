"""The pacer: the rate is kept, bursts are small, what a stall missed is mostly forgotten."""

from __future__ import annotations

import random

import pytest

from spinney.mcftp.pacing import GRAIN_S, Pacer

SYMBOL = 1408
BURST = 16 * SYMBOL
VOLLEY_S = 0.016


def drive(pacer: Pacer, start: float, end: float, timer_s: float) -> tuple[int, float, int]:
    """Sends bursts until `end` with timers of that grain: (bytes, time, largest volley)."""
    now, sent, largest = start, 0, 0
    while now < end:
        volley = 0
        while (allowed := pacer.allowance(now)) > 0:
            size = max(1, min(BURST, allowed) // SYMBOL) * SYMBOL
            pacer.spent(size)
            volley += size
        sent += volley
        largest = max(largest, volley)
        delay = pacer.delay_s(now)
        assert delay > 0
        now += max(timer_s, delay)
    return sent, now, largest


@pytest.mark.parametrize("rate", [1e5, 2e6, 23.75e6, 118e6])
@pytest.mark.parametrize("timer_s", [0.0, 0.001, 0.002, 0.004])
def test_the_rate_is_kept_with_timers_of_any_grain(rate: float, timer_s: float) -> None:
    pacer = Pacer(rate, 0.0, burst_bytes=BURST, late_s=0.05, volley_s=VOLLEY_S, catch_up=2.0)
    sent, now, largest = drive(pacer, 0.0, 3.0, timer_s)
    assert sent <= rate * now + BURST
    assert sent >= 0.98 * rate * now - 2 * BURST
    assert largest <= max(BURST, 2.0 * rate * max(timer_s, GRAIN_S) + BURST)


@pytest.mark.parametrize(
    ("rate", "burst"), [(1e5, 1_500), (1e6, 5_000), (5e6, BURST), (118e6, BURST)]
)
def test_bursts_are_short_in_time_too(rate: float, burst: int) -> None:
    """In front of a slow line a long one is a queue of its own."""
    pacer = Pacer(118e6, 0.0, burst_bytes=BURST, late_s=0.0, volley_s=0.0, catch_up=2.0)
    pacer.set_rate(rate, 0.0)
    assert pacer.allowance(10.0) == burst + 1


def test_what_a_stall_missed_is_made_up_in_part_and_not_at_once() -> None:
    rate = 23.75e6
    pacer = Pacer(rate, 0.0, burst_bytes=BURST, late_s=0.05, volley_s=VOLLEY_S, catch_up=2.0)
    drive(pacer, 0.0, 1.0, 0.001)
    sent, now, largest = drive(pacer, 2.0, 2.1, 0.001)
    assert sent <= rate * (now - 2.0 + 0.05) + BURST
    assert sent >= rate * (now - 2.0 + 0.04)
    assert largest <= rate * VOLLEY_S + BURST


@pytest.mark.parametrize("rate", [5e6, 23.75e6])
def test_the_rate_is_kept_where_timers_come_late_again_and_again(rate: float) -> None:
    """As on a machine whose processors are all busy: 5 ms late on the average, seldom 30."""
    rng = random.Random(1)
    pacer = Pacer(rate, 0.0, burst_bytes=BURST, late_s=0.05, volley_s=VOLLEY_S, catch_up=2.0)
    now, sent = 0.0, 0
    while now < 5.0:
        allowed = pacer.allowance(now)
        pacer.spent(allowed)
        sent += allowed
        now += pacer.delay_s(now) + rng.expovariate(1 / 0.005)
    assert 0.98 * rate * now < sent <= rate * now + BURST


def test_what_was_not_wanted_is_not_made_up_for() -> None:
    pacer = Pacer(23.75e6, 0.0, burst_bytes=BURST, late_s=0.05, volley_s=VOLLEY_S, catch_up=2.0)
    drive(pacer, 0.0, 1.0, 0.001)
    pacer.rested(2.0)
    sent, now, _ = drive(pacer, 2.0, 2.1, 0.001)
    assert sent <= 23.75e6 * (now - 2.0) + BURST


def test_a_new_rate_counts_from_now_on() -> None:
    pacer = Pacer(1e6, 0.0, burst_bytes=BURST, late_s=0.05, volley_s=VOLLEY_S, catch_up=2.0)
    drive(pacer, 0.0, 1.0, 0.001)
    pacer.set_rate(10e6, 1.0)
    sent, _, _ = drive(pacer, 1.0, 2.0, 0.001)
    assert 9.5e6 < sent < 10.5e6
