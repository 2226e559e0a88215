"""Machines that multicast does not reach, and that want no swarm: the sharer sends to them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.peer.test_multicast import DATA, RATE, got
from tests.peer.test_peer_simulated import read, write

from spinney.events import Event, Warning
from spinney.peer import Peer
from spinney.sim import SimHost, World, multicast
from spinney.sim.datagrams import SimDatagrams

ONLY = {"multicast_only": True}


def floors(*counts: int, seed: int = 3) -> tuple[World, list[SimHost]]:
    """A world of LANs between which no multicast goes, with so many machines each."""
    world = World(seed)
    hosts = []
    for floor, count in enumerate(counts):
        lan = world.lan(f"floor {floor}")
        hosts += [world.host(f"m{floor}.{number}", on=lan) for number in range(count)]
    return world, hosts


def test_a_room_with_some_whom_it_does_not_reach() -> None:
    """All begin together, all have it, all are counted; the others are served as ever."""

    async def scenario() -> None:
        write(hosts[0], "image.iso", DATA)
        heard: list[Event] = []
        async with Peer(hosts[0]) as sharer:
            sharing = await sharer.share(
                "image.iso", rate_bytes_per_s=RATE, wait_for=4, until_complete=4, **ONLY
            )
            peers = [Peer(host) for host in hosts[1:]]
            gettings = [
                await peer.get(sharing.link, "out", on_event=heard.append, **ONLY) for peer in peers
            ]
            for getting in gettings:
                assert (await got(getting))["multicast"][0] == len(DATA)
            async with asyncio.timeout(10.0):
                await sharing.wait()
            # One copy by multicast, one for each of the two on the other floor.
            assert sharing.sent_bytes <= 3.2 * len(DATA)
            for peer in peers:
                await peer.close()
        for host in hosts[1:]:
            assert read(host, "out/image.iso") == DATA
        lines = [event.message for event in heard if isinstance(event, Warning)]
        assert len(lines) == 2, lines
        assert all("sends to this machine" in line for line in lines)

    world, hosts = floors(3, 2)
    with world:
        world.run(scenario())


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_multicast_stops_in_the_middle_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A switch that forgets a port: the sharer goes on within seconds; nothing comes twice after
    the switch remembered.  Who led nobody in between takes up the schedule that it knew before."""
    dark, data = False, DATA + DATA[::-1]
    arrived = multicast._arrived

    def comes(member: SimDatagrams, *rest: Any) -> None:
        if not (dark and member.host is hosts[2]):
            arrived(member, *rest)

    monkeypatch.setattr(multicast, "_arrived", comes)

    async def scenario() -> None:
        nonlocal dark
        write(hosts[0], "image.iso", data)
        heard: list[Event] = []
        async with Peer(hosts[0]) as sharer:
            sharing = await sharer.share("image.iso", rate_bytes_per_s=500_000, **ONLY)
            peers = [Peer(host) for host in hosts[1:]]
            first, cut = [
                await peer.get(sharing.link, "out", on_event=on_event, seed_time_s=60, **ONLY)
                for peer, on_event in zip(peers, (None, heard.append), strict=True)
            ]
            while cut.status().have_bytes < len(data) // 8:
                await asyncio.sleep(0.1)
            dark = True
            loop = asyncio.get_running_loop()
            began, had = loop.time(), cut.status().have_bytes
            while cut.status().have_bytes < had + 1_500_000:
                assert loop.time() - began < 12.0, "the sharer sends to it within seconds"
                await asyncio.sleep(0.1)
            dark = False
            await asyncio.sleep(4.0)
            sent = sharing.sent_bytes
            await asyncio.sleep(2.0)
            assert sharing.sent_bytes - sent < 1.2 * 2 * 500_000, "one copy for both again"
            for getting in (first, cut):
                while getting.status().state != "seeding":
                    assert loop.time() - began < 60.0
                    await asyncio.sleep(0.1)
            for peer in peers:
                await peer.close()
        assert read(hosts[2], "out/image.iso") == data
        lines = [event.message for event in heard if isinstance(event, Warning)]
        assert any("sends to this machine" in line for line in lines)

    world, hosts = floors(3, seed=seed)
    with world:
        world.run(scenario())
