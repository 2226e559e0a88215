"""What a plan asks over a network: many at once, again when lost, and the fallen hold nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from tests.p2pcast.churning import grown

from spinney.errors import NoAnswerError
from spinney.net.host import Address
from spinney.p2pcast.book import Book
from spinney.p2pcast.calling import answered
from spinney.p2pcast.looking import Looking, no_will
from spinney.p2pcast.messages import Here
from spinney.p2pcast.place import NOBODY, Name, Place, Sight
from spinney.p2pcast.plans.draft import Wanted
from spinney.p2pcast.plans.forest import Forest
from spinney.p2pcast.plans.leaving import plan_leave
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.settings import Settings
from spinney.sim import World
from spinney.wire.krpc import Krpc, Told

REMOTE: Address = ("10.0.0.1", 1)


class Answers:
    """A port whose nth sending is answered after so many seconds, or never."""

    def __init__(self, *after_s: float | None) -> None:
        self.after_s = list(after_s)
        self.sent_at: list[float] = []

    def request(
        self, remote: Address, method: bytes, arguments: Any, told: Told, timeout_s: float
    ) -> None:
        loop = asyncio.get_running_loop()
        self.sent_at.append(round(loop.time(), 3))
        after_s = self.after_s.pop(0)
        if after_s is not None and after_s < timeout_s:
            loop.call_later(after_s, told, {b"b": len(self.sent_at)}, None)
        else:
            loop.call_later(timeout_s, told, None, NoAnswerError("silent"))


def call(port: Answers) -> tuple[Any, float]:
    world = World(seed=1)

    async def story() -> tuple[Any, float]:
        began = world.loop.now
        try:
            values: Any = await answered(
                cast(Krpc, port), REMOTE, b"m", dict, wait_s=1.0, resend_s=0.25, sendings=2
            )
        except NoAnswerError:
            values = None
        took_s = round(world.loop.now - began, 3)
        await asyncio.sleep(1.0)
        return values, took_s

    return cast(tuple[Any, float], world.run(story()))


def test_a_lost_question_is_sent_again_soon() -> None:
    values, took_s = call(Answers(None, 0.2))
    assert values == {b"b": 2}
    assert took_s == 0.45


def test_a_slow_answer_to_the_first_question_serves() -> None:
    port = Answers(0.3, None)
    values, took_s = call(port)
    assert values is not None
    assert took_s == 0.3
    assert len(port.sent_at) == 2


def test_a_question_that_is_answered_is_not_sent_again() -> None:
    port = Answers(0.2, 0.2)
    assert call(port)[1] == 0.2
    assert len(port.sent_at) == 1


def test_who_answers_nothing_is_waited_for_to_the_end() -> None:
    assert call(Answers(None, None)) == (None, 1.0)


# -- many at once ---------------------------------------------------------------------------------


def looks(forest: Forest, fallen: Name, soon: bool) -> int:
    """Round trips that a plan for this one takes, if those named beside are asked at once."""
    around = [*forest.places[fallen].parents, *(c for _, c in forest.places[fallen].edges())]
    contacts = [name for name in forest.some(16) if name != fallen]
    asked = {fallen, NOBODY, *around, *contacts}
    planning, rounds = plan_leave(forest.stripes, fallen, contacts, Random(1)), 1
    try:
        name = next(planning)
        while True:
            if name not in asked:
                rounds += 1
                asked |= {name, *(cast(Wanted, name).soon if soon else ())}
            name = planning.send(forest.sight(name))
    except StopIteration:
        return rounds


def test_a_planner_says_whom_it_will_ask_for_next() -> None:
    forest = grown(4, 0, 120, 1, every=60)
    names = forest.names[:40]
    alone = sorted(looks(forest, name, False) for name in names)
    together = sorted(looks(forest, name, True) for name in names)
    assert together[20] <= 5 < alone[20]
    assert together[36] <= 8


def test_nobody_waits_for_one_that_has_fallen_and_is_not_needed() -> None:
    world = World(seed=1)
    sights = {name: object() for name in (1, 2, 3)}

    async def look(name: Name, wait_s: float, attempts: int) -> Any:
        await asyncio.sleep(0.2 if name != 2 else wait_s * attempts)
        return None if name == 2 else SimpleNamespace(sight=sights[name])

    station = cast(Any, SimpleNamespace(look=look, settings=Settings()))

    async def story() -> None:
        looking = Looking(station, no_will, 10)
        looking.ask([1, 2, 3])
        began = world.loop.now
        assert await looking.sight(1) is sights[1]
        assert await looking.sight(3) is sights[3]
        assert world.loop.now - began < 0.21
        looking.close()

    world.run(story())


def test_an_answer_may_make_others_worth_asking() -> None:
    world = World(seed=1)
    asked: list[Name] = []

    async def look(name: Name, wait_s: float, attempts: int) -> Any:
        asked.append(name)
        await asyncio.sleep(0.1)
        return SimpleNamespace(sight=cast(Sight, name))

    station = cast(Any, SimpleNamespace(look=look, settings=Settings()))

    async def story() -> None:
        looking = Looking(station, no_will, 3)
        follow: Callable[[Sight], list[Name]] = lambda sight: [cast(int, sight) + 1]  # noqa: E731
        looking.follow = follow
        await looking.sight(1)
        await asyncio.sleep(1.0)
        looking.close()

    world.run(story())
    assert asked == [1, 2, 3], "and no more than the bound"


# -- an old word ----------------------------------------------------------------------------------


def test_a_childs_old_word_does_not_undo_what_a_transaction_gave_it() -> None:
    """It is a child elsewhere already; it spoke before it had heard of the new edge."""
    place = Place(7, 0, (1, 2), ((9,), ()), (), 0, 0.0, 1)
    seat = Seat(place, Settings(), Book(REMOTE), 0.0)
    seat.take(place, 0.0)
    both = Place(7, 0, (1, 2), ((9,), (9,)), ((0, 7),), 0, 0.0, 2)
    seat.take(both, 10.0)
    seat.child_said(Here(9, 7, 0b01, 1, 0), 10.1)
    assert seat.place is both
    seat.child_said(Here(9, 7, 0b01, 1, 0), 10.0 + Settings().here_s)
    assert seat.place.children == ((9,), ())
