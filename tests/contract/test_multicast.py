"""D10 to D13: multicast."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from contract.machines import Ear, Machines, closing
from spinney.errors import NetworkError
from spinney.net.host import DatagramOptions, Datagrams

BOTH = pytest.mark.parametrize("family", [4, 6])


def group_options(machines: Machines, **more: Any) -> DatagramOptions:
    return DatagramOptions(reuse_address=True, multicast_interface=machines.interface, **more)


async def member(
    machines: Machines, family: int, ear: Ear, *, of_a: bool = False, source: str | None = None
) -> Datagrams:
    """A socket that has joined the group."""
    host = machines.a if of_a else machines.b
    local = ("0.0.0.0" if family == 4 else "::", machines.group_port)
    socket = await host.open_datagrams(ear, local, group_options(machines))
    socket.join(machines.group(family), machines.interface, source)
    return socket


def _joins(machines: Machines, family: int) -> None:
    async def check() -> None:
        ear, stranger = Ear(), Ear()
        group = machines.group(family)
        near = machines.addresses(family)[0]
        mouth = await machines.a.open_datagrams(Ear(), (near, 0), group_options(machines))
        joined = await member(machines, family, ear)
        local = ("0.0.0.0" if family == 4 else "::", machines.group_port)
        other = await machines.b.open_datagrams(stranger, local, group_options(machines))
        # A second group keeps a path to `stranger` by which the end of the test is told.
        elsewhere = machines.group(family, 1)
        other.join(elsewhere, machines.interface)
        with closing(mouth, joined, other):
            mouth.send(b"to the group", (group, machines.group_port))
            mouth.send(b"to the other group", (elsewhere, machines.group_port))
            assert await ear.until(1) == [b"to the group"]
            assert await stranger.until(1) == [b"to the other group"]
            assert ear.heard[0][1] == mouth.local_address
            for wrong in ("10.1.2.3", "::1", "no group"):
                with pytest.raises(NetworkError):
                    joined.join(wrong, machines.interface)
            with pytest.raises(NetworkError):
                joined.join(group, "nowhere9")

    machines.run(check())


def test_d10_join(machines: Machines) -> None:
    _joins(machines, 4)


def test_d10_join_over_ipv6(isolated_machines: Machines) -> None:
    _joins(isolated_machines, 6)


def _joins_a_source(machines: Machines, family: int) -> None:
    async def check() -> None:
        ear = Ear()
        near, far = machines.addresses(family)
        group = machines.group(family)
        wanted = await machines.a.open_datagrams(Ear(), (near, 0), group_options(machines))
        unwanted = await machines.b.open_datagrams(Ear(), (far, 0), group_options(machines))
        joined = await member(machines, family, ear, source=near)
        with closing(wanted, unwanted, joined):
            unwanted.send(b"from another", (group, machines.group_port))
            await asyncio.sleep(0.01)
            wanted.send(b"from the source", (group, machines.group_port))
            assert await ear.until_heard(b"from the source") == [b"from the source"]
            joined.leave(group, machines.interface, near)
            joined.join(group, machines.interface, far)
            wanted.send(b"no longer wanted", (group, machines.group_port))
            await asyncio.sleep(0.01)
            unwanted.send(b"wanted now", (group, machines.group_port))
            rows = await ear.until_heard(b"wanted now")
            assert rows == [b"from the source", b"wanted now"]

    machines.run(check())


def test_d10_join_one_source(machines: Machines) -> None:
    _joins_a_source(machines, 4)


def test_d10_join_one_source_over_ipv6(isolated_machines: Machines) -> None:
    _joins_a_source(isolated_machines, 6)


def _leaves(machines: Machines, family: int) -> None:
    async def check() -> None:
        group, near = machines.group(family), machines.addresses(family)[0]
        ear, staying_ear = Ear(), Ear()
        mouth = await machines.a.open_datagrams(Ear(), (near, 0), group_options(machines))
        leaving = await member(machines, family, ear)
        staying = await member(machines, family, staying_ear)
        with closing(mouth, staying, leaving):
            mouth.send(b"first", (group, machines.group_port))
            await asyncio.gather(ear.until(1), staying_ear.until(1))
            leaving.leave(group, machines.interface)
            mouth.send(b"second", (group, machines.group_port))
            await staying_ear.until(2)
            leaving.join(group, machines.interface)
            mouth.send(b"third", (group, machines.group_port))
            assert await ear.until_heard(b"third") == [b"first", b"third"]
            leaving.close()
            again_ear = Ear()
            local = ("0.0.0.0" if family == 4 else "::", machines.group_port)
            again = await machines.b.open_datagrams(again_ear, local, group_options(machines))
            mouth.send(b"fourth", (group, machines.group_port))
            await staying_ear.until(4)
            again.join(group, machines.interface)
            mouth.send(b"fifth", (group, machines.group_port))
            assert await again_ear.until_heard(b"fifth") == [b"fifth"]
            assert ear.payloads == [b"first", b"third"]
            again.close()

    machines.run(check())


def test_d11_leave(machines: Machines) -> None:
    _leaves(machines, 4)


def test_d11_leave_over_ipv6(isolated_machines: Machines) -> None:
    _leaves(isolated_machines, 6)


def _goes_out(machines: Machines, family: int) -> None:
    async def check() -> None:
        group = (machines.group(family), machines.group_port)
        near = machines.addresses(family)[0]
        own = Ear()
        listening = await member(machines, family, own, of_a=True)
        loud = await machines.a.open_datagrams(Ear(), (near, 0), group_options(machines))
        quiet = await machines.a.open_datagrams(
            Ear(), (near, 0), group_options(machines, multicast_loop=False)
        )
        inside = await machines.a.open_datagrams(
            Ear(), (near, 0), group_options(machines, multicast_hops=0)
        )
        far_ear = Ear()
        far = await member(machines, family, far_ear)
        with closing(listening, loud, quiet, inside, far):
            quiet.send(b"not to this machine", group)
            inside.send(b"not further than this machine", group)
            loud.send(b"to all", group)
            rows = await own.until_heard(b"to all")
            assert sorted(rows) == [b"not further than this machine", b"to all"]
            if not machines.one_machine:
                rows = await far_ear.until_heard(b"to all")
                assert sorted(rows) == [b"not to this machine", b"to all"]
        by_address = DatagramOptions(multicast_interface=near)
        named = await machines.a.open_datagrams(Ear(), (near, 0), by_address)
        named.close()
        with pytest.raises(NetworkError):
            await machines.a.open_datagrams(
                Ear(), (near, 0), DatagramOptions(multicast_interface="nowhere9")
            )

    machines.run(check())


@BOTH
def test_d12_what_is_sent_to_a_group(isolated_machines: Machines, family: int) -> None:
    _goes_out(isolated_machines, family)  # on `lo` everything comes back, asked or not


@pytest.mark.parametrize("hops", [1, 7])
def test_d12_hops_are_on_the_wire(machines: Machines, hops: int) -> None:
    if machines.side == "sim":
        assert DatagramOptions(multicast_hops=hops).multicast_hops == hops
        return  # its wire has no header to read; tests/sim shows how far a group reaches

    async def check() -> None:
        raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        raw.bind(("", machines.group_port))
        request = socket.inet_aton(machines.group(4)) + socket.inet_aton(machines.four[0])
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        raw.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
        raw.settimeout(5)
        mouth = await machines.a.open_datagrams(
            Ear(), (machines.four[0], 0), group_options(machines, multicast_hops=hops)
        )
        with raw, closing(mouth):
            mouth.send(b"x", (machines.group(4), machines.group_port))
            await asyncio.sleep(0.01)
            _, control, _, _ = raw.recvmsg(10, 100)
            assert [int.from_bytes(value, "little") for _, _, value in control] == [hops]

    machines.run(check())


def _two_in_a_group(machines: Machines, family: int) -> None:
    async def check() -> None:
        ears = [Ear(), Ear(), Ear()]
        near = machines.addresses(family)[0]
        sockets = [await member(machines, family, ear) for ear in ears]
        mouth = await machines.a.open_datagrams(Ear(), (near, 0), group_options(machines))
        with closing(mouth, *sockets):
            for n in range(20):
                mouth.send(bytes([n]), (machines.group(family), machines.group_port))
            for ear in ears:
                assert await ear.until(20) == [bytes([n]) for n in range(20)]

    machines.run(check())


def test_d13_two_sockets_in_one_group(machines: Machines) -> None:
    _two_in_a_group(machines, 4)


def test_d13_two_sockets_in_one_group_over_ipv6(isolated_machines: Machines) -> None:
    _two_in_a_group(isolated_machines, 6)
