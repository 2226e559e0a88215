"""Which addresses are dialled, in which order, how often, and which never."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from spinney.bittorrent.peers import BACK_OFF_S, MAX_FAILURES, PER_HOST, Candidates
from spinney.bittorrent.roster import RACE_S, keep_new
from spinney.net.guard import may_dial

OWN = [("198.51.100.9", 6881)]


def addresses(count: int, net: str = "203.0.113") -> list[tuple[str, int]]:
    return [(f"{net}.{at + 1}", 6881) for at in range(count)]


def test_fewest_failures_then_the_most_trusted_source_comes_first() -> None:
    rows = Candidates(100)
    pex, tracker, link = addresses(3)
    rows.found([pex], "pex:192.0.2.1")
    rows.found([tracker], "tracker")
    rows.found([link], "link")
    assert rows.choose(0.0, 1, OWN, seeding=False) == [link]
    rows.dialling(link)
    rows.failed(link, 0.0)
    assert rows.choose(1e9, 2, OWN, seeding=False) == [tracker, pex]
    assert link in rows.choose(1e9, 3, OWN, seeding=False)


def test_an_address_that_fails_waits_longer_each_time_and_is_forgotten() -> None:
    rows = Candidates(10)
    (one,) = addresses(1)
    rows.found([one], "tracker")
    now = 0.0
    for failures in range(1, MAX_FAILURES):
        assert rows.choose(now, 5, OWN, seeding=False) == [one]
        rows.dialling(one)
        assert rows.choose(now, 5, OWN, seeding=False) == [], "not twice at a time"
        rows.failed(one, now)
        wait_s = BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1]
        assert rows.choose(now + wait_s - 0.1, 5, OWN, seeding=False) == []
        now += wait_s
    rows.failed(one, now)
    assert len(rows) == 0


def test_one_that_hangs_up_at_once_is_not_dialled_in_a_circle() -> None:
    rows = Candidates(10)
    (one,) = addresses(1)
    rows.found([one], "link")
    rows.dialling(one)
    rows.ended(one, 10.0, stayed_s=0.1)
    assert rows.choose(11.0, 5, OWN, seeding=False) == []
    rows.dialling(one)
    rows.ended(one, 100.0, stayed_s=60.0)
    assert rows.choose(103.0, 5, OWN, seeding=False) == [one]


def test_the_list_is_bounded_and_strangers_do_not_push_out_the_known() -> None:
    rows = Candidates(50)
    rows.found(addresses(30), "tracker")
    rows.found(addresses(200, "198.18.0"), "pex:192.0.2.1")
    assert len(rows) == 50
    kept = rows.choose(0.0, 50, OWN, seeding=False)
    assert set(addresses(30)) <= set(kept)
    assert rows.found(addresses(10, "198.19.0"), "user") == 10
    assert len(rows) == 50


def test_private_addresses_are_dialled_only_at_the_word_of_the_private() -> None:
    rows = Candidates(50, may_dial)
    private = [("10.0.0.7", 6881), ("192.168.1.4", 6881), ("fd00::1", 6881)]
    assert rows.found(private, "tracker:93.184.216.34:80") == 0
    assert rows.found(private, "pex:93.184.216.34") == 0
    assert rows.refused == 6
    assert rows.found(private[:1], "pex:10.0.0.9") == 1
    assert rows.found(private[1:2], "lan") == 1
    assert rows.found(private[2:], "link") == 1


def test_nobody_is_dialled_who_lied_or_is_ourselves_or_no_address() -> None:
    rows = Candidates(50)
    one, two, three = addresses(3)
    rows.found([one, two, (one[0], 99)], "tracker")
    rows.ban(one[0])
    rows.own(two)
    rows.found([one, two, three, ("203.0.113.9", 0), ("224.0.0.1", 5), ("no", 5)], "link")
    assert rows.choose(0.0, 9, OWN, seeding=False) == [three]
    assert rows.banned(one[0])


def test_a_seed_does_not_dial_seeds() -> None:
    rows = Candidates(50)
    one, two = addresses(2)
    rows.found([one, two], "tracker")
    rows.is_seed(one)
    assert rows.choose(0.0, 9, OWN, seeding=True) == [two]
    assert rows.choose(0.0, 9, OWN, seeding=False) == [one, two]


def test_one_host_has_few_places_unless_the_user_named_it() -> None:
    rows = Candidates(1_000)
    ports = [("203.0.113.5", port) for port in range(1_000, 1_500)]
    assert rows.found(ports, "lan:203.0.113.5") == PER_HOST
    assert rows.found(ports, "pex:192.0.2.1") == 0
    assert rows.found(ports[100:120], "user") == 20
    for address in ports[:PER_HOST]:
        rows.forget(address)
    for address in ports[100:120]:
        rows.forget(address)
    assert rows.found(ports, "tracker") == PER_HOST, "who was forgotten takes no place"
    assert rows.found([("127.0.0.1", port) for port in range(1, 200)], "lan") == 199


def test_a_flood_of_made_up_addresses_leaves_attempts_for_the_true_ones() -> None:
    rows = Candidates(1_000)
    rows.found(addresses(200, "198.18.0"), "pex:192.0.2.1")
    assert len(rows.choose(0.0, 24, OWN, seeding=False, half_open=24)) == 16
    rows.found(addresses(200, "198.18.1"), "tracker")
    assert len(rows.choose(0.0, 24, OWN, seeding=False, half_open=24)) == 20
    assert len(rows.choose(0.0, 8, OWN, seeding=False, half_open=24, opening=16)) == 4
    assert rows.choose(0.0, 4, OWN, seeding=False, half_open=24, opening=20) == []
    link = addresses(1)
    rows.found(link, "link")
    assert rows.choose(0.0, 4, OWN, seeding=False, half_open=24, opening=20) == link


def test_of_two_connections_both_ends_keep_the_one_that_the_greater_id_dialled() -> None:
    remote = ("192.0.2.7", 6881)
    dialled: Any = SimpleNamespace(outgoing=True, remote=remote)
    accepted: Any = SimpleNamespace(outgoing=False, remote=remote)
    small, great = b"-SY-aaaa", b"-SY-zzzz"
    for first_by_great in (True, False):
        at_great = (dialled, accepted) if first_by_great else (accepted, dialled)
        at_small = at_great[::-1]
        new_stays = not first_by_great
        assert keep_new(great, small, *at_great, old_age_s=0.1) == new_stays
        assert keep_new(small, great, *at_small, old_age_s=0.1) == new_stays
        assert not keep_new(great, small, *at_great, old_age_s=RACE_S + 1)
    assert not keep_new(great, small, accepted, accepted, old_age_s=0.1)


@pytest.mark.parametrize("outgoing", [True, False])
def test_of_two_connections_by_both_families_both_ends_keep_the_same(outgoing: bool) -> None:
    """A link that names a machine by IPv4 and IPv6 has it dialled by both at once, and each end may
    hear of another one first: each kept its own, and both ended, for two seconds."""
    four: Any = SimpleNamespace(outgoing=outgoing, remote=("127.0.0.1", 6881))
    six: Any = SimpleNamespace(outgoing=outgoing, remote=("::1", 6881))
    for ids in ((b"-SY-aaaa", b"-SY-zzzz"), (b"-SY-zzzz", b"-SY-aaaa")):
        assert keep_new(*ids, four, six, old_age_s=0.1)
        assert not keep_new(*ids, six, four, old_age_s=0.1)
        assert not keep_new(*ids, four, six, old_age_s=RACE_S + 1)
