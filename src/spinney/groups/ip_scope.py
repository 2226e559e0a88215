"""Addresses of IP groups as text, and the interfaces that groups use.  Pure.

`ip4:239.255.1.2:6780`, `ip6:[ff12::8000:1]:6780`.  With at most one hop the addresses are of
the local scope (239.255.0.0/16, RFC 2365; ff12::/16, RFC 4291 and 3307), beyond that of the
organisation's (239.192.0.0/14, ff18::/16).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from spinney.net.host import Address, Interface, Rng

PORT = 6780
INTERFACES_MAX = 8
"""Interfaces that one group uses; a machine full of container bridges has dozens."""
LONGEST_ADDRESS_BYTES = 64


@dataclass(frozen=True, slots=True)
class Place:
    """An interface to join on, and the address of it to speak from.

    Two that are equal are the same interface: one that went away and came back under its old
    name has another index.
    """

    name: str
    index: int
    local: str


def group_text(group: str, port: int) -> bytes:
    """The opaque address of a group that is given in numbers."""
    if ":" in group:
        return f"ip6:[{group}]:{port}".encode("ascii")
    return f"ip4:{group}:{port}".encode("ascii")


def scope(six: bool, hops: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Where the groups of this reach are."""
    if six:
        return ipaddress.ip_network("ff12::/16" if hops <= 1 else "ff18::/16")
    return ipaddress.ip_network("239.255.0.0/16" if hops <= 1 else "239.192.0.0/14")


def parsed(address: bytes, six: bool, hops: int) -> Address | None:
    """The group and port that an address names, None if it is none of this scope.

    Only the one form that `group_text` gives is taken: two texts for one group would be two
    groups to whoever compares them."""
    scheme, colon, rest = address.partition(b":")
    if scheme != (b"ip6" if six else b"ip4") or not colon or len(address) > LONGEST_ADDRESS_BYTES:
        return None
    try:
        text, _, port_text = rest.decode("ascii").rpartition(":")
        group = ipaddress.ip_address(text.strip("[]") if six else text)
        port = int(port_text)
    except ValueError:
        return None
    if not 1024 <= port <= 65535 or group_text(str(group), port) != address:
        return None
    return (str(group), port) if group in scope(six, hops) else None


def candidate(rng: Rng, six: bool, hops: int) -> str:
    """A group of the scope, by chance."""
    if six:
        # Bit 31 set: numbers for groups that nobody assigned (RFC 3307, section 4.3).
        number = 0x8000_0000 | rng.getrandbits(31)
        prefix = "ff12" if hops <= 1 else "ff18"
        return str(ipaddress.ip_address(f"{prefix}::{number >> 16:x}:{number & 0xFFFF:x}"))
    if hops <= 1:
        # Not 239.255.255.x: the top of a scope is for its own announcements (RFC 2365).
        return f"239.255.{rng.randrange(255)}.{rng.randrange(1, 255)}"
    # Not 239.192.0.x: switches flood what shares its low 23 bits with 224.0.0.x (RFC 4541).
    return f"239.{rng.randrange(192, 196)}.{rng.randrange(1, 256)}.{rng.randrange(1, 255)}"


def places(
    interfaces: Sequence[Interface], only: Sequence[str], six: bool, hops: int
) -> list[Place]:
    """The interfaces that groups use, at most `INTERFACES_MAX`.

    `only`: names or addresses; without, all that multicast, or with zero hops loopback alone.
    """
    rows = [row for each in interfaces if (row := _place(each, only, six, hops)) is not None]
    if hops == 0 and not only:
        # Where no route for groups leads to loopback (IPv6), another interface serves as well:
        # what has no hops is heard on this machine and goes no further.
        near = {each.name for each in interfaces if each.loopback}
        rows.sort(key=lambda place: (place.name in near) is six)
        return rows[:1]
    return rows[:INTERFACES_MAX]


def _place(interface: Interface, only: Sequence[str], six: bool, hops: int) -> Place | None:
    if not interface.up:
        return None
    usable = interface.multicast
    if interface.loopback:
        usable = hops == 0 or bool(only)
    if not usable:
        return None
    for address, _ in interface.addresses:
        named = interface.name in only or address in only or address.partition("%")[0] in only
        if (":" in address) == six and (named or not only):
            return Place(interface.name, interface.index, address)
    return None
