"""Who is given pieces by a young seed and gives none on is passed over."""

from __future__ import annotations

from random import Random

from spinney.bittorrent.seeding import Ration
from spinney.bittorrent.spreading import BARREN_PIECES, BARREN_S, Spreading
from spinney.content.pieces import Bitfield

PIECES, PIECE = 64, 32_768


def test_one_that_keeps_what_it_is_given_is_barren_after_a_while() -> None:
    spreading = Spreading()
    for piece in range(BARREN_PIECES):
        spreading.got(1, piece, "one", 0.0)
    assert not spreading.is_barren(1, BARREN_S - 0.1), "others have had no time to fetch it"
    assert spreading.is_barren(1, BARREN_S)
    assert not spreading.is_barren(2, BARREN_S)


def test_one_that_spreads_a_part_is_not() -> None:
    spreading = Spreading()
    for piece in range(20):
        spreading.got(1, piece, "one", 0.0)
    for piece in range(5):
        spreading.claimed(piece, 2)
    assert not spreading.is_barren(1, 100.0)
    spreading.got(1, 20, "one", 0.0)
    assert spreading.is_barren(1, 100.0)
    spreading.claimed(20, 1)  # its own word says nothing
    assert spreading.is_barren(1, 100.0)


def test_what_is_taken_back_is_remembered_and_no_longer_its_merit() -> None:
    spreading = Spreading()
    for piece in range(6):
        spreading.got(1, piece, "one", float(piece))
    assert spreading.take_back(1, BARREN_S + 3.5) == dict.fromkeys(range(4), "one")
    for piece in range(4):
        spreading.claimed(piece, 2)  # which has them from the seed
    assert spreading.is_barren(1, BARREN_S + 3.5)
    spreading.left(1)
    assert not spreading.is_barren(1, 100.0)
    spreading.claimed(5, 2)


def given(ration: Ration, key: int, now: float) -> list[int]:
    """What it is shown, it takes."""
    rows = ration.show(key, now, 0.0, seats=2)
    for piece in rows:
        ration.asked(key, piece, now)
        ration.has(key, piece, f"host {key}", PIECES * PIECE, now)
    return rows


def started(peers: int) -> Ration:
    ration = Ration(PIECES, PIECE, Random(1))
    for key in range(peers):
        ration.joined(key, Bitfield(PIECES), f"host {key}")
    return ration


def test_others_are_shown_what_a_barren_one_keeps_and_its_seat_is_free() -> None:
    ration = started(4)
    kept: list[int] = []
    for step in range(3):
        kept += given(ration, 0, 0.1 * step)
        for piece in given(ration, 1, 0.1 * step):
            ration.has(2, piece, "host 2", 0, 0.1 * step)
    assert given(ration, 3, 1.0) == [], "both seats are taken"
    assert given(ration, 0, 10.0) == []
    shown: list[int] = []
    for step in range(100):
        now = 10.0 + step
        for piece in given(ration, 3, now):  # the seat is free
            shown.append(piece)
            ration.has(2, piece, "host 2", 0, now)
    assert set(kept) <= set(shown)


def test_where_all_are_barren_nobody_is() -> None:
    """One that is alone, or among its like, gets everything."""
    for peers in (1, 2):
        ration = started(peers)
        now = 0.0
        shown: set[int] = set()
        while ration.active and now < 200.0:
            for key in range(peers):
                shown.update(given(ration, key, now))
            now += 1.0
        assert shown == set(range(PIECES))
        assert not ration.active
