"""Multicast domains: who hears a group, and how far it goes."""

from __future__ import annotations

import asyncio

import pytest

from sim.worlds import Ear
from spinney.errors import NetworkError
from spinney.net.host import DatagramOptions
from spinney.sim import Link, Radio, SimHost, World

GROUP = "239.1.2.3"


async def member(host: SimHost, group: str = GROUP, **options: object) -> Ear:
    ear = Ear()
    local = "::" if ":" in group else "0.0.0.0"
    chosen = DatagramOptions(**options)  # type: ignore[arg-type]
    ear.socket = await host.open_datagrams(ear, (local, 9), chosen)
    ear.socket.join(group)
    return ear


@pytest.mark.parametrize("group", [GROUP, "ff02::1234"])
def test_a_group_is_heard_on_its_network_by_members_only(group: str) -> None:
    world = World(1)
    lan, other_lan = world.lan("one"), world.lan("two")
    hosts = [world.host(f"h{n}", on=lan) for n in range(4)]
    elsewhere = world.host("elsewhere", on=other_lan)

    async def main() -> None:
        ears = [await member(host, group) for host in hosts[:3]]
        deaf = await Ear().open(hosts[3], 9, local="::" if ":" in group else "0.0.0.0")
        far = await member(elsewhere, group)
        deaf.socket.send(b"from outside", (group, 9))
        ears[0].socket.send(b"from a member", (group, 9))
        ears[1].socket.leave(group)
        ears[0].socket.send(b"again", (group, 9))
        await asyncio.sleep(1)
        everything = [b"from outside", b"from a member", b"again"]
        assert sorted(ears[0].payloads) == sorted(everything)
        assert ears[1].payloads == []  # left before the first arrived
        assert ears[2].payloads == everything
        assert (deaf.heard, far.heard) == ([], [])

    world.run(main())


def test_the_internet_and_a_network_without_multicast_carry_no_group() -> None:
    world = World(1)
    mute = world.lan("mute", multicast=False)
    a, b, c = world.host("a"), world.host("b"), world.host("c", on=mute)

    async def main() -> None:
        for host in (a, b, c):
            with pytest.raises(NetworkError):
                await member(host)
            (interface,) = (each for each in host.interfaces() if not each.loopback)
            assert not interface.multicast

    world.run(main())


def test_each_member_has_its_own_loss() -> None:
    world = World(1)
    lan = world.lan("lan", link=Link(loss=0.3))
    hosts = [world.host(f"h{n}", on=lan) for n in range(6)]

    async def main() -> None:
        ears = [await member(host) for host in hosts]
        for number in range(500):
            ears[0].socket.send(number.to_bytes(2, "big"), (GROUP, 9))
        await asyncio.sleep(1)
        assert len(ears[0].heard) == 500, "one's own copy does not cross the link"
        sets = [frozenset(ear.payloads) for ear in ears[1:]]
        assert len(set(sets)) == 5
        assert all(300 < len(each) < 400 for each in sets)

    world.run(main())


def test_a_line_carries_one_copy_for_all_members() -> None:
    world = World(1)
    lan = world.lan("lan", link=Link())
    source = world.host("source", on=lan, link=Link(up_bytes_per_s=100_000, queue_bytes=1 << 20))
    hosts = [world.host(f"h{n}", on=lan) for n in range(20)]

    async def main() -> None:
        ears = [await member(host) for host in hosts]
        sender = await Ear().open(source)
        for _ in range(10):
            sender.socket.send(bytes(972), (GROUP, 9))
        await asyncio.sleep(5)
        for ear in ears:
            assert ear.heard[-1][0] == pytest.approx(0.1)
            assert len(ear.heard) == 10

    world.run(main())


def test_a_partition_cuts_a_group_too() -> None:
    world = World(1)
    lan = world.lan("lan")
    hosts = [world.host(f"h{n}", on=lan) for n in range(4)]

    async def main() -> None:
        ears = [await member(host) for host in hosts]
        cut = world.partition(hosts[:2])
        ears[0].socket.send(b"cut", (GROUP, 9))
        await asyncio.sleep(1)
        cut.heal()
        ears[0].socket.send(b"healed", (GROUP, 9))
        await asyncio.sleep(1)
        assert [ear.payloads for ear in ears] == [[b"cut", b"healed"]] * 2 + [[b"healed"]] * 2

    world.run(main())


def test_a_radio_sends_to_groups_at_its_basic_rate_and_repeats_nothing() -> None:
    """A hundred frames of 1,000 bytes and headers at 100,000 B/s take a second; a tenth is lost by
    each station, not the same ones; datagrams to one station are untouched."""
    world = World(1)
    lan = world.lan("air", radio=Radio(100_000, 0.1, queue_bytes=200_000))
    hosts = [world.host(f"h{n}", on=lan) for n in range(4)]

    async def main() -> None:
        sender, *ears = [await member(host) for host in hosts]
        for number in range(100):
            sender.socket.send(number.to_bytes(2, "big") + bytes(998), (GROUP, 9))
        await asyncio.sleep(0.5)
        assert all(40 <= len(ear.heard) <= 50 for ear in ears)
        await asyncio.sleep(1)
        heard = [set(ear.payloads) for ear in ears]
        assert all(80 <= len(each) <= 97 for each in heard)
        assert len({frozenset(each) for each in heard}) == 3
        address = hosts[1].interfaces()[-1].addresses[0][0]
        ears[0].heard.clear()
        for _ in range(300):
            sender.socket.send(bytes(1_000), (address, 9))
        await asyncio.sleep(0.1)
        assert len(ears[0].heard) == 300

    world.run(main())


def test_a_radio_drops_what_its_queue_cannot_hold() -> None:
    world = World(1)
    lan = world.lan("air", radio=Radio(100_000, 0.0, queue_bytes=50_000))
    hosts = [world.host(f"h{n}", on=lan) for n in range(2)]

    async def main() -> None:
        sender, ear = [await member(host) for host in hosts]
        for _ in range(100):
            sender.socket.send(bytes(1_000), (GROUP, 9))
        await asyncio.sleep(2)
        assert 45 <= len(ear.heard) <= 50

    world.run(main())
