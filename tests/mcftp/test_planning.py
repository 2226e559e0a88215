"""What a sender sends next: the order first, repair as asked for, nothing twice."""

from __future__ import annotations

import random

from content.moving import Content
from spinney.mcftp.datasettings import DataSettings
from spinney.mcftp.layout import BlockLayout
from spinney.mcftp.needs import Needs, backoff_s
from spinney.mcftp.packets import BlockState, Lack, Mark, Need
from spinney.mcftp.planning import Order, Plan

MIB = 1 << 20
K = 745


def plan_of(mebibytes: int, runs: tuple[tuple[int, int], ...] | None = None) -> Plan:
    layout = BlockLayout(Content([mebibytes * MIB], MIB).descriptor)
    settings = DataSettings(last_spare_symbols=0)
    return Plan(layout, runs or ((0, layout.block_count),), 3, settings)


def drain(plan: Plan, now: float = 0.0) -> list[tuple[int, int]]:
    rows = []
    while (burst := plan.next_burst(16, now)) is not None:
        assert 0 < len(burst.numbers) <= 16
        rows += [(burst.block, number) for number in burst.numbers]
    return rows


def test_the_order_is_kept_and_every_symbol_sent_once() -> None:
    plan = plan_of(3, ((2, 1), (0, 2)))
    rows = drain(plan)
    assert rows == [(block, symbol) for block in (2, 0, 1) for symbol in range(K)]
    assert plan.idle
    assert plan.position == 3


def test_positions_of_an_order_of_runs() -> None:
    order = Order(((5, 3), (0, 2), (9, 1)))
    blocks = [order.at(position) for position in range(order.count)]
    assert blocks == [5, 6, 7, 0, 1, 9]
    assert [order.position(block) for block in blocks] == list(range(6))
    assert [order.position(block) for block in (2, 4, 8, 10)] == [None] * 4
    assert Order(()).count == 0


