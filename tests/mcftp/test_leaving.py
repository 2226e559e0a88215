"""Leaving a group politely: bounded, whatever the others do, and never an error of its own."""

from __future__ import annotations

import asyncio

import pytest
from tests.mcftp.peers import Peer, Room

from spinney.mcftp import node


async def a_room_that_is_done(room: Room) -> tuple[Peer, list[Peer]]:
    """A leader and three that got everything from it."""
    source = await room.peer(0).start(full=True)
    others = [await room.peer(number).start() for number in (1, 2, 3)]
    await room.until(room.all_done, 20.0)
    await asyncio.sleep(2.0)  # the leader has heard so
    assert source.leads
    return source, others


def test_a_leader_whose_successor_is_gone_leaves_all_the_same() -> None:
    async def run() -> None:
        source, others = await a_room_that_is_done(room)
        for other in others:
            other.crash()
        began = room.world.loop.time()
        await source.close()
        assert room.world.loop.time() - began < node.HAND_OVER_S + 0.5

    with Room(1, 4) as room:
        room.world.run(run())


def test_a_machine_that_is_too_busy_to_look_in_time_leaves_without_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wait for a successor is over before it was looked at once."""
    monkeypatch.setattr(node, "HAND_OVER_S", 0.01)

    async def run() -> None:
        source, others = await a_room_that_is_done(room)
        for other in others:
            other.crash()
        await source.close()
        assert source.node.group is None

    with Room(2, 4) as room:
        room.world.run(run())


def test_who_leaves_while_the_group_moves_leaves_without_an_error() -> None:
    """Between its last reports there is no leader any more to report to."""

    async def run() -> None:
        _, others = await a_room_that_is_done(room)
        leaving = others[0].node
        closing = asyncio.ensure_future(leaving.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        leaving.last_keep_alive = None
        await closing
        assert leaving.group is None

    with Room(3, 4) as room:
        room.world.run(run())


def test_what_fails_in_the_goodbye_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("who?")

    async def run() -> None:
        _, others = await a_room_that_is_done(room)
        leaving = others[0].node
        monkeypatch.setattr(leaving.speaking, "say", broken)
        with pytest.raises(KeyError):
            await leaving.close()
        assert leaving.group is None
        await leaving.close()  # a second time does nothing

    with Room(4, 4) as room:
        room.world.run(run())
