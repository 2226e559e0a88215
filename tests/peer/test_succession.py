"""The leader changes in mid-transfer: `--until-complete` counts on, whoever counts."""

from __future__ import annotations

import asyncio

from tests.peer.test_multicast import DATA, RATE, run
from tests.peer.test_peer_simulated import read, write

from spinney.events import Event, Warning
from spinney.peer import Peer
from spinney.sim import SimHost


def test_until_complete_after_the_leader_died() -> None:
    """The other sharer goes on and ends when all have it, those too whom the dead one counted."""

    async def scenario(hosts: list[SimHost]) -> None:
        only = {"multicast_only": True, "rate_bytes_per_s": RATE / 4}
        for host in hosts[:2]:
            write(host, "image.iso", DATA)
        first, second = Peer(hosts[0]), Peer(hosts[1])
        led = await first.share("image.iso", **only)
        await asyncio.sleep(2.0)
        left = await second.share("image.iso", until_complete=3, torrent_out="b.torrent", **only)
        peers = [Peer(host) for host in hosts[2:]]
        gone = await peers[0].get(led.link, "out", multicast_only=True)
        await gone.wait()
        await peers[0].close()  # the second sharer knows of it by what the leader said alone
        gettings = [
            await peer.get(led.link, "out", multicast_only=True, seed_time_s=60)
            for peer in peers[1:]
        ]
        while min(getting.status().have_bytes for getting in gettings) < len(DATA) // 8:
            await asyncio.sleep(0.1)
        group = led.status().group
        assert group is not None
        assert group.leading
        hosts[0].crash()
        async with asyncio.timeout(40.0):
            await left.wait()
        for host in hosts[2:]:
            assert read(host, "out/image.iso") == DATA
        for peer in (*peers[1:], first, second):
            await peer.close()

    run(5, scenario)


def test_until_complete_when_another_leads_by_the_end() -> None:
    """A leader is cut off, another is elected; the first comes back as one of the members and
    ends when the new leader says that all have it."""

    async def scenario(hosts: list[SimHost]) -> None:
        only = {"multicast_only": True, "rate_bytes_per_s": RATE}
        for host in hosts[:2]:
            write(host, "image.iso", DATA)
        first, second = Peer(hosts[0]), Peer(hosts[1])
        led = await first.share("image.iso", wait_for=3, until_complete=3, **only)
        await second.share("image.iso", torrent_out="b.torrent", **only)
        peers = [Peer(host) for host in hosts[2:]]
        gettings = [
            await peer.get(led.link, "out", multicast_only=True, seed_time_s=60) for peer in peers
        ]
        while min(getting.status().have_bytes for getting in gettings) < len(DATA) // 3:
            await asyncio.sleep(0.1)
        cut = hosts[0].world.partition([hosts[0]])
        while any(getting.status().state != "seeding" for getting in gettings):
            await asyncio.sleep(0.1)
        cut.heal()
        async with asyncio.timeout(30.0):
            await led.wait()
        for peer in (*peers, first, second):
            await peer.close()

    run(5, scenario)


def test_where_nobody_has_the_rest_any_more_it_is_said() -> None:
    """The only source dies; those that are left hold the same, and neither blame the network."""

    async def scenario(hosts: list[SimHost]) -> None:
        only = {"multicast_only": True}
        write(hosts[0], "image.iso", DATA)
        first, peers = Peer(hosts[0]), [Peer(host) for host in hosts[1:]]
        led = await first.share("image.iso", rate_bytes_per_s=RATE / 4, wait_for=2, **only)
        said: list[Event] = []
        gettings = [await peer.get(led.link, "out", on_event=said.append, **only) for peer in peers]
        while min(getting.status().have_bytes for getting in gettings) < len(DATA) // 3:
            await asyncio.sleep(0.1)
        hosts[0].crash()
        await asyncio.sleep(20.0)
        lines = [event.message for event in said if isinstance(event, Warning)]
        assert sum("nobody in the group has the rest" in line for line in lines) == 2
        assert not any("does the network carry it" in line for line in lines)
        for peer in (*peers, first):
            await peer.close()

    run(3, scenario)
