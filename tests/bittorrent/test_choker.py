"""Choking as BEP 3 and the lectures have it, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from spinney.bittorrent.choker import Choker, ChokerPeer, slots_for


def peer(key: int, down: float = 0.0, up: float = 0.0, **more: object) -> ChokerPeer:
    row = ChokerPeer(
        key=key,
        interested=True,
        unchoked=False,
        download_bytes_per_s=down,
        upload_bytes_per_s=up,
        snubbed=False,
        connected_at=0.0,
        unchoked_at=0.0,
    )
    return replace(row, **more)  # type: ignore[arg-type]


def test_downloaders_prefer_those_who_give_the_highest_rates() -> None:
    peers = [peer(key, down=key * 100.0) for key in range(20)]
    chosen = Choker().review(1_000.0, peers, 5, Random(1), seeding=False)
    assert set(chosen) >= {16, 17, 18, 19}
    assert len(chosen) == 5


def test_only_the_interested_get_slots() -> None:
    peers = [peer(1, down=900.0, interested=False), peer(2)]
    assert Choker().review(0.0, peers, 4, Random(1), seeding=False) == [2]
    assert Choker().fill(0.0, peers, 4, seeding=False) == ([2], [])


def test_one_slot_in_five_goes_round_by_chance_every_third_round() -> None:
    peers = [peer(key, down=1_000.0 if key < 4 else 0.0) for key in range(30)]
    choker, rng = Choker(), Random(7)
    lucky = []
    for round_number in range(90):
        chosen = choker.review(1e4 + 10.0 * round_number, peers, 5, rng, seeding=False)
        assert {0, 1, 2, 3} <= set(chosen)
        lucky.append(next(key for key in chosen if key > 3))
    assert all(lucky[at] == lucky[at + 1] == lucky[at + 2] for at in range(0, 90, 3))
    assert all(lucky[at] != lucky[at + 3] for at in range(0, 87, 3)), "it moves on"
    assert len(set(lucky)) > 12


def test_newcomers_are_three_times_as_likely() -> None:
    peers = [peer(key, connected_at=0.0 if key % 2 else 990.0) for key in range(40)]
    hits = 0
    for seed in range(400):
        chosen = Choker().review(1_000.0, peers, 4, Random(seed), seeding=False)
        hits += chosen[-1] % 2 == 0
    assert 0.66 < hits / 400 < 0.84


def test_a_free_slot_is_given_at_once_and_never_more_than_there_are() -> None:
    peers = [peer(1, unchoked=True), peer(2, down=5.0), peer(3, down=9.0), peer(4, down=7.0)]
    assert Choker().fill(0.0, peers, 3, seeding=False) == ([3, 4], [])
    assert Choker().fill(0.0, peers, 1, seeding=False) == ([], [])


def test_one_that_is_no_longer_interested_gives_its_slot_to_who_waits() -> None:
    peers = [peer(1, unchoked=True, interested=False), peer(2, unchoked=True)]
    assert Choker().fill(0.0, peers, 2, seeding=False) == ([], []), "nobody waits"
    peers.append(peer(3))
    assert Choker().fill(0.0, peers, 3, seeding=False) == ([3], [])
    assert Choker().fill(0.0, peers, 2, seeding=False) == ([3], [1])


def test_one_who_snubs_us_loses_its_regular_slot() -> None:
    peers = [peer(key, down=100.0) for key in range(1, 6)]
    peers.append(peer(9, down=9_999.0, snubbed=True))
    for seed in range(20):
        choker = Choker()
        chosen = choker.review(1_000.0, peers, 4, Random(seed), seeding=False)
        assert 9 not in chosen[:3]


def test_a_seed_keeps_the_fastest_takers() -> None:
    peers = [peer(key, up=key * 100.0) for key in range(10)]
    assert Choker().review(0.0, peers, 4, Random(1), seeding=True) == [9, 8, 7, 6]


def test_a_seed_in_turn_serves_everybody() -> None:
    choker, rng = Choker(seed_in_turn=True), Random(3)
    peers = {key: peer(key, up=100.0 * key) for key in range(12)}
    served: set[int] = set()
    for now in range(0, 600, 10):
        chosen = choker.review(float(now), list(peers.values()), 4, rng, seeding=True)
        served.update(chosen)
        for key, row in peers.items():
            fresh = key in chosen and not row.unchoked
            peers[key] = replace(
                row,
                unchoked=key in chosen,
                unchoked_at=float(now) if fresh else row.unchoked_at,
            )
    assert served == set(range(12))


def test_the_next_turn_is_for_who_had_least_beyond_what_it_gave() -> None:
    """A freeloader that takes fast does not live on the seed alone."""
    rows = [replace(peer(key, up=100.0), debt_bytes=(4 - key) << 20) for key in range(5)]
    rows.append(peer(5, up=100.0, debt_bytes=9 << 20, unchoked=True, unchoked_at=1.0))
    choker = Choker(seed_in_turn=True)
    early = choker.review(10.0, rows, 2, Random(1), seeding=True)
    assert early == [5, 4], "its turn is not over"
    late = choker.review(30.0, rows, 2, Random(1), seeding=True)
    assert late == [4, 3]


def test_a_full_house_is_seen_without_looking_at_those_who_wait() -> None:
    choker = Choker()
    served = [peer(key, down=1.0, unchoked=True) for key in range(4)]
    assert not choker.may_fill(served, 4, seeding=False)
    assert choker.may_fill(served, 5, seeding=False)
    taker = replace(served[0], download_bytes_per_s=0.0, debt_bytes=1 << 20)
    assert choker.may_fill([taker, *served[1:]], 4, seeding=False), "a giver may take its place"
    assert not choker.may_fill([taker, *served[1:]], 4, seeding=True)


def test_slots_follow_the_line() -> None:
    assert [slots_for(rate) for rate in (0, 100e3, 320e3, 5e6, 50e6, 1e9)] == [4, 4, 4, 15, 50, 50]


def test_the_same_input_gives_the_same_choice() -> None:
    peers = [peer(key, down=key % 3 * 10.0) for key in range(30)]
    one = [Choker().review(0.0, peers, 6, Random(5), seeding=False) for _ in range(2)]
    assert one[0] == one[1]


def test_among_those_who_give_nothing_now_the_one_who_owes_least_is_served() -> None:
    peers = [peer(1, debt_bytes=900_000), peer(2, debt_bytes=200_000), peer(3, debt_bytes=-5)]
    assert Choker().fill(0.0, peers, 2, seeding=False) == ([3, 2], [])
    peers.append(peer(4, down=10.0, debt_bytes=5_000_000))
    assert Choker().fill(0.0, peers, 1, seeding=False) == ([4], [])


def test_who_has_no_slots_serves_nobody() -> None:
    peers = [peer(key, down=5.0) for key in range(4)]
    assert Choker().review(0.0, peers, 0, Random(1), seeding=False) == []
    assert Choker().fill(0.0, peers, 0, seeding=False) == ([], [])


def test_who_gives_takes_its_slot_back_from_one_who_only_takes() -> None:
    """Interest comes and goes with every piece; freeloaders must not live on such moments."""
    taker = peer(1, unchoked=True, debt_bytes=500_000)
    owing_little = peer(2, unchoked=True, debt_bytes=20_000)
    peers = [taker, owing_little, peer(3, down=50.0), peer(4, down=40.0)]
    assert Choker().fill(0.0, peers, 2, seeding=False) == ([3], [1])
    assert Choker().fill(0.0, peers, 2, seeding=True) == ([], [])
    lucky = Choker()
    lucky.optimistic = [1]
    assert lucky.fill(0.0, peers, 2, seeding=False) == ([], []), "chance keeps its slot"
