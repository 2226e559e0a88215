"""The found rate: against a link with a queue, alone, with random loss, beside somebody else."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from spinney.mcftp.rate import INTERVAL_S, MOST_DRAINS, START_INTERVAL_S, FoundRate

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
    overflowed: Callable[[float], object] = nobody,
) -> float:
    """A fluid link: what is too much waits, then is lost; it is reported each 0.1 s.  Returns the
    mean rate delivered."""
    step, now, waiting, delivered, rng = 0.01, start, 0.0, 0.0, random.Random(1)
    lost = sent = came = 0.0
    report_at = start
    while now < start + seconds:
        now += step
        mine, theirs = rate.bytes_per_s * step, other(now) * step
        waiting += mine + theirs - link * step
        over = max(0.0, waiting - queue_s * link)
        waiting = max(0.0, waiting - over)
        if over:
            overflowed(now)
        gone = over * mine / (mine + theirs) + mine * max(0.0, rng.gauss(loss, loss / 4))
        delivered += mine - gone
        served = link * mine / (mine + theirs) if waiting else mine / step
        lost, sent, came = lost + gone, sent + mine, came + step * served
        rate.sent(int(mine), now)
        if now >= report_at + 0.1:
            got = came / (now - report_at) * (1 - loss)
            rate.heard(max(0.0, lost) / sent, waiting / link, now, got)
            lost, sent, came, report_at = 0.0, 0.0, 0.0, now
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


class Reno:
    """A TCP flow of 30 ms: a segment more each round trip, half at a loss."""

    ROUND_TRIP_S = 0.03

    def __init__(self) -> None:
        self.rate = 5 * MB
        self.taken = 0.0
        self.steps = 0
        self._fell_at = 0.0

    def sends(self, now: float) -> float:
        self.rate += 1448 / self.ROUND_TRIP_S**2 * 0.01
        self.taken, self.steps = self.taken + self.rate, self.steps + 1
        return self.rate

    def lost(self, now: float) -> None:
        if now - self._fell_at > self.ROUND_TRIP_S:
            self.rate, self._fell_at = self.rate / 2, now


@pytest.mark.parametrize("queue_s", [0.03, 0.1])
@pytest.mark.parametrize("first", ["we", "they"])
def test_the_link_is_shared_with_a_tcp_flow(first: str, queue_s: float) -> None:
    """Whoever was there first: it keeps two fifths at least, and does not starve us."""
    rate, tcp = FoundRate(), Reno()
    begin = 6.0 if first == "we" else 0.0
    if begin:
        drive(rate, begin, link=25 * MB, queue_s=queue_s)
    for _ in range(0 if begin else 500):
        tcp.sends(0.0)
    got = drive(
        rate, 30.0, link=25 * MB, queue_s=queue_s, other=tcp.sends, overflowed=tcp.lost, start=begin
    )
    print(f"we {got / MB:.1f}, TCP {tcp.taken / tcp.steps / MB:.1f} MB/s")
    assert tcp.taken / tcp.steps > 0.4 * 25 * MB
    assert got > 0.1 * 25 * MB


def test_one_that_fills_the_queue_and_goes_leaves_all_of_it() -> None:
    rate, tcp = FoundRate(), Reno()
    seen = []

    def other(now: float) -> float:
        seen.append(rate.contended)
        return tcp.sends(now)

    for _ in range(500):
        tcp.sends(0.0)
    drive(rate, 15.0, link=25 * MB, queue_s=0.1, other=other, overflowed=tcp.lost)
    assert any(seen)
    got = drive(rate, 10.0, link=25 * MB, queue_s=0.1, start=15.0)
    assert got > 0.6 * 25 * MB
    assert not rate.contended


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
    assert rate.bytes_per_s == 2 * MB  # nobody has said how it is
    rate.heard(0.0, 0.0, 1.5 * START_INTERVAL_S)
    rate.sent(1, 2 * START_INTERVAL_S)
    assert rate.bytes_per_s == 4 * MB


def test_a_report_of_too_much_counts_at_once_and_tells_what_the_way_carries() -> None:
    rate = FoundRate(40 * MB)
    rate.sent(1, 0.0)
    rate.heard(0.3, 0.05, 0.02, 24 * MB)
    rate.sent(1, 0.02)
    assert rate.capacity == 24 * MB
    assert 12 * MB <= rate.bytes_per_s < 22 * MB  # the queue drains
    rate.sent(1, 0.5)
    assert rate.bytes_per_s == pytest.approx(0.95 * 24 * MB)


def test_the_queue_of_before_a_fall_is_no_second_limit() -> None:
    """It is waited for while it shrinks; one that stays is judged, and a long wait has an end."""

    def fallen(*intervals: tuple[float, ...]) -> FoundRate:
        """A limit of 24 MB/s was met; queues that are reported in the intervals after it."""
        rate = FoundRate(40 * MB)
        rate.sent(1, 0.0)
        rate.heard(0.0, 0.02, 0.02, 24 * MB)
        rate.sent(1, 0.02)
        for number, queues in enumerate(intervals, 1):
            for queue_s in queues:
                rate.heard(0.0, queue_s, 1.1 * number * INTERVAL_S, 24 * MB)
            rate.sent(1, 0.03 + 1.1 * number * INTERVAL_S)
        return rate

    drained = pytest.approx(0.95 * 24 * MB)  # what was reported before and after the fall
    draining = fallen().bytes_per_s
    assert 12 * MB <= draining < 20 * MB  # also what was sent before the report came
    assert fallen((0.05, 0.03)).bytes_per_s == draining
    assert fallen((0.05, 0.03), (0.02, 0.004)).bytes_per_s == drained
    assert fallen((0.05, 0.005)).bytes_per_s == drained
    assert fallen((0.05, 0.05)).bytes_per_s == drained
    assert fallen((0.05, 0.05), (0.05,)).bytes_per_s < 0.8 * 24 * MB  # it is somebody else's
    assert fallen(*[(0.05, 0.03)] * MOST_DRAINS).bytes_per_s == draining
    assert fallen(*[(0.05, 0.03)] * (MOST_DRAINS + 1)).bytes_per_s == drained


def test_what_is_lost_at_the_first_modest_rate_is_no_congestion() -> None:
    rate = FoundRate(2 * MB)
    rate.sent(1, 0.0)
    for step in range(1, 5):
        rate.heard(0.05, 0.001, step * START_INTERVAL_S - 0.01, 2 * MB)
        rate.sent(1, step * START_INTERVAL_S)
    assert rate.capacity is None
    assert rate.bytes_per_s > 10 * MB


def test_what_comes_while_the_queue_drains_tells_the_capacity_better() -> None:
    """The first measure is short, and of the unluckiest receiver; but a second one that is far
    off is not believed."""
    for came, capacity in ((23 * MB, 23 * MB), (18 * MB, 20 * MB), (200 * MB, 24 * MB)):
        rate = FoundRate(40 * MB)
        rate.sent(1, 0.0)
        rate.heard(0.0, 0.02, 0.02, 20 * MB)
        rate.sent(1, 0.02)
        rate.heard(0.0, 0.02, 0.1, came)
        rate.heard(0.0, 0.001, 0.3, 5 * MB)
        rate.sent(1, 0.4)
        assert rate.capacity == pytest.approx(capacity)
        assert rate.bytes_per_s == pytest.approx(0.95 * capacity)


def test_silence_halves_it() -> None:
    """Reports that do not come are stuck in a queue of ours: twice is chance, more is not."""
    rate = FoundRate(4 * MB, floor=1 * MB)
    now, seen = 0.0, []
    for _ in range(6):
        rate.sent(1, now)
        seen.append(rate.bytes_per_s)
        now += 1.01 * START_INTERVAL_S
    assert seen == [4 * MB, 4 * MB, 4 * MB, 2 * MB, 1 * MB, 1 * MB]
    rate.heard(0.0, 0.0, now)
    rate.sent(1, now)
    assert rate.bytes_per_s == 2 * MB
