"""Trackers and LAN discovery in the simulated world: loss, crashes, restarts, many seeds."""

from __future__ import annotations

import asyncio

import pytest

from bittorrent.swarms import RememberingSwarm
from spinney.bittorrent.lan import LanDiscovery
from spinney.bittorrent.tracker.client import TrackerSource
from spinney.bittorrent.tracker.messages import AnnounceRequest
from spinney.bittorrent.tracker.server import Tracker
from spinney.bittorrent.tracker.settings import TrackerSettings
from spinney.sim import Link, SimHost, Uniform, World

HASH = b"\x01" * 20
SEEDS = range(5)
WILD = Link(latency=Uniform(0.01, 0.15), loss=0.02)
STATE = "tracker.state"


class Client:
    """One swarm at its tracker, on a host of its own."""

    def __init__(self, host: SimHost, n: int, tiers: list[list[str]], left: int = 1) -> None:
        self.swarm = RememberingSwarm(HASH, 6000 + n, left_bytes=left, name=f"{n}")
        self.source = TrackerSource(host, tiers)
        self.task = host.start(self.source.run(self.swarm))

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def open_tracker(host: SimHost) -> Tracker:
    tracker = Tracker(
        host,
        TrackerSettings(
            port=6969, addresses=("0.0.0.0",), interval_s=300, state_path=STATE, state_every_s=5
        ),
    )
    host.start(tracker.start())
    return tracker


def lost_and_found(seed: int) -> str:
    """A tracker dies without a word, is away for a minute, and comes back with its disk."""
    with World(seed, link=WILD) as world:
        server = world.host("tracker")
        url = f"http://{server.address}:6969/announce"
        hosts = [world.host(f"client{n}") for n in range(12)]

        async def scenario() -> None:
            tracker = open_tracker(server)
            await asyncio.sleep(1)
            clients = [Client(host, n, [[url]], n % 3) for n, host in enumerate(hosts[:10])]
            await asyncio.sleep(30)
            assert tracker.state.peer_count == 10
            known = tracker.state.torrents[HASH]
            assert known.seed_count == 4

            server.crash()
            await asyncio.sleep(10)
            late = Client(hosts[10], 10, [[url]])
            await asyncio.sleep(50)
            assert late.swarm.peers == []
            assert late.swarm.warnings
            server.restart()
            tracker = open_tracker(server)
            await asyncio.sleep(1)
            # Nobody announced since (but perhaps the late one): this is what the disk held.
            assert tracker.state.torrents[HASH].seed_count == 4
            assert tracker.state.peer_count in (10, 11)
            # The one that found it dead comes back by itself, and meets them all.
            await late.swarm.hears_of(6000, within_s=120)
            assert {port for _, port in late.swarm.peers} == set(range(6000, 6010))

            # All come again at their interval; those who die in silence are forgotten.
            hosts[0].crash()
            await asyncio.sleep(700)
            assert tracker.state.peer_count == 10
            for client in [*clients[1:], late]:
                await client.leave()
            await asyncio.sleep(5)
            # A goodbye has three seconds, less than one lost SYN may cost.
            assert tracker.state.peer_count <= 1
            await asyncio.sleep(600)
            assert tracker.state.peer_count == 0
            await tracker.close()

        world.run(scenario())
        return world.digest()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tracker_that_crashes_comes_back_with_everybody(seed: int) -> None:
    lost_and_found(seed)


def test_the_same_seed_is_the_same_run() -> None:
    assert lost_and_found(3) == lost_and_found(3)


