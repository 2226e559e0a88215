"""Peers that nobody can reach from outside: they dial, and two of them never pair."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from spinney.errors import NoAnswerError
from spinney.lab._crowds import HOP, PORT, Crowd
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.place import SOURCE, SPECIAL
from spinney.p2pcast.reaching import CLOSED, is_closed
from spinney.sim import World


def test_the_name_tells_and_the_sources_places_are_open() -> None:
    assert is_closed(5 | CLOSED)
    assert not is_closed(5)
    assert not is_closed(SOURCE)
    assert not is_closed(SPECIAL)


def crowded(seed: int = 1, *, spare: int = 4, closed: float = 0.5) -> Crowd:
    return Crowd(World(seed, link=HOP), Random(seed), stripes=4, spare=spare, closed=closed)


async def few(crowd: Crowd) -> tuple[int, int, int]:
    """Sixteen open peers, and then one open and two closed ones."""
    await crowd.open()
    await crowd.plant(16)
    names = crowd.name(False), crowd.name(True), crowd.name(True)
    for name in names:
        crowd.start(name)
    await crowd.joined(30.0)
    await crowd.whole(10.0)
    return names


def test_an_open_peer_has_itself_dialled_by_a_closed_one_and_two_closed_never_talk() -> None:
    crowd = crowded()

    async def story() -> None:
        name, closed, other = await few(crowd)
        address = crowd.source.addresses[closed]
        station = crowd.nodes[name].station
        station.book.learn({closed: address})
        assert await station.look(closed) is not None
        assert station.counts["dialled"] == 1
        assert await station.look(closed) is not None
        assert station.counts["dialled"] == 1, "the way is open now"
        third = crowd.nodes[other].station
        third.book.learn({closed: address})
        body = codec.pack_search(m.Search(closed), 4)
        with pytest.raises(NoAnswerError, match="neither"):
            await third.ask(closed, b"p2pcast.search", body, timeout_s=0.5)

    with crowd.world:
        crowd.world.run(story())


def test_who_does_not_dial_is_no_answer_in_bounded_time() -> None:
    crowd = crowded()

    async def story() -> None:
        name, closed, _ = await few(crowd)
        station = crowd.nodes[name].station
        station.book.learn({closed: crowd.source.addresses[closed]})
        crowd.fall(closed)
        began = crowd.now
        body = codec.pack_search(m.Search(closed), 4)
        with pytest.raises(NoAnswerError, match="did not"):
            await station.ask(closed, b"p2pcast.search", body, timeout_s=0.5)
        assert crowd.now - began <= 1.0

    with crowd.world:
        crowd.world.run(story())


def test_an_uninvited_hello_and_a_dial_for_nobody_change_nothing() -> None:
    crowd = crowded()

    async def story() -> None:
        name, closed, _ = await few(crowd)
        station = crowd.nodes[name].station
        station.tell(SOURCE, b"p2pcast.dial", codec.pack_delete(m.Delete(name, 77)))
        hello = codec.pack_delete(m.Delete(123 | CLOSED, name))
        crowd.nodes[closed].station.book.learn({name: (crowd.hosts[name].address, PORT)})
        crowd.nodes[closed].station.tell(name, b"p2pcast.hello", hello)
        await asyncio.sleep(1.0)
        assert station.book.find(123 | CLOSED) is None

    with crowd.world:
        crowd.world.run(story())


def forest(seed: int, peers: int, closed: float, faults: int) -> None:
    """Grows, loses some, mends; no two closed peers are ever parent and child."""
    crowd = crowded(seed, closed=closed)

    async def story() -> None:
        await crowd.open()
        await crowd.plant(16)
        for at in range(peers - 16):
            crowd.start(crowd.name(at < closed * peers))
            await asyncio.sleep(0.5)
        await crowd.joined(60.0)
        await crowd.whole(30.0)
        for _ in range(faults):
            crowd.fall(crowd.rng.choice(crowd.live))
            await asyncio.sleep(3.0)
        await crowd.whole(30.0)
        places = crowd.places()
        below = [(name, parent) for name in places for parent in places[name].parents]
        assert any(is_closed(parent) for _, parent in below), "they serve, too"
        assert not any(is_closed(name) and is_closed(parent) for name, parent in below)

    with crowd.world:
        crowd.world.run(story())


def test_half_behind_nats_are_all_served_and_mended() -> None:
    forest(2, 44, 0.5, 3)


def test_who_cannot_be_served_is_told_so() -> None:
    crowd = crowded(3, spare=0, closed=0.6)

    async def story() -> None:
        await crowd.open()
        await crowd.plant(16)
        names = [crowd.name(True) for _ in range(24)]
        for name in names:
            crowd.start(name)
        await crowd.joined(60.0)
        assert crowd.refused
        assert all(is_closed(name) for name in crowd.refused)

    with crowd.world:
        crowd.world.run(story())


@pytest.mark.night
@pytest.mark.parametrize("seed", range(3))
def test_sixty_percent_behind_nats(seed: int) -> None:
    forest(seed, 100, 0.6, 6)
