"""BEP 6 and 40 vectors; meters and request queues."""

from __future__ import annotations

import pytest

from spinney.bittorrent.fast import allowed_fast_set
from spinney.bittorrent.messages import BLOCK_BYTES
from spinney.bittorrent.meter import Meter
from spinney.bittorrent.priority import canonical_priority, crc32c
from spinney.bittorrent.requests import CEILING_BYTES, FLOOR_BYTES, RequestQueue


def test_bep_6_allowed_fast_set() -> None:
    infohash = b"\xaa" * 20
    seven = [1059, 431, 808, 1217, 287, 376, 1188]
    assert allowed_fast_set(infohash, "80.4.4.200", 1313, 7) == seven
    assert allowed_fast_set(infohash, "80.4.4.200", 1313, 9) == [*seven, 353, 508]
    assert allowed_fast_set(infohash, "80.4.4.7", 1313, 7) == seven, "the same /24"
    assert sorted(allowed_fast_set(infohash, "80.4.4.200", 3)) == [0, 1, 2]
    assert allowed_fast_set(infohash, "2001:db8::1", 1313) == []


def test_bep_40_canonical_priority() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    one = ("123.213.32.10", 1000)
    assert canonical_priority(one, ("98.76.54.32", 2000)) == 0xEC2D7224
    assert canonical_priority(one, ("123.213.32.234", 2000)) == 0x99568189
    assert canonical_priority(("98.76.54.32", 1), one) == 0xEC2D7224, "alike at both ends"
    assert canonical_priority(one, ("::1", 1)) == 0
    same = canonical_priority(one, ("123.213.32.10", 258))
    assert same == crc32c(b"\x01\x02\x03\xe8")
    six = canonical_priority(("2001:db8:1::1", 1), ("2001:db8:2::1", 1))
    assert six == canonical_priority(("2001:db8:2::1", 1), ("2001:db8:1::1", 1)) != 0


def test_a_meter_is_exact_for_a_steady_flow_from_the_first_second() -> None:
    meter = Meter(100.0, 4.0)
    for step in range(1, 101):
        meter.add(100.0 + step * 0.1, 10_000)
        if step > 10:
            assert meter.rate_bytes_per_s(100.0 + step * 0.1) == pytest.approx(100_000, rel=0.06)
    assert meter.total_bytes == 1_000_000
    assert meter.rate_bytes_per_s(140.0) < 100
    assert Meter(0.0).rate_bytes_per_s(5.0) == 0.0


class Line:
    """A peer behind a line: `rate_bytes_per_s`, and `delay_s` for a round trip."""

    def __init__(self, rate_bytes_per_s: float, delay_s: float) -> None:
        self.rate, self.delay_s = rate_bytes_per_s, delay_s

    def run(self, seconds: float) -> tuple[RequestQueue, float]:
        """Fills the queue as it asks; returns it and the share of time that the line worked."""
        now, queue = 0.0, RequestQueue(0.0)
        queue.peer_limit = 10_000
        arrivals: list[float] = []
        busy_until, delivered = 0.0, 0
        while now < seconds:
            pending = len(arrivals) * BLOCK_BYTES
            room = queue.room_bytes(pending)
            if room:
                queue.asked(now, pending)
                for _ in range(max(1, room // BLOCK_BYTES)):
                    start = max(busy_until, now + self.delay_s / 2)
                    busy_until = start + BLOCK_BYTES / self.rate
                    arrivals.append(busy_until + self.delay_s / 2)
            now = arrivals[0]
            batch = [at for at in arrivals if at <= now + 1e-9]
            arrivals = arrivals[len(batch) :]
            queue.received(now, len(batch) * BLOCK_BYTES)
            delivered += len(batch) * BLOCK_BYTES
        return queue, delivered / (self.rate * now)


@pytest.mark.parametrize(
    ("rate", "delay_s"),
    [(20e3, 0.05), (100e3, 0.1), (625e3, 0.02), (5e6, 0.001), (5e6, 0.3), (100e6, 0.05)],
)
def test_a_queue_keeps_the_line_busy_and_stays_short(rate: float, delay_s: float) -> None:
    queue, used = Line(rate, delay_s).run(12.0)
    assert used > 0.85
    most_s = 2 * delay_s + 0.6 + 3 * BLOCK_BYTES / rate
    assert queue.target_bytes <= max(FLOOR_BYTES, rate * most_s)


def test_a_queue_is_deep_on_loopback_within_milliseconds_and_bounded() -> None:
    queue, _ = Line(1e9, 0.0001).run(0.05)
    assert queue.target_bytes == CEILING_BYTES
    queue.peer_limit = 250
    queue.received(1.0, BLOCK_BYTES)
    assert queue.target_bytes <= 250 * BLOCK_BYTES


def test_silence_is_noticed_only_while_something_is_asked_for() -> None:
    queue = RequestQueue(0.0)
    queue.asked(0.0, 0)
    assert not queue.overdue(9.0, BLOCK_BYTES)
    assert queue.overdue(61.0, BLOCK_BYTES)
    assert not queue.overdue(61.0, 0)
    queue.received(61.0, BLOCK_BYTES)
    assert not queue.overdue(62.0, BLOCK_BYTES)
    queue.shrink()
    assert queue.room_bytes(0) == FLOOR_BYTES
