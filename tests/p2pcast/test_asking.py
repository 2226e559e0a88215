"""Whom an orphan asks, in which order, from sights that come in one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from spinney.p2pcast import messages as m
from spinney.p2pcast.asking import Ask, Asking
from spinney.p2pcast.book import Book
from spinney.p2pcast.gathering import Gathering
from spinney.p2pcast.place import NOBODY, SOURCE, Name, Place, Sight
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.settings import Settings

ORPHAN = Place(1, 0, (NOBODY, 8), ((2, 3), ()), (), 1, 0.0, 5)
LEAF = replace(ORPHAN, stripe=1, children=((), ()))


def seat(place: Place, up: Name = 60) -> Seat:
    made = Seat(place, Settings(), Book(("20.0.0.1", 1)), 0.0)
    made.limbs[0].up, made.limbs[0].sequence = up, 4
    return made


def owner(name: Name, depth: int = 3, children: tuple[Name, ...] = (90,)) -> m.Seen:
    """Somebody with room in tree 0."""
    place = Place(name, 0, (70, 71), (children, ()), (), 1)
    return m.Seen(Sight(place, (depth, 3), (0, 0), (NOBODY, NOBODY)), (9, 9))


def sights(seen: list[m.Seen], *, over: bool = True, silent: set[Name] | None = None) -> Gathering:
    return cast(Gathering, SimpleNamespace(seen=seen, is_over=over, silent=silent or set()))


def row(asking: Asking, gathering: Gathering) -> list[Ask]:
    found = []
    while (each := asking.next(gathering)) is not None:
        found.append(each)
    return found


def asks(place: Place, seen: list[m.Seen], turn: int = 0, up: Name = 60, **more: Any) -> list[Ask]:
    return row(Asking(seat(place, up), 0, 50, turn, Random(1)), sights(seen, **more))


def test_a_branch_asks_its_grandparent_first_for_the_dead_ones_slot() -> None:
    found = asks(ORPHAN, [owner(20)])
    assert found == [Ask(60, 50, True), Ask(20, NOBODY, False)]


def test_a_leaf_asks_its_grandparent_last() -> None:
    assert asks(LEAF, [owner(20)]) == [Ask(20, NOBODY, False), Ask(60, 50, False)]


def test_the_first_sight_with_room_serves_while_others_are_awaited() -> None:
    assert asks(LEAF, [owner(20)], over=False) == [Ask(20, NOBODY, False)]
    assert asks(LEAF, [], over=False) == []


def test_who_would_have_to_change_over_is_asked_when_all_have_answered() -> None:
    idle = replace(owner(30).sight.place, stripe=1, children=((), ()))
    seen = [m.Seen(replace(owner(30).sight, place=idle), (9, 9))]
    assert asks(LEAF, seen, over=False) == []
    assert [each.name for each in asks(LEAF, seen)] == [30, 60]


def test_neither_the_dead_nor_the_silent_nor_its_own_children_are_asked() -> None:
    seen = [owner(2), owner(50), owner(40), owner(20)]
    found = asks(ORPHAN, seen, silent={40, 60})
    assert [each.name for each in found] == [20]


def test_whom_a_refusal_names_comes_next_and_nobody_twice() -> None:
    asking = Asking(seat(ORPHAN), 0, 50, 0, Random(1))
    gathering = sights([owner(20), owner(60)])
    assert asking.next(gathering) == Ask(60, 50, True)
    asking.told([33, 50, 60])
    assert asking.next(gathering) == Ask(33, NOBODY, True)
    assert asking.next(gathering) == Ask(20, NOBODY, False)
    assert asking.next(gathering) is None


def test_a_branch_prefers_the_shallowest() -> None:
    names = [each.name for each in asks(ORPHAN, [owner(20, 7), owner(21, 2), owner(22, 5)])]
    assert names == [60, 21, 22, 20]


def test_only_an_owner_asks_the_source() -> None:
    assert asks(LEAF, [], up=SOURCE) == []
    assert asks(ORPHAN, [], up=SOURCE) == [Ask(SOURCE, 50, True)]


# -- sights as they come --------------------------------------------------------------------------


class Slow:
    """A station whose peers answer after so many seconds; None: never."""

    def __init__(self, after_s: dict[Name, float | None]) -> None:
        self.after_s = after_s
        self.asked: list[Name] = []
        self.reaching = SimpleNamespace(can_meet=lambda name: name != 9)

    def spawn(self, work: Any) -> bool:
        self._task = asyncio.get_running_loop().create_task(work)
        return True

    async def look(self, name: Name, wait_s: float) -> m.Seen | None:
        self.asked.append(name)
        after_s = self.after_s[name]
        await asyncio.sleep(wait_s if after_s is None else after_s)
        return None if after_s is None else owner(name)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await story()

    asyncio.run(main())


def test_each_sight_wakes_who_waits_and_the_silent_are_known() -> None:
    async def story() -> None:
        slow = Slow({1: 0.0, 2: None, 3: 0.01})
        gathering = Gathering(cast(Any, slow), 0.05)
        gathering.ask([1, 2, 3, 1, 9])
        assert await gathering.more()
        assert [each.sight.place.name for each in gathering.seen] == [1]
        while await gathering.more():
            pass
        assert {each.sight.place.name for each in gathering.seen} == {1, 3}
        assert gathering.silent == {2}
        assert slow.asked == [1, 2, 3]

    run(story)


def test_the_registrys_names_are_asked_too_and_nobody_waits_when_all_is_over() -> None:
    async def story() -> None:
        class Names:
            async def some(self, count: int) -> m.Joined:
                return m.Joined(2, 1, 9, (5, 6)[:count])

        gathering = Gathering(cast(Any, Slow({5: 0.0, 6: 0.0})), 0.05)
        gathering.ask_far(cast(Any, Names()), 2)
        while await gathering.more():
            pass
        assert {each.sight.place.name for each in gathering.seen} == {5, 6}
        assert not await gathering.more()

    run(story)


def test_who_carries_less_or_is_incomplete_is_no_root_and_takes_nobodys_slot() -> None:
    """All others of the tree would hang below it, and it has hardly any slots for them."""
    for less in (replace(ORPHAN, spare=-1), replace(ORPHAN, cohort=((0, 1),))):
        for turn in (0, 1, 2, 5):
            assert SOURCE not in [each.name for each in asks(less, [], turn, up=SOURCE)]
    assert SOURCE in [each.name for each in asks(ORPHAN, [], up=SOURCE)]
    slow = replace(ORPHAN, spare=-1)
    assert not any(each.inner for each in asks(slow, [owner(20)], 2, up=NOBODY))
    assert any(each.inner for each in asks(ORPHAN, [owner(20)], 2, up=NOBODY))
