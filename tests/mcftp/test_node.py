"""One file to a whole LAN: joining, sending, late ones, partial ones, polite leaving."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.mcftp.lans import QUICK, ROUGH
from tests.mcftp.peers import RATE, Room

from content.moving import Script
from spinney.errors import NetworkError
from spinney.groups.group import Group, GroupReceiver
from spinney.mcftp.publishing import Publishing
from spinney.mcftp.rate import FoundRate
from spinney.mcftp.stream import Stream
from spinney.sim import Link


def test_a_sharer_and_three_that_get() -> None:
    async def run() -> None:
        source = await room.peer(0).start(full=True)
        others = [await room.peer(number).start() for number in (1, 2, 3)]
        await room.until(room.all_done, 20.0)
        assert source.leads
        assert all(len(peer.happened("leader")) == 1 for peer in others)
        size = len(room.content.space)
        assert source.node.flows.sent_bytes <= 1.01 * size
        for peer in others:
            assert peer.transfer.totals()["multicast"].duplicate == 0

    with Room(1, 4) as room:
        room.world.run(run())


def test_whoever_comes_first() -> None:
    """Those that get wait for the one that shares, and are told when it comes."""

    async def run() -> None:
        others = [await room.peer(number).start() for number in (1, 2, 3)]
        await asyncio.sleep(20.0)
        assert all(peer.happened("searching") for peer in others)
        source = await room.peer(0).start(full=True)
        assert await room.until(room.all_done, 10.0) < 5.5
        assert source.node.flows.sent_bytes <= 1.01 * len(room.content.space)

    with Room(2, 4) as room:
        room.world.run(run())


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_loss(loss: float) -> None:
    """What is sent: the file and repair, once for all."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        for number in range(1, 6):
            await room.peer(number).start()
        size = len(room.content.space)
        await room.until(room.all_done, 1.1 * size / RATE / (1 - loss) + 3.0)
        sent = source.node.flows.sent_bytes
        assert sent <= (1 / (1 - loss) + 0.06) * size

    with Room(3, 6, link=replace(ROUGH, loss=loss), wait_for=5) as room:
        room.world.run(run())


def test_a_mistake_of_a_sender_is_told_and_its_blocks_are_given_to_a_new_stream() -> None:
    async def run() -> None:
        source = await room.peer(0).start(full=True)
        for number in (1, 2):
            await room.peer(number).start()
        await room.until(lambda: bool(source.node.flows.sending), 10.0)
        (sending,) = source.node.flows.sending.values()
        await room.until(lambda: sending.progress.position > 0, 10.0)

        def mistaken(*_: object) -> None:
            raise KeyError("a mistake")

        sending._supply.held = mistaken  # type: ignore[method-assign, assignment]
        await room.until(room.all_done, 10.0)
        (warning,) = [event for event in source.events if "begun anew" in event.detail]
        assert "KeyError" in warning.detail
        assert source.node.flows.sent_bytes <= 1.6 * len(room.content.space)

    with Room(5, 3) as room:
        room.world.run(run())


def test_wait_for() -> None:
    """Nothing is sent before so many have joined."""

    async def run() -> None:
        source = await room.peer(0, replace(room.settings, wait_for=3)).start(full=True)
        for number in (1, 2):
            await room.peer(number).start()
        await asyncio.sleep(30.0)
        assert source.node.flows.sent_bytes == 0
        assert len(source.node.view().receivers) == 2
        assert not any(peer.happened("warning") for peer in room.peers)
        await room.peer(3).start()
        await room.until(room.all_done, 10.0)

    with Room(4, 4) as room:
        room.world.run(run())


