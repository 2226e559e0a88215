"""What both kinds of live datagrams share: options, targets, groups, the path's MTU."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import struct
import sys

from spinney.errors import NetworkError
from spinney.net.host import Address, DatagramOptions, DatagramReceiver
from spinney.net.live.multicast import apply_multicast_options, join_or_leave, set_outgoing
from spinney.net.live.sockets import (
    NumericSocket,
    SocketMaker,
    SystemAddress,
    bind,
    family_of,
    set_quietly,
    system_address,
)

# <asm-generic/socket.h>, <linux/in.h>, <linux/in6.h>, <linux/udp.h>
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
IPV6_MTU_DISCOVER, IPV6_MTU = 23, 24
SO_MEMINFO, SK_MEMINFO_DROPS = 55, 8
SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104

LARGEST_DATAGRAM_BYTES = 65_507
HEADER_BYTES = {socket.AF_INET: 28, socket.AF_INET6: 48}
"""IP and UDP headers."""
SAFE_PAYLOAD_BYTES = 1_232
"""What every IPv6 link carries whole (1,280 - 48); said when the system tells no MTU."""

KNOWN_TARGETS = 4_096
"""Addresses whose form for the system we keep, so that a hot path parses none; then dropped
all at once.  A tracker that answers strangers fills it a few times a second, at no harm."""


def open_socket(make: SocketMaker, local: Address, options: DatagramOptions) -> NumericSocket:
    """A bound socket with its options; raises `PortTakenError` or `NetworkError`."""
    sock = make(family_of(local[0]), socket.SOCK_DGRAM)
    try:
        _apply(sock, options)
        bind(sock, local)
    except BaseException:
        sock.close()
        raise
    return sock


def _apply(sock: NumericSocket, options: DatagramOptions) -> None:
    six = sock.family == socket.AF_INET6
    if options.reuse_address:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if (options.reuse_port or (options.reuse_address and sys.platform == "darwin")) and not (
        hasattr(socket, "SO_REUSEPORT")
        and set_quietly(sock, socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    ):
        raise NetworkError("this system cannot share a port between sockets")
    _size_buffer(sock, SO_RCVBUFFORCE, socket.SO_RCVBUF, options.receive_buffer_bytes)
    _size_buffer(sock, SO_SNDBUFFORCE, socket.SO_SNDBUF, options.send_buffer_bytes)
    if options.dscp:
        if six:
            set_quietly(sock, socket.IPPROTO_IPV6, 67, options.dscp << 2)  # IPV6_TCLASS
        else:
            set_quietly(sock, socket.IPPROTO_IP, socket.IP_TOS, options.dscp << 2)
    apply_multicast_options(sock, options)


def _size_buffer(sock: NumericSocket, forced: int, asked: int, size: int) -> None:
    """With the right to (root), beyond the system's limit; else as much as it gives."""
    if sys.platform == "linux" and set_quietly(sock, socket.SOL_SOCKET, forced, size):
        return
    while size >= 4096 and not set_quietly(sock, socket.SOL_SOCKET, asked, size):
        size //= 2  # macOS refuses more than its limit instead of cutting it


class DatagramSocket:
    """An open socket with its groups; what moves the datagrams is in the two that inherit."""

    def __init__(
        self,
        make: SocketMaker,
        sock: NumericSocket,
        receiver: DatagramReceiver,
        options: DatagramOptions,
    ) -> None:
        self.local_address: Address = sock.getsockname()
        self.dropped = 0
        self._make = make
        self._sock = sock
        self._receiver = receiver
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._targets: dict[Address, SystemAddress] = {}
        self._error: OSError | None = None
        self._overflowed = 0

    @property
    def overflowed(self) -> int:
        """Asked of the socket when somebody wants to know: `SO_RXQ_OVFL` would cost a control
        message for each datagram, and speaks only with the next one that comes."""
        if sys.platform == "linux" and not self._closed:
            with contextlib.suppress(OSError, struct.error):
                found = self._sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 64)
                self._overflowed = struct.unpack_from("=I", found, 4 * SK_MEMINFO_DROPS)[0]
        return self._overflowed

    def join(self, group: str, interface: str | None = None, source: str | None = None) -> None:
        if not self._closed:
            join_or_leave(self._sock, group, interface, source, join=True)

    def leave(self, group: str, interface: str | None = None, source: str | None = None) -> None:
        if not self._closed:
            join_or_leave(self._sock, group, interface, source, join=False)

    def path_mtu(self, remote: Address) -> int:
        """Asks the system's routes by a socket that is connected and sends nothing."""
        if sys.platform != "linux" or self._closed:
            return SAFE_PAYLOAD_BYTES
        try:
            target = system_address(remote)
            family = self._sock.family
            with self._make(family, socket.SOCK_DGRAM) as probe:
                host = ipaddress.ip_address(remote[0].partition("%")[0])
                if host.is_multicast and self._options.multicast_interface is not None:
                    set_outgoing(probe, self._options.multicast_interface)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO)
                    probe.connect(target)
                    mtu = probe.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
                else:
                    probe.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
                    probe.connect(target)
                    mtu = probe.getsockopt(socket.IPPROTO_IP, IP_MTU)
        except (OSError, NetworkError):
            return SAFE_PAYLOAD_BYTES
        return min(mtu - HEADER_BYTES[family], LARGEST_DATAGRAM_BYTES)

    def _target(self, remote: Address) -> SystemAddress | None:
        """The system's form of `remote`; None, and an error told, if nothing can go there."""
        try:
            target = system_address(remote)
            if (len(target) == 4) != (self._sock.family == socket.AF_INET6):
                raise NetworkError(f"{remote[0]} is of the other address family")
        except NetworkError as error:
            self._tell(OSError(errno.EADDRNOTAVAIL, str(error)))
            return None
        if len(self._targets) >= KNOWN_TARGETS:
            self._targets.clear()
        self._targets[remote] = target
        return target

    def _tell(self, error: OSError) -> None:
        """Hands an error to the receiver soon: never inside `send`, at most one a turn."""
        if self._error is None and not self._closed:
            self._loop.call_soon(self._tell_now)
        self._error = error

    def _tell_now(self) -> None:
        error, self._error = self._error, None
        if error is not None and not self._closed:
            self._receiver.error_received(error)


def interface_of_control(control: list[tuple[int, int, bytes]]) -> int:
    """The interface that packet information names, or 0."""
    for level, kind, data in control:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) >= 12:
            return int(struct.unpack_from("@i", data)[0])
        if level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO and len(data) >= 20:
            return int(struct.unpack_from("@i", data, 16)[0])
    return 0
