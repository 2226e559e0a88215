"""BEP 14's one message, and when it is sent."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.bittorrent import lan_agenda as la
from spinney.bittorrent import lan_messages as m
from spinney.bittorrent.lan_agenda import Agenda
from spinney.errors import WireError

ONE, TWO = b"\x01" * 20, b"\x02" * 20
PEER = ("192.168.1.7", 6881)


def test_an_announce_is_what_bep_14_prints() -> None:
    data = m.encode(m.LanAnnounce(6881, (ONE, TWO), "name of the client"))
    assert data == (
        b"BT-SEARCH * HTTP/1.1\r\n"
        b"Host: 239.192.152.143:6771\r\n"
        b"Port: 6881\r\n"
        b"Infohash: " + b"01" * 20 + b"\r\n"
        b"Infohash: " + b"02" * 20 + b"\r\n"
        b"cookie: name of the client\r\n"
        b"\r\n"
        b"\r\n"
    )
    assert b"Host: [ff15::efc0:988f]:6771\r\n" in m.encode(m.LanAnnounce(1, (ONE,)), True)


def test_what_others_send_is_read() -> None:
    # libtorrent's order and letters, and a header that nobody knows.
    said = m.decode(
        b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n"
        b"Infohash: " + b"0A" * 20 + b"\r\ninfohash:" + b"0b" * 20 + b"\r\nX-New: 1\r\n"
        b"cookie: 5ab1\r\n\r\n\r\n"
    )
    assert said == m.LanAnnounce(6881, (b"\x0a" * 20, b"\x0b" * 20), "5ab1")


def test_the_fullest_announce_stays_below_1200_bytes() -> None:
    many = [bytes([at]) * 20 for at in range(45)]
    groups = m.split(many)
    assert [len(group) for group in groups] == [20, 20, 5]
    for group in groups:
        assert len(m.encode(m.LanAnnounce(65535, group, "c" * 16), True)) <= 1200


HEAD = b"BT-SEARCH * HTTP/1.1\r\n"
HASH_LINE = b"Infohash: " + b"01" * 20 + b"\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nPort: 1\r\n" + HASH_LINE,
        HEAD + HASH_LINE,
        HEAD + b"Port: 6881\r\n",
        HEAD + b"Port: 0\r\n" + HASH_LINE,
        HEAD + b"Port: 65536\r\n" + HASH_LINE,
        HEAD + b"Port: -1\r\n" + HASH_LINE,
        HEAD + b"Port: 1\r\nPort: 2\r\n" + HASH_LINE,
        HEAD + b"Port: 1\r\nInfohash: 01\r\n",
        HEAD + b"Port: 1\r\nInfohash: " + b"zz" * 20 + b"\r\n",
        HEAD + b"Port: 1\r\nInfohash: " + b" 0" * 20 + b"\r\n",
        HEAD + b"Port: 1\r\nInfohash: " + b"01" * 9 + b"  " + b"01" * 10 + b"\r\n",
        HEAD + b"Port: 1\r\nno header\r\n" + HASH_LINE,
        HEAD + b"Port: 1\r\n" + HASH_LINE + b"X: " + b"x" * 1400,
    ],
)
def test_malformed_announces_are_one_error(data: bytes) -> None:
    with pytest.raises(WireError):
        m.decode(data)


@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from([b"Port: 1", b"Port: x", HASH_LINE.strip(), b"cookie: a", b"", b"Host: x"])
        | st.binary(max_size=20)
    ).map(lambda lines: HEAD + b"\r\n".join(lines))
)
def test_any_datagram_parses_or_is_a_wire_error(data: bytes) -> None:
    try:
        said = m.decode(data)
    except WireError:
        return
    assert 0 < said.port < 65536
    assert all(len(infohash) == 20 for infohash in said.infohashes)


# When it is sent


def agenda() -> Agenda:
    return Agenda(random.Random(1))


def test_a_torrent_is_announced_at_once_and_every_five_minutes() -> None:
    plan = agenda()
    assert plan.next_at() is None
    plan.add(ONE, 100.0)
    assert plan.next_at() == 100.0
    times, now = [], 100.0
    while now < 4000:
        assert plan.due(now) == [ONE]
        times.append(now)
        nexts = plan.next_at()
        assert nexts is not None
        assert plan.due(nexts - 0.001) == []
        now = nexts
    gaps = [late - early for early, late in itertools.pairwise(times)]
    assert all(285 <= gap <= 315 for gap in gaps)


def test_adding_a_torrent_again_is_no_way_round_the_one_minute() -> None:
    plan = agenda()
    plan.add(ONE, 0.0)
    assert plan.due(0.0) == [ONE]
    plan.remove(ONE)
    plan.add(ONE, 5.0)
    assert plan.due(59.0) == []
    assert plan.due(60.0) == [ONE]


def test_a_newcomer_is_answered_within_a_quarter_of_a_second() -> None:
    plan = agenda()
    plan.add(ONE, 0.0)
    plan.due(0.0)
    assert plan.heard(ONE, PEER, "a", 50.0)
    assert plan.due(50.01) == []
    assert plan.due(50.25) == [ONE]
    # It is known now: said again, it is neither news nor answered.
    assert not plan.heard(ONE, PEER, "a", 52.0)
    assert plan.due(60.0) == []


def test_a_restarted_program_is_a_newcomer_on_its_old_port() -> None:
    plan = agenda()
    plan.add(ONE, 0.0)
    plan.due(0.0)
    assert plan.heard(ONE, PEER, "before", 50.0)
    assert plan.due(51.0) == [ONE]
    assert plan.heard(ONE, PEER, "after", 55.0)
    assert plan.due(56.0) == [ONE]


def test_regular_announces_are_told_to_the_swarm_and_not_answered() -> None:
    plan = agenda()
    plan.add(ONE, 0.0)
    plan.due(0.0)
    plan.heard(ONE, PEER, "a", 10.0)
    plan.due(11.0)
    assert plan.heard(ONE, PEER, "a", 298.0 - 12)
    assert plan.due(284.0) == []


def test_answers_are_one_a_second_and_six_a_minute() -> None:
    plan = agenda()
    plan.add(ONE, 0.0)
    plan.due(0.0)
    answered = []
    for tick in range(2, 500):
        now = tick / 10
        plan.heard(ONE, ("192.168.1.9", tick), "x", now)
        if plan.due(now):
            answered.append(now)
    assert len(answered) == la.ANSWERS_PER_MINUTE
    assert all(b - a >= 0.9 for a, b in itertools.pairwise(answered))


def test_a_flood_of_newcomers_is_not_believed_and_not_kept() -> None:
    plan = agenda()
    plan.add(ONE, 0.0)
    believed = sum(
        plan.heard(ONE, (f"10.0.{n >> 8 & 255}.{n & 255}", 1 + n % 60000), "", 1.0)
        for n in range(5000)
    )
    assert believed == la.NEWCOMERS_PER_SECOND
    for second in range(100):
        for n in range(200):
            plan.heard(ONE, ("10.9.9.9", 1 + n + 200 * second), "", 10.0 + second * 1.01)
    assert len(plan._heard) <= la.HEARD_MAX


def test_torrents_are_bounded_and_foreign_ones_ignored() -> None:
    plan = agenda()
    for n in range(la.TORRENTS_MAX):
        assert plan.add(n.to_bytes(20, "big"), 0.0)
    assert not plan.add(ONE, 0.0)
    assert not plan.heard(ONE, PEER, "", 1.0)
    for n in range(la.TORRENTS_MAX):
        plan.remove(n.to_bytes(20, "big"))
        plan.add(b"x" * 12 + n.to_bytes(8, "big"), 0.0)
    assert len(plan._left) <= la.TORRENTS_MAX