def test_wait_for_is_ended_by_hand_and_by_time() -> None:
    async def run() -> None:
        settings = replace(room.settings, wait_for=3)
        source = await room.peer(0, settings).start(full=True)
        await room.peer(1).start()
        await asyncio.sleep(10.0)
        assert source.node.flows.sent_bytes == 0
        source.node.begin()
        await asyncio.sleep(0.02)  # its groups were joined and marked before
        assert source.node.flows.sent_bytes > 0
        await room.until(room.all_done, 5.0)

    async def run_timed() -> None:
        settings = replace(room.settings, wait_for=3, wait_at_most_s=20.0)
        source = await room.peer(0, settings).start(full=True)
        await room.peer(1).start()
        await asyncio.sleep(18.0)
        assert source.node.flows.sent_bytes == 0
        await room.until(room.all_done, 10.0)

    for scenario in (run, run_timed):
        with Room(5, 2) as room:
            room.world.run(scenario())


def test_until_complete() -> None:
    async def run() -> None:
        settings = replace(room.settings, until_complete=2, interested=False)
        source = await room.peer(0, settings).start(full=True)
        await room.peer(1).start()
        await asyncio.sleep(10.0)
        assert room.all_done()
        assert not source.node.enough.is_set()
        await room.peer(2).start()
        async with asyncio.timeout(10.0):
            await source.node.enough.wait()
        assert room.all_done()
        assert source.happened("complete")

    with Room(6, 3) as room:
        room.world.run(run())


def test_a_late_one_is_served_by_those_that_have_sent_less() -> None:
    """The source sends little more than the file, all together the file and what was missed."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        others = [await room.peer(number).start() for number in (1, 2, 3)]
        await asyncio.sleep(6.0)
        late = await room.peer(4).start()
        await room.until(room.all_done, 40.0)
        size = len(room.content.space)
        sent = [peer.node.flows.sent_bytes for peer in room.peers]
        missed = size * 0.55  # it came at about the half
        assert sent[0] <= 1.25 * size
        assert sum(sent) <= 1.08 * (size + missed)
        assert all(peer.transfer.totals()["multicast"].duplicate == 0 for peer in others)
        assert late.transfer.complete
        assert source.leads

    with Room(7, 5, size=10_000_000) as room:
        room.world.run(run())


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.night) for seed in range(2, 20))]
)
def test_one_that_comes_three_seconds_late(seed: int) -> None:
    """It gets all of it; all senders together send at most 1.05 times the file and what it
    missed, the source 1.25 times the file, the rest comes from other receivers."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        for number in (1, 2, 3):
            await room.peer(number).start()
        await room.until(lambda: source.node.flows.sent_bytes > 0, 5.0, 0.01)
        await asyncio.sleep(3.0)
        size, missed = len(room.content.space), source.node.flows.sent_bytes
        assert 0.2 * size < missed < 0.4 * size
        await room.peer(4).start()
        await room.until(room.all_done, 20.0)
        sent = [peer.node.flows.sent_bytes for peer in room.peers]
        print([round(each / size, 3) for each in sent], round(sum(sent) / (size + missed), 4))
        assert sum(sent) <= 1.05 * (size + missed)
        assert sent[0] <= 1.25 * size
        assert sum(sent[1:4]) >= 0.9 * missed

    with Room(seed, 5, size=10_000_000) as room:
        room.world.run(run())


