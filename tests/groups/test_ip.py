"""IP groups: scopes, interfaces that come and go, several of them, and the hot path."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groups.sides import Member
from spinney.errors import NetworkError
from spinney.groups.ip import CHOOSE_S, LOOK_S, QUIET_S, IpGroup, IpGroups
from spinney.groups.ip_scope import INTERFACES_MAX, Place, group_text, parsed, places
from spinney.net.host import Interface
from spinney.sim import Constant, Link, SimHost, World

LO = Interface("lo", 1, (("127.0.0.1", 8), ("::1", 128)), 65_536, False, True, True)
ETH = Interface("eth0", 2, (("192.0.2.5", 24), ("fe80::5%eth0", 64)), 1_500, True, False, True)
TUN = Interface("tun0", 3, (("10.8.0.2", 32),), 1_400, False, False, True)
DOWN = Interface("eth1", 4, (("192.0.2.9", 24),), 1_500, True, False, False)
ALL = [LO, ETH, TUN, DOWN]


# -- addresses


@pytest.mark.parametrize(
    ("six", "hops", "network"),
    [
        (False, 0, "239.255.0.0/16"),
        (False, 1, "239.255.0.0/16"),
        (False, 2, "239.192.0.0/14"),
        (True, 1, "ff12::8000:0/97"),
        (True, 9, "ff18::8000:0/97"),
    ],
)
def test_candidates_are_of_their_scope(six: bool, hops: int, network: str) -> None:
    rng = random.Random(1)
    groups = IpGroups(World(1).host("a"), six=six, hops=hops)
    for _ in range(300):
        address = groups.candidate(rng)
        assert groups.valid(address)
        found = parsed(address, six, hops)
        assert found is not None
        group = ipaddress.ip_address(found[0])
        assert group in ipaddress.ip_network(network)
        # Never a group that switches flood because its MAC address is that of 224.0.0.x.
        assert six or int(group) & 0x7FFF00


@pytest.mark.parametrize(
    "address",
    [
        b"ip4:239.254.1.1:6780",
        b"ip4:224.0.0.1:6780",
        b"ip4:192.0.2.1:6780",
        b"ip4:239.255.1.1:80",
        b"ip4:239.255.1.1:65536",
        b"ip4:239.255.1.1:06780",
        b"ip4:239.255.001.1:6780",
        b"ip4:[239.255.1.1]:6780",
        b"ip4: 239.255.1.1:6780",
        b"ip6:[ff12::1]:6780",
    ],
)
def test_what_is_no_group_of_the_scope(address: bytes) -> None:
    assert parsed(address, False, 1) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_an_address_or_not(text: bytes) -> None:
    for six in (False, True):
        for address in (text, b"ip4:" + text, b"ip6:[" + text):
            found = parsed(address, six, 1)
            assert found is None or group_text(*found) == address


# -- which interfaces


def test_which_interfaces_are_used() -> None:
    eth4 = Place("eth0", 2, "192.0.2.5")
    assert places(ALL, (), False, 1) == [eth4]
    assert places(ALL, (), True, 1) == [Place("eth0", 2, "fe80::5%eth0")]
    assert places(ALL, (), False, 0) == [Place("lo", 1, "127.0.0.1")]
    # No route for IPv6 groups leads to loopback; without hops nothing leaves by another either.
    assert places(ALL, (), True, 0) == [Place("eth0", 2, "fe80::5%eth0")]
    assert places([LO], (), True, 0) == [Place("lo", 1, "::1")]
    for name in ("eth0", "192.0.2.5"):
        assert places(ALL, (name,), False, 1) == [eth4]
    assert places(ALL, ("fe80::5",), True, 1) == [Place("eth0", 2, "fe80::5%eth0")]
    assert places(ALL, ("lo", "eth0"), False, 1) == [Place("lo", 1, "127.0.0.1"), eth4]
    assert places(ALL, ("eth1", "tun0", "nowhere"), False, 1) == []


def test_a_machine_full_of_bridges() -> None:
    many = [
        Interface(f"br{n}", n, ((f"10.0.{n}.1", 24),), 1_500, True, False, True)
        for n in range(1, 99)
    ]
    assert len(places(many, (), False, 1)) == INTERFACES_MAX


# -- interfaces that come and go


class House:
    """Host `a` on two LANs, `b` on the first and `c` on the second."""

    def __init__(self, kind: str = "ip4") -> None:
        self.world = World(3)
        still = Link(latency=Constant(0.001))
        self.one = self.world.lan("one", link=still)
        self.two = self.world.lan("two", link=still)
        self.a = self.world.host("a", on=self.one)
        self.a.attach(self.two)
        self.b = self.world.host("b", on=self.one)
        self.c = self.world.host("c", on=self.two)
        self.six = kind == "ip6"
        self.members = [Member(), Member(), Member()]
        self.groups: list[IpGroup] = []

    async def join(self) -> None:
        address = b""
        for host, member in zip((self.a, self.b, self.c), self.members, strict=True):
            groups = IpGroups(host, six=self.six)
            address = address or groups.candidate(host.rng)
            self.groups.append(await groups.join(address, member))

    def run(self, check: Coroutine[Any, Any, None]) -> None:
        self.world.run(check)
        self.world.close()

    def plug(self, attachment: int, plugged: bool) -> None:
        each = self.a.attachments[attachment]
        each.is_up = plugged
        each.classify()
        self.a.settle()


@pytest.mark.parametrize("kind", ["ip4", "ip6"])
def test_two_interfaces_speak_and_hear_on_both(kind: str) -> None:
    house = House(kind)

    async def check() -> None:
        await house.join()
        a, b, c = house.groups
        assert a.interfaces == ["eth0", "eth1"]
        a.send(b"to all")
        assert a.send_burst([b"12", b"34"], 2) == 2
        assert await house.members[1].until(3) == [b"to all", b"12", b"34"]
        assert await house.members[2].until(3) == [b"to all", b"12", b"34"]
        b.send(b"from the first")
        c.send(b"from the second")
        assert sorted(await house.members[0].until(2)) == [b"from the first", b"from the second"]
        await asyncio.sleep(0.1)
        assert len(house.members[1].heard) == len(house.members[2].heard) == 3

    house.run(check())


def test_bursts_go_where_somebody_was_heard_lately() -> None:
    """Pitfall: the second interface is a bridge for containers, a tunnel, another network."""
    house = House()

    async def check() -> None:
        await house.join()
        a, b, c = house.groups
        burst = [b"12345678"]
        a.send_burst(burst, 1)  # nobody was heard anywhere: by both
        await house.members[1].until(8)
        await house.members[2].until(8)
        b.send(b"I am here")
        await house.members[0].until(1)
        await asyncio.sleep(CHOOSE_S)
        a.send_burst(burst, 1)
        a.send(b"control goes everywhere")
        await house.members[1].until(17)
        await house.members[2].until(9)
        await asyncio.sleep(0.1)
        assert len(house.members[2].heard) == 9
        # Who speaks up on the other interface is served within a second, then both are.
        c.send_burst([b"and", b"me2"], 3)
        await house.members[0].until(3)
        await asyncio.sleep(CHOOSE_S)
        a.send_burst(burst, 1)
        await house.members[2].until(17)
        # Its own words, heard on the other interface, are not somebody's.
        assert sorted(a._groups.heard_s) == [2, 3]
        await asyncio.sleep(QUIET_S - 10)
        c.send(b"still here")
        await asyncio.sleep(20)
        a.send_burst(burst, 1)
        await house.members[2].until(25)
        await asyncio.sleep(0.1)
        assert len(house.members[1].heard) == 8 + 9 + 8  # and not the last burst

    house.run(check())


def test_own_words_heard_on_another_interface_are_no_peers() -> None:
    """Both interfaces on one switch: what leaves by one comes in by the other."""
    world = World(3)
    lan = world.lan("lan", link=Link(latency=Constant(0.001)))
    a, b = world.host("a", on=lan), world.host("b", on=lan)
    a.attach(lan)
    members = Member(), Member()

    async def check() -> None:
        near, far = IpGroups(a), IpGroups(b)
        address = near.candidate(a.rng)
        group = await near.join(address, members[0])
        other = await far.join(address, members[1])
        group.send(b"x")
        group.send_burst([b"yz"], 1)
        await members[1].until(6)  # by each interface once
        await asyncio.sleep(0.1)
        assert members[0].heard == []
        group.close()
        other.close()

    world.run(check())
    world.close()


def test_an_interface_that_comes_later_is_found() -> None:
    world = World(3)
    lan, later = world.lan("lan"), world.lan("later")
    a, c = world.host("a", on=lan), world.host("c", on=later)
    heard = Member(), Member()

    async def check() -> None:
        near, far = IpGroups(a), IpGroups(c)
        address = near.candidate(a.rng)
        group = await near.join(address, heard[0])
        other = await far.join(address, heard[1])
        a.attach(later)
        await asyncio.sleep(LOOK_S + 1)
        assert group.interfaces == ["eth0", "eth1"]
        other.send(b"here")
        assert await heard[0].until(1) == [b"here"]
        group.close()
        other.close()

    world.run(check())
    world.close()


def test_an_interface_that_goes_and_comes_back() -> None:
    house = House()

    async def check() -> None:
        await house.join()
        a, b, c = house.groups
        house.plug(1, False)
        await asyncio.sleep(LOOK_S + 1)
        assert a.interfaces == ["eth0"]
        c.send(b"unheard")
        b.send(b"heard")
        assert await house.members[0].until(1) == [b"heard"]
        house.plug(1, True)
        await asyncio.sleep(LOOK_S + 1)
        assert a.interfaces == ["eth0", "eth1"]
        c.send(b"again")
        assert await house.members[0].until(2) == [b"heard", b"again"]
        a.send(b"hello")
        assert await house.members[2].until(1) == [b"hello"]

    house.run(check())


def test_without_any_interface_a_group_drops_and_waits() -> None:
    house = House()

    async def check() -> None:
        await house.join()
        a = house.groups[0]
        house.plug(0, False)
        house.plug(1, False)
        await asyncio.sleep(LOOK_S + 1)
        assert a.interfaces == []
        a.send(b"x")
        assert a.send_burst([b"abcde"], 2) == 3
        assert a.dropped == 4
        await a.writable()
        await asyncio.sleep(LOOK_S)
        assert 1 <= len(house.members[0].errors) < 10, "it is told, and less and less often"
        with pytest.raises(NetworkError):
            await IpGroups(house.a).join(a.address, Member())
        # After errors it looks more often than each minute, then less and less.
        house.plug(0, True)
        await asyncio.sleep(LOOK_S)
        assert a.interfaces == ["eth0"]
        house.groups[1].send(b"back")
        assert await house.members[0].until(1) == [b"back"]

    house.run(check())


def test_an_error_makes_it_look_soon() -> None:
    house = House()

    async def check() -> None:
        await house.join()
        a = house.groups[0]
        house.plug(1, False)
        a.error_received(OSError(101, "Network is unreachable"))
        await asyncio.sleep(1.5)
        assert a.interfaces == ["eth0"]
        assert [error.errno for error in house.members[0].errors] == [101]
        looked = 0
        real = house.a.interfaces

        def counted() -> list[Interface]:
            nonlocal looked
            looked += 1
            return real()

        house.a.interfaces = counted  # type: ignore[method-assign]
        await asyncio.sleep(LOOK_S / 2)
        assert looked == 0, "one error, one look"

    house.run(check())


def test_a_new_ear_when_an_interface_is_another_under_the_old_name() -> None:
    """Old memberships would count against the system's limit of 20 a socket."""
    house = House()

    async def check() -> None:
        await house.join()
        a = house.groups[0]
        before = a._ear
        changed = [Place("eth0", 2, a.local_address[0]), Place("eth1", 99, "10.0.2.77")]
        with pytest.raises(NetworkError):  # the world has no such interface: none is used
            await a.settle([Place("eth7", 99, "10.0.2.77")])
        assert a.interfaces == []
        await a.settle(changed[:1])
        assert a.interfaces == ["eth0"]
        assert a._ear is not before
        house.groups[1].send(b"heard")
        assert await house.members[0].until(1) == [b"heard"]

    house.run(check())


