"""What a group sends, to whom and from when on: not what nobody lacks, not at the slowest pace."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.mcftp.lans import QUICK
from tests.mcftp.peers import RATE, Peer, Room

from content.moving import Script


@pytest.mark.parametrize("seed", [18, 19, 20])
def test_one_who_loses_most_goes_elsewhere_and_is_served_when_the_others_have_it(seed: int) -> None:
    """Its reports set nobody's pace; where no swarm brings the rest, the group does at last."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        fast = [await room.peer(number).start() for number in (1, 2, 3)]
        slow = await Peer(room, far, room.settings).start()
        await room.until(lambda: source.node.flows.sent_bytes > 0, 10.0, 0.01)
        began = room.world.loop.time()
        size = len(room.content.space)
        await room.until(lambda: all(peer.transfer.complete for peer in fast), 30.0)
        took = room.world.loop.time() - began
        assert took < 1.1 * size / RATE
        assert any("too much is lost" in event.detail for event in slow.happened("warning"))
        assert not slow.transfer.complete
        sent = source.node.flows.sent_bytes
        assert sent < 1.15 * size
        await room.until(room.all_done, 60.0)
        print(f"fast {took:.1f} s, all {room.world.loop.time() - began:.1f} s, {sent / size:.2f}")

    with Room(seed, 4, size=6_000_000, wait_for=3, dismiss_after_s=1.0) as room:
        far = room.world.host("far", on=room.segment, link=replace(QUICK, loss=0.6))
        room.world.run(run())


def test_what_all_have_got_elsewhere_meanwhile_is_not_sent() -> None:
    """As from a swarm beside: reports say what is here, and the sender passes it over."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        others = [await room.peer(number).start() for number in (1, 2)]
        await room.until(lambda: source.node.flows.sent_bytes > 0, 10.0)
        length, size = room.content.piece_length, len(room.content.space)
        for peer in others:
            feed = peer.transfer.attach(Script("swarm"))
            for piece in range(size // length // 2):
                feed.deliver(piece * length, room.content.piece(piece))
            await peer.transfer.intake.drain()
            feed.leave()
        await room.until(room.all_done, 10.0)
        assert source.node.flows.sent_bytes < 0.85 * size

    with Room(21, 3, size=8 << 20) as room:
        room.world.run(run())


def test_who_shares_where_all_wait_begins_within_a_second() -> None:
    """Receivers look for the group already: from the start of the sharer to its first data."""

    async def run() -> None:
        for number in (1, 2, 3):
            await room.peer(number).start()
        await asyncio.sleep(5.0)
        source = await room.peer(0, replace(room.settings, wait_for=3)).start(full=True)
        took = await room.until(lambda: source.node.flows.sent_bytes > 0, 10.0, 0.01)
        print(f"first data after {took:.2f} s")
        assert took < 0.9
        await room.until(room.all_done, 5.0)
        assert source.node.flows.sent_bytes < 1.01 * len(room.content.space)

    for seed in (22, 23, 24):
        with Room(seed, 4) as room:
            room.world.run(run())


def test_the_leader_hears_soon_that_all_have_it_where_reports_are_lost() -> None:
    """Not only when it asks the next time: whoever waits for all waits for that."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        others = [await room.peer(number).start() for number in (1, 2, 3)]
        await room.until(lambda: source.leads and source.node.flows.sent_bytes > 0, 10.0)
        await room.until(room.all_done, 20.0, 0.01)
        leading = source.node.leading
        assert leading is not None
        took = await room.until(
            lambda: leading.leader.members.complete() == len(others), 10.0, 0.01
        )
        late.append(took)

    late: list[float] = []
    for seed in range(12):
        with Room(seed, 4, size=1 << 20, link=replace(QUICK, loss=0.2)) as room:
            room.world.run(run())
    print([round(took, 2) for took in late])
    assert sum(took > 0.5 for took in late) <= 3


def test_what_a_member_sends_ends_when_the_one_who_lacked_it_is_gone() -> None:
    """A late one is served by those that have everything, and leaves in the middle."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        others = [await room.peer(number).start() for number in (1, 2)]
        await room.until(room.all_done, 30.0)
        late = await room.peer(3).start()
        await room.until(lambda: late.transfer.have.count > 10, 10.0)
        before = sum(peer.node.flows.sent_bytes for peer in room.peers)
        assert sum(bool(other.node.flows.sending) for other in others)
        await late.close()
        await asyncio.sleep(10.0)
        sent = sum(peer.node.flows.sent_bytes for peer in room.peers) - before
        print(f"sent for nobody: {sent / len(room.content.space):.2f} of the file")
        assert sent < 0.4 * len(room.content.space)
        assert source.leads

    with Room(25, 4, size=10_000_000) as room:
        room.world.run(run())
