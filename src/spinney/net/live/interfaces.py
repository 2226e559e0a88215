"""The network interfaces of this machine: by netlink on Linux, by names elsewhere."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from spinney.errors import NetworkError
from spinney.net.host import Interface

# <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if_link.h>, <linux/if_addr.h>, <linux/if.h>
_NETLINK_ROUTE = 0
_RTM_NEWLINK, _RTM_GETLINK, _RTM_NEWADDR, _RTM_GETADDR = 16, 18, 20, 22
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_IFLA_IFNAME, _IFLA_MTU = 3, 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFF_UP, _IFF_LOOPBACK, _IFF_MULTICAST = 0x1, 0x8, 0x1000
_MESSAGE = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")

ETHERNET_MTU_BYTES = 1500
ANSWER_BYTES = 1 << 16


@dataclass
class _Row:
    name: str
    mtu: int
    flags: int
    addresses: list[tuple[str, int]] = field(default_factory=list)


def list_interfaces() -> list[Interface]:
    """All of them, in the order of their index."""
    return _by_netlink() if sys.platform == "linux" else _by_names()


def interface_index(name: str) -> int:
    """Of an interface given by its name or by one of its addresses; else `NetworkError`."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        pass
    for interface in list_interfaces():
        for address, _ in interface.addresses:
            if name in (address, address.partition("%")[0]):
                return interface.index
    raise NetworkError(f"{name!r} is neither an interface of this machine nor an address of one")


def _ask(kind: int, family: int) -> Iterator[tuple[int, bytes]]:
    """The messages of one netlink dump, as (type, body)."""
    try:
        asked = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE)
    except OSError as error:
        raise NetworkError(f"cannot list the interfaces: {error.strerror}") from error
    with asked:
        asked.settimeout(2.0)
        body = struct.pack("=Bxxx", family)
        head = _MESSAGE.pack(_MESSAGE.size + len(body), kind, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0)
        try:
            asked.send(head + body)
            while True:
                data = asked.recv(ANSWER_BYTES)
                for message, content in _messages(data):
                    if message in (_NLMSG_DONE, _NLMSG_ERROR):
                        return
                    yield message, content
        except OSError as error:
            raise NetworkError(f"cannot list the interfaces: {error}") from error


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _MESSAGE.size <= len(data):
        length, kind, _, _, _ = _MESSAGE.unpack_from(data, at)
        if length < _MESSAGE.size:
            return
        yield kind, data[at + _MESSAGE.size : at + length]
        at += (length + 3) & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    rows: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        rows[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return rows


def _by_netlink() -> list[Interface]:
    rows: dict[int, _Row] = {}
    for kind, body in _ask(_RTM_GETLINK, socket.AF_UNSPEC):
        if kind == _RTM_NEWLINK:
            _, _, index, flags, _ = _LINK.unpack_from(body)
            attributes = _attributes(body[_LINK.size :])
            name = os.fsdecode(attributes.get(_IFLA_IFNAME, b"").rstrip(b"\0"))
            mtu = int.from_bytes(attributes.get(_IFLA_MTU, b"")[:4], sys.byteorder)
            rows[index] = _Row(name, mtu, flags)
    for kind, body in _ask(_RTM_GETADDR, socket.AF_UNSPEC):
        if kind == _RTM_NEWADDR:
            family, prefix, _, _, index = _ADDRESS.unpack_from(body)
            attributes = _attributes(body[_ADDRESS.size :])
            # On a point-to-point link IFA_ADDRESS is the other end.
            raw = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
            if index in rows and raw and family in (socket.AF_INET, socket.AF_INET6):
                address = ipaddress.ip_address(raw)
                zone = f"%{rows[index].name}" if address.is_link_local and family != 2 else ""
                rows[index].addresses.append((f"{address}{zone}", prefix))
    return [
        Interface(
            name=row.name,
            index=index,
            addresses=tuple(row.addresses),
            mtu=row.mtu,
            # Linux does not flag `lo`, yet joins and sends groups on it when it is named.
            multicast=bool(row.flags & _IFF_MULTICAST),
            loopback=bool(row.flags & _IFF_LOOPBACK),
            up=bool(row.flags & _IFF_UP),
        )
        for index, row in sorted(rows.items())
    ]


def _by_names() -> list[Interface]:
    """macOS and Windows: the library tells names and, by this machine's own name, addresses.

    Which address belongs to which interface is not told: all but loopback's are given to
    every interface that is not loopback, with the prefix of a single host.
    """
    loopback: list[tuple[str, int]] = [("127.0.0.1", 8), ("::1", 128)]
    others: list[tuple[str, int]] = []
    try:
        answers = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        answers = []
    for answer in answers:
        address = str(answer[4][0])
        row = (address, 32 if answer[0] == socket.AF_INET else 128)
        if not ipaddress.ip_address(address.partition("%")[0]).is_loopback and row not in others:
            others.append(row)
    interfaces = []
    for index, name in socket.if_nameindex():
        is_loopback = name.startswith("lo") or name.lower().startswith("loopback")
        interfaces.append(
            Interface(
                name=name,
                index=index,
                addresses=tuple(loopback if is_loopback else others),
                mtu=ETHERNET_MTU_BYTES,
                multicast=not is_loopback,
                loopback=is_loopback,
                up=True,
            )
        )
    return interfaces
