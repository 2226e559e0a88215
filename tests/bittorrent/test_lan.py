"""LAN discovery on real sockets: two programs on one machine find each other (BEP 14)."""

from __future__ import annotations

import asyncio
import os

import pytest

from bittorrent.swarms import RememberingSwarm
from spinney.bittorrent import lan_messages as m
from spinney.bittorrent.lan import LanDiscovery
from spinney.errors import NetworkError
from spinney.net.host import DatagramOptions, DatagramReceiver
from spinney.net.live import LiveHost

ONE, TWO = b"\x01" * 20, b"\x02" * 20


async def open_lan(host: LiveHost) -> LanDiscovery:
    """On loopback alone: a test must not speak to the network that it runs in."""
    lan = LanDiscovery(host, interface="lo", hops=0)
    await lan.start()
    return lan


def live(test) -> None:  # type: ignore[no-untyped-def]
    async def main() -> None:
        host = LiveHost(seed=1)
        try:
            await test(host)
        finally:
            host.close()

    asyncio.run(main())


def test_two_programs_on_one_machine_find_each_other() -> None:
    one, two = os.urandom(20), os.urandom(20)  # other tests speak on this machine's LAN too

    async def scenario(host: LiveHost) -> None:
        first = await open_lan(host)
        here, there = RememberingSwarm(one, 10001), RememberingSwarm(one, 10002)
        other = RememberingSwarm(two, 10003)
        tasks = [asyncio.create_task(first.run(here))]
        async with asyncio.timeout(5):
            while first.received == 0:
                await asyncio.sleep(0.005)
        # The first has spoken before the second exists: it is heard all the same, because it
        # answers the newcomer (within a second or so of its own announce).
        second = await open_lan(host)
        tasks += [asyncio.create_task(second.run(swarm)) for swarm in (there, other)]
        assert (await here.hears_of(10002))[0] in ("127.0.0.1", "::1")
        assert (await there.hears_of(10001))[0] in ("127.0.0.1", "::1")
        assert {port for _, port in here.peers} == {10002}
        # Who said it comes with it: the guard of outgoing addresses judges by that.
        assert set(here.sources) <= {"lan:127.0.0.1", "lan:::1"}
        assert other.peers == []
        assert "lan" in first.name
        assert "1 interface" in first.tried()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await first.close()
        await second.close()

    live(scenario)


def test_a_hybrid_is_announced_and_heard_under_both_infohashes() -> None:
    one, two = os.urandom(20), os.urandom(20)

    async def scenario(host: LiveHost) -> None:
        lans = [await open_lan(host) for _ in range(3)]
        hybrid = RememberingSwarm(one, 10001, infohashes=(one, two))
        first, second = RememberingSwarm(one, 10002), RememberingSwarm(two, 10003)
        tasks = [
            asyncio.create_task(lan.run(swarm))
            for lan, swarm in zip(lans, (hybrid, first, second), strict=True)
        ]
        for port in (10002, 10003):
            await hybrid.hears_of(port)
        for swarm in (first, second):
            await swarm.hears_of(10001)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert lans[0]._swarms == {}
        for lan in lans:
            await lan.close()

    live(scenario)


def test_a_private_torrent_is_never_named() -> None:
    async def scenario(host: LiveHost) -> None:
        lan = await open_lan(host)
        await asyncio.wait_for(lan.run(RememberingSwarm(ONE, 10001, private=True)), 1)
        assert lan.sent == 0
        assert "0 peers" in lan.tried()
        await lan.close()

    live(scenario)


def test_garbage_itself_and_strangers_are_ignored() -> None:
    async def scenario(host: LiveHost) -> None:
        lan = await open_lan(host)
        swarm = RememberingSwarm(ONE, 10001)
        task = asyncio.create_task(lan.run(swarm))
        while lan.received == 0:  # its own first announce, looped back
            await asyncio.sleep(0.01)
        assert swarm.peers == []
        mouth = await host.open_datagrams(DatagramReceiver(), ("127.0.0.1", 0), DatagramOptions())
        before = lan.received
        for data in (b"", b"rubbish", b"\x00" * 1400, m.encode(m.LanAnnounce(7, (TWO,), "x"))):
            mouth.send(data, ("127.0.0.1", m.PORT))
        mouth.send(m.encode(m.LanAnnounce(10002, (ONE,), "x")), ("127.0.0.1", m.PORT))
        await swarm.hears_of(10002)
        assert lan.received >= before + 5
        assert lan.malformed == 3
        assert swarm.peers == [("127.0.0.1", 10002)]
        lan.heard(m.encode(m.LanAnnounce(10003, (ONE,), "x")), "8.8.8.8")
        assert lan.foreign == 1
        assert len(swarm.peers) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert ONE not in lan._agenda
        mouth.close()
        await lan.close()

    live(scenario)


def test_the_end_of_a_torrent_is_the_end_of_its_announces() -> None:
    async def scenario(host: LiveHost) -> None:
        lan = await open_lan(host)
        swarms = [RememberingSwarm(bytes([at]) * 20, 10001) for at in range(45)]
        tasks = [asyncio.create_task(lan.run(swarm)) for swarm in swarms]
        async with asyncio.timeout(5):
            while lan.sent < 3:
                await asyncio.sleep(0.01)
        # 45 torrents are three datagrams on each interface and family, not 45.
        assert lan.sent in (3, 6)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert lan._agenda.next_at() is None
        await lan.close()
        await lan.close()

    live(scenario)


def test_without_any_socket_there_is_one_clear_error() -> None:
    class NoSockets(LiveHost):
        async def open_datagrams(self, *_: object) -> None:  # type: ignore[override]
            raise NetworkError("no datagrams here")

    async def scenario() -> None:
        host = NoSockets()
        lan = LanDiscovery(host)
        with pytest.raises(NetworkError, match="no datagrams"):
            await lan.start()
        assert "no socket" in lan.tried()
        host.close()

    asyncio.run(scenario())
