"""Multicast and the swarm at once, through `Peer`, on simulated machines of one LAN."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from tests.peer.test_peer_simulated import read, write

from spinney.config import Settings
from spinney.errors import NetworkError, UsageError
from spinney.events import Event, Progress, Ready, Started, Warning
from spinney.mcftp.view import StreamView, View
from spinney.peer import Peer
from spinney.peer.getting import Getting
from spinney.peer.lingering import Lingering
from spinney.sim import SimHost, World

DATA = Random(7).randbytes(8_000_000)
RATE = 2_000_000.0


def run(
    machines: int, scenario: Callable[[list[SimHost]], Awaitable[None]], *, seed: int = 1
) -> None:
    with World(seed) as world:
        home = world.lan("home")
        hosts = [world.host(f"m{number}", on=home) for number in range(machines)]

        async def main() -> None:
            async with asyncio.timeout(900):
                await scenario(hosts)

        world.run(main())


async def got(getting: Getting) -> dict[str, tuple[int, int]]:
    """(useful, duplicate) by way."""
    done = await getting.wait()
    return {way: (row.useful, row.duplicate) for way, row in done.sources.items()}


def test_a_room_gets_it_once_by_multicast_and_nothing_twice() -> None:
    """Swarm and group are both there; members of the group leave the swarm alone meanwhile."""

    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA)
        heard: list[Event] = []
        async with Peer(hosts[0]) as sharer:
            sharing = await sharer.share(
                "image.iso", wait_for=4, rate_bytes_per_s=RATE, on_event=heard.append
            )
            peers = [Peer(host) for host in hosts[1:]]
            gettings = [await peer.get(sharing.link, "out") for peer in peers]
            rows = [await got(getting) for getting in gettings]
            for row in rows:
                assert row["multicast"] == (len(DATA), 0)
                assert row.get("swarm", (0, 0)) == (0, 0)
            assert sharing.sent_bytes <= 1.02 * len(DATA)
            assert [event.receivers for event in heard if isinstance(event, Started)] == [4]
            assert not [event for event in heard if isinstance(event, Warning)]
            ready = next(event for event in heard if isinstance(event, Ready))
            assert ready.multicast is not None
            assert (ready.multicast.ttl, ready.multicast.off) == (1, None)
            for peer in peers:
                await peer.close()
        assert all(read(host, "out/image.iso") == DATA for host in hosts[1:])

    run(5, scenario)


def test_who_only_swarms_gets_nothing_before_the_start() -> None:
    """`wait_for`: until then nothing is sent, by the swarm neither."""

    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA)
        async with Peer(hosts[0]) as sharer, Peer(hosts[1]) as outside, Peer(hosts[2]) as member:
            sharing = await sharer.share("image.iso", wait_for=1, rate_bytes_per_s=RATE)
            getting = await outside.get(sharing.link, "out", multicast=False)
            await asyncio.sleep(10.0)
            assert getting.status().have_bytes == 0
            await member.get(sharing.link, "out")
            await getting.wait()

    run(3, scenario)


def test_one_receiver_uses_both_ways_at_once() -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA)
        async with Peer(hosts[0]) as sharer, Peer(hosts[1]) as getter:
            sharing = await sharer.share(
                "image.iso", rate_bytes_per_s=RATE, up_bytes_per_s=4_000_000
            )
            began = asyncio.get_running_loop().time()
            row = await got(await getter.get(sharing.link, "out"))
            took = asyncio.get_running_loop().time() - began
            assert row["multicast"][0] > 0
            assert row["swarm"][0] > 0
            assert sum(useful for useful, _ in row.values()) == len(DATA)
            assert sum(twice for _, twice in row.values()) <= 0.15 * len(DATA)
            assert took < 1.3 * len(DATA) / RATE

    run(2, scenario)


def test_a_limit_of_sending_binds_both_ways_together() -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA)
        up = 1_000_000.0
        async with Peer(hosts[0]) as sharer, Peer(hosts[1]) as getter:
            sharing = await sharer.share(
                "image.iso", rate_bytes_per_s=5_000_000.0, up_bytes_per_s=up
            )
            await getter.get(sharing.link, "out")
            before, at = sharing.sent_bytes, asyncio.get_running_loop().time()
            await asyncio.sleep(5.0)
            seconds = asyncio.get_running_loop().time() - at
            sent = sharing.sent_bytes - before
            assert sent <= up * (seconds + 0.2) + 32_768
            assert sent >= 0.7 * up * (seconds - 2.0)

    run(2, scenario)


def test_who_may_receive_less_than_the_group_sends_does_not_join_its_streams() -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA[:2_000_000])
        heard: list[Event] = []
        async with Peer(hosts[0]) as sharer, Peer(hosts[1]) as getter:
            sharing = await sharer.share("image.iso", rate_bytes_per_s=RATE)
            getting = await getter.get(
                sharing.link, "out", down_bytes_per_s=400_000, on_event=heard.append
            )
            row = await got(getting)
            assert row.get("multicast", (0, 0)) == (0, 0)
            assert any("--down" in event.message for event in heard if isinstance(event, Warning))

    run(2, scenario)


def test_multicast_only() -> None:
    """Of the swarm no more than the description: a bare magnet link works."""

    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA)
        async with Peer(hosts[0]) as sharer, Peer(hosts[1]) as getter:
            sharing = await sharer.share("image.iso", rate_bytes_per_s=RATE, multicast_only=True)
            row = await got(await getter.get(sharing.link, "out", multicast_only=True))
            assert list(row) == ["multicast"]
            last = getter  # no swarm is left
            assert not last._running or last._running[0]._swarm is None

    run(2, scenario)


def test_the_sharer_dies_and_those_that_have_parts_complete_each_other() -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA)
        sharer = Peer(hosts[0])
        sharing = await sharer.share("image.iso", rate_bytes_per_s=RATE, wait_for=3)
        peers = [Peer(host) for host in hosts[1:]]
        gettings = [await peer.get(sharing.link, "out", seed_time_s=600) for peer in peers[:3]]
        while min(getting.status().have_bytes for getting in gettings) < len(DATA) // 4:
            await asyncio.sleep(0.1)
        late = await peers[3].get(sharing.link, "out")
        await asyncio.sleep(3.5)  # all has gone by once
        hosts[0].crash()
        await late.wait()
        assert read(hosts[4], "out/image.iso") == DATA
        for peer in (*peers, sharer):
            await peer.close()

    run(5, scenario)


def test_who_is_done_stays_while_it_is_asked_to_send() -> None:
    """A late one is served by more than the source, and all end soon after."""

    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA)
        loop, only = asyncio.get_running_loop(), {"multicast_only": True}
        async with Peer(hosts[0]) as sharer:
            sharing = await sharer.share("image.iso", rate_bytes_per_s=RATE, wait_for=3)
            peers = [Peer(host) for host in hosts[1:]]
            gettings = [await peer.get(sharing.link, "out", **only) for peer in peers[:3]]
            while min(getting.status().have_bytes for getting in gettings) < len(DATA) // 2:
                await asyncio.sleep(0.1)
            late = await peers[3].get(sharing.link, "out", **only)
            await got(late)
            whole_at = loop.time()
            rows = [await got(getting) for getting in gettings]
            assert loop.time() - whole_at < 3.0
            assert all(row["multicast"][0] == len(DATA) for row in rows)
            assert sharing.sent_bytes <= 1.3 * len(DATA)
            assert sum(getting.sent_bytes for getting in gettings) > 0.2 * len(DATA)
            for peer in peers:
                await peer.close()

    run(5, scenario)


@pytest.mark.parametrize(
    ("members", "complete", "mine", "at", "goes"),
    [
        (2, 1, False, 0.0, True),  # nobody else is there
        (3, 1, False, 1.0, False),  # somebody lacks something: we may be asked
        (3, 1, False, 2.1, True),
        (3, 1, True, 2.1, False),  # we were
        (3, 1, True, 31.0, True),  # for longer than it took ourselves
        (3, 2, False, 0.1, False),  # the count may be of before
        (3, 2, False, 1.0, True),
    ],
)
def test_how_long_it_stays(members: int, complete: int, mine: bool, at: float, goes: bool) -> None:
    stream = StreamView(0, "", "", mine, False, 1, 0, 1)
    view = View("g", "l", False, "", 1, members, True, (), (stream,), 0, 0, complete)
    assert Lingering(-30.0, 0.0).over(view, at, at) is goes
    assert Lingering(-30.0, 0.0).over(None, at, at)


def test_who_published_it_is_told_with_the_keep_alives() -> None:
    """By the key that the link names; without one it is unverified; another key proves nothing."""

    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA[:2_000_000])
        async with Peer(hosts[0]) as sharer:
            sharing = await sharer.share(
                "image.iso", rate_bytes_per_s=200_000.0, wait_for=3, signing_seed=bytes(32)
            )
            publisher = sharing.descriptor.publisher
            assert publisher is not None
            named = f"x.pub={publisher.hex()}"
            assert named in sharing.link
            bare = sharing.link.replace(f"&{named}", "")
            other = sharing.link.replace(named, f"x.pub={bytes(32).hex()}")
            peers = [Peer(host) for host in hosts[1:]]
            gettings = [
                await peer.get(link, "out")
                for peer, link in zip(peers, (sharing.link, bare, other), strict=True)
            ]
            rows = [await getting.wait() for getting in gettings]
            assert [row.signature for row in rows] == ["verified", "unverified", "missing"]
            assert [row.publisher for row in rows[:2]] == [publisher.hex()] * 2
            for peer in peers:
                await peer.close()

    run(4, scenario)


def test_until_complete_counts_each_once_whatever_it_used() -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA[:1_000_000])
        async with Peer(hosts[0]) as sharer:
            sharing = await sharer.share("image.iso", rate_bytes_per_s=RATE, until_complete=3)
            for number, more in enumerate(({}, {"multicast": False}, {"multicast_only": True}), 1):
                assert sharing.complete_peers == number - 1
                async with Peer(hosts[number]) as getter:
                    stay = {"seed_time_s": 10.0, **more}
                    await (await getter.get(sharing.link, "out", **stay)).wait()
            async with asyncio.timeout(30.0):
                await sharing.wait()

    run(4, scenario)


def test_a_private_torrent_is_not_multicast_unless_asked() -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA[:100_000])
        heard: list[Event] = []
        tracker = ["http://192.0.2.1:6969/announce"]
        async with Peer(hosts[0]) as sharer:
            sharing = await sharer.share(
                "image.iso", private=True, trackers=tracker, on_event=heard.append
            )
            assert isinstance(heard[0], Ready)
            assert heard[0].multicast is not None
            assert "private" in str(heard[0].multicast.off)
            assert sharing.status().group is None
            await sharing.close()
            sharing = await sharer.share(
                "image.iso", private=True, trackers=tracker, multicast_only=True
            )
            assert sharing.status().group is not None

    run(1, scenario)


@pytest.mark.parametrize("wish", [{"multicast": False}, {"lan": False}], ids=str)
def test_who_does_not_want_it_says_nothing_by_multicast(wish: dict[str, bool]) -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA[:100_000])
        async with Peer(hosts[0], Settings(lan=False)) as sharer:
            sharing = await sharer.share("image.iso", **wish)
            await asyncio.sleep(5.0)
            assert sharing.status().group is None

    run(1, scenario)


def test_wrong_wishes_are_told_at_once() -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA[:100_000])
        async with Peer(hosts[0]) as peer:
            for group in ("10.0.0.1", "239.192.0.1", "239.255.1.1:80", "x", "239.255.1.1:x"):
                with pytest.raises(UsageError, match="--group"):
                    await peer.share("image.iso", group=group)
            with pytest.raises(UsageError, match="exclude"):
                await peer.share("image.iso", multicast=False, multicast_only=True)
        async with Peer(hosts[0], Settings(interface="lo")) as peer:
            with pytest.raises(UsageError, match="--ttl 0"):
                await peer.share("image.iso", multicast_only=True)

    run(1, scenario)


def test_a_group_that_the_user_names() -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA[:1_000_000])
        group = "239.255.7.7:7000"
        async with Peer(hosts[0]) as sharer, Peer(hosts[1]) as named, Peer(hosts[2]) as found:
            sharing = await sharer.share("image.iso", group=group, multicast_only=True)
            gettings = [
                await named.get(sharing.link, "out", group=group, multicast_only=True),
                await found.get(sharing.link, "out", multicast_only=True),
            ]
            for getting in gettings:
                row = await got(getting)
                assert row["multicast"][0] == 1_000_000
            progress = sharing.status()
            assert isinstance(progress, Progress)
            assert progress.group is not None
            assert progress.group.address == f"ip4:{group}"

    run(3, scenario)


def test_a_pipe_is_filled_in_order_by_multicast() -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA)
        out = bytearray()

        async def take(data: memoryview) -> None:
            out.extend(data)

        async with Peer(hosts[0]) as sharer, Peer(hosts[1]) as getter:
            sharing = await sharer.share("image.iso", rate_bytes_per_s=RATE, multicast_only=True)
            getting = await getter.get(sharing.link, "-", stream=take, multicast_only=True)
            await got(getting)
        assert out == DATA

    run(2, scenario)


def test_a_folder_of_many_files() -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        for number in range(40):
            write(hosts[0], f"photos/{number}.jpg", DATA[number * 1000 : number * 31_000])
        async with Peer(hosts[0]) as sharer, Peer(hosts[1]) as getter:
            sharing = await sharer.share("photos", rate_bytes_per_s=RATE, format="hybrid",
                                         multicast_only=True)  # fmt: skip
            await got(await getter.get(sharing.link, "out", multicast_only=True))
        for number in (1, 20, 39):
            part = DATA[number * 1000 : number * 31_000]
            assert read(hosts[1], f"out/photos/{number}.jpg") == part

    run(2, scenario)


def test_no_multicast_here_is_said_once_and_the_swarm_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        def unable(self: object) -> None:
            raise NetworkError("no IPv4 multicast on any interface")

        monkeypatch.setattr("spinney.groups.ip.IpGroups.used", unable)
        write(hosts[0], "image.iso", DATA[:100_000])
        heard: list[Event] = []
        async with Peer(hosts[0]) as sharer, Peer(hosts[1]) as getter:
            sharing = await sharer.share("image.iso", on_event=heard.append)
            row = await got(await getter.get(sharing.link, "out"))
            assert row["swarm"][0] == 100_000
            assert isinstance(heard[0], Ready)
            assert heard[0].multicast is not None
            assert "the swarm only" in str(heard[0].multicast.off)
            with pytest.raises(NetworkError):
                await sharer.share("image.iso", multicast_only=True, torrent_out="y.torrent")

    run(2, scenario)


def test_a_network_that_carries_no_multicast() -> None:
    """The swarm takes over, and one line says so; to who wants no swarm the sharer sends."""

    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA)
        heard: list[list[Event]] = [[], []]
        async with Peer(hosts[0]) as sharer, Peer(hosts[1]) as one, Peer(hosts[2]) as other:
            sharing = await sharer.share("image.iso", up_bytes_per_s=1_000_000)
            began = asyncio.get_running_loop().time()
            only = await other.get(sharing.link, "out", multicast_only=True,
                                   on_event=heard[1].append)  # fmt: skip
            getting = await one.get(sharing.link, "out", on_event=heard[0].append)
            row = await got(getting)
            assert row["swarm"] == (len(DATA), 0)
            # Two copies over a line of 1 MB/s.
            assert asyncio.get_running_loop().time() - began < 20.0
            assert await got(only) == {"multicast": (len(DATA), 0)}
            for events, word in zip(heard, ("doctor", "sends to this machine"), strict=True):
                warnings = [event for event in events if isinstance(event, Warning)]
                assert len(warnings) == 1
                assert word in warnings[0].message
                assert warnings[0].kind == "multicast"

    with World(1) as world:
        hosts = [world.host(f"m{floor}", on=world.lan(f"floor {floor}")) for floor in range(3)]
        world.run(scenario(hosts))


def test_the_only_one_left_leads_also_if_it_never_heard_a_leader() -> None:
    async def scenario(hosts: list[SimHost]) -> None:
        write(hosts[0], "image.iso", DATA[:300_000])
        sharer, first, late = Peer(hosts[0]), Peer(hosts[1]), Peer(hosts[2])
        group = "239.255.7.7"
        sharing = await sharer.share("image.iso", multicast=False)
        getting = await first.get(sharing.link, "out", seed_time_s=600, group=group)
        while getting.status().state != "seeding":
            await asyncio.sleep(0.1)
        await sharer.close()
        row = await got(await late.get(sharing.link, "out", multicast_only=True, group=group,
                                       peers=[f"{first.addresses()[0]}:{first.port}"]))  # fmt: skip
        assert row["multicast"][0] == 300_000
        for peer in (first, late):
            await peer.close()

    run(3, scenario)
