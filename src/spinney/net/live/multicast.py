"""Multicast on a socket: joining, leaving, and where what is sent goes out.

Linux takes interfaces by index in both families; elsewhere IPv4 wants an address of the
interface.  The numbers are from <linux/in.h> and <linux/in6.h>: Python's `socket` has few.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import sys

from spinney.errors import NetworkError
from spinney.net.host import DatagramOptions
from spinney.net.live.interfaces import interface_index, list_interfaces
from spinney.net.live.sockets import set_quietly, zone_index

_LINUX = sys.platform == "linux"
_IP_MULTICAST_ALL, _IPV6_MULTICAST_ALL = 49, 29
_MCAST_JOIN_SOURCE_GROUP, _MCAST_LEAVE_SOURCE_GROUP = 46, 47
_STORAGE_BYTES = 128  # struct sockaddr_storage
_IP_ADD_SOURCE, _IP_DROP_SOURCE = 39, 40

_REASONS = {
    errno.EADDRINUSE: "this socket has joined it already",
    errno.EADDRNOTAVAIL: "this socket has not joined it",
    errno.ENODEV: "no interface leads to groups, so name one",
    errno.ENOBUFS: (
        "this socket has joined as many groups as the system allows "
        "(`sysctl net.ipv4.igmp_max_memberships`), so use a second socket"
    ),
}


def apply_multicast_options(sock: socket.socket, options: DatagramOptions) -> None:
    """Interface, hops and loop-back of what is sent; only joined groups are received."""
    hops, loop = options.multicast_hops, int(options.multicast_loop)
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, loop)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hops)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, loop)
    except OSError as error:
        raise NetworkError(f"multicast with {hops} hops is not possible: {error}") from error
    if options.multicast_interface is not None:
        set_outgoing(sock, options.multicast_interface)
    if _LINUX:
        # Else a wildcard socket hears every group that any program of this machine joined.
        if sock.family == socket.AF_INET6:
            set_quietly(sock, socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        else:
            set_quietly(sock, socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)


def set_outgoing(sock: socket.socket, interface: str) -> None:
    """Sends to groups by this interface (a name or an address of it)."""
    index = interface_index(interface)
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        elif _LINUX:
            request = struct.pack("=4s4si", bytes(4), bytes(4), index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _own_address(index).packed)
    except OSError as error:
        raise NetworkError(f"cannot send multicast by {interface}: {error.strerror}") from error


def join_or_leave(
    sock: socket.socket, group: str, interface: str | None, source: str | None, *, join: bool
) -> None:
    """Raises `NetworkError` that says which group and why."""
    bare, _, zone = group.partition("%")
    try:
        address = ipaddress.ip_address(bare)
        sender = None if source is None else ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        raise NetworkError(f"{group!r} from {source!r}: not a group address") from None
    if not address.is_multicast:
        raise NetworkError(f"{group} is not a multicast address")
    ours = 6 if sock.family == socket.AF_INET6 else 4
    if address.version != ours or (sender is not None and sender.version != ours):
        raise NetworkError(f"an IPv{ours} socket cannot join {group} from {source or 'anybody'}")
    index = interface_index(interface) if interface else zone_index(zone) if zone else 0
    level, option, request = _request(address, sender, index, join)
    try:
        sock.setsockopt(level, option, request)
    except OSError as error:
        verb = "join" if join else "leave"
        where = f" on {interface}" if interface else ""
        reason = _REASONS.get(error.errno or 0, error.strerror)
        raise NetworkError(f"cannot {verb} {group}{where}: {reason}") from error


def _request(
    group: ipaddress.IPv4Address | ipaddress.IPv6Address,
    source: ipaddress.IPv4Address | ipaddress.IPv6Address | None,
    index: int,
    join: bool,
) -> tuple[int, int, bytes]:
    """Level, option and structure of one `setsockopt`."""
    level = socket.IPPROTO_IPV6 if group.version == 6 else socket.IPPROTO_IP
    if source is not None:
        if _LINUX:
            option = _MCAST_JOIN_SOURCE_GROUP if join else _MCAST_LEAVE_SOURCE_GROUP
            request = struct.pack("@I0L", index) + _storage(group) + _storage(source)
            return level, option, request
        if group.version == 6:
            raise NetworkError("this system has no source-specific multicast over IPv6 for us")
        option = _IP_ADD_SOURCE if join else _IP_DROP_SOURCE
        order = (group.packed, _own_address(index).packed, source.packed)  # macOS: group first
        if sys.platform == "win32":
            option = 15 if join else 16
            order = (group.packed, source.packed, _own_address(index).packed)
        elif sys.platform == "darwin":
            option = 70 if join else 71
            order = (group.packed, source.packed, _own_address(index).packed)
        return level, option, b"".join(order)
    if group.version == 6:
        option = socket.IPV6_JOIN_GROUP if join else socket.IPV6_LEAVE_GROUP
        return level, option, group.packed + struct.pack("@I", index)
    option = socket.IP_ADD_MEMBERSHIP if join else socket.IP_DROP_MEMBERSHIP
    if _LINUX:
        return level, option, struct.pack("=4s4si", group.packed, bytes(4), index)
    return level, option, group.packed + _own_address(index).packed


def _storage(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    """`struct sockaddr_storage` of Linux."""
    if address.version == 4:
        head = struct.pack("=HH4s", socket.AF_INET, 0, address.packed)
    else:
        head = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, address.packed, 0)
    return head.ljust(_STORAGE_BYTES, b"\0")


def _own_address(index: int) -> ipaddress.IPv4Address:
    """An IPv4 address of an interface; 0.0.0.0 (the system's choice) for index 0."""
    if index:
        for interface in list_interfaces():
            if interface.index == index:
                for text, _ in interface.addresses:
                    address = ipaddress.ip_address(text.partition("%")[0])
                    if isinstance(address, ipaddress.IPv4Address):
                        return address
        raise NetworkError(f"interface {index} has no IPv4 address")
    return ipaddress.IPv4Address(0)
