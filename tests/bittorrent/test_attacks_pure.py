"""The nouns that keep adversaries within bounds, without any network."""

from __future__ import annotations

from hashlib import sha1
from types import SimpleNamespace
from typing import Any

from spinney.bittorrent.metadata import MAX_REFUSALS, MAX_SIZES, PIECE_BYTES, TIMEOUT_S, TURN_S
from spinney.bittorrent.metadata import MetadataFetch as Fetch
from spinney.bittorrent.roster import USELESS_S, weakest

INFO = bytes(range(256)) * 160  # 40,960 bytes: three pieces
LIAR, HONEST = 1, 2


def give(fetch: Fetch, key: int, piece: int, *, lie: bool = False) -> None:
    data = INFO[piece * PIECE_BYTES : (piece + 1) * PIECE_BYTES]
    fetch.received(key, piece, bytes(len(data)) if lie else data)


def test_one_who_is_tried_alone_and_falls_silent_gives_way() -> None:
    fetch = Fetch([sha1(INFO).digest()])
    fetch.joined(LIAR, len(INFO))
    assert fetch.requests(0.0) == [(LIAR, 0), (LIAR, 1), (LIAR, 2)]
    fetch.joined(HONEST, len(INFO))
    fetch.rejected(LIAR, 2)
    give(fetch, LIAR, 0, lie=True)
    give(fetch, LIAR, 1)
    assert fetch.requests(0.0) in ([(LIAR, 2)], [(HONEST, 2)])
    fetch.rejected(LIAR, 2)
    fetch.requests(0.0)
    fetch._peers[LIAR].refusals = 0  # whatever the order was: it is the first to be tried
    fetch._peers[HONEST].asked.setdefault(2, 0.0)
    give(fetch, HONEST, 2)
    assert fetch.info_bytes is None, "somebody lied"
    assert fetch.requests(0.0) == [(LIAR, 0), (LIAR, 1), (LIAR, 2)]
    assert fetch.requests(TIMEOUT_S + 1) == [(HONEST, 0), (HONEST, 1), (HONEST, 2)]
    for piece in range(3):
        give(fetch, HONEST, piece)
    assert fetch.info_bytes == INFO


def test_made_up_lengths_answered_just_in_time_take_turns_with_the_true_one() -> None:
    fetch = Fetch([sha1(INFO).digest()])
    liars = range(10, 10 + MAX_SIZES)
    for key in liars:
        fetch.joined(key, 9_000_000 + key)
    now = 0.0
    waiting: dict[int, list[int]] = {key: [] for key in liars}
    for key, piece in fetch.requests(now):
        waiting[key].append(piece)
    fetch.joined(HONEST, len(INFO))
    while now < 3 * TURN_S:
        now += TIMEOUT_S - 1
        for key in liars:
            for piece in waiting[key]:
                fetch.received(key, piece, bytes(PIECE_BYTES))
            waiting[key] = []
        rows = fetch.requests(now)
        for key, piece in rows:
            if key == HONEST:
                give(fetch, HONEST, piece)
            else:
                waiting[key].append(piece)
        if fetch.info_bytes is not None:
            break
    assert fetch.info_bytes == INFO
    assert now < 2 * TURN_S


def test_saying_a_length_again_forgives_nothing() -> None:
    fetch = Fetch([sha1(INFO).digest()])
    fetch.joined(LIAR, len(INFO))
    for _ in range(MAX_REFUSALS):
        for key, piece in fetch.requests(0.0)[:1]:
            fetch.rejected(key, piece)
        fetch.joined(LIAR, len(INFO))
    assert fetch.requests(0.0) == []


def member(key: int, moved_at: float) -> Any:
    return SimpleNamespace(
        key=key,
        interested=True,
        connected_at=0.0,
        uploader=SimpleNamespace(moved_at=moved_at),
        downloader=SimpleNamespace(interested=False, moved_at=0.0),
    )


def test_one_with_whom_no_byte_moved_gives_its_place_to_a_newcomer() -> None:
    newcomer, now = ("203.0.113.9", 5), 2 * USELESS_S
    busy, waiting = member(1, now - 1), member(2, 0.0)
    assert weakest([busy, waiting], newcomer, [], now) is waiting
    assert weakest([busy], newcomer, [], now) is None
    assert weakest([busy, waiting], newcomer, [], USELESS_S / 2) is None, "it came just now"
