"""The unicast fan-out: registering, cookies, bounds, succession."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groups.sides import Member
from spinney.errors import NetworkError, WireError
from spinney.groups.fan_group import FanGroup
from spinney.groups.fan_hub import COOKIE_S, ELDERS_MAX, MEMBER_LOST_S, Hub
from spinney.groups.fan_member import Member as FanMember
from spinney.groups.fan_wire import (
    DATA,
    HEADER_BYTES,
    JOIN_BYTES,
    MEMBERS_MAX,
    NO_COOKIE,
    Cookie,
    Join,
    Leave,
    Message,
    Moved,
    Welcome,
    decode,
    encode,
    header,
)
from spinney.groups.fanout import FanoutGroups, address_text, parsed
from spinney.net.host import Address, Datagram, DatagramReceiver
from spinney.sim import Constant, Link, SimHost, World

TOKEN = b"01234567"


# -- the wire


MESSAGES: list[Message] = [
    Join(NO_COOKIE, False),
    Join(b"c" * 16, True),
    Cookie(b"d" * 16),
    Welcome(7, b"e" * 16, ((1, ("192.0.2.1", 1)), (65_535, ("2001:db8::1", 65_535)))),
    Welcome(1, b"e" * 16, ()),
    Leave(3),
    Moved(None),
    Moved(("192.0.2.9", 6_780)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_messages_survive_the_wire(message: Message) -> None:
    data = encode(message, TOKEN)
    assert data[2:10] == TOKEN
    assert decode(data) == message


def test_no_control_datagram_is_longer_than_1200_bytes() -> None:
    rows = tuple((n, (f"2001:db8::{n:x}", 6_780)) for n in range(1, MEMBERS_MAX + 1))
    assert len(encode(Welcome(1, NO_COOKIE, rows), TOKEN)) <= 1_200


@given(st.binary(max_size=120), st.integers(0, 8))
def test_any_bytes_are_a_message_or_a_wire_error(body: bytes, kind: int) -> None:
    for data in (body, header(kind, TOKEN) + body):
        try:
            message = decode(data)
        except WireError:
            continue
        assert decode(encode(message, TOKEN)) == message


@given(st.binary(max_size=60))
def test_any_bytes_are_an_address_or_not(text: bytes) -> None:
    for address in (text, b"fan:" + text):
        found = parsed(address)
        assert found is None or address_text(*found) == address


# -- the hub


A, B, C = ("192.0.2.1", 1), ("192.0.2.2", 2), ("192.0.2.3", 3)


def registered(hub: Hub, address: Address, now: float = 0.0) -> int:
    hub.heard(Join(hub.cookie(address, now), False), address, now)
    return hub.members[address].number


def test_a_stranger_gets_no_more_bytes_than_it_sent() -> None:
    """Security: nobody has a third party flooded by a hub in whose name it asks."""
    hub = Hub(TOKEN, b"secret")
    registered(hub, A)
    for message in [*MESSAGES, Join(hub.cookie(A, 0.0), False), Join(b"x" * 16, True)]:
        out = hub.heard(message, B, 0.0)
        assert all(address == B for _, address in out)
        size = len(encode(message, TOKEN))
        assert sum(len(encode(answer, TOKEN)) for answer, _ in out) <= size
        assert B not in hub.members


def test_a_cookie_is_for_one_address_and_a_while() -> None:
    hub = Hub(TOKEN, b"secret")
    old = hub.cookie(B, 0.0)
    assert hub.heard(Join(old, False), C, 0.0) == [(Cookie(hub.cookie(C, 0.0)), C)]
    hub.heard(Join(old, False), B, COOKIE_S)
    assert B in hub.members
    late = 2 * COOKIE_S
    assert hub.heard(Join(old, False), B, late) == [(Cookie(hub.cookie(B, late)), B)]
    assert Hub(TOKEN, b"another").cookie(B, 0.0) != old
    assert Hub(b"76543210", b"secret").cookie(B, 0.0) != old


def test_members_are_bounded_and_vanish_by_time_out() -> None:
    hub = Hub(TOKEN, b"secret", members_max=2)
    assert [registered(hub, A), registered(hub, B)] == [1, 2]
    assert hub.heard(Join(hub.cookie(C, 0.0), False), C, 0.0) == [(Moved(None), C)]
    assert hub.refused == 1
    hub.heard(Join(hub.cookie(B, 15.0), False), B, 15.0)
    hub.tick(MEMBER_LOST_S + 0.1)
    assert list(hub.members) == [B]
    assert registered(hub, C, MEMBER_LOST_S + 0.1) == 3
    # Only the member itself can leave.
    hub.heard(Leave(2), C, 30.0)
    assert list(hub.members) == [B, C]
    hub.heard(Leave(2), B, 30.0)
    assert list(hub.members) == [C]


def test_elders_are_bounded() -> None:
    hub = Hub(TOKEN, b"secret", elders=[A] * 99)
    assert len(hub.elders) == ELDERS_MAX


# -- a group of them


class Town:
    """A fan-out of `size` programs, each on a host of its own of one simulated LAN."""

    def __init__(self, size: int, seed: int = 1) -> None:
        self.world = World(seed)
        lan = self.world.lan("lan", link=Link(latency=Constant(0.001)))
        self.hosts = [self.world.host(f"h{n}", on=lan) for n in range(size)]
        self.members = [Member() for _ in range(size)]
        self.programs: list[FanoutGroups] = []
        self.groups: list[FanGroup] = []

    async def program(self, host: SimHost, **options: int) -> FanoutGroups:
        made = FanoutGroups(host, (host.address, 6_781), **options)
        await made.open()
        return made

    @asynccontextmanager
    async def joined(self, **options: int) -> AsyncIterator[Town]:
        address = b""
        for host, member in zip(self.hosts, self.members, strict=True):
            program = await self.program(host, **options)
            address = address or program.candidate(host.rng)
            self.programs.append(program)
            self.groups.append(await program.join(address, member))
        yield self
        for each in self.programs:
            each.close()

    def hubs(self) -> list[int]:
        return [n for n, group in enumerate(self.groups) if group.is_hub and self.hosts[n].is_up]

    async def everybody_hears(self, living: list[int]) -> None:
        for n in living:
            self.members[n].heard.clear()
        for n in living:
            self.groups[n].send(bytes([n]))
        await asyncio.sleep(1.0)
        for n in living:
            heard = sorted(self.members[n].payloads)
            assert heard == [bytes([other]) for other in living if other != n], (n, heard)


def test_the_hub_dies_and_the_eldest_member_succeeds_it() -> None:
    town = Town(5)

    async def check() -> None:
        async with town.joined():
            await asyncio.sleep(1.0)
            founder = town.groups[0].address
            town.hosts[0].crash()
            await asyncio.sleep(25.0)
            assert town.hubs() == [1]
            await town.everybody_hears([1, 2, 3, 4])
            # The address of the group names its new hub, for directories and newcomers.
            assert {town.groups[n].address for n in (1, 2, 3, 4)} == {town.groups[1].address}
            assert town.groups[1].address != founder

    town.world.run(check())


def test_the_hub_and_its_heir_die_at_once() -> None:
    town = Town(5)

    async def check() -> None:
        async with town.joined():
            await asyncio.sleep(1.0)
            town.hosts[0].crash()
            town.hosts[1].crash()
            await asyncio.sleep(40.0)
            assert town.hubs() == [2]
            await town.everybody_hears([2, 3, 4])

    town.world.run(check())


def test_a_hub_that_leaves_names_its_successor_at_once() -> None:
    town = Town(4)

    async def check() -> None:
        async with town.joined():
            await asyncio.sleep(1.0)
            town.groups[0].close()
            await asyncio.sleep(0.5)
            assert town.hubs() == [0, 1]  # what is closed stays what it was
            await town.everybody_hears([1, 2, 3])

    town.world.run(check())


@pytest.mark.parametrize("seed", range(4))
def test_a_network_in_two_heals_to_one_hub(seed: int) -> None:
    town = Town(6, seed)

    async def check() -> None:
        async with town.joined():
            await asyncio.sleep(1.0)
            cut = town.world.partition(town.hosts[:2])
            await asyncio.sleep(60.0)
            assert town.hubs() == [0, 2]
            await town.everybody_hears([0, 1])
            await town.everybody_hears([2, 3, 4, 5])
            cut.heal()
            await asyncio.sleep(30.0)
            assert town.hubs() == [0]
            await town.everybody_hears([0, 1, 2, 3, 4, 5])

    town.world.run(check())


def test_no_hub_no_group_and_a_full_one_says_so() -> None:
    town = Town(3)

    async def check() -> None:
        async with town.joined(members_max=2):
            stranger = town.world.host("stranger", on=town.hosts[0].attachments[0].segment)
            program = await town.program(stranger)
            with pytest.raises(NetworkError, match="takes no more"):
                await program.join(town.groups[0].address, Member())
            gone = address_text((town.hosts[0].address, 9), TOKEN)
            began = stranger.time()
            with pytest.raises(NetworkError, match="no hub answers"):
                await program.join(gone, Member())
            assert stranger.time() - began < 10.0
            with pytest.raises(NetworkError):
                await town.programs[0].join(town.groups[0].address, Member())
            program.close()

    town.world.run(check())


@pytest.mark.parametrize("local", ["0.0.0.0", "::", "fe80::1%eth0"])
def test_a_hub_needs_an_address_for_all(local: str) -> None:
    town = Town(1)

    async def check() -> None:
        with pytest.raises(NetworkError):
            await FanoutGroups(town.hosts[0], (local, 0)).open()

    town.world.run(check())


class Silent(DatagramReceiver):
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def datagrams_received(self, batch: list[Datagram]) -> None:
        self.heard += [data for data, _, _ in batch]


def test_what_strangers_say_reaches_nobody_and_gets_no_answer() -> None:
    town = Town(3)

    async def check() -> None:
        async with town.joined():
            stranger = town.world.host("stranger", on=town.hosts[0].attachments[0].segment)
            ear = Silent()
            mouth = await stranger.open_datagrams(ear, (stranger.address, 0))
            token = town.groups[0].address.rpartition(b":")[2]
            for n in range(3):
                for number in range(4):
                    data = header(DATA, bytes.fromhex(token.decode()), number) + b"forged"
                    mouth.send(data, town.programs[n].local_address)
                mouth.send(header(DATA, TOKEN) + b"forged", town.programs[n].local_address)
                mouth.send(encode(Join(NO_COOKIE, False), TOKEN), town.programs[n].local_address)
                mouth.send(b"d1:ad2:id", town.programs[n].local_address)
                mouth.send(b"", town.programs[n].local_address)
            await asyncio.sleep(1.0)
            assert [member.heard for member in town.members] == [[], [], []]
            assert ear.heard == []

    town.world.run(check())


def test_a_request_is_padded() -> None:
    assert len(encode(Join(NO_COOKIE, False), TOKEN)) == JOIN_BYTES
    assert len(encode(Cookie(NO_COOKIE), TOKEN)) < JOIN_BYTES
    assert HEADER_BYTES == 12


# -- a member


def welcomed(now: float = 0.0) -> FanMember:
    """Number 2 of hub A's members; C is number 1."""
    member = FanMember(A, send_only=False, now=now)
    member.heard(Cookie(b"c" * 16), A, now)
    member.heard(Welcome(2, b"c" * 16, ((1, C), (2, B))), A, now)
    return member


