"""What a leader knows and plans: pure, so time and reports are handed in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.mcftp.leader import Leader
from spinney.mcftp.members import Members, bits_from, held_bytes
from spinney.mcftp.messages import Sent, Status, StatusRequest
from spinney.mcftp.settings import Settings

BLOCKS = 100
ALL = (1 << BLOCKS) - 1
ME = b"m" * 20
REIGN = b"12345678"
SETTINGS = Settings(rate_bytes_per_s=1_000_000)


def peer(number: int) -> bytes:
    return b"%020d" % number


def status(held: int, **changes: Any) -> Status:
    have = held.bit_count()
    made = Status(
        number=0,
        complete=have == BLOCKS,
        have_blocks=have,
        first=0,
        count=BLOCKS,
        held=held_bytes(held, 0, BLOCKS),
        up_bytes_per_s=0,
        down_bytes_per_s=0,
        port=0,
        uptime_s=0,
        loss_permille=0,
        receives=True,
        sends=True,
        leads=True,
    )
    return replace(made, **changes)


def leader(**settings: Any) -> Leader:
    """Leads with all of the file, and addresses enough."""
    made = Leader(ME, BLOCKS, 1 << 20, replace(SETTINGS, **settings), 0.0)
    made.spare = [b"address %d" % number for number in range(8)]
    made.report(ME, status(ALL, receives=False), 0.0)
    return made


def run(made: Leader, now: float) -> None:
    """One look at what is due, with a request answered by nobody."""
    made.request(REIGN, 1, bytes(32), now)
    made.tick(now)


@given(st.integers(0, 1 << 90), st.integers(0, 50), st.integers(1, 90))
def test_held_blocks_go_over_the_wire(bits: int, first: int, count: int) -> None:
    said = replace(status(0), first=first, count=count, held=held_bytes(bits, first, count))
    mask, held = bits_from(said)
    assert held == bits & mask
    assert mask.bit_count() == count


def test_members_are_bounded_and_the_silent_go_first() -> None:
    members = Members(BLOCKS, 10)
    for number in range(30):
        members.report(peer(number), status(1), float(number))
        members.heard(peer(0), float(number))
    assert len(members) == 10
    assert members.get(peer(0)) is not None
    assert members.get(peer(15)) is None
    gone = members.forget(40.0, 12.0)
    assert {member.peer for member in gone} == {peer(n) for n in (21, 22, 23, 24, 25, 26, 27)}


def test_nothing_is_sent_while_nobody_lacks_anything() -> None:
    made = leader()
    for tick in range(50):
        run(made, tick * 0.1)
    assert not made.streams
    assert not made.started


def test_the_first_plan() -> None:
    made = leader()
    made.report(peer(1), status(0), 1.0)
    for tick in range(10, 30):
        run(made, tick * 0.1)
    (stream,) = made.streams
    assert stream.sender == ME
    assert stream.blocks == ((0, BLOCKS),)
    assert stream.rate_bytes_per_s == SETTINGS.rate_bytes_per_s


def test_a_stream_ends_when_nobody_lacks_what_it_carries() -> None:
    made = leader()
    made.report(peer(1), status(0), 1.0)
    for tick in range(10, 30):
        run(made, tick * 0.1)
    (stream,) = made.streams
    made.sent(ME, Sent(REIGN, 1, stream.number, BLOCKS, True, 1 << 27), 3.0)
    run(made, 3.1)
    assert made.streams
    made.report(peer(1), status(ALL), 3.2)
    run(made, 4.0)
    assert not made.streams


def test_a_stream_goes_on_while_somebody_asks_its_sender() -> None:
    """Of whom no report has come yet."""
    made = leader()
    made.report(peer(1), status(0), 1.0)
    for tick in range(10, 30):
        run(made, tick * 0.1)
    (stream,) = made.streams
    made.report(peer(1), status(ALL), 3.0)
    made.sent(ME, Sent(REIGN, 1, stream.number, BLOCKS, False, 1 << 27), 3.0)
    for tick in range(30, 60):
        run(made, tick * 0.1)
    assert made.streams == (stream,)
    made.sent(ME, Sent(REIGN, 1, stream.number, BLOCKS, True, 1 << 27), 6.0)
    run(made, 6.1)
    assert not made.streams


@pytest.mark.parametrize("another_comes", [False, True])
def test_a_members_stream_ends_when_nobody_lacks_it_for_a_whole_round(another_comes: bool) -> None:
    """Who lacked it has left; a newcomer has a round's time to say that it lacks it, too."""
    made = leader()
    own = made.members.get(ME)
    assert own is not None
    own.sent_blocks = 2.0 * BLOCKS
    made.report(peer(1), status(ALL), 1.0)
    made.report(peer(2), status(0), 1.0)
    for tick in range(10, 30):
        run(made, tick * 0.1)
    (stream,) = made.streams
    assert stream.sender == peer(1)
    for tick in range(30, 60):
        made.report(peer(1), status(ALL), tick * 0.1)
        made.sent(peer(1), Sent(REIGN, 1, stream.number, 3, False, 3 << 20), tick * 0.1)
        if tick == 30:
            made.left(peer(2))
        run(made, tick * 0.1)
        if tick == 30:
            assert made.streams == (stream,)
        if another_comes and tick >= 31:
            made.report(peer(3), status(0), tick * 0.1)
    assert made.streams == ((stream,) if another_comes else ())