@pytest.mark.parametrize(
    ("seed", "loss"),
    [
        (0, 0.0),
        (1, 0.01),
        *(
            pytest.param(seed, loss, marks=pytest.mark.night)
            for seed in range(2, 8)
            for loss in (0.0, 0.01)
        ),
    ],
)
def test_what_a_late_one_missed_is_sent_once(seed: int, loss: float) -> None:
    """At the size that the table has, by senders that find their rate: nothing that others will
    send is sent again by the source, and nothing that has come is sent by others."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        for number in (1, 2, 3):
            await room.peer(number, rate=found).start()
        await room.until(lambda: source.node.flows.sent_bytes > 0, 5.0, 0.01)
        await asyncio.sleep(3.0)
        size, missed = len(room.content.space), source.node.flows.sent_bytes
        await room.peer(4, rate=found).start()
        await room.until(room.all_done, 20.0)
        sent = [peer.node.flows.sent_bytes for peer in room.peers]
        print([round(each / size, 3) for each in sent], round(sum(sent) / (size + missed), 4))
        assert sum(sent) <= 1.05 * (size + missed)
        assert sent[0] <= (1.02 + 2 * loss) * size

    def found(stream: Stream) -> FoundRate:
        return FoundRate(RATE, ceiling=stream.rate_bytes_per_s)

    link, rate = replace(QUICK, loss=loss), 6_000_000
    with Room(seed, 5, size=32 << 20, piece=1 << 20, link=link, rate_bytes_per_s=rate) as room:
        room.world.run(run())


def test_a_report_tells_what_came_just_now() -> None:
    """What it left out would be sent once more, by others."""

    async def run() -> None:
        peer = await room.peer(0).start()
        length, content = room.content.piece_length, room.content
        feed = peer.transfer.attach(Script("swarm"))
        for piece in range(32):
            feed.deliver(piece * length, content.piece(piece))
            if piece in (15, 31):  # a block of sixteen pieces
                await peer.transfer.intake.drain()
                assert peer.node.reporting.status(0, 3).have_blocks == (piece + 1) // 16
        feed.leave()

    with Room(10, 1, size=3 << 20) as room:
        room.world.run(run())


def test_who_leads_no_more_leaves_nothing_to_others() -> None:
    """Whoever leads then may not know of it."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        await room.peer(1).start()
        await room.until(lambda: source.node.flows.sent_bytes > 0, 5.0, 0.01)
        (sending,) = source.node.flows.sending.values()
        sending.leave(0b11)
        source.node._stop_leading()
        assert sending._plan.left == 0

    with Room(9, 2) as room:
        room.world.run(run())