def test_a_member_goes_only_where_its_hub_may_send_it() -> None:
    """Security: a hub cannot have its members ask at an address that is in no list."""
    member = welcomed()
    member.heard(Moved(("203.0.113.9", 9)), A, 1.0)
    assert member.hub == A
    member.heard(Moved(C), B, 1.0)  # not from the hub
    assert member.hub == A
    assert member.heard(Moved(C), A, 1.0) == [(Join(NO_COOKIE, False), C)]
    assert member.hub == C
    other = welcomed()
    other.heard(Moved(B), A, 1.0)
    assert other.lead


def test_an_heir_that_is_taken_for_the_hub_looks_sooner() -> None:
    heir = FanMember(A, send_only=False, now=0.0)
    heir.heard(Welcome(1, b"c" * 16, ((1, B), (2, C))), A, 0.0)
    assert heir.heard(Join(NO_COOKIE, False), C, 6.0) == [(Join(b"c" * 16, False), A)]
    for tenth in range(60, 90):
        heir.tick(tenth / 10)
    assert heir.lead
    assert heir.elders == [A]
    # One that hears its hub does not.
    content = FanMember(A, send_only=False, now=0.0)
    content.heard(Welcome(1, b"c" * 16, ((1, B), (2, C))), A, 0.0)
    content.heard(Join(NO_COOKIE, False), C, 6.0)
    content.heard(Welcome(1, b"c" * 16, ((1, B), (2, C))), A, 6.1)
    for tenth in range(61, 110):
        content.tick(tenth / 10)
    assert not content.lead