def test_a_sender_that_falls_silent_is_replaced_and_what_it_sent_is_not_sent_again() -> None:
    made = leader(may_send=False)
    made.report(ME, status(ALL, receives=False, sends=False), 0.0)
    for number in (1, 2):
        made.report(peer(number), status(ALL, receives=False), 0.5)
    made.report(peer(3), status(0), 1.0)
    for tick in range(10, 20):
        run(made, tick * 0.1)
    (stream,) = made.streams
    other = peer(1) if stream.sender == peer(2) else peer(2)
    made.sent(stream.sender, Sent(REIGN, 1, stream.number, 60, False, 60 << 20), 2.0)
    for tick in range(20, 60):
        made.report(other, status(ALL, receives=False), tick * 0.1)
        made.report(peer(3), status((1 << 60) - 1), tick * 0.1)
        run(made, tick * 0.1)
    (after,) = made.streams
    assert after.sender == other
    assert after.number != stream.number
    assert after.sender_number != stream.sender_number
    assert after.blocks == ((60, 40),)


def test_who_died_without_a_word_is_not_told_to_send() -> None:
    """Before it relies on others the leader asks them; who does not answer comes last."""
    made = leader(may_send=False)
    made.report(ME, status(ALL, receives=False, sends=False), 0.0)
    dead, alive = sorted((peer(1), peer(2)))
    for each in (dead, alive):
        made.report(each, status(ALL, receives=False), 0.5)
    made.report(peer(3), status(0), 1.0)
    made.begin()
    made.request(REIGN, 1, bytes(32), 1.0)
    for each in (dead, alive, peer(3)):
        made.report(each, status(0 if each == peer(3) else ALL, receives=each == peer(3)), 1.05)
    made.tick(1.7)
    assert not made.streams  # what they said is old
    assert isinstance(made.request(REIGN, 1, bytes(32), 1.7), StatusRequest)
    made.report(alive, status(ALL, receives=False), 1.72)
    made.report(peer(3), status(0), 1.73)
    made.tick(1.9)
    assert [stream.sender for stream in made.streams] == [alive]


def test_a_late_one_whose_report_was_lost_is_asked_again_at_once() -> None:
    """Its stream has gone by, and what is known of it is older: a plan waits for its answer."""
    made = leader()
    made.report(peer(1), status(0), 1.0)
    for tick in range(10, 20):
        run(made, tick * 0.1)
    (stream,) = made.streams
    made.sent(ME, Sent(REIGN, 1, stream.number, 60, False, 60 << 20), 4.0)
    made.report(peer(2), status(0), 4.5)  # comes late
    for at in (4.7, 4.9, 5.1):
        made.report(peer(1), status(ALL), at)
        run(made, at)
    made.sent(ME, Sent(REIGN, 1, stream.number, BLOCKS, False, 100 << 20), 5.2)
    made.request(REIGN, 1, bytes(32), 5.3)
    assert not made.ask_now
    made.tick(5.4)
    assert made.ask_now
    assert isinstance(made.request(REIGN, 1, bytes(32), 5.6), StatusRequest)


def test_only_the_sender_tells_how_far_it_is() -> None:
    made = leader()
    made.report(peer(1), status(0), 1.0)
    for tick in range(10, 30):
        run(made, tick * 0.1)
    (stream,) = made.streams
    made.sent(peer(1), Sent(REIGN, 1, stream.number, BLOCKS, True, 1), 3.0)
    assert not made.running[stream.number].passed


def test_a_thousand_are_asked_in_turns() -> None:
    made = leader()
    for number in range(1_000):
        made.report(peer(number), status(ALL), 0.0)
    asked = [made.request(REIGN, 1, bytes(32), 2.5 * turn) for turn in range(1, 5)]
    for request in asked:
        assert isinstance(request, StatusRequest)
        assert 1_000 / request.slices <= SETTINGS.status_share
        window_s = request.window_ms / 1000
        assert 1_000 / request.slices / window_s <= 1.1 * SETTINGS.status_per_s
    assert len({request.slice for request in asked if isinstance(request, StatusRequest)}) == 4


@pytest.mark.parametrize("few", [0, 1])
def test_no_more_streams_than_addresses(few: int) -> None:
    made = leader()
    made.spare = made.spare[:few]
    made.report(peer(1), status(0), 1.0)
    for tick in range(10, 30):
        run(made, tick * 0.1)
    assert len(made.streams) == few


def test_the_best_elect() -> None:
    made = leader()
    for number in range(1, 20):
        made.report(peer(number), status((1 << number) - 1, uptime_s=1000 - number), 0.0)
    made.report(peer(20), status(ALL, leads=False), 0.0)
    assert made.electorate() == (ME, *(peer(number) for number in range(19, 13, -1)))
    assert made.successor() == peer(19)


def test_those_who_say_to_hold_it_and_never_send_cost_two_turns() -> None:
    made = leader()
    senders: list[bytes] = []
    for tick in range(10, 200):
        now = tick * 0.1
        for number in range(1, 6):
            made.report(peer(number), status(ALL, up_bytes_per_s=1 << 30), now)
        made.report(peer(9), status(0), now)
        run(made, now)
        for each in made.streams:
            if each.sender == ME:
                made.sent(ME, Sent(REIGN, 1, each.number, 1, False, 1 << 20), now)
        senders += [each.sender for each in made.streams if each.sender not in senders]
    assert len(senders) == 3
    assert senders[2] == ME
