"""Many files at once, many machines at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from tests.mcftp.lans import directory
from tests.mcftp.peers import Room
from tests.mcftp.stage import transfer_on

from content.moving import Content
from spinney.groups.ip import IpGroups
from spinney.mcftp.members import Member
from spinney.mcftp.messages import Status
from spinney.mcftp.node import Leaderships, McftpNode


def test_several_files_of_one_peer_up_to_a_bound() -> None:
    """Leaderships beyond the bound are left to others."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        assert source.node.leaderships.most == 20
        await room.until(lambda: source.leads, 5.0)
        assert source.node.leaderships.held == 1
        await source.close()
        assert source.node.leaderships.held == 0
        nobody = await room.peer(1, replace(room.settings, leaderships=0)).start(full=True)
        await asyncio.sleep(30.0)
        assert not nobody.leads

    with Room(12, 2) as room:
        room.world.run(run())


def test_two_files_at_once() -> None:
    """Two groups on one LAN; a peer of both has one directory."""

    async def run() -> None:
        other = Content([2_000_000], 1 << 16, seed=99)
        nodes = []
        for number in range(3):
            peer = await room.peer(number).start(full=number == 0)
            transfer = await transfer_on(peer.host, other, full=number == 1)
            node = McftpNode(
                peer.host, transfer, IpGroups(peer.host), peer.directory, room.settings
            )
            await node.start()
            nodes.append(node)
        await room.until(
            lambda: room.all_done() and all(node.transfer.complete for node in nodes), 30.0
        )
        assert nodes[1].leading is not None
        assert nodes[0].group is not None
        assert room.peers[0].node.group is not None
        assert nodes[0].group.address != room.peers[0].node.group.address

    with Room(15, 3) as room:
        room.world.run(run())


@pytest.mark.parametrize(
    "machines",
    [80, pytest.param(1_000, marks=[pytest.mark.night, pytest.mark.timeout(1800)])],
    ids=["eighty", "thousand"],
)
def test_a_crowd_that_joins_at_once(machines: int) -> None:
    """No implosion: the leader hears at most some hundred reports a second, and all have it."""

    async def run() -> None:
        source = await room.peer(0, replace(room.settings, wait_for=machines // 2)).start(full=True)
        await room.until(lambda: source.leads, 5.0)
        assert source.node.leading is not None
        leader = source.node.leading.leader
        report, seconds = leader.report, Counter[int]()

        def counted(peer: bytes, status: Status, now: float) -> Member:
            if peer != leader.me:
                seconds[int(now)] += 1
            return report(peer, status, now)

        leader.report = counted  # type: ignore[method-assign]
        await asyncio.gather(*(room.peer(number).start() for number in range(1, machines)))
        await room.until(room.all_done, 90.0, 0.5)
        await room.until(lambda: leader.members.complete() == machines - 1, 5.0 + machines / 100)
        assert source.leads
        assert max(seconds.values()) <= 260
        assert source.node.flows.sent_bytes <= 1.1 * len(room.content.space)
        print(f"{machines} machines: at most {max(seconds.values())} reports a second")

    with Room(16, machines, size=100_000) as room:  # a receiver of it takes 1.3 MB here
        room.world.run(run())


def test_twenty_files_at_once() -> None:
    async def run() -> None:
        contents = [Content([300_000], 1 << 16, seed=number) for number in range(20)]
        nodes = []
        leaderships = Leaderships(20)
        for number in range(3):
            host = room.hosts[number]
            shared = await directory(host)
            for content in contents:
                transfer = await transfer_on(host, content, full=number == 0)
                node = McftpNode(
                    host,
                    transfer,
                    IpGroups(host),
                    shared,
                    room.settings,
                    leaderships=leaderships if number == 0 else None,
                )
                await node.start()
                nodes.append(node)
        await room.until(lambda: all(node.transfer.complete for node in nodes), 30.0)
        assert leaderships.held == 20
        groups = [node.group.address for node in nodes if node.group is not None]
        assert len(set(groups)) == 20

    with Room(18, 3, keep_alive_s=2.0) as room:
        room.world.run(run())
