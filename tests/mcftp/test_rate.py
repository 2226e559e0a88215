"""The found rate: against a link with a queue, alone, with random loss, beside somebody else."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from spinney.mcftp.rate import START_INTERVAL_S, FoundRate

MB = 1e6


def nobody(now: float) -> float:
    return 0.0


def drive(
    rate: FoundRate,
    seconds: float,
    *,
    link: float,
    loss: float = 0.0,
    queue_s: float = 0.05,
    other: Callable[[float], float] = nobody,
    start: float = 0.0,
) -> float:
    """A fluid link: what is too much waits, then is lost.  Returns the mean rate delivered."""
    step, now, waiting, delivered, rng = 0.01, start, 0.0, 0.0, random.Random(1)
    lost = sent = 0.0
    while now < start + seconds:
        now += step
        mine, theirs = rate.bytes_per_s * step, other(now) * step
        waiting += mine + theirs - link * step
        over = max(0.0, waiting - queue_s * link)
        waiting = max(0.0, waiting - over)
        gone = over * mine / (mine + theirs) + mine * max(0.0, rng.gauss(loss, loss / 4))
        delivered += mine - gone
        lost, sent = lost * 0.9 + gone, sent * 0.9 + mine
        rate.sent(int(mine), now)
        if gone:
            rate.heard(lost / sent, waiting / link, now)
    return delivered / seconds


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("link", [2 * MB, 25 * MB, 100 * MB])
@pytest.mark.parametrize("queue_s", [0.002, 0.05])
def test_most_of_the_link_is_used_whatever_is_lost_at_random(
    link: float, loss: float, queue_s: float
) -> None:
    rate = FoundRate()
    got = drive(rate, 11.0, link=link, loss=loss, queue_s=queue_s)
    assert got > (0.80 if loss < 0.05 else 0.65) * link * (1 - loss)
    assert rate.bytes_per_s < 1.15 * link


def test_half_is_left_to_whoever_keeps_the_queue_full() -> None:
    """A TCP flow takes what is left, and keeps the queue full."""
    rate = FoundRate()
    drive(rate, 6.0, link=25 * MB)
    theirs = 0.0
    count = 0

    def tcp(now: float) -> float:
        nonlocal theirs, count
        taken = max(0.4 * MB, 25 * MB - rate.bytes_per_s) * 1.01
        theirs, count = theirs + taken, count + 1
        return taken

    drive(rate, 12.0, link=25 * MB, other=tcp, start=6.0)
    assert theirs / count > 0.4 * 25 * MB


def test_floor_and_ceiling_hold() -> None:
    rate = FoundRate(floor=1 * MB, ceiling=5 * MB)
    drive(rate, 5.0, link=100 * MB)
    assert rate.bytes_per_s == 5 * MB
    drive(rate, 20.0, link=0.1 * MB, start=5.0)
    assert rate.bytes_per_s == 1 * MB


def test_it_starts_modestly_and_changes_only_now_and_then() -> None:
    rate = FoundRate()
    assert rate.bytes_per_s == 2 * MB
    rate.sent(1, 0.0)
    rate.sent(1, START_INTERVAL_S / 2)
    assert rate.bytes_per_s == 2 * MB
    rate.sent(1, START_INTERVAL_S)
    assert rate.bytes_per_s == 4 * MB
