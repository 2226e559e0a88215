"""Sockets whose names are our addresses, and the system's errors in our words."""

from __future__ import annotations

import errno
import functools
import ipaddress
import socket
from collections.abc import Callable
from typing import Any, TypeAlias

from spinney.errors import ConnectError, NetworkError, PortTakenError
from spinney.net.address import format_address
from spinney.net.host import Address

SystemAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""What the socket calls take: (host, port), or (host, port, flow, zone index) for IPv6."""


@functools.lru_cache(maxsize=256)  # more interfaces than a machine has; a stale one is harmless
def _zone_name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)


def zone_index(zone: str) -> int:
    """The index of an interface, given its name or its number; `NetworkError` if unknown."""
    if zone.isascii() and zone.isdigit():
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        raise NetworkError(f"there is no interface named {zone!r} on this machine") from None


def address_of(name: Any) -> Address:
    """Our form of what `getsockname`, `getpeername` or `recvfrom` gave."""
    if len(name) == 4 and name[3]:
        return f"{name[0].partition('%')[0]}%{_zone_name(name[3])}", name[1]
    return name[0], name[1]


def family_of(host: str) -> socket.AddressFamily:
    """Of a numeric address, with or without a zone; `NetworkError` if it is not numeric."""
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        raise NetworkError(f"{host!r} is not a numeric address") from None
    return socket.AF_INET if version == 4 else socket.AF_INET6


def system_address(address: Address) -> SystemAddress:
    """The socket calls' form; `NetworkError` if it is not numeric or the port is impossible."""
    host, port = address
    if not 0 <= port <= 65535:
        raise NetworkError(f"{port} is not a port")
    if family_of(host) is socket.AF_INET:
        return host, port
    bare, _, zone = host.partition("%")
    return bare, port, 0, zone_index(zone) if zone else 0


class NumericSocket(socket.socket):
    """A socket whose names are our addresses, so that asyncio's transports tell them so.

    asyncio copies `getsockname()` and `getpeername()` into a transport's extra information
    before it calls `connection_made`; this is the one place to make them (host, port).
    """

    def getsockname(self) -> Address:
        return address_of(super().getsockname())

    def getpeername(self) -> Address:
        return address_of(super().getpeername())

    def accept(self) -> tuple[socket.socket, Address]:
        accepted, name = super().accept()
        family, kind, protocol = accepted.family, accepted.type, accepted.proto
        numeric = NumericSocket(family, kind, protocol, fileno=accepted.detach())
        return numeric, address_of(name)


SocketMaker: TypeAlias = Callable[[int, int], NumericSocket]
"""Makes a socket of a family and a kind; tests make theirs in network namespaces."""


def make_socket(family: int, kind: int) -> NumericSocket:
    """A non-blocking socket that programs we start do not inherit."""
    # asyncio turns Nagle's delay off only on sockets that name TCP as their protocol: without
    # it each small answer on a kept connection waits 40 ms for an acknowledgement.
    protocol = socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else 0
    try:
        made = NumericSocket(family, kind, protocol)
    except OSError as error:
        raise NetworkError(f"the system gives no socket: {error.strerror}") from error
    made.setblocking(False)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made


def bind(sock: socket.socket, local: Address) -> None:
    """Raises `PortTakenError`, or `NetworkError` that says what to do."""
    try:
        sock.bind(system_address(local))
    except OSError as error:
        raise bind_error(error, local, sock.type) from error


def bind_error(error: OSError, local: Address, kind: int) -> NetworkError:
    """What a failed `bind` or `listen` means."""
    where = format_address(local)
    if error.errno == errno.EADDRINUSE:
        which = "tcp" if kind == socket.SOCK_STREAM else "udp"
        return PortTakenError(
            f"{which} port {local[1]} is taken (asked for {where}): stop the program that has it "
            f"(`ss -ap '{which} sport = :{local[1]}'` shows it) or choose another port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return NetworkError(f"{local[0]} is not an address of this machine")
    if error.errno in (errno.EACCES, errno.EPERM):
        return NetworkError(f"no permission to use {where}: choose a port of 1024 or more")
    return NetworkError(f"cannot use {where}: {error.strerror or error}")


def connect_error(error: OSError, remote: Address) -> NetworkError:
    """What a failed `connect` means."""
    where = format_address(remote)
    if error.errno == errno.ECONNREFUSED:
        return ConnectError(f"nobody listens at {where}")
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        return ConnectError(f"there is no way to {where} from here")
    if error.errno == errno.ETIMEDOUT:
        return ConnectError(f"no answer from {where}")
    return ConnectError(f"cannot connect to {where}: {error.strerror or error}")


def set_quietly(sock: socket.socket, level: int, option: int, value: int | bytes) -> bool:
    """Sets an option that the system may not have; tells whether it took it."""
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False
    return True
