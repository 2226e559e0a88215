"""Leaving a group politely: bounded, whatever the others do, and never an error of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.mcftp.peers import Peer, Room

from content.moving import Script
from spinney.mcftp import node, reporting


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
    """Between its last words there is no reign any more that it could leave."""

    async def run() -> None:
        source, others = await a_room_that_is_done(room)
        leaving = others[0].node
        closing = asyncio.ensure_future(leaving.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        leaving.election.reign = b""
        await closing
        assert leaving.group is None
        assert source.node.malformed == 0

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


def test_who_leaves_as_soon_as_it_has_everything_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has no time for a report."""
    monkeypatch.setattr(reporting, "LAST_TIMES", 1)

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        other = await room.peer(1).start()
        await room.until(lambda: other.transfer.complete, 20.0, 0.0001)
        await other.close()
        await asyncio.sleep(0.01)
        assert source.node.leading is not None
        assert source.node.leading.leader.members.complete() == 1

    for seed in range(6):
        with Room(seed, 2) as room:
            room.world.run(run())


def test_who_finished_while_nobody_led_is_counted() -> None:
    """One left before, known to the dead leader; one finishes and leaves, one finishes and stays
    while the group has no leader.  Whoever leads then counts three."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        await room.until(lambda: source.leads, 10.0)
        counts = replace(room.settings, until_complete=3, interested=False)
        second = await room.peer(1, counts).start(full=True)
        early = await room.peer(2).start()
        await room.until(lambda: early.transfer.complete, 20.0)
        await asyncio.sleep(3.0)
        await early.close()
        leaves, stays = [await room.peer(number).start() for number in (3, 4)]
        await room.until(
            lambda: min(leaves.transfer.have.count, stays.transfer.have.count) > 4, 20.0
        )
        await room.until(lambda: second.node.last_keep_alive is not None, 5.0)
        assert source.leads
        source.crash()
        for peer in (leaves, stays):
            feed = peer.transfer.attach(Script("swarm"))
            length = room.content.piece_length
            for piece in range(peer.transfer.have.size):
                feed.deliver(piece * length, room.content.piece(piece))
            await peer.transfer.intake.drain()
            feed.leave()
        await leaves.close()
        assert room.leader is None
        async with asyncio.timeout(10.0):
            await second.node.enough.wait()
        leader = room.leader
        assert leader is not None
        assert leader.node.leading is not None
        assert leader.node.leading.leader.members.complete() == 3

    for seed in range(5):
        with Room(seed, 5) as room:
            room.world.run(run())