def test_nothing_stays_behind_when_the_last_membership_ends() -> None:
    house = House()

    async def check() -> None:
        before = len(asyncio.all_tasks())
        await house.join()
        assert len(asyncio.all_tasks()) == before + 3
        for group in house.groups:
            group.close()
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) == before

    house.run(check())


def test_rejoin_in_the_simulator() -> None:
    house = House()

    async def check() -> None:
        await house.join()
        a, b, _ = house.groups
        for _ in range(3):
            await a.rejoin()
        b.send(b"once")
        await house.members[0].until(1)
        await asyncio.sleep(0.1)
        assert house.members[0].payloads == [b"once"]

    house.run(check())


def test_hosts_hear_only_their_own_scope() -> None:
    world = World(3)
    a: SimHost = world.host("a", on=world.lan("lan"))

    async def check() -> None:
        groups = IpGroups(a, hops=1)
        for wrong in (b"ip4:239.192.1.1:6780", b"ip6:[ff12::8000:1]:6780", b"fan:1.2.3.4:5:00"):
            with pytest.raises(NetworkError, match="no group of this scope"):
                await groups.join(wrong, Member())
        with pytest.raises(NetworkError, match="no IPv4 multicast on eth9"):
            await IpGroups(a, interfaces=["eth9"]).join(groups.candidate(a.rng), Member())

    world.run(check())
    world.close()
