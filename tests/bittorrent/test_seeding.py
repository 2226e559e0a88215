"""The seeder's lever: every piece once before any piece twice."""

from __future__ import annotations

from random import Random

from spinney.bittorrent.seeding import CHOOSY_S, IDLE_S, MIN_WINDOW_PIECES, STALE_S, Ration
from spinney.content.pieces import Bitfield

PIECES, PIECE = 128, 262_144


def start(peers: int, pieces: int = PIECES) -> Ration:
    ration = Ration(pieces, PIECE, Random(1))
    for key in range(peers):
        ration.joined(key, Bitfield(pieces), f"host {key}")
    return ration


def test_no_piece_is_shown_twice_while_another_was_never_shown() -> None:
    ration = start(8)
    shown: list[int] = []
    waiting: dict[int, list[int]] = {key: [] for key in range(8)}
    for step in range(400):
        key = step % 8
        rows = ration.show(key, step * 0.1, 625_000.0)
        waiting[key] += rows
        if len(shown) < PIECES:
            assert not set(rows) & set(shown)
            shown += rows
        if waiting[key]:
            ration.asked(key, waiting[key].pop(0), step * 0.1)
    assert sorted(shown) == list(range(PIECES))


def test_several_pieces_are_in_flight_for_each_peer_and_no_more() -> None:
    ration = start(8)
    first = ration.show(0, 0.0, 0.0)
    assert len(first) == MIN_WINDOW_PIECES
    assert ration.show(0, 0.0, 0.0) == [], "the window is full until it asks"
    ration.asked(0, first[0], 0.0)
    assert len(ration.show(0, 0.0, 0.0)) == 1
    fast = ration.show(1, 0.0, 10e6)
    assert len(fast) > 30, "a fast peer never waits for the next piece"


def test_one_peer_alone_is_not_slowed() -> None:
    ration = start(1)
    assert len(ration.show(0, 0.0, 0.0)) * PIECE >= 1 << 20
    assert len(ration.show(0, 0.0, 500e6)) == PIECES - 8


def test_no_more_peers_are_shown_pieces_than_can_be_served() -> None:
    ration = start(20)
    seated = [key for key in range(20) if ration.show(key, 0.0, 0.0, seats=5)]
    assert seated == [0, 1, 2, 3, 4]
    ration.choked(2)
    assert ration.show(9, 1.0, 0.0, seats=5), "a free seat is taken at once"
    assert ration.show(2, 1.0, 0.0, seats=5) == []


def test_one_that_asks_for_nothing_loses_its_seat_and_its_pieces() -> None:
    ration = start(2, pieces=4)
    held = ration.show(0, 0.0, 0.0, seats=1)
    assert ration.show(1, IDLE_S - 1, 0.0, seats=1) == []
    assert ration.show(0, IDLE_S + 1, 0.0, seats=1) == []
    assert set(held) <= set(ration.show(1, IDLE_S + 1, 1e9, seats=1))


def test_one_that_wants_only_a_part_sees_everything_and_holds_nothing_back() -> None:
    """Chosen files: what it is shown by chance is not what it came for."""
    ration = start(2, pieces=64)
    held = ration.show(0, 0.0, 0.0, idle=True)
    assert ration.show(0, CHOOSY_S - 0.1, 0.0, idle=True) == []
    assert ration.show(0, CHOOSY_S, 0.0, idle=False) == [], "it asks again: all is well"
    assert ration.show(0, CHOOSY_S + 1, 0.0, idle=True) == []
    rest = ration.show(0, 2 * CHOOSY_S + 1, 0.0, idle=True)
    assert sorted(held + rest) == list(range(64))
    assert ration.may_ask(0, 63)
    assert set(held) <= set(ration.show(1, 10.0, 1e9)), "shown to others as if never shown"
    assert ration.active


def test_what_others_have_is_shown_only_with_upload_to_spare() -> None:
    ration = start(2, pieces=3)
    one, *_ = ration.show(0, 0.0, 1e9)
    ration.show(1, 0.0, 1e9)
    ration.has(0, one, "host 0", PIECE, 0.0)
    assert ration.show(1, 1.0, 1e9, spare=lambda: False) == []
    assert ration.show(1, 1.0, 1e9, spare=lambda: True) == [one]


def test_only_what_was_shown_may_be_asked_for() -> None:
    ration = start(2)
    rows = ration.show(0, 0.0, 0.0)
    assert ration.may_ask(0, rows[0])
    assert not ration.may_ask(1, rows[0])


def test_pieces_of_one_who_leaves_are_shown_to_others() -> None:
    ration = start(2, pieces=2)
    assert len(ration.show(0, 0.0, 1e9)) == 2
    assert ration.show(1, 0.0, 1e9) == []
    ration.left(0)
    assert len(ration.show(1, 1.0, 1e9)) == 2


def test_when_all_were_shown_the_others_see_what_is_elsewhere_and_what_takes_too_long() -> None:
    ration = start(2, pieces=2)
    one, two = ration.show(0, 0.0, 1e9)
    assert ration.show(1, 0.0, 1e9) == []
    ration.has(0, one, "host 0", PIECE, 0.0)
    assert ration.show(1, 1.0, 1e9) == [one]
    assert ration.show(1, STALE_S - 1, 1e9) == []
    assert ration.show(1, STALE_S + 1, 1e9) == [two]


def test_rationing_ends_for_good_when_every_piece_was_seen_elsewhere() -> None:
    ration = start(2, pieces=3)
    ration.show(0, 0.0, 0.0)
    for piece in range(3):
        assert ration.active
        ration.has(99, piece, "host 99", 0, 0.0)
        assert ration.active, "one address alone is not believed"
        ration.has(98, piece, "host 98", 0, 0.0)
    assert not ration.active
    assert sorted(ration.show(1, 0.0, 0.0)) == [0, 1, 2]
    ration.joined(5, Bitfield(3), "host 5")
    assert sorted(ration.show(5, 0.0, 0.0)) == [0, 1, 2]
    assert not ration.active


def test_what_a_peer_brings_along_is_elsewhere_already() -> None:
    ration = start(1, pieces=4)
    brought = Bitfield(4)
    brought.add(2)
    ration.joined(7, brought, "host 7")
    assert 2 not in ration.show(7, 0.0, 1e9)


def test_one_who_claims_everything_piece_by_piece_does_not_end_the_rationing() -> None:
    ration = start(2, pieces=8)
    for piece in range(8):
        ration.has(77, piece, "liar", 0, 0.0)
        ration.has(78, piece, "liar", 0, 0.0)
    assert ration.active, "two connections from one address are one"
    shown = ration.show(0, 0.0, 1e9)
    assert sorted(shown) == list(range(8)), "what it claims is shown to others as if new"
    assert ration.show(1, 0.0, 1e9) == []


def test_one_is_believed_a_piece_for_each_piece_that_was_sent_to_it() -> None:
    ration = start(1, pieces=4)
    for sent in range(4):
        assert ration.active
        ration.has(0, sent, "host 0", sent * PIECE + 1, 0.0)
    assert not ration.active


def test_what_one_claims_is_shown_after_what_nobody_has() -> None:
    ration = start(0, pieces=4)
    brought = Bitfield(4)
    brought.add(2)
    ration.joined(7, brought, "host 7")
    ration.joined(8, Bitfield(4), "host 8")
    shown = [*ration.show(8, 0.0, 0.0), *ration.show(8, 0.0, 3.0 * PIECE)]
    assert shown[-1] != 2 or len(shown) == 4
    for piece in shown:
        ration.asked(8, piece, 0.0)
    assert 2 in [*shown, *ration.show(8, 0.0, 1e9)]
