"""IP groups on the real loopback: offloads that fail, and what a merged burst costs."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from typing import Any

import pytest

from groups.sides import Member
from spinney.groups.group import GroupReceiver, Sent
from spinney.groups.ip import IpGroups
from spinney.net.host import Address
from spinney.net.live import LiveHost
from spinney.net.live.plain import plain_io
from spinney.net.live.sockets import NumericSocket

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="not on this system: segmentation offload is Linux's"
)


class Stubborn(NumericSocket):
    """Its device has no checksum offload, says the system, from some call on."""

    refuse = errno.EIO
    after = 3

    def sendmsg(self, buffers: Any, ancdata: Any = (), *rest: Any) -> int:
        if ancdata:
            Stubborn.after -= 1
            if Stubborn.after < 0:
                raise OSError(self.refuse, "refused")
        return super().sendmsg(buffers, ancdata, *rest)


class StubbornHost(LiveHost):
    def make_socket(self, family: int, kind: int) -> NumericSocket:
        made = Stubborn(family, kind)
        made.setblocking(False)
        return made


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL])
@pytest.mark.parametrize("after", [0, 5])
def test_segmentation_that_fails_in_mid_transfer_loses_and_doubles_nothing(
    code: int, after: int
) -> None:
    async def check() -> None:
        Stubborn.refuse, Stubborn.after = code, after
        sender, receiver = StubbornHost(), LiveHost()
        near, far = IpGroups(sender, hops=0), IpGroups(receiver, hops=0)
        members = Member(), Member()
        address = near.candidate(sender.rng)
        group = await near.join(address, members[0])
        other = await far.join(address, members[1])
        rows = [n.to_bytes(2, "big") * 712 for n in range(320)]
        for at in range(0, 320, 16):
            buffers = [part for row in rows[at : at + 16] for part in (row[:16], row[16:])]
            assert group.send_burst(buffers, 1_424) == 16
        async with asyncio.timeout(10):
            assert await members[1].until(320) == rows
        assert members[0].errors == members[0].heard == []
        tried_once_too_often = after if plain_io() else -1
        assert Stubborn.after == tried_once_too_often, "what failed once is not tried again"
        for each in (group, other):
            each.close()
        for host in (sender, receiver):
            host.close()

    asyncio.run(check())


class Counting(GroupReceiver):
    def __init__(self) -> None:
        self.bytes = 0

    def group_burst(self, data: memoryview, segment_bytes: int, sender: Address) -> None:
        self.bytes += len(data)

    def group_received(self, batch: list[Sent]) -> None:
        self.bytes += sum(len(data) for data, _ in batch)


def test_a_burst_costs_little_to_pass_on() -> None:
    """What lies between the socket and the receiver, for each burst: under 5 µs."""

    async def check() -> None:
        host = LiveHost()
        groups = IpGroups(host, hops=0)
        counting = Counting()
        group = await groups.join(groups.candidate(host.rng), counting)
        data, remote = memoryview(bytes(22_784)), ("127.0.0.1", 9)
        best = 1.0
        for _ in range(5):
            began = time.process_time()
            for _ in range(5_000):
                group.burst_received(data, 1_424, remote, 0)
            best = min(best, (time.process_time() - began) / 5_000)
        assert counting.bytes == 5 * 5_000 * len(data)
        assert best < 5e-6
        group.close()
        host.close()

    asyncio.run(check())


def test_a_stranger_on_the_port_who_is_not_in_the_group_is_not_heard() -> None:
    """Another group on the same port of this machine stays another group."""

    async def check() -> None:
        host, other_host = LiveHost(), LiveHost()
        near, far = IpGroups(host, hops=0), IpGroups(other_host, hops=0)
        ears = Member(), Member()
        numbers = [f"239.255.{host.rng.randrange(1, 250)}.{last}" for last in (1, 2)]
        groups = [
            await near.join(near.address(numbers[0]), ears[0]),
            await far.join(near.address(numbers[1]), ears[1]),
        ]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            mouth.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
            )
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            mouth.sendto(b"to one", (numbers[0], 6_780))
            mouth.sendto(b"to two", (numbers[1], 6_780))
        async with asyncio.timeout(5):
            assert await ears[0].until(1) == [b"to one"]
            assert await ears[1].until(1) == [b"to two"]
        for each in groups:
            each.close()
        for each in (host, other_host):
            each.close()

    asyncio.run(check())
