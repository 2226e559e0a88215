"""What this machine can do for multicast, found out by trying."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from spinney.errors import NetworkError, StorageError
from spinney.groups.group import GroupReceiver, Sent
from spinney.groups.ip import IpGroups
from spinney.groups.ip_scope import places
from spinney.net.host import (
    Address,
    Datagram,
    DatagramOptions,
    DatagramReceiver,
    Host,
)

BUFFER_BYTES = 4 << 20
"""What a group asks for: 0.2 s at 200 Mbit/s."""
PACKET_BYTES = 1_400
TRIED_PACKETS = 4_000
"""More than a buffer of `BUFFER_BYTES` holds, for the system counts what it wastes as well."""
ENOUGH_PACKETS = 3_000
LIMIT_PATH = "/proc/sys/net/core/rmem_max"
WIRELESS = ("wl", "wifi", "ath", "ra")
CHECK_S = 1.0


@dataclass(frozen=True, slots=True)
class Card:
    """One interface.  `four`, `six`: groups use it over IPv4, IPv6."""

    name: str
    addresses: tuple[str, ...]
    mtu: int
    up: bool
    multicast: bool
    wireless: bool
    four: bool
    six: bool


@dataclass(frozen=True, slots=True)
class Buffer:
    """`kept`: datagrams of 1,400 bytes that waited in a receive buffer for which we asked
    `asked_bytes`; `limit_bytes`: the system's, where it tells."""

    asked_bytes: int
    kept: int
    limit_bytes: int | None

    @property
    def enough(self) -> bool:
        return self.kept >= ENOUGH_PACKETS


@dataclass(frozen=True, slots=True)
class Here:
    """Multicast within this machine.  `merged`: a burst arrived as one (both offloads)."""

    family: int
    works: bool
    merged: bool
    problem: str


@dataclass(frozen=True, slots=True)
class Facts:
    name: str
    cards: tuple[Card, ...]
    buffer: Buffer
    here: tuple[Here, ...]


async def learn(host: Host, only: tuple[str, ...] = ()) -> Facts:
    """All of it, in about a second; nothing leaves the machine."""
    return Facts(
        host.name,
        _cards(host, only),
        await _buffer(host),
        (await _inside(host, six=False), await _inside(host, six=True)),
    )


def _cards(host: Host, only: tuple[str, ...]) -> tuple[Card, ...]:
    interfaces = host.interfaces()
    used = {six: {row.index for row in places(interfaces, only, six, 1)} for six in (False, True)}
    return tuple(
        Card(
            each.name,
            tuple(address for address, _ in each.addresses),
            each.mtu,
            each.up,
            each.multicast,
            each.name.startswith(WIRELESS),
            each.index in used[False],
            each.index in used[True],
        )
        for each in interfaces
        if not each.loopback
    )


class _Count(DatagramReceiver, GroupReceiver):
    def __init__(self) -> None:
        self.count = 0
        self.merged = False
        self.problem = ""

    def datagrams_received(self, batch: list[Datagram]) -> None:
        self.count += len(batch)

    def group_received(self, batch: list[Sent]) -> None:
        self.count += len(batch)

    def group_burst(self, data: memoryview, segment_bytes: int, sender: Address) -> None:
        self.merged = True
        self.count += -(-len(data) // segment_bytes)

    def group_error(self, error: OSError) -> None:
        self.problem = error.strerror or str(error)


async def _until_still(ear: _Count) -> None:
    """Until nothing more comes, at most `CHECK_S`."""
    before = -1
    for _ in range(int(CHECK_S / 0.02)):
        if ear.count == before:
            return
        before = ear.count
        await asyncio.sleep(0.02)


async def _buffer(host: Host) -> Buffer:
    """Sends to itself what it does not read meanwhile, then counts."""
    ear = _Count()
    options = DatagramOptions(receive_buffer_bytes=BUFFER_BYTES)
    near = await host.open_datagrams(ear, ("127.0.0.1", 0), options)
    far = await host.open_datagrams(DatagramReceiver(), ("127.0.0.1", 0), DatagramOptions())
    try:
        packet, to = bytes(PACKET_BYTES), near.local_address
        for _ in range(TRIED_PACKETS):
            far.send(packet, to)
        await _until_still(ear)
    finally:
        near.close()
        far.close()
    return Buffer(BUFFER_BYTES, ear.count, await host.work(_limit, host))


def _limit(host: Host) -> int | None:
    """What the system lets programs have at most, on Linux."""
    with suppress(StorageError, ValueError):
        file = host.storage.open(LIMIT_PATH, "read")
        try:
            return int(file.read(0, 32))
        finally:
            file.close()
    return None


async def _inside(host: Host, *, six: bool) -> Here:
    """A burst from one member on this machine to another."""
    family = 6 if six else 4
    near, far = _Count(), _Count()
    groups = IpGroups(host, six=six, hops=0)
    address = groups.candidate(host.rng)
    joined = []
    try:
        joined.append(await groups.join(address, near))
        joined.append(await groups.join(address, far))
        joined[0].send_burst([bytes(16 * 1_000)], 1_000)
        for _ in range(10):
            if far.count:
                break
            await asyncio.sleep(0.05)
        await _until_still(far)
    except NetworkError as error:
        return Here(family, False, False, str(error))
    finally:
        for each in joined:
            each.close()
    return Here(family, far.count == 16, far.merged, near.problem)
