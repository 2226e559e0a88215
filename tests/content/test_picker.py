"""The picker: rarest first, random first pieces, priorities, suggestions, and what it costs."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from spinney.content.picker import PROBES, RANDOM_FIRST_PIECES, Picker
from spinney.content.pieces import Bitfield


def has(size: int, pieces: list[int] | range) -> Bitfield:
    field = Bitfield(size)
    for piece in pieces:
        field.add(piece)
    return field


def anything(piece: int) -> bool:
    return True


def past_the_first(picker: Picker, *pieces: int) -> None:
    """Four pieces are here: from now on the rarest is picked."""
    for piece in pieces or range(RANDOM_FIRST_PIECES):
        picker.verified(piece)


def test_the_rarest_piece_is_picked() -> None:
    for seed in range(20):
        picker = Picker(40)
        past_the_first(picker)
        for peer in range(3):
            picker.add_copies(has(40, [p for p in range(40) if p != 17 or peer == 0]))
        full = Bitfield(40, full=True)
        picker.add_copies(full)
        assert picker.pick(full, random.Random(seed), allowed=anything) == 17


def test_ties_are_broken_at_random_by_the_seed() -> None:
    picker = Picker(64)
    past_the_first(picker)
    full = Bitfield(64, full=True)
    picks = Counter(picker.pick(full, random.Random(seed), allowed=anything) for seed in range(300))
    assert len(picks) > 30
    first, again = (picker.pick(full, random.Random(5), allowed=anything) for _ in range(2))
    assert first == again


def test_the_first_four_pieces_are_random_and_not_the_rarest() -> None:
    full = Bitfield(100, full=True)
    picks = Counter()
    for seed in range(100):
        picker = Picker(100)
        picker.add_copies(full)
        picker.add_copies(has(100, range(1, 100)))  # piece 0 is the rarest
        picks[picker.pick(full, random.Random(seed), allowed=anything)] += 1
    assert picks[0] < 10
    assert len(picks) > 40
    past_the_first(picker, 1, 2, 3, 4)
    assert picker.pick(full, random.Random(1), allowed=anything) == 0


def test_priority_goes_before_rarity_and_zero_is_never_picked() -> None:
    picker = Picker(10)
    past_the_first(picker)
    full = Bitfield(10, full=True)
    picker.add_copies(has(10, [7]))
    picker.set_priority(7, 7)
    for piece in (4, 5, 6, 8):
        picker.set_priority(piece, 0)
        assert piece not in picker.candidates
    rng = random.Random(1)
    assert picker.pick(full, rng, allowed=anything) == 7
    picker.withdraw(7)
    assert picker.pick(full, rng, allowed=anything) == 9
    picker.withdraw(9)
    assert picker.pick(full, rng, allowed=anything) is None
    picker.set_priority(4, 4)
    picker.offer(4)
    assert picker.pick(full, rng, allowed=anything) == 4


def test_a_suggestion_wins_among_equals_only() -> None:
    picker = Picker(50)
    past_the_first(picker)
    full = Bitfield(50, full=True)
    picker.add_copies(has(50, [30]))
    rng = random.Random(1)
    assert picker.pick(full, rng, allowed=anything, suggested=[40]) == 40
    assert picker.pick(full, rng, allowed=anything, suggested=[30]) != 30  # more common
    assert picker.pick(full, rng, allowed=lambda p: p != 40, suggested=[40]) != 40


def test_the_policy_and_the_allowed_fast_set_are_kept() -> None:
    picker = Picker(1000)
    full = Bitfield(1000, full=True)
    rng = random.Random(1)
    small = has(1000, [5, 6])
    assert picker.pick(full, rng, allowed=lambda p: p == 6, within=small) == 6
    assert picker.pick(full, rng, allowed=lambda p: False) is None
    past_the_first(picker)
    assert picker.pick(full, rng, allowed=lambda p: p == 6, within=small) == 6
    assert picker.pick(full, rng, allowed=lambda p: False) is None


@settings(max_examples=60, deadline=None)
@given(seed=some.integers(0, 10_000), steps=some.integers(10, 120))
def test_buckets_agree_with_a_plain_model(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    size = 30
    picker = Picker(size)
    peers: list[Bitfield] = []
    begun: set[int] = set()
    here: set[int] = set()
    for _ in range(steps):
        action = rng.randrange(6)
        piece = rng.randrange(size)
        if action == 0:
            field = has(size, [p for p in range(size) if rng.random() < 0.5])
            picker.add_copies(field)
            peers.append(field)
        elif action == 1 and peers:
            picker.remove_copies(peers.pop(rng.randrange(len(peers))))
        elif action == 2 and peers:
            field = rng.choice(peers)
            if piece not in field and field.count < size - 1:
                field.add(piece)
                picker.add_copy(piece)
        elif action == 3:
            picker.withdraw(piece)
            begun.add(piece)
        elif action == 4 and piece not in here:
            picker.offer(piece)
            begun.discard(piece)
        elif action == 5:
            picker.verified(piece)
            here.add(piece)
            begun.add(piece)
        copies = [sum(p in field for field in peers) for p in range(size)]
        with_own = [copies[p] + (p in here) for p in range(size)]
        least = min(with_own)
        expected = least + sum(1 for n in with_own if n > least) / size
        assert picker.availability() == pytest.approx(expected)
        free = [p for p in range(size) if p not in begun and copies[p]]
        if len(here) >= RANDOM_FIRST_PIECES:
            everyone = has(size, [p for p in range(size) if copies[p]])
            if not everyone.full:
                found = picker.pick(everyone, rng, allowed=anything)
                rarest = min((copies[p] for p in free), default=None)
                assert (found is None) == (not free)
                if found is not None:
                    assert copies[found] == rarest


def test_one_who_has_little_is_served_the_rarest_of_it() -> None:
    size = 20_000
    picker = Picker(size)
    past_the_first(picker)
    picker.add_copies(has(size, range(size - 1)))  # all common but the last
    poor = has(size, [777, 9_999, 15_000])
    picker.add_copies(poor)
    picker.add_copies(has(size, [777, 15_000]))
    assert size > PROBES
    assert picker.pick(poor, random.Random(1), allowed=anything) == 9_999


def test_a_choice_among_100_000_pieces_and_50_peers_is_no_scan() -> None:
    size, rng = 100_000, random.Random(3)
    picker = Picker(size)
    past_the_first(picker)
    peers = [Bitfield(size, full=True) for _ in range(25)]
    peers += [has(size, range(n, size, 97 + n)) for n in range(25)]
    for peer in peers:
        picker.add_copies(peer)
    begun = time.process_time()
    for number in range(2000):
        piece = picker.pick(peers[number % 50], rng, allowed=anything)
        assert piece is not None
        picker.withdraw(piece)
    each = (time.process_time() - begun) / 2000
    assert each < 0.001, f"{each * 1e6:.0f} us a choice: a scan over all pieces takes 10 ms"


def test_availability_is_the_measure_of_the_lecture() -> None:
    picker = Picker(4)
    assert picker.availability() == 0.0
    picker.add_copies(has(4, [0, 1]))
    assert picker.availability() == 0.5  # half of the pieces are somewhere
    picker.add_copies(has(4, [2]))
    picker.verified(3)
    assert picker.availability() == 1.0
    picker.add_copies(Bitfield(4, full=True))
    assert picker.availability() == 2.0
    picker.verified(0)
    assert picker.availability() == 2.25