def test_repair_comes_soon_and_from_numbers_that_no_other_sender_draws() -> None:
    plan = plan_of(2)
    for _ in range(-(-K // 16)):
        plan.next_burst(16, 0.0)
    plan.ask(Lack(0, 1, 0, 10), b"a" * 20, 0.0)
    burst = plan.next_burst(16, 0.0)
    assert burst is not None
    assert burst.repair
    assert burst.numbers == [K + 3 + 256 * turn for turn in range(13)]


def test_the_same_request_twice_costs_nothing() -> None:
    plan = plan_of(1)
    drain(plan)
    for peer in (b"a" * 20, b"b" * 20):
        plan.ask(Lack(0, 1, 0, 10), peer, 0.0)
    plan.ask(Lack(0, 1, 0, 7), b"c" * 20, 0.0)
    assert len(drain(plan)) == 13
    plan.ask(Lack(0, 1, 0, 9), b"d" * 20, 0.0)  # it has not heard of the thirteen yet
    assert drain(plan) == []
    plan.ask(Lack(0, 1, 13, 2), b"d" * 20, 0.0)
    assert len(drain(plan)) in (5, 6)


def test_a_request_made_before_the_block_was_sent_or_sent_again_counts_for_nothing() -> None:
    plan = plan_of(2)
    plan.ask(Lack(1, 1, 0, 10), b"a" * 20, 0.0)
    assert len(drain(plan)) == 2 * K
    plan.ask_whole(0, 1)
    assert [row for row in drain(plan) if row[1] >= K] == []
    plan.ask(Lack(0, 1, 0, 10), b"a" * 20, 0.0)
    assert drain(plan) == []
    plan.ask(Lack(0, 2, 0, 10), b"a" * 20, 0.0)
    assert len(drain(plan)) == 13


def test_who_lacks_most_of_a_block_gets_its_source_symbols_again() -> None:
    plan = plan_of(2)
    drain(plan)
    plan.ask(Lack(1, 1, 0, 720), b"a" * 20, 0.0)
    assert plan.coming() == ((1, 1),)
    assert drain(plan) == [(1, symbol) for symbol in range(K)]


def test_what_nobody_lacks_is_passed_over_and_sent_if_asked_for() -> None:
    plan = plan_of(4)
    plan.skip = 0b1011
    assert {block for block, _ in drain(plan)} == {2}
    assert plan.position == 4
    plan.ask_whole(1, 1)
    assert drain(plan) == [(1, symbol) for symbol in range(K)]


def test_numbers_that_make_no_sense_are_nothing() -> None:
    plan = plan_of(1)
    drain(plan)
    plan.ask(Lack(7, 1, 0, 10), b"a" * 20, 0.0)
    plan.ask_whole(3, 2**32 - 4)
    plan.ask(Lack(0, 1, 2**32 - 1, 3), b"a" * 20, 0.0)
    assert len(drain(plan)) in (5, 6)


def test_repair_takes_no_more_than_its_share_of_the_first_pass() -> None:
    plan = plan_of(20)
    repairs = source = 0
    block = 0
    while not plan.first_pass_over:
        burst = plan.next_burst(16, 0.0)
        assert burst is not None
        repairs, source = repairs + burst.repair, source + (not burst.repair)
        for _ in range(4):
            if block < plan.position:
                plan.ask(Lack(block, 1, 0, 200), bytes([block]) * 20, 0.0)
                block += 1
    assert repairs <= source + 8


def test_reports_are_late_rather_than_early_and_never_too_late() -> None:
    rng = random.Random(1)
    times = sorted(backoff_s(0.04, 1000, rng) for _ in range(2000))
    assert times[0] >= 0.0
    assert times[-1] <= 0.04
    assert times[1000] > 0.03
    assert len([each for each in times if each < 0.01]) < 20
    assert backoff_s(0.04, 1, rng) == 0.0


def test_what_others_asked_for_is_not_asked_again_until_hope_ends() -> None:
    needs = Needs(0.15, 10, 4)
    needs.overheard(Need(0, 0, 0, 0, (Lack(4, 1, 0, 20),), ((7, 3),)), 1.0, 200)
    assert needs.report([(4, 20), (5, 3)], [(8, 2)], 1.0) == ((Lack(5, 1, 0, 3),), ())
    assert needs.report([(4, 21)], [(6, 2)], 1.0) == ((Lack(4, 1, 0, 21),), ((6, 2),))
    assert needs.report([(4, 20)], [], 1.2) == ((Lack(4, 1, 0, 20),), ())


def test_what_the_sender_says_counts_most() -> None:
    needs = Needs(0.15, 10, 4)
    mark = Mark(1, 0, 0, 0, 0, 0, 8, (BlockState(4, 2, 30, 30), BlockState(5, 1, 3, 9)), ((7, 2),))
    needs.marked(mark, 1.0)
    assert needs.report([(4, 2)], [(7, 2)], 1.0) == ((Lack(4, 2, 30, 2),), ())
    assert needs.report([(5, 6)], [], 1.0)[0] == ()  # six more are planned
    assert needs.report([(5, 7)], [], 1.0)[0] == (Lack(5, 1, 3, 7),)
    assert needs.report([], [(7, 2)], 1.4)[1] == ((7, 2),)


def test_a_report_that_was_lost_is_made_again_once_the_sender_shows_it() -> None:
    """Not when a mark may have been on its way, and once only: a report may be put off, too."""

    def mark(planned: int) -> Mark:
        return Mark(1, 0, 0, 0, 0, 10_000, 8, (BlockState(4, 1, 0, planned),), ())

    needs = Needs(0.15, 10, 4)
    told = (Lack(4, 1, 0, 30),)
    assert needs.report([(4, 30)], [], 1.0)[0] == told
    needs.marked(mark(0), 1.015)
    assert needs.report([(4, 30)], [], 1.016)[0] == ()
    needs.marked(mark(0), 1.03)
    assert needs.report([(4, 30)], [], 1.031)[0] == told
    needs.marked(mark(0), 1.06)
    assert needs.report([(4, 30)], [], 1.061)[0] == ()
    needs.marked(mark(33), 1.07)
    assert needs.report([(4, 30)], [], 1.10)[0] == ()  # 33 are to come


def test_a_report_of_nearly_everything_silences_nobody() -> None:
    """The sender puts such a one off."""
    needs = Needs(0.15, 10, 4)
    needs.overheard(Need(0, 0, 0, 0, (Lack(4, 1, 0, 700),), ()), 1.0, 260)
    assert needs.report([(4, 30)], [], 1.0)[0] == (Lack(4, 1, 0, 30),)


def test_one_report_holds_no_more_than_a_datagram() -> None:
    needs = Needs(0.15, 10, 4)
    lacks, runs = needs.report([(n, 1) for n in range(99)], [(n * 3, 1) for n in range(99)], 0.0)
    assert (len(lacks), len(runs)) == (10, 4)


def test_what_others_will_send_is_not_sent_again_until_they_do_not() -> None:
    plan = plan_of(3)
    drain(plan)
    plan.ask_whole(0, 2)
    plan.left = 0b001
    assert {block for block, _ in drain(plan)} == {1}
    assert plan.idle
    assert plan.coming() == ((0, 1),)  # who lacks it need not say so again
    plan.left = 0b101
    plan.ask(Lack(2, 1, 0, K // 20), b"a" * 20, 0.0)
    assert K // 20 <= len(drain(plan)) < K // 10  # what was lost is mended
    plan.ask(Lack(2, 1, K // 10, K // 2), b"a" * 20, 0.0)
    assert plan.idle
    plan.left = 0b001
    assert {block for block, _ in drain(plan)} == {2}
    plan.left = 0
    assert not plan.idle
    assert {block for block, _ in drain(plan)} == {0}


def test_more_is_sent_beyond_what_is_lacked_when_nothing_else_is_to_be_sent() -> None:
    """Then all wait for another round trip, and before nobody does."""
    layout = BlockLayout(Content([2 * MIB], MIB).descriptor)
    plan = Plan(layout, ((0, 2),), 3, DataSettings(spare_symbols=3, last_spare_symbols=4))
    while plan.position == 0:
        plan.next_burst(16, 0.0)
    plan.ask(Lack(0, 1, 0, 10), b"a" * 20, 0.0)
    assert sum(number >= K for block, number in drain(plan)) == 13
    plan.ask(Lack(1, 1, 0, 10), b"a" * 20, 0.0)
    assert len(drain(plan)) == 17
    plan.ask(Lack(0, 1, 13, 10), b"a" * 20, 0.0)
    assert len(drain(plan)) == 13, "for few blocks only"
