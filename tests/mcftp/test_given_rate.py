"""A rate that was given: obeyed where lines lose by chance, and no more than anybody takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from tests.mcftp.stage import PlainKeys, Stage, complete, lan, sender_stream
from tests.mcftp.test_hostile_data import stranger

from content.moving import Content
from spinney.mcftp import packets as p
from spinney.mcftp.given_rate import BEST, START_BYTES_PER_S, GivenRate
from spinney.sim import Link

MB = 1e6
MIB = 1 << 20
GIVEN = 23.75 * MB
"""190 Mbit/s."""


@dataclass
class Taker:
    """A receiver: it takes so much a second, keeps so much, and loses some by chance."""

    takes: float
    loss: float = 0.0
    room_bytes: float = 8e6
    waiting: float = 0.0
    sent: float = 0.0
    came: float = 0.0
    lost: float = 0.0


def drive(
    rate: GivenRate, seconds: float, takers: Sequence[Taker], *, start: float = 0.0
) -> tuple[float, float]:
    """Reports each 50 ms when they are asked for, or when much is lost.  Returns the bytes sent,
    and those that the first one took."""
    step, now, rng = 0.01, start, random.Random(1)
    total = taken = 0.0
    report_at = start
    while now < start + seconds:
        now += step
        mine = rate.bytes_per_s * step
        total += mine
        for taker in takers:
            gone = mine * max(0.0, rng.gauss(taker.loss, taker.loss / 4))
            taker.waiting += mine - gone
            served = min(taker.waiting, taker.takes * step)
            taker.waiting -= served
            over = max(0.0, taker.waiting - taker.room_bytes)
            taker.waiting -= over
            taker.sent, taker.came = taker.sent + mine, taker.came + served
            taker.lost += gone + over
            taken += served if taker is takers[0] else 0.0
        rate.sent(int(mine), now)
        if now >= report_at + 0.05:
            for taker in takers:
                lost = taker.lost / taker.sent
                if rate.asks or lost > 0.01:
                    queue_s = taker.waiting / taker.takes
                    rate.heard(lost, queue_s, now, taker.came / (now - report_at))
                taker.sent = taker.came = taker.lost = 0.0
            report_at = now
    return total, taken


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05, 0.08])
def test_a_line_that_loses_at_random_is_sent_to_at_the_rate_that_was_given(loss: float) -> None:
    rate = GivenRate(GIVEN)
    sent, _ = drive(rate, 11.0, [Taker(25 * MB, loss)])
    assert sent == pytest.approx(11.0 * GIVEN, rel=0.001)
    assert not rate.asks


@pytest.mark.parametrize("loss", [0.15, 0.3, 0.5])
def test_whoever_loses_much_at_any_rate_is_soon_sent_to_at_the_rate_that_was_given(
    loss: float,
) -> None:
    rate = GivenRate(GIVEN)
    drive(rate, 4.0, [Taker(25 * MB, loss)])
    assert rate.bytes_per_s == GIVEN
    sent, _ = drive(rate, 5.0, [Taker(25 * MB, loss)], start=4.0)
    assert sent == pytest.approx(5.0 * GIVEN, rel=0.05)


@pytest.mark.parametrize("room_bytes", [1e5, 8e6])
def test_what_nobody_takes_is_not_sent(room_bytes: float) -> None:
    rate = GivenRate(100 * MB)
    takers = [Taker(40 * MB, room_bytes=room_bytes), Taker(30 * MB, room_bytes=room_bytes)]
    drive(rate, 1.0, takers)
    sent, taken = drive(rate, 4.0, takers, start=1.0)
    assert taken > 0.85 * 4.0 * 40 * MB
    assert sent < 1.12 * taken


def test_a_rate_that_was_too_much_for_a_while_is_climbed_to_again() -> None:
    rate = GivenRate(GIVEN)
    taker = Taker(10 * MB, room_bytes=1e5)
    drive(rate, 2.0, [taker])
    assert rate.bytes_per_s < 11 * MB
    taker.takes = 25 * MB
    drive(rate, 3.0, [taker], start=2.0)
    assert rate.bytes_per_s == GIVEN
    drive(rate, 1.0, [taker], start=5.0)
    assert not rate.asks


def test_one_who_takes_little_among_others_slows_nobody() -> None:
    rate = GivenRate(GIVEN)
    sent, _ = drive(rate, 5.0, [Taker(25 * MB), Taker(2 * MB, room_bytes=1e5)])
    assert sent == pytest.approx(5.0 * GIVEN, rel=0.005)
    assert rate.asks == BEST


def test_who_takes_it_all_and_is_heard_seldom_is_not_slowed() -> None:
    rate = GivenRate(GIVEN)
    for tick in range(400):
        now = tick / 100
        if tick % 5 == 0:
            rate.heard(0.9, 0.0, now, 2 * MB)
        if tick % 25 == 20:
            rate.heard(0.0, 0.0, now, GIVEN)
        rate.sent(int(GIVEN / 100), now)
        assert rate.bytes_per_s == GIVEN


def test_beyond_a_gigabit_it_is_climbed_and_no_queue_is_overfilled() -> None:
    rate = GivenRate(2_000 * MB)
    assert rate.bytes_per_s == START_BYTES_PER_S
    taker = Taker(150 * MB, room_bytes=16e6)
    sent, taken = drive(rate, 3.0, [taker])
    assert taken > 0.9 * 3.0 * 150 * MB
    assert sent - taken < 16e6  # it waits; nothing was lost
    fast = GivenRate(2_000 * MB)
    drive(fast, 1.5, [Taker(5_000 * MB)])
    assert fast.bytes_per_s == 2_000 * MB


def test_the_rate_falls_only_when_somebody_says_what_came() -> None:
    rate = GivenRate(GIVEN)
    for now in range(50):
        rate.heard(0.9, 0.0, now / 10)
        rate.sent(10_000_000, now / 10)
    assert rate.bytes_per_s == GIVEN


def test_it_falls_only_after_those_who_lose_less_were_asked() -> None:
    """The first report of much loss makes it ask; what it said is not counted."""
    rate = GivenRate(GIVEN)
    rate.sent(1_000, 0.0)
    rate.heard(0.5, 0.0, 0.09, GIVEN / 2)
    assert rate.asks == BEST
    rate.sent(3_000_000, 0.13)
    assert rate.bytes_per_s == GIVEN
    rate.heard(0.5, 0.0, 0.3, GIVEN / 2)
    rate.sent(3_000_000, 0.35)
    assert rate.bytes_per_s < 0.6 * GIVEN


# --- on a simulated LAN


@pytest.mark.parametrize("slow_one", [False, True])
def test_far_too_fast_a_rate_costs_little(slow_one: bool) -> None:
    """Two receivers behind lines of 40 Mbit/s, a sender that is told five times as much; and a
    third with a tenth of that line, which must not hold the two back."""
    content = Content([20 * MIB], MIB)
    link = 5e6

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stage = Stage(content)
        stream = sender_stream(stage.layout, 25_000_000)
        everyone = [await stage.receiving(host, stream) for host in hosts]
        start = loop.time()
        sending = await stage.sending(source, stream)
        ends = await asyncio.gather(*(complete(each, 60) for each in everyone[:2]))
        sent = sending.sent_bytes / len(content.space)
        ratio = (max(ends) - start) / (len(content.space) / link)
        print(f"{ratio:.2f} x the link's time, {sent:.3f} sent")
        assert ratio < 1.4
        assert sent < 1.75
        await sending.close()
        for each in everyone:
            await each.close()

    world, _ = lan(1)
    net = world.hosts["h0"].attachments[0].segment
    source = world.host("source", on=net)
    down = Link(down_bytes_per_s=link, queue_bytes=int(link * 0.05))
    slow = Link(down_bytes_per_s=link / 10, queue_bytes=int(link * 0.005))
    hosts = [world.host(f"r{number}", on=net, link=down) for number in range(2)]
    if slow_one:
        hosts.append(world.host("slow", on=net, link=slow))
    with world:
        world.run(main())


def test_those_who_lose_a_fifth_do_not_speak_for_one_who_loses_nothing() -> None:
    """They are many, and report first and often; who loses nothing is asked and says so."""
    content = Content([8 * MIB], MIB)
    rate = 5_000_000

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stage = Stage(content)
        stream = sender_stream(stage.layout, rate)
        everyone = [await stage.receiving(host, stream) for host in hosts[1:]]
        start = loop.time()
        sending = await stage.sending(hosts[0], stream)
        ends = await asyncio.gather(*(complete(each, 60) for each in everyone[:1]))
        assert sending.progress.needs > 10
        assert sending.progress.rate_bytes_per_s == rate
        assert max(ends) - start < 1.6 * len(content.space) / rate  # their repair included
        await sending.close()
        for each in everyone:
            await each.close()

    world, hosts = lan(10)
    for host in hosts[2:]:
        host.attachments[0].set_link(Link(down_bytes_per_s=0.8 * rate, queue_bytes=20_000))
    with world:
        world.run(main())


@pytest.mark.parametrize(
    ("asks", "loss_ppm", "reports"),
    [(BEST, 200_000, 1), (BEST, 0, 0), (1, 200_000, 0), (1, 0, 1), (0, 0, 0)],
)
def test_whose_report_is_left_to_another(asks: int, loss_ppm: int, reports: int) -> None:
    """A receiver that loses a tenth hears another's report before its own turn comes.  When those
    are asked who lose least, one who loses more does not speak for it."""
    content = Content([MIB], MIB)

    async def main() -> None:
        stage = Stage(content)
        stream = sender_stream(stage.layout, 5_000_000)
        receiving = await stage.receiving(hosts[1], stream)
        group, _ = await stranger(stage, hosts[0])
        following = receiving.following[0]
        mark = p.Mark(1, 0, p.order_of(stream.blocks), 0, 0, 0, 1, asks=asks)
        group.send(p.encode_mark(p.prefix_of(p.MARK, 0, stage.tag), mark, PlainKeys("sender")))
        while not receiving.streams[0].marks:
            await asyncio.sleep(0.0001)
        following._fresh = 0.1, 4_500_000.0
        need = p.Need(0, loss_ppm, 0, 1_000_000)
        group.send(p.encode_need(p.prefix_of(p.NEED, 0, stage.tag), need, PlainKeys("other")))
        await asyncio.sleep(0.5)
        assert following.reports == reports
        group.close()
        await receiving.close()

    world, hosts = lan(2)
    with world:
        world.run(main())