def test_a_short_request_gets_nothing() -> None:
    """Security: a request is as long as the longest answer to a stranger."""
    data = encode(Join(NO_COOKIE, False), TOKEN)
    for size in range(HEADER_BYTES, JOIN_BYTES):
        with pytest.raises(WireError):
            decode(data[:size])


def test_a_group_that_nobody_asked_for_is_opened_at_a_knock_of_this_network_only() -> None:
    """Security: who is far away is not served by datagrams, whatever it knows."""
    world = World(1)
    lan = world.lan("lan", link=Link(latency=Constant(0.001)))
    home, near, far = (world.host(name, on=lan) for name in ("home", "near", "far"))

    async def check() -> None:
        knocks: list[float] = []
        hub = FanoutGroups(home, (home.address, 6_781), allowed=lambda host: host != far.address)
        await hub.open()
        hub.expect(TOKEN, lambda: knocks.append(home.time()))
        address = address_text(hub.local_address, TOKEN)
        for host, comes in ((far, False), (near, True)):
            program = FanoutGroups(host, (host.address, 6_781))
            await program.open()
            joining = asyncio.ensure_future(program.join(address, Member()))
            await asyncio.sleep(1.5)
            assert bool(knocks) == comes
            if comes:
                await hub.join(address, Member())  # as whoever was knocked for does
                group = await joining
                assert hub.copies(address) == 1
                assert group.hub == hub.local_address
            else:
                with pytest.raises(NetworkError):
                    await joining
            program.close()
        with pytest.raises(NetworkError, match="not of this network"):
            await hub.join(address_text((far.address, 6_781), bytes(8)), Member())
        hub.close()

    world.run(check())
