"""The datagrams of the unicast fan-out: twelve bytes of header, then what their kind asks for.

    0xFA | kind 1 B | token 8 B | number of a member 2 B | body

| kind | body | from, to |
|---|---|---|
| JOIN, also keep-alive | flags 1 B, cookie 16 B, zeros up to 64 B in all | member, hub |
| COOKIE | cookie 16 B | hub, whoever asked |
| WELCOME | cookie 16 B, list of the members | hub, member: `number` is the member's own |
| LEAVE | | member, hub |
| MOVED | the next hub, or nothing: there is none | hub, member |
| DATA | the payload | member, hub; hub, member: `number` is who said it |

An address on the wire is one byte (4 or 6), the address, the port; integers are big-endian.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from spinney.errors import WireError
from spinney.net.host import Address

MAGIC = 0xFA
JOIN, COOKIE, WELCOME, LEAVE, MOVED, DATA = range(1, 7)
HEADER = struct.Struct(">BB8sH")
HEADER_BYTES = HEADER.size
TOKEN_BYTES = 8
COOKIE_BYTES = 16
JOIN_BYTES = 64
"""A request is padded to this, so that no answer to a stranger is longer than what he sent."""
SEND_ONLY = 1
NO_COOKIE = bytes(COOKIE_BYTES)
MEMBERS_MAX = 48
"""Their list fits one control datagram of 1,200 bytes; who needs more wants a tree."""

Row = tuple[int, Address]
"""A member's number and address; a list has them in the order in which they registered."""


@dataclass(frozen=True, slots=True)
class Join:
    cookie: bytes
    send_only: bool


@dataclass(frozen=True, slots=True)
class Cookie:
    cookie: bytes


@dataclass(frozen=True, slots=True)
class Welcome:
    number: int
    cookie: bytes
    members: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    number: int


@dataclass(frozen=True, slots=True)
class Moved:
    hub: Address | None


Message = Join | Cookie | Welcome | Leave | Moved


def header(kind: int, token: bytes, number: int = 0) -> bytes:
    return HEADER.pack(MAGIC, kind, token, number)


def encode(message: Message, token: bytes) -> bytes:
    """The datagram of a control message."""
    match message:
        case Join(cookie, send_only):
            flags = bytes([SEND_ONLY if send_only else 0])
            return (header(JOIN, token) + flags + cookie).ljust(JOIN_BYTES, b"\0")
        case Cookie(cookie):
            return header(COOKIE, token) + cookie
        case Welcome(number, cookie, members):
            rows = [member.to_bytes(2, "big") + _packed(address) for member, address in members]
            return header(WELCOME, token, number) + cookie + bytes([len(rows)]) + b"".join(rows)
        case Leave(number):
            return header(LEAVE, token, number)
        case Moved(hub):
            return header(MOVED, token) + (_packed(hub) if hub is not None else b"")


def decode(data: bytes) -> Message:
    """A control message out of a whole datagram.  Raises `WireError` for anything else."""
    if len(data) < HEADER_BYTES or data[0] != MAGIC:
        raise WireError("no datagram of a fan-out")
    _, kind, _, number = HEADER.unpack_from(data)
    body = data[HEADER_BYTES:]
    if kind == JOIN and len(data) == JOIN_BYTES and body[0] <= SEND_ONLY:
        return Join(body[1 : 1 + COOKIE_BYTES], bool(body[0]))
    if kind == COOKIE and len(body) == COOKIE_BYTES:
        return Cookie(body)
    if kind == WELCOME and len(body) > COOKIE_BYTES:
        return Welcome(number, body[:COOKIE_BYTES], _members(body[COOKIE_BYTES:]))
    if kind == LEAVE and not body:
        return Leave(number)
    if kind == MOVED:
        if not body:
            return Moved(None)
        hub, end = _unpacked(body, 0)
        if end == len(body):
            return Moved(hub)
    raise WireError(f"a fan-out's datagram of kind {kind} does not have {len(data)} bytes")


def _members(body: bytes) -> tuple[Row, ...]:
    rows: list[Row] = []
    at = 1
    if body[0] > MEMBERS_MAX:
        raise WireError(f"{body[0]} members are too many for a fan-out")
    for _ in range(body[0]):
        number = int.from_bytes(body[at : at + 2], "big")
        address, at = _unpacked(body, at + 2)
        rows.append((number, address))
    if at != len(body):
        raise WireError("bytes behind the list of members")
    return tuple(rows)


def _packed(address: Address) -> bytes:
    number = ipaddress.ip_address(address[0].partition("%")[0])
    return bytes([number.version]) + number.packed + address[1].to_bytes(2, "big")


def _unpacked(body: bytes, at: int) -> tuple[Address, int]:
    size = {4: 4, 6: 16}.get(body[at] if at < len(body) else 0)
    if size is None or at + 3 + size > len(body):
        raise WireError("an address in a fan-out's datagram is cut short")
    host = str(ipaddress.ip_address(body[at + 1 : at + 1 + size]))
    port = int.from_bytes(body[at + 1 + size : at + 3 + size], "big")
    if not port:
        raise WireError("an address in a fan-out's datagram has no port")
    return (host, port), at + 3 + size
