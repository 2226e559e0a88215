"""Addresses as text, as numbers and in the compact forms of BitTorrent (BEP 7, 23, 32)."""

from __future__ import annotations

import ipaddress

from spinney.errors import WireError
from spinney.net.host import Address

COMPACT4_BYTES = 6
COMPACT6_BYTES = 18


def parse_address(text: str, default_port: int | None = None) -> Address:
    """`1.2.3.4:5`, `[::1]:5`, or with `default_port` a bare host; the host may be a name.

    Raises `WireError` for anything else.
    """
    host, port_text = text.strip(), ""
    if host.startswith("["):
        host, closed, rest = host[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise WireError(f"{text!r} is not HOST:PORT")
        port_text = rest[1:]
    elif host.count(":") == 1:
        host, _, port_text = host.partition(":")
    if not port_text and default_port is not None:
        port_text = str(default_port)
    if not host or not port_text.isascii() or not port_text.isdigit() or len(port_text) > 5:
        raise WireError(f"{text!r} is not HOST:PORT")
    port = int(port_text)
    if port > 65535:
        raise WireError(f"port {port} is more than 65535")
    return host, port


def format_address(address: Address) -> str:
    """`1.2.3.4:5` or `[::1]:5`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def pack_compact(address: Address) -> bytes:
    """6 bytes for IPv4, 18 for IPv6: address and port, big-endian."""
    host, port = address
    return ipaddress.ip_address(host.partition("%")[0]).packed + port.to_bytes(2, "big")


def unpack_compact(data: bytes | memoryview, *, six: bool = False) -> list[Address]:
    """Addresses packed one after the other; raises `WireError` if the length is uneven."""
    size = COMPACT6_BYTES if six else COMPACT4_BYTES
    if len(data) % size:
        raise WireError(f"{len(data)} bytes of compact peers are no multiple of {size}")
    rows: list[Address] = []
    for at in range(0, len(data), size):
        raw = bytes(data[at : at + size - 2])
        port = int.from_bytes(data[at + size - 2 : at + size], "big")
        rows.append((str(ipaddress.ip_address(raw)), port))
    return rows


def is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def is_local(host: str) -> bool:
    """Loopback, private or link-local: an address that means something on this network only."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return address.is_private or address.is_link_local or address.is_loopback


def network_of(host: str) -> str | None:
    """The /64 of an IPv6 address, which one subscriber holds as a whole; None for IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 4:
        return None
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def is_dialable(address: Address) -> bool:
    """A unicast address with a port: worth a connection at all."""
    try:
        host = ipaddress.ip_address(address[0].partition("%")[0])
    except ValueError:
        return False
    if not 0 < address[1] < 65536:
        return False
    if host.is_loopback:  # ::1 counts as "reserved" too
        return True
    return not (host.is_multicast or host.is_unspecified or host.is_reserved)