@pytest.mark.parametrize("count", [2, 4, 8])
def test_partial_senders_send_each_block_once(count: int) -> None:
    """At most 2 % of what a receiver gets is there already, and the senders complete each other."""

    async def run() -> None:
        pieces = room.content.descriptor.piece_count
        for number in range(count):
            part = [piece for piece in range(pieces) if (piece // 16 + number) % count < count / 2]
            await room.peer(number).start(pieces=part)
        getters = [await room.peer(count + number).start() for number in range(2)]
        await room.until(room.all_done, 40.0)
        size = len(room.content.space)
        for peer in room.peers:
            assert peer.transfer.totals()["multicast"].duplicate <= 0.02 * size
        sent = sum(peer.node.flows.sent_bytes for peer in room.peers)
        assert sent <= 1.04 * size
        assert sum(1 for peer in room.peers if peer.node.flows.sent_bytes) >= 2
        assert not any(peer.node.flows.sent_bytes for peer in getters)

    rate = 2_000_000
    with Room(8, count + 2, size=16 << 20, rate_bytes_per_s=rate, wait_for=count + 2) as room:
        room.world.run(run())


def test_a_receiver_with_most_of_it_joins_only_what_it_lacks() -> None:
    async def run() -> None:
        source = await room.peer(0).start(full=True)
        pieces = room.content.descriptor.piece_count
        almost = await room.peer(1).start(pieces=list(range(16, pieces)))
        await room.until(room.all_done, 10.0)
        assert source.node.flows.sent_bytes <= 1.1 * (1 << 20)
        assert almost.transfer.totals()["multicast"].duplicate == 0

    with Room(9, 2) as room:
        room.world.run(run())


def test_a_polite_leader_hands_over_at_once() -> None:
    async def run() -> None:
        source = await room.peer(0).start(full=True)
        for number in (1, 2, 3):
            await room.peer(number).start()
        await room.until(room.all_done, 20.0)
        await asyncio.sleep(4.0)
        reign = source.node.election.reign
        await source.close()
        took = await room.until(lambda: room.leader is not None, 1.0)
        assert took < 0.5
        await asyncio.sleep(2.0)
        leader = room.leader
        assert leader is not None
        assert leader.node.election.reign == reign
        assert leader.node.election.leader_term == 2
        assert len([peer for peer in room.peers if peer.leads]) == 1

    with Room(10, 4) as room:
        room.world.run(run())


def test_a_polite_sender_is_replaced_at_once() -> None:
    async def run() -> None:
        full = [await room.peer(number).start(full=True) for number in (0, 1)]
        await room.peer(2).start()
        await asyncio.sleep(4.0)
        sender = next(peer for peer in full if peer.node.flows.sending)
        await sender.close()
        await room.until(room.all_done, 16.0)

    with Room(11, 3, size=10_000_000) as room:
        room.world.run(run())


def test_members_know_who_the_others_are_in_the_swarm() -> None:
    """So that they do not swarm among themselves for what the group brings."""

    async def run() -> None:
        await room.peer(0, replace(room.settings, swarm_id=b"source 0")).start(full=True)
        await room.peer(1, replace(room.settings, swarm_id=b"getter 1")).start()
        await room.peer(2).start()
        await asyncio.sleep(8.0)
        one, two = room.peers[1].node, room.peers[2].node
        assert b"source 0" in one.neighbours
        assert b"getter 1" in two.neighbours
        assert len(two.neighbours) == 2

    with Room(13, 3, size=16_000_000) as room:
        room.world.run(run())


def test_a_slow_receiver_does_not_hold_the_others_up() -> None:
    """It gets the rest at its own pace."""

    async def run() -> None:
        await room.peer(0).start(full=True)
        for number in (1, 2, 3):
            await room.peer(number).start()
        began = room.world.loop.time()
        await room.until(lambda: all(peer.transfer.complete for peer in room.peers[:3]), 30.0)
        assert room.world.loop.time() - began < 8.0
        await room.until(room.all_done, 60.0)
        assert room.world.loop.time() - began < 1.3 * len(room.content.space) / 200_000

    with Room(14, 4, size=6_000_000, rate_bytes_per_s=2_000_000) as room:
        room.hosts[3].set_link(Link(down_bytes_per_s=210_000, queue_bytes=30_000))
        room.world.run(run())


def test_what_the_publisher_signed_comes_with_the_keep_alives() -> None:
    """In pages; who believes it carries it on, who does not goes without."""

    async def run() -> None:
        blob = bytes(range(256)) * 20
        await room.peer(0, publishing=Publishing(blob)).start(full=True)
        one = await room.peer(1, publishing=Publishing(check=lambda data: data == blob)).start()
        two = await room.peer(2, publishing=Publishing(check=lambda data: False)).start()
        await asyncio.sleep(8.0)
        assert one.node.publishing.blob == blob
        assert one.happened("published")
        assert two.node.publishing.blob == b""

    with Room(17, 3) as room:
        room.world.run(run())


def test_a_group_that_cannot_be_joined_at_first() -> None:
    """One line for the user; it is tried again, and the file arrives."""

    async def run() -> None:
        await room.peer(0).start(full=True)
        one = await room.peer(1).start()
        groups = one.node.flows.groups
        join, failed = groups.join, []

        async def fails(address: bytes, receiver: GroupReceiver, **more: Any) -> Group:
            if len(failed) < 2:
                failed.append(address)
                raise NetworkError("no route")
            return await join(address, receiver, **more)

        await room.until(lambda: one.node.group is not None, 5.0, 0.001)
        groups.join = fails  # type: ignore[method-assign]
        await room.until(room.all_done, 30.0)
        assert len(failed) == 2
        assert [event.detail for event in one.happened("warning")] == [
            "cannot receive by multicast: no route"
        ]

    with Room(19, 2) as room:
        room.world.run(run())


@pytest.mark.parametrize("swarms", [False, True])
def test_a_stream_that_stops_is_told_once_and_the_swarm_where_there_is_one(swarms: bool) -> None:
    """Whoever else could bring it is a setting's word: who may be sent elsewhere has a swarm."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        settings = replace(room.settings, dismiss_after_s=1.0) if swarms else room.settings
        one = await room.peer(1, settings).start()
        await room.until(lambda: one.transfer.have.count > 10, 10.0)
        source.crash()
        await asyncio.sleep(8.0)
        lines = [event.detail for event in one.happened("warning") if "stopped" in event.detail]
        rest = ", the swarm goes on meanwhile" if swarms else ""
        assert lines == [f"multicast has stopped coming: joining the group again{rest}"]

    with Room(26, 2) as room:
        room.world.run(run())
