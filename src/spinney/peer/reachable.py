"""Which of this machine's addresses to listen on, and which to tell others."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from spinney.errors import UsageError
from spinney.net.address import is_loopback
from spinney.net.host import Interface

EVERYWHERE = ("0.0.0.0", "::")
MOST_TOLD = 6
"""Addresses in a link: it has to fit a line of chat, and the first few are the likely ones."""


def listening_addresses(interfaces: Sequence[Interface], wish: str | None) -> tuple[str, ...]:
    """Where to listen for `--interface WISH`: a name, an address, or None for everywhere.

    Raises `UsageError` if this machine has no such thing.
    """
    if wish is None:
        return EVERYWHERE
    for interface in interfaces:
        if interface.name == wish:
            addresses = tuple(_zoned(host, interface) for host, _ in interface.addresses)
            if not addresses:
                raise UsageError(f"the interface {wish} has no address")
            return addresses
    try:
        wanted = ipaddress.ip_address(wish)
    except ValueError:
        wanted = None
    for interface in interfaces:
        for host, _ in interface.addresses:
            if wanted is not None and ipaddress.ip_address(host.partition("%")[0]) == wanted:
                return (_zoned(host, interface),)
    if wanted is not None and wanted.is_loopback:
        return (str(wanted),)
    names = ", ".join(sorted(interface.name for interface in interfaces))
    raise UsageError(f"this machine has no interface or address {wish}; it has {names}")


def told_addresses(interfaces: Sequence[Interface], listening: Sequence[str]) -> tuple[str, ...]:
    """The addresses for `x.pe` in a link, IPv4 first: loopback only if there is nothing else.

    Link-local ones mean nothing on another machine and are left out.
    """
    if tuple(listening) == EVERYWHERE:
        hosts = [host for row in interfaces if row.up for host, _ in row.addresses]
    else:
        hosts = list(listening)
    hosts = [
        host for host in hosts if not ipaddress.ip_address(host.partition("%")[0]).is_link_local
    ]
    outward = [host for host in hosts if not is_loopback(host)]
    chosen = list(dict.fromkeys(outward or hosts or ["127.0.0.1"]))
    return tuple(sorted(chosen, key=lambda host: ":" in host)[:MOST_TOLD])


def _zoned(host: str, interface: Interface) -> str:
    """A link-local address with its zone, without which it cannot be bound."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 6 and address.is_link_local and "%" not in host:
        return f"{host}%{interface.name}"
    return host
