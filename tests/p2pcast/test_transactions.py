"""Small transactions: every state meets every input; lost, late, repeated, reordered calls; a
coordinator that dies between its words."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinney.p2pcast.place import Place, empty_place
from spinney.p2pcast.plans.draft import Plan
from spinney.p2pcast.transactions import (
    DOUBT_S,
    REMEMBERED,
    REMEMBERED_S,
    Lock,
    Outcome,
    Participant,
    Round,
    Send,
    Stage,
    Vote,
)

OLD = replace(empty_place(1, 2), version=4)
NEW = replace(OLD, parents=(7, 8), version=5)
TX, OTHER = b"one-----", b"other---"


def lock(transaction: bytes = TX, version: int = 4, place: Place | None = NEW) -> Lock:
    return Lock(transaction, version, place, 9, (2, 3))


def test_agreed_then_applied() -> None:
    peer = Participant()
    assert peer.lock(OLD, lock(), 0.0) is Vote.OK
    assert peer.apply(TX, 0.1) == (Outcome.APPLIED, NEW)
    assert peer.held is None


def test_agreed_then_undone() -> None:
    peer = Participant()
    peer.lock(OLD, lock(), 0.0)
    assert peer.undo(TX, 0.1) is Outcome.UNDONE
    assert peer.held is None


def test_who_holds_a_lock_is_busy_for_others() -> None:
    peer = Participant()
    peer.lock(OLD, lock(), 0.0)
    assert peer.lock(OLD, lock(OTHER), 0.1) is Vote.BUSY
    assert peer.apply(OTHER, 0.2) == (Outcome.UNKNOWN, None)
    assert peer.held is not None


def test_a_plan_from_another_version_is_stale() -> None:
    assert Participant().lock(OLD, lock(version=3), 0.0) is Vote.STALE


@pytest.mark.parametrize(
    "place",
    [
        replace(NEW, version=6),
        replace(NEW, name=2),
        replace(NEW, spare=2),
        replace(NEW, since=3.0),
        empty_place(1, 3),
    ],
)
def test_a_place_that_does_not_follow_is_refused(place: Place) -> None:
    assert Participant().lock(OLD, lock(place=place), 0.0) is Vote.ILLEGAL


def test_a_place_against_the_rules_is_refused() -> None:
    peer = Participant(lambda old, new: new.parents[0] != 7)
    assert peer.lock(OLD, lock(), 0.0) is Vote.ILLEGAL


def test_who_only_holds_still_keeps_its_place() -> None:
    peer = Participant()
    assert peer.lock(OLD, lock(place=None), 0.0) is Vote.OK
    assert peer.apply(TX, 0.1) == (Outcome.APPLIED, None)


def test_repeated_calls_change_nothing_twice() -> None:
    peer = Participant()
    assert peer.lock(OLD, lock(), 0.0) is Vote.OK
    assert peer.lock(OLD, lock(), 0.1) is Vote.OK
    assert peer.apply(TX, 0.2) == (Outcome.APPLIED, NEW)
    assert peer.apply(TX, 0.3) == (Outcome.APPLIED, None)
    assert peer.lock(NEW, lock(), 0.4) is Vote.OK
    assert peer.held is None


def test_an_undo_that_overtook_its_lock_holds() -> None:
    peer = Participant()
    peer.undo(TX, 0.0)
    assert peer.lock(OLD, lock(), 0.1) is Vote.ILLEGAL
    assert peer.held is None


def test_what_was_undone_is_not_applied_later_and_the_reverse() -> None:
    peer = Participant()
    peer.lock(OLD, lock(), 0.0)
    peer.undo(TX, 0.1)
    assert peer.apply(TX, 0.2) == (Outcome.UNDONE, None)
    peer.lock(OLD, lock(OTHER), 0.3)
    peer.apply(OTHER, 0.4)
    assert peer.undo(OTHER, 0.5) is Outcome.APPLIED


INPUTS = ("lock", "apply", "undo", "lock other", "apply other", "undo other", "resolve", "doubt")


def throw(peer: Participant, place: Place, what: str, now: float) -> Place:
    """One input; the place afterwards."""
    verb, _, other = what.partition(" ")
    transaction = OTHER if other else TX
    new: Place | None = None
    if verb == "lock":
        wanted = replace(place, parents=(7, 8), version=place.version + 1)
        assert peer.lock(place, Lock(transaction, place.version, wanted, 9), now) in Vote
    elif verb == "apply":
        new = peer.apply(transaction, now)[1]
    elif verb == "undo":
        assert peer.undo(transaction, now) in (Outcome.APPLIED, Outcome.UNDONE)
    elif verb == "resolve" and peer.held is not None:
        new = peer.resolve(peer.held, [Outcome.UNKNOWN, Outcome.APPLIED], now)
    elif verb == "doubt":
        assert peer.doubtful(now) in (None, peer.held)
    if new is not None:
        assert new.version == place.version + 1
        return new
    return place


def test_every_state_meets_every_input() -> None:
    for inputs in product(INPUTS, repeat=4):
        meet(inputs)


def meet(inputs: tuple[str, ...]) -> None:
    peer, place = Participant(), OLD
    ended: dict[bytes, Outcome] = {}
    for at, what in enumerate(inputs):
        place = throw(peer, place, what, float(at))
        for transaction in (TX, OTHER):
            outcome = peer.outcome(transaction)
            if transaction in ended:
                assert outcome is ended[transaction], "an end is an end"
            elif outcome in (Outcome.APPLIED, Outcome.UNDONE):
                ended[transaction] = outcome
    applied = sum(outcome is Outcome.APPLIED for outcome in ended.values())
    assert place.version == OLD.version + applied


def test_without_a_decision_doubt_comes() -> None:
    peer = Participant()
    peer.lock(OLD, lock(), 1.0)
    assert peer.doubtful(1.0 + DOUBT_S - 0.01) is None
    assert peer.doubtful(1.0 + DOUBT_S) == lock()


@pytest.mark.parametrize(
    ("heard", "ends"),
    [
        ([], Outcome.UNDONE),
        ([Outcome.HELD, Outcome.UNKNOWN], Outcome.UNDONE),
        ([Outcome.HELD, Outcome.APPLIED], Outcome.APPLIED),
    ],
)
def test_a_doubt_ends_by_what_the_others_did(heard: list[Outcome], ends: Outcome) -> None:
    peer = Participant()
    peer.lock(OLD, lock(), 0.0)
    held = peer.doubtful(DOUBT_S)
    assert held is not None
    place = peer.resolve(held, heard, DOUBT_S)
    assert (place is NEW) is (ends is Outcome.APPLIED)
    assert peer.outcome(TX) is ends
    assert peer.resolve(held, [Outcome.APPLIED], DOUBT_S) is None


def test_outcomes_are_bounded_in_number_and_age() -> None:
    peer = Participant()
    for number in range(3 * REMEMBERED):
        peer.undo(number.to_bytes(8, "big"), 1.0)
    assert len(peer._outcomes) == REMEMBERED
    peer.undo(TX, 1.0 + REMEMBERED_S)
    assert list(peer._outcomes) == [TX]


# -- the coordinator ----------------------------------------------------------------------------

PLAN = Plan("test", {1: 4, 2: 0, 3: 7}, {1: NEW}, ())


def test_all_agree_and_all_are_told() -> None:
    change = Round(TX, PLAN)
    assert change.begin() == [Send("lock", 1), Send("lock", 2), Send("lock", 3)]
    assert change.voted(1, Vote.OK) == []
    assert change.voted(3, Vote.OK) == []
    assert change.voted(3, Vote.OK) == [], "once"
    assert change.voted(2, Vote.OK) == [Send("apply", 1), Send("apply", 2), Send("apply", 3)]
    assert change.decided
    for name in (1, 2, 3):
        change.told(name, Outcome.APPLIED)
    assert change.stage is Stage.ENDED
    assert change.decided
    assert change.failed == []


@pytest.mark.parametrize("vote", [Vote.STALE, Vote.BUSY, Vote.ILLEGAL, None])
def test_one_refuses_or_is_silent_and_all_are_told_to_undo(vote: Vote | None) -> None:
    change = Round(TX, PLAN)
    change.voted(1, Vote.OK)
    assert change.voted(2, vote) == [Send("undo", 1), Send("undo", 2), Send("undo", 3)]
    assert change.voted(3, Vote.OK) == []
    assert not change.decided
    assert change.refused == {2: vote}
    for name in (1, 2, 3):
        change.told(name, None)
    assert change.stage is Stage.ENDED
    assert not change.decided


def test_who_had_given_up_is_known_as_failed() -> None:
    change = Round(TX, PLAN)
    for name in (1, 2, 3):
        change.voted(name, Vote.OK)
    change.told(1, Outcome.UNDONE)
    change.told(2, None)
    change.told(3, Outcome.APPLIED)
    assert change.failed == [1, 2]


def test_the_dead_are_not_asked() -> None:
    assert Round(TX, PLAN, absent=[2]).begin() == [Send("lock", 1), Send("lock", 3)]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_votes_may_come_in_any_order(order: tuple[int, ...]) -> None:
    change = Round(TX, PLAN)
    sent = [change.voted(order_name + 1, Vote.OK) for order_name in order]
    assert [len(each) for each in sent] == [0, 0, 3]


# -- both over a network that loses, repeats and reorders; the coordinator may die -----------------


@given(st.integers(0, 1 << 32), st.integers(0, 14))
@settings(max_examples=200, deadline=None)
def test_whatever_the_network_does_who_is_asked_in_doubt_brings_all_to_one_end(
    seed: int, dies_after: int
) -> None:
    """Calls are lost, repeated and reordered, the coordinator dies after some of its words; then
    those in doubt ask each other, over a network that works: nobody holds a lock, and if all of
    them asked in time all ended alike."""
    rng = Random(seed)
    peers = {name: Participant() for name in (1, 2, 3)}
    places = {name: replace(empty_place(name, 2), version=4) for name in peers}
    news = {name: replace(place, parents=(7, 8), version=5) for name, place in places.items()}
    change = Round(TX, Plan("test", dict.fromkeys(peers, 4), news, ()))
    mail = [(0, send) for send in change.begin()]
    words = 0
    while mail and words < dies_after:
        _, send = mail.pop(rng.randrange(len(mail)))
        if rng.random() < 0.2:
            mail.append((0, send))
        if rng.random() < 0.1:
            if send.verb == "lock":
                mail += [(0, each) for each in change.voted(send.name, None)]
            continue
        words += 1
        peer = peers[send.name]
        if send.verb == "lock":
            asked = Lock(TX, 4, news[send.name], 9, (1, 2, 3))
            vote = peer.lock(places[send.name], asked, 0.0)
            mail += [(0, each) for each in change.voted(send.name, vote)]
        elif send.verb == "apply":
            outcome, place = peer.apply(TX, 0.0)
            places[send.name] = place or places[send.name]
            change.told(send.name, outcome)
        else:
            change.told(send.name, peer.undo(TX, 0.0))
    for name, peer in peers.items():
        held = peer.doubtful(DOUBT_S)
        if held is not None:
            heard = [peers[each].outcome(TX) for each in held.witnesses if each != name]
            place = peer.resolve(held, heard, DOUBT_S)
            places[name] = place or places[name]
    assert all(peer.held is None for peer in peers.values())
    applied = [name for name, place in places.items() if place.version == 5]
    undone = [name for name in peers if peers[name].outcome(TX) is Outcome.UNDONE]
    assert not (applied and undone)