@pytest.mark.parametrize("seed", range(25))
def test_power_lost_at_any_moment_leaves_a_whole_state(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The state is written all the time; what the disk held is an old one or the new one."""
    with World(seed) as world:
        server = world.host("tracker")
        host = world.host("client")
        url = f"http://{server.address}:6969/announce"
        moments = world.rng_for("moments")

        async def scenario() -> None:
            settings = TrackerSettings(
                port=6969, addresses=("0.0.0.0",), state_path=STATE, state_every_s=0.001
            )
            for life in range(8):
                tracker = Tracker(server, settings)
                await server.start(tracker.start())
                if life:
                    assert tracker.state.peer_count >= life
                client = Client(host, life, [[url]])
                async with asyncio.timeout(10):
                    while tracker.state.peer_count < life + 1:
                        await asyncio.sleep(0.001)
                await asyncio.sleep(0.01 + 0.005 * moments.random())
                server.crash()
                client.task.cancel()
                await asyncio.sleep(4)
                server.restart()

        world.run(scenario())
        assert caplog.records == []


def test_a_full_disk_is_a_warning_and_the_old_state_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with World(1) as world:
        server = world.host("tracker", disk_bytes=2 * 65536)
        url = f"http://{server.address}:6969/announce"
        client_host = world.host("client")

        async def scenario() -> None:
            tracker = open_tracker(server)
            await asyncio.sleep(1)
            client = Client(client_host, 0, [[url]])
            await asyncio.sleep(10)
            assert not caplog.records
            for n in range(
                1500
            ):  # 99 KB of state, and the old one stays until the new one is whole
                request = AnnounceRequest(HASH, b"-SP0001-%012d" % n, 1)
                tracker.state.announce(request, (n.to_bytes(4, "big") + b"\x00\x01",), b"", 11.0)
            await asyncio.sleep(60)
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            assert "cannot be written" in caplog.text
            assert tracker.state.peer_count == 1501
            server.crash()
            server.restart()
            again = open_tracker(server)
            await asyncio.sleep(1)
            assert again.state.peer_count == 1
            client.task.cancel()

        world.run(scenario())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_second_tier_takes_over_and_gives_back(seed: int) -> None:
    with World(seed, link=WILD) as world:
        first, second = world.host("first"), world.host("second")
        tiers = [
            [f"http://{first.address}:6969/announce"],
            [f"http://{second.address}:6969/announce"],
        ]
        hosts = [world.host(f"client{n}") for n in range(6)]

        async def scenario() -> None:
            spare = open_tracker(second)
            await asyncio.sleep(1)
            clients = [Client(host, n, tiers) for n, host in enumerate(hosts)]
            await asyncio.sleep(60)
            assert spare.state.peer_count == 6
            main = open_tracker(first)
            await asyncio.sleep(800)
            assert main.state.peer_count == 6
            for client in clients:
                await client.leave()
            await asyncio.sleep(5)
            # Both were told, but for a goodbye that was lost.
            assert main.state.peer_count + spare.state.peer_count <= 1

        world.run(scenario())


@pytest.mark.parametrize("seed", SEEDS)
def test_lan_discovery_in_a_multicast_domain(seed: int) -> None:
    with World(seed) as world:
        here = world.lan("here", link=Link(latency=Uniform(0.0002, 0.002), loss=0.05))
        there = world.lan("there")
        hosts = [world.host(f"pc{n}", on=here) for n in range(20)]
        stranger = world.host("stranger", on=there)
        swarms = [RememberingSwarm(HASH, 6000 + n, name=f"{n}") for n in range(22)]
        finders: list[LanDiscovery] = []

        async def join(host: SimHost, swarm: RememberingSwarm) -> None:
            finder = LanDiscovery(host)
            finders.append(finder)
            await finder.start()
            await finder.run(swarm)

        async def scenario() -> None:
            for host, swarm in zip(hosts[:19], swarms, strict=False):
                host.start(join(host, swarm))
            stranger.start(join(stranger, swarms[21]))
            await asyncio.sleep(3)
            # Loss takes a datagram here and there: everybody knows nearly everybody at once.
            for n in range(19):
                others = {port for _, port in swarms[n].peers} - {6000 + n}
                assert 6000 + n not in {port for _, port in swarms[n].peers}
                assert len(others) >= 14
            await asyncio.sleep(600)
            for n in range(19):
                assert len({port for _, port in swarms[n].peers}) == 18
            spoken = sum(finder.sent for finder in finders)
            hosts[19].start(join(hosts[19], swarms[19]))
            await asyncio.sleep(1.5)
            # The newcomer is answered, by all, once each: it need not wait for five minutes.
            assert len({port for _, port in swarms[19].peers}) >= 14
            assert sum(finder.sent for finder in finders) - spoken <= 3 * 2 * 20
            assert swarms[21].peers == []

        world.run(scenario())
