"""Who takes an orphan, who may become what, and what a seat believes: one rule, one test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spinney.p2pcast import messages as m
from spinney.p2pcast.attaching import (
    candidates,
    is_newer,
    may_become,
    may_move,
    taking,
    with_child,
    with_parent,
    without_children,
)
from spinney.p2pcast.book import MOST_ADDRESSES, Book
from spinney.p2pcast.messages import Taking
from spinney.p2pcast.place import NOBODY, SOURCE, SPECIAL, Place, Sight
from spinney.p2pcast.seat import Seat, State
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.transactions import Lock

OWNER = Place(1, 0, (7, 8), ((2, 3), ()), (), 1, 0.0, 5)
"""Works for tree 0, has two children there and room for one (f = 2, one spare slot)."""


def asked(place: Place = OWNER, above: int = 0, sequence: int = 9, **call: int | bool) -> Taking:
    given = {"target": place.name, "child": 50, "tree": 0, "sequence": 4, "stripe": 1, **call}
    return taking(place, above, sequence, m.TakeOn(**given), gone=False)  # type: ignore[arg-type]


def test_who_has_room_takes_an_orphan() -> None:
    assert asked() is Taking.TAKEN
    assert asked(replace(OWNER, children=((2, 3, 4), ()))) is Taking.FULL


def test_asked_again_it_says_the_same() -> None:
    assert asked(replace(OWNER, children=((2, 3, 50), ()))) is Taking.TAKEN


def test_nobody_below_the_orphan_takes_it() -> None:
    """Below an orphan nobody has seen a newer number than the orphan itself."""
    assert asked(sequence=4) is Taking.BEHIND
    assert asked(sequence=3) is Taking.BEHIND
    assert asked(sequence=0) is Taking.BEHIND


def test_numbers_wrap() -> None:
    assert is_newer(1, (1 << 32) - 1)
    assert not is_newer((1 << 32) - 1, 1)
    assert is_newer(5, 0)
    assert not is_newer(0, 5)


def test_who_is_cut_off_itself_takes_nobody() -> None:
    assert asked(replace(OWNER, parents=(NOBODY, 8))) is Taking.CUT_OFF


def test_an_only_child_stays_a_leaf() -> None:
    leaf = replace(OWNER, children=((), ()))
    assert asked(leaf, above=0) is Taking.TAKEN
    assert asked(leaf, above=-1) is Taking.FULL


def test_members_of_cohorts_and_the_special_node_take_nobody() -> None:
    assert asked(replace(OWNER, cohort=((0, 1),))) is Taking.FULL
    assert asked(replace(OWNER, name=SPECIAL, children=((), ()))) is Taking.FULL


def test_only_an_owner_becomes_a_root() -> None:
    source = Place(SOURCE, -1, (NOBODY, NOBODY), ((), (9,)), (), 1)
    assert asked(source, stripe=1) is Taking.FULL
    assert asked(source, stripe=0) is Taking.TAKEN
    assert asked(source, stripe=0, tree=1) is Taking.FULL


def test_a_childless_peer_changes_over_and_no_other() -> None:
    childless = replace(OWNER, stripe=1, children=((), ()))
    assert asked(childless) is Taking.TAKEN
    assert with_child(childless, 0, 50).stripe == 0
    assert asked(replace(childless, children=((), (4,)))) is Taking.FULL


def test_a_leaf_makes_way_for_an_owner() -> None:
    full = replace(OWNER, children=((2, 3, 4), ()))
    call = m.TakeOn(1, 50, 0, 4, 0, inner=True)
    assert taking(full, 0, 9, call, gone=False, leaves=1) is Taking.TAKEN
    assert taking(full, 0, 9, call, gone=False, leaves=0) is Taking.FULL
    assert taking(full, 0, 9, replace(call, inner=False), gone=False, leaves=1) is Taking.FULL


def test_a_dead_child_makes_way() -> None:
    full = replace(OWNER, children=((2, 3, 4), ()))
    call = m.TakeOn(1, 50, 0, 4, dead=3)
    assert taking(full, 0, 9, call, gone=True) is Taking.TAKEN
    assert taking(full, 0, 9, call, gone=False) is Taking.FULL
    assert with_child(full, 0, 50, 3).children[0] == (2, 4, 50)


def test_each_change_is_a_version() -> None:
    assert with_parent(OWNER, 1, 20) == replace(OWNER, parents=(7, 20), version=6)
    assert without_children(OWNER, [(0, 2), (1, 3)]).children == ((3,), ())
    assert without_children(OWNER, [(0, 2)]).version == 6


@pytest.mark.parametrize(
    ("changed", "legal"),
    [
        ({"children": ((2, 3, 4), ())}, True),
        ({"children": ((2, 3, 4, 5), ())}, False),
        ({"children": ((2, 3), (4,))}, False),
        ({"children": ((2,), (4,)), "cohort": ((0, 1),)}, True),
        ({"children": ((2, 3), (4,)), "cohort": ((0, 1),)}, False),
        ({"children": ((2, 3, 4), ()), "parents": (NOBODY, 8)}, False),
        ({"children": ((2, 3, 7), ())}, False),
        ({"children": ((2, 3, 1), ())}, False),
        ({"stripe": -1}, False),
    ],
)
def test_a_new_place_is_judged_by_its_holder(changed: dict[str, object], legal: bool) -> None:
    assert may_become(OWNER, replace(OWNER, **changed)) is legal  # type: ignore[arg-type]


def seen(place: Place, above: int, slot: int = NOBODY, sequence: int = 9) -> m.Seen:
    return m.Seen(Sight(place, (3, 3), (above, 0), (slot, NOBODY)), (sequence, 9))


def test_candidates_are_owners_with_room_and_those_that_others_name() -> None:
    leaf = Place(30, 1, (31, 32), ((), (5,)), (), 1)
    found = candidates(0, 4, [seen(OWNER, 0), seen(leaf, 2, 31)])
    assert set(found) == {1, 31}
    assert set(candidates(0, 4, [seen(leaf, 0, 40)])) == {40}
    assert candidates(0, 9, [seen(OWNER, 0)]) == {}, "they have seen nothing newer"


def test_for_an_owner_parents_of_leaves_come_last() -> None:
    leaf = Place(30, 1, (31, 32), ((), (5,)), (), 1)
    assert candidates(0, 4, [seen(leaf, 0)]) == {}
    assert candidates(0, 4, [seen(leaf, 0)], inner=True)[31].last


# -- a seat ---------------------------------------------------------------------------------------


def seat(place: Place = OWNER) -> Seat:
    made = Seat(replace(place, version=0), Settings(), Book(("20.0.0.1", 1)), 0.0)
    made.take(place, 0.0)
    return made


def beat(sender: int, sequence: int, **more: object) -> bytes:
    from spinney.p2pcast import codec

    return codec.pack_beat(m.Beat(0, sequence, sender, 2, 1, **more))  # type: ignore[arg-type]


def test_a_newer_number_is_passed_on_once() -> None:
    one = seat()
    assert one.beaten(beat(7, 5), 0.1) == (0, True)
    assert one.beaten(beat(7, 5), 0.2) == (0, False)
    assert one.beaten(beat(7, 4), 0.3) == (0, False)
    assert (one.limbs[0].sequence, one.limbs[0].depth, one.limbs[0].above) == (5, 3, 1)


def test_beats_of_others_than_the_parent_move_nothing() -> None:
    one = seat()
    assert one.beaten(beat(99, 5), 0.1) is None
    assert one.limbs[0].sequence == 0


def test_a_silent_parent_is_asked_then_dead_and_idle_beats_keep_it_alive() -> None:
    one, settings = seat(), Settings()
    one.beaten(beat(7, 5), 1.0)
    assert one.parent_state(0, 1.0 + settings.probe_s - 0.01) is State.WELL
    assert one.parent_state(0, 1.0 + settings.probe_s) is State.PROBE
    assert one.parent_state(0, 1.0 + settings.dead_s) is State.DEAD
    one.beaten(beat(7, 5, idle=True), 1.5)
    assert one.parent_state(0, 1.5 + 0.1) is State.WELL
    one.limbs[0].heard = 1.0 + settings.cut_off_s
    assert one.parent_state(0, 1.0 + settings.cut_off_s) is State.DEAD, "cut off for too long"


def test_who_says_goodbye_is_dead_at_once() -> None:
    one = seat()
    one.beaten(beat(7, 5), 1.0)
    one.beaten(beat(7, 5, idle=True, gone=True, aunts=(40,)), 1.1)
    assert one.parent_state(0, 1.1) is State.DEAD
    assert one.limbs[0].aunts == (40,)


def test_a_silent_child_is_dropped_but_not_while_its_place_is_locked() -> None:
    one = seat()
    one.child_said(m.Here(2, 1, 1, 1, 0), 5.0)
    one.participant.lock(one.place, Lock(b"12345678", 5, None, 9), 5.0)
    assert one.drop_silent(6.0) == []
    one.participant.undo(b"12345678", 6.0)
    assert one.drop_silent(6.0) == [3]
    assert one.place.children == ((2,), ())


def test_a_child_that_names_another_parent_is_dropped() -> None:
    one = seat()
    one.child_said(m.Here(2, 1, 0, 1, 0), 5.0)
    assert one.place.children == ((3,), ())
    one.child_said(m.Here(99, 1, 0, 1, 0), 5.0)
    assert one.place.children == ((3,), ())


def test_a_mate_that_is_silent_or_in_no_cohort_is_no_mate() -> None:
    lent = replace(OWNER, children=((2,), (4,)), cohort=((0, 1), (1, 60)))
    one = seat(lent)
    one.child_said(m.Here(60, 1, 0, 1, -1), 1.0)
    one.mend_cohort(2.0)
    assert one.place is lent
    one.child_said(m.Here(60, 1, 0, 1, 0), 2.5)
    one.mend_cohort(2.6)
    assert one.place.cohort == ((0, 1),)


def test_the_book_forgets_who_was_not_used_for_longest() -> None:
    book = Book(("20.0.0.1", 1))
    for name in range(MOST_ADDRESSES + 10):
        book.learn({name: ("20.0.0.2", name)})
        book.of([0])
    assert len(book) == MOST_ADDRESSES
    assert book.find(0) == ("20.0.0.2", 0)
    assert book.find(1) is None
    assert book.find(SOURCE) == book.find(SPECIAL) == ("20.0.0.1", 1)


def test_who_has_few_children_moves_to_a_tree_without_slots_if_these_find_others() -> None:
    one = replace(OWNER, stripe=1, children=((), (4,)))
    two = replace(OWNER, stripe=1, children=((), (4, 5)))
    three = replace(OWNER, stripe=1, children=((), (4, 5, 6)))
    assert may_move(one, 0)
    assert not may_move(two, 1)
    assert may_move(two, 2)
    assert not may_move(three, 9)
    assert not may_move(replace(one, cohort=((1, 1),)), 9)
    assert not may_move(replace(one, parents=(7, SOURCE)), 9), "a root stays"
    assert asked(one) is Taking.FULL
    call = m.TakeOn(1, 50, 0, 4, 1)
    assert taking(one, 0, 9, call, gone=False, moves=True) is Taking.TAKEN
    moved = with_child(one, 0, 50)
    assert (moved.stripe, moved.children) == (0, ((50,), ()))
