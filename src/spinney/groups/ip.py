"""`IpGroups`: groups by IP multicast, IPv4 or IPv6, on chosen interfaces.

An address is `ip4:239.255.1.2:6780` or `ip6:[ff12::8000:1]:6780`.  With at most one hop the
addresses are of the local scope (239.255.0.0/16, RFC 2365; ff12::/16, RFC 4291 and 3307), beyond
that of the organisation's (239.192.0.0/14, ff18::/16).  Zero hops stay on this machine.

Each membership has one ear, a socket that joined the group on every interface, and a mouth for
each interface: the system sends a multicast datagram by one interface only.  What a mouth of
ours said is recognised by where it came from.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import suppress

from spinney.errors import NetworkError
from spinney.groups.group import GroupReceiver
from spinney.net.host import (
    Address,
    Buffer,
    Datagram,
    DatagramOptions,
    DatagramReceiver,
    Datagrams,
    Host,
    Interface,
    Rng,
)

PORT = 6780
INTERFACES_MAX = 8
"""Interfaces that one group uses; a machine full of container bridges has dozens."""
LONGEST_ADDRESS_BYTES = 64


class IpGroups:
    """See `Groups`.  `interfaces`: names or addresses; without, all that multicast."""

    def __init__(
        self,
        host: Host,
        *,
        interfaces: Sequence[str] = (),
        six: bool = False,
        hops: int = 1,
        port: int = PORT,
        receive_buffer_bytes: int = 4 << 20,
    ) -> None:
        self.host = host
        self.six = six
        self.scheme = b"ip6" if six else b"ip4"
        self.hops = hops
        self.port = port
        self._only = tuple(interfaces)
        self._receive_buffer_bytes = receive_buffer_bytes

    def candidate(self, rng: Rng) -> bytes:
        if self.six:
            scope = "ff12" if self.hops <= 1 else "ff18"
            number = 0x8000_0000 | rng.getrandbits(31)
            return self.address(f"{scope}::{number >> 16:x}:{number & 0xFFFF:x}")
        if self.hops <= 1:
            # Not 239.255.255.x: the top of a scope is for its own announcements (RFC 2365).
            return self.address(f"239.255.{rng.randrange(255)}.{rng.randrange(1, 255)}")
        # 239.192 to 239.195, but no low 23 bits that 224.0.0.x has too (RFC 1112).
        return self.address(
            f"239.{rng.randrange(192, 196)}.{rng.randrange(1, 256)}.{rng.randrange(1, 255)}"
        )

    def address(self, group: str, port: int | None = None) -> bytes:
        """The opaque address of a group given in numbers."""
        shown = f"[{group}]" if self.six else group
        return self.scheme + f":{shown}:{port or self.port}".encode("ascii")

    def valid(self, address: bytes) -> bool:
        return self._parsed(address) is not None

    def _parsed(self, address: bytes) -> Address | None:
        scheme, colon, rest = address.partition(b":")
        if scheme != self.scheme or not colon or len(address) > LONGEST_ADDRESS_BYTES:
            return None
        try:
            text, _, port_text = rest.decode("ascii").rpartition(":")
            group = ipaddress.ip_address(text.strip("[]") if self.six else text)
            port = int(port_text)
        except ValueError:
            return None
        if not 1024 <= port <= 65535 or self.address(str(group), port) != address:
            return None
        if group not in _scope(self.six, self.hops):
            return None
        return str(group), port

    def used(self) -> list[tuple[Interface, str]]:
        """The interfaces that groups use, each with the address that it speaks from.

        Raises `NetworkError` when there is none."""
        rows: list[tuple[Interface, str]] = []
        for interface in self.host.interfaces():
            for address, _ in interface.addresses:
                bare = address.partition("%")[0]
                named = {interface.name, address, bare} & set(self._only)
                usable = interface.loopback if self.hops == 0 else interface.multicast
                if self._only:
                    usable = interface.multicast or interface.loopback
                elif interface.loopback and self.hops:
                    usable = False
                if (":" in address) != self.six or not interface.up or not usable:
                    continue
                if not self._only or named:
                    rows.append((interface, address))
                    break
        if not rows:
            wanted = " and ".join(self._only) or "any interface"
            family = "IPv6" if self.six else "IPv4"
            raise NetworkError(f"no {family} multicast on {wanted}")
        return rows[:INTERFACES_MAX]

    async def join(
        self, address: bytes, receiver: GroupReceiver, *, send_only: bool = False
    ) -> IpGroup:
        remote = self._parsed(address)
        if remote is None:
            raise NetworkError(f"{address!r} is no group of this scope")
        group = IpGroup(self.host, address, remote, receiver)
        try:
            await group.open(self.used(), self.hops, self._receive_buffer_bytes, send_only)
        except BaseException:
            group.close()
            raise
        return group


def _scope(six: bool, hops: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if six:
        return ipaddress.ip_network("ff12::/16" if hops <= 1 else "ff18::/16")
    return ipaddress.ip_network("239.255.0.0/16" if hops <= 1 else "239.192.0.0/14")


class IpGroup(DatagramReceiver):
    """See `Group`."""

    def __init__(
        self, host: Host, address: bytes, remote: Address, receiver: GroupReceiver
    ) -> None:
        self.address = address
        self._host = host
        self._remote = remote
        self._receiver = receiver
        self._ear: Datagrams | None = None
        self._mouths: list[Datagrams] = []
        self._joined: list[str] = []
        self._own: dict[Address, None] = {}
        self._open = True

    async def open(
        self,
        used: Sequence[tuple[Interface, str]],
        hops: int,
        receive_buffer_bytes: int,
        send_only: bool,
    ) -> None:
        """Joins and opens the mouths.  Raises `NetworkError` if no interface would join."""
        error: NetworkError | None = None
        six = ":" in self._remote[0]
        if not send_only:
            self._ear = await self._host.open_datagrams(
                self,
                ("::" if six else "0.0.0.0", self._remote[1]),
                DatagramOptions(
                    reuse_address=True, bursts=True, receive_buffer_bytes=receive_buffer_bytes
                ),
            )
        for interface, local in used:
            try:
                if self._ear is not None:
                    self._ear.join(self._remote[0], interface.name)
                mouth = await self._host.open_datagrams(
                    _Mouth(self),
                    (local, 0),
                    DatagramOptions(
                        multicast_interface=interface.name,
                        multicast_hops=hops,
                        receive_buffer_bytes=4096,
                        send_buffer_bytes=1 << 20,
                    ),
                )
            except NetworkError as problem:
                error = error or problem
                continue
            self._mouths.append(mouth)
            self._joined.append(interface.name)
            self._own[(mouth.local_address[0].partition("%")[0], mouth.local_address[1])] = None
        if not self._mouths:
            raise error or NetworkError("no interface for multicast")

    @property
    def local_address(self) -> Address:
        return self._mouths[0].local_address

    @property
    def dropped(self) -> int:
        return sum(mouth.dropped for mouth in self._mouths)

    @property
    def lost(self) -> int:
        return 0

    # -- sending --------------------------------------------------------------------------

    def send(self, payload: Buffer) -> None:
        if self._open:
            for mouth in self._mouths:
                mouth.send(payload, self._remote)

    def send_burst(self, buffers: Sequence[Buffer], segment_bytes: int) -> int:
        if not self._open:
            return 0
        taken = self._mouths[0].send_burst(buffers, segment_bytes, self._remote)
        for mouth in self._mouths[1:]:
            mouth.send_burst(buffers, segment_bytes, self._remote)
        return taken

    async def writable(self) -> None:
        for mouth in self._mouths:
            await mouth.writable()

    # -- receiving ------------------------------------------------------------------------

    def _is_own(self, remote: Address) -> bool:
        return remote in self._own or (remote[0].partition("%")[0], remote[1]) in self._own

    def datagrams_received(self, batch: list[Datagram]) -> None:
        if self._open:
            heard = [(data, remote) for data, remote, _ in batch if not self._is_own(remote)]
            if heard:
                self._receiver.group_received(heard)

    def burst_received(
        self, data: memoryview, segment_bytes: int, remote: Address, interface: int
    ) -> None:
        if self._open and not self._is_own(remote):
            self._receiver.group_burst(data, segment_bytes, remote)

    def error_received(self, error: OSError) -> None:
        if self._open:
            self._receiver.group_error(error)

    # -- life -----------------------------------------------------------------------------

    async def rejoin(self) -> None:
        """An interface that went away stays left until the next time."""
        if self._ear is None:
            return
        for name in self._joined:
            with suppress(NetworkError):  # it was gone already
                self._ear.leave(self._remote[0], name)
            try:
                self._ear.join(self._remote[0], name)
            except NetworkError as error:
                self._receiver.group_error(OSError(str(error)))

    def close(self) -> None:
        self._open = False
        if self._ear is not None:
            self._ear.close()
        for mouth in self._mouths:
            mouth.close()


class _Mouth(DatagramReceiver):
    """Tells what the system says of datagrams that were sent; hears nothing."""

    def __init__(self, group: IpGroup) -> None:
        self._group = group

    def error_received(self, error: OSError) -> None:
        self._group.error_received(error)
