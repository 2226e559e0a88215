"""Which tracker is asked next and when: BEP 12's tiers, BEP 31's `retry in`, back-off."""

from __future__ import annotations

import random

import pytest

from spinney.bittorrent.tracker import messages as m
from spinney.bittorrent.tracker.schedule import (
    BACK_OFF_MAX_S,
    LATE_SHARE,
    TRACKERS_MAX,
    Tiers,
    short_name,
)

PEERS = m.AnnounceReply(interval_s=600, peers=(("10.0.0.1", 1),))


def urls(tiers: Tiers) -> list[str]:
    return [tracker.url for tracker in tiers.all()]


def test_tiers_keep_their_order_and_are_shuffled_inside() -> None:
    orders = set()
    for seed in range(40):
        order = urls(Tiers([["a", "b", "c"], ["x", "y"]], random.Random(seed)))
        assert sorted(order[:3]) == ["a", "b", "c"]
        assert sorted(order[3:]) == ["x", "y"]
        orders.add(tuple(order))
    assert len(orders) == 12


def test_who_answers_moves_to_the_front_of_its_tier_only() -> None:
    rng = random.Random(1)
    tiers = Tiers([["a"], ["x", "y", "z"]], rng)
    last = tiers.all()[-1]
    tiers.succeeded(last, PEERS, 0.0, rng)
    assert urls(tiers)[0] == "a"
    assert urls(tiers)[1] == last.url


def test_a_list_of_trackers_is_bounded_and_each_comes_once() -> None:
    rng = random.Random(1)
    assert len(urls(Tiers([[f"http://{at}/" for at in range(1000)]], rng))) == TRACKERS_MAX
    assert urls(Tiers([["a", "a"], ["a", "b"], [], ["x" * 3000]], rng)) == ["a", "b"]


def test_the_interval_is_obeyed_and_never_early() -> None:
    rng = random.Random(2)
    tiers = Tiers([["a"]], rng)
    waits = [tiers.succeeded(tiers.all()[0], PEERS, 0.0, rng) for _ in range(200)]
    assert min(waits) >= 600
    assert max(waits) <= 600 * (1 + LATE_SHARE)
    assert len({round(wait, 3) for wait in waits}) > 150


def test_min_interval_is_a_lower_bound() -> None:
    rng = random.Random(2)
    tiers = Tiers([["a"]], rng)
    reply = m.AnnounceReply(interval_s=60, min_interval_s=900, peers=PEERS.peers)
    assert tiers.succeeded(tiers.all()[0], reply, 0.0, rng) >= 900
    assert tiers.succeeded(tiers.all()[0], m.AnnounceReply(600, 100), 0.0, rng) >= 100


def test_a_tracker_that_knows_nobody_is_asked_earlier_but_less_and_less() -> None:
    rng = random.Random(3)
    tiers = Tiers([["a"]], rng)
    nobody = m.AnnounceReply(interval_s=600)
    waits = [tiers.succeeded(tiers.all()[0], nobody, 0.0, rng) for _ in range(7)]
    for wait, least in zip(waits, [30, 60, 120, 240, 480, 600, 600], strict=True):
        assert least <= wait <= least * 1.05
    tiers.succeeded(tiers.all()[0], PEERS, 0.0, rng)
    assert tiers.succeeded(tiers.all()[0], nobody, 0.0, rng) < 32


def test_back_off_doubles_with_jitter_up_to_half_an_hour() -> None:
    rng = random.Random(4)
    tiers = Tiers([["a"]], rng)
    tracker = tiers.all()[0]
    now, waits = 0.0, []
    for _ in range(14):
        assert tiers.due(now) == [tracker]
        tiers.failed(tracker, "refused", now, rng, None)
        assert tiers.due(now) == []
        wait = tiers.wait_s(now)
        assert wait is not None
        waits.append(wait)
        now += wait
    for at, wait in enumerate(waits):
        full = min(5.0 * 2**at, BACK_OFF_MAX_S)
        assert full / 2 <= wait <= full
    tiers.succeeded(tracker, PEERS, now, rng)
    tiers.failed(tracker, "refused", now, rng, None)
    wait = tiers.wait_s(now)
    assert wait is not None
    assert wait <= 5.0


def test_retry_in_is_obeyed_and_never_means_never() -> None:
    rng = random.Random(5)
    tiers = Tiers([["a"], ["b"]], rng)
    first, second = tiers.all()
    tiers.failed(first, "full", 0.0, rng, m.Refusal("full", retry_in_s=3600))
    assert tiers.due(3599.0) == [second]
    tiers.failed(second, "banned", 0.0, rng, m.Refusal("banned", never=True))
    assert tiers.due(3599.0) == []
    assert tiers.due(4000.0) == [first]
    tiers.failed(first, "banned", 0.0, rng, m.Refusal("banned", never=True))
    assert tiers.wait_s(0.0) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://t.example:6969/a1b2c3passkey/announce?x=1", "http://t.example:6969"),
        ("https://user:secret@t.example/announce", "https://t.example"),
        ("http://[2001:db8::1]:80/announce", "http://[2001:db8::1]:80"),
        ("http://t.example:99999/", "an unreadable address"),
    ],
)
def test_people_and_logs_never_see_a_pass_key(url: str, shown: str) -> None:
    assert short_name(url) == shown
