"""The peers that a message names, in front of the message: written once, then by their number.

A table is a count and rows of (kind, name, address): kind 0 without an address, 4 or 6 by its
family.  Addresses that would make a message larger than its room are left out, the last named
first; who needs one asks somebody else.  Numbers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from spinney.errors import WireError
from spinney.net.host import Address
from spinney.p2pcast import messages as m
from spinney.p2pcast.place import NOBODY, Name

NOBODY_AT = 255
NAME = struct.Struct(">q")


@lru_cache(maxsize=4096)
def _packed(address: Address) -> bytes:
    """Kind, address and port."""
    host = ip_address(address[0].partition("%")[0])
    return bytes([host.version]) + host.packed + address[1].to_bytes(2, "big")


def _kind_and_address(entry: bytes) -> tuple[bytes, bytes]:
    return entry[:1], entry[1:]


class Table:
    """The peers that a message names, while it is written."""

    def __init__(self, known: m.Known, room_bytes: int) -> None:
        self._known = known
        self._room = room_bytes
        self._at: dict[Name, int] = {}
        self._parts: list[bytes] = []

    def at(self, name: Name) -> int:
        if name == NOBODY:
            return NOBODY_AT
        at = self._at.get(name)
        if at is None:
            at = self._at[name] = len(self._at)
            assert at < m.MAX_NAMED, "a message that names too many"
        return at

    def row(self, names: Iterable[Name]) -> bytes:
        at = bytes(map(self.at, names))
        return bytes([len(at)]) + at

    def packed(self, body_bytes: int) -> bytes:
        left = self._room - body_bytes - 1 - 9 * len(self._at)
        parts = [bytes([len(self._at)])]
        for name in self._at:
            address = self._known.get(name) if name >= 0 else None
            kind, where = _kind_and_address(_packed(address)) if address else (b"\0", b"")
            if len(where) > left:
                kind, where = b"\0", b""
            left -= len(where)
            parts += (kind, NAME.pack(name), where)
        return b"".join(parts)


class Reader:
    """Takes a message apart.  Every method raises `WireError` where bytes are missing."""

    def __init__(self, data: object) -> None:
        if type(data) is not bytes:
            raise WireError("a forest's message is a string of bytes")
        self._data = data
        self._at = 0
        self._names: list[Name] = []
        self.known: m.Known = {}

    def take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        if len(taken) != length:
            raise WireError("a forest's message is cut short")
        self._at += length
        return taken

    def fields(self, form: struct.Struct) -> tuple[object, ...]:
        return form.unpack(self.take(form.size))

    def byte(self) -> int:
        return self.take(1)[0]

    def table(self) -> None:
        count = self.byte()
        if count > m.MAX_NAMED:
            raise WireError(f"a message that names {count} peers")
        for _ in range(count):
            kind = self.byte()
            name = checked_name(NAME.unpack(self.take(8))[0])
            if name == NOBODY or name in self._names:
                raise WireError("a table that names somebody twice, or nobody")
            self._names.append(name)
            if kind:
                self.known[name] = self._address(kind)

    def _address(self, kind: int) -> Address:
        if kind == 4:
            host = str(IPv4Address(self.take(4)))
        elif kind == 6:
            host = str(IPv6Address(self.take(16)))
        else:
            raise WireError(f"an address of kind {kind}")
        return host, int.from_bytes(self.take(2), "big")

    def name(self) -> Name:
        at = self.byte()
        return NOBODY if at == NOBODY_AT else self.named(at)

    def named(self, at: int) -> Name:
        """The one in this row of the table."""
        if at >= len(self._names):
            raise WireError("a name that is not in the table")
        return self._names[at]

    def names(self, most: int) -> tuple[Name, ...]:
        count = self.byte()
        if count > most:
            raise WireError(f"{count} names where {most} may be")
        found = tuple(self.name() for _ in range(count))
        if NOBODY in found:
            raise WireError("nobody among names")
        return found

    def end(self) -> None:
        if self._at != len(self._data):
            raise WireError("a forest's message is too long")


def checked_name(name: int) -> Name:
    if name < NOBODY:
        raise WireError(f"{name} is no name")
    return name
