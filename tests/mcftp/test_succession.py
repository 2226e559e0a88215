"""Leaders and senders that die, networks that part, many that begin at once: safety always, and
everybody has the file within a stated time after the last fault."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.mcftp.lans import QUICK, ROUGH
from tests.mcftp.peers import Peer, Room

from spinney.mcftp.checks import agree

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.night) for seed in (1, 2))]
"""One by day: which accidents there are is in the tests, chance only moves them a little."""


async def crowd(room: Room, full: int, empty: int) -> None:
    for number in range(full):
        await room.peer(number).start(full=True)
    for number in range(full, full + empty):
        await room.peer(number).start()


def leader_of(room: Room) -> Peer:
    leader = room.leader
    assert leader is not None
    return leader


@pytest.mark.parametrize("seed", SEEDS)
def test_the_leader_dies_and_a_receiver_leads(seed: int) -> None:
    """Another source is there: the file goes on; no keep-alive for 3 intervals at most."""

    async def run() -> None:
        await crowd(room, 2, 4)
        await asyncio.sleep(5.0)
        first = leader_of(room)
        reign = first.node.election.reign
        first.crash()
        took = await room.until(lambda: room.leader is not None, 6.0)
        assert 1.0 < took < 4.5
        assert leader_of(room).node.election.reign == reign
        await room.until(room.all_done, 30.0)
        assert agree(peer.node for peer in room.peers)

    with Room(seed, 6, size=8_000_000) as room:
        room.world.run(run())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_only_source_dies_and_comes_back(seed: int) -> None:
    """Receivers complete each other meanwhile; what nobody has comes when it is back."""

    async def run() -> None:
        await crowd(room, 1, 4)
        await asyncio.sleep(5.0)
        source = room.peers[0]
        source.crash()
        await asyncio.sleep(20.0)
        assert not room.all_done()
        assert agree(peer.node for peer in room.peers)
        source.host.restart()
        await source.start(full=True)
        await room.until(room.all_done, 20.0)
        assert agree(peer.node for peer in room.peers)

    with Room(seed, 5, size=8_000_000) as room:
        room.world.run(run())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sender_dies_in_mid_stream(seed: int) -> None:
    """It is no leader; another holder goes on."""

    async def run() -> None:
        await room.peer(0, replace(room.settings, may_send=False)).start(full=True)
        await asyncio.sleep(1.5)
        for number in (1, 2):
            await room.peer(number).start(full=True)
        for number in (3, 4, 5):
            await room.peer(number).start()
        await room.until(lambda: any(peer.node.flows.sending for peer in room.peers), 5.0)
        await asyncio.sleep(2.0)
        sender = next(peer for peer in room.peers if peer.node.flows.sending)
        assert not sender.leads
        sender.crash()
        assert await room.until(room.all_done, 30.0) < 14.0
        size = len(room.content.space)
        for peer in room.peers:
            ways = peer.transfer.totals()
            assert "multicast" not in ways or ways["multicast"].duplicate <= 0.02 * size

    with Room(seed, 6, size=8_000_000) as room:
        room.world.run(run())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("link", [QUICK, ROUGH], ids=["quick", "rough"])
def test_ten_founders_at_once(seed: int, link: object) -> None:
    async def run() -> None:
        await asyncio.gather(*(room.peer(number).start(full=True) for number in range(10)))
        await room.peer(10).start()
        await room.until(room.all_done, 60.0)
        await room.until(lambda: agree(peer.node for peer in room.peers), 60.0)
        assert len({peer.node.group.address for peer in room.peers if peer.node.group}) == 1

    with Room(seed, 11, link=link) as room:
        room.world.run(run())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_partition_of_a_minute_heals_to_one_leader(seed: int) -> None:
    async def run() -> None:
        await crowd(room, 2, 4)
        await asyncio.sleep(3.0)
        sides = room.hosts[:1] + room.hosts[2:4]
        cut = room.world.partition(sides)
        for _ in range(60):
            await asyncio.sleep(1.0)
            room.check()
        cut.heal()
        await room.until(lambda: agree(peer.node for peer in room.peers), 20.0)
        await room.until(room.all_done, 30.0)
        await asyncio.sleep(10.0)
        assert agree(peer.node for peer in room.peers)

    with Room(seed, 6, size=8_000_000) as room:
        room.world.run(run())


@pytest.mark.parametrize("seed", SEEDS)
def test_half_the_receivers_die_and_come_back(seed: int) -> None:
    async def run() -> None:
        await crowd(room, 1, 6)
        await asyncio.sleep(4.0)
        victims = room.peers[4:]
        for peer in victims:
            peer.crash()
        await asyncio.sleep(3.0)
        for peer in victims:
            peer.host.restart()
            await peer.start(pieces=peer.pieces)
        await room.until(room.all_done, 40.0)

    with Room(seed, 7, size=8_000_000) as room:
        room.world.run(run())


def test_who_restarts_is_who_he_was_and_votes_no_second_time() -> None:
    async def run() -> None:
        await crowd(room, 2, 3)
        await asyncio.sleep(6.0)
        leader_of(room).crash()
        await room.until(lambda: room.leader is not None, 6.0)
        await asyncio.sleep(1.0)
        elector = next(peer for peer in room.peers if not peer.leads)
        before = elector.node.keys.peer
        votes = elector.node.election.record()
        assert votes
        elector.crash()
        elector.host.restart()
        await elector.start(pieces=elector.pieces)
        assert elector.node.keys.peer == before
        assert elector.node.election.record() == votes
        await room.until(room.all_done, 40.0)
        await elector.close()
        assert elector.host.storage.list_folder("state") == []

    with Room(1, 5, size=3_000_000, state_folder="state") as room:
        room.world.run(run())


def test_clock_steps_change_nothing() -> None:
    async def run() -> None:
        await crowd(room, 1, 3)
        for number, step_s in enumerate((3_600.0, -86_400.0, 1e6, -1e6)):
            await asyncio.sleep(0.7)
            room.hosts[number].wall_skew_s += step_s
        await room.until(room.all_done, 20.0)
        assert room.leaders.terms == 1

    with Room(1, 4, size=4_000_000) as room:
        room.world.run(run())


@pytest.mark.night
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20))
def test_the_leader_is_killed_every_minute(seed: int) -> None:
    """On a bad LAN; all finish within a minute after the last."""

    async def run() -> None:
        await crowd(room, 3, 9)
        for _ in range(6):
            await asyncio.sleep(60.0)
            room.check()
            victim = leader_of(room)
            victim.crash()
            await asyncio.sleep(10.0)
            victim.host.restart()
            await victim.start(pieces=victim.pieces)
        await room.until(room.all_done, 120.0)

    with Room(seed, 12, size=16_000_000, link=ROUGH, rate_bytes_per_s=100_000) as room:
        room.world.run(run())


def test_a_switch_that_forgets_a_member_is_reminded() -> None:
    """A querier that comes late: some hear nothing any more until they join anew."""

    async def run() -> None:
        await crowd(room, 1, 3)
        await asyncio.sleep(4.0)
        deaf = room.peers[2]
        socket_rows = [row for row in room.segment.members.values() if len(row) > 1]
        for row in socket_rows:
            for socket in [each for each in row if each.host is deaf.host]:
                row.remove(socket)
                row.append(Deaf(socket))  # type: ignore[arg-type]
        await asyncio.sleep(1.0)
        assert not deaf.transfer.complete
        await room.until(room.all_done, 25.0)
        await asyncio.sleep(3.0)
        assert agree(peer.node for peer in room.peers)
        assert room.leaders.terms == 1
        assert deaf.happened("warning")

    with Room(1, 4, size=8_000_000) as room:
        room.world.run(run())


class Deaf:
    """In the place of a socket whose port the switch has cut off: until it joins again."""

    def __init__(self, socket: object) -> None:
        self.host = socket.host  # type: ignore[attr-defined]
        self.joined: list[object] = []
        self.socket = socket

    def __eq__(self, other: object) -> bool:
        return other is self.socket

    __hash__ = None  # type: ignore[assignment]
