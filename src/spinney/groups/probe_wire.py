"""What two machines that measure multicast between them say: `spinney doctor`'s datagrams.

Two bytes `FB 01`, the kind, 8 bytes that name the speaker, then a bencoded dictionary; in a
`TRAIN` the number (4 bytes) and zeros instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from spinney.errors import WireError
from spinney.wire import bencode

MAGIC = b"\xfb\x01"
HELLO, ECHO, GO, TRAIN, END, RESULT, DONE = range(1, 8)
IDENT_BYTES = 8
HEADER_BYTES = len(MAGIC) + 1 + IDENT_BYTES
CONTROL_MAX_BYTES = 600
NAME_MAX_BYTES = 64
OTHERS_MAX = 8
"""Machines that one takes notice of."""
_LIMITS = bencode.Limits(depth=3, tokens=64, length_bytes=CONTROL_MAX_BYTES)


@dataclass(frozen=True, slots=True)
class Hello:
    """Here I am: my `number`th greeting, where I am reached, whose greetings to all I heard."""

    number: int
    name: str
    port: int
    heard: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Echo:
    """Your greeting of this number came."""

    to: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Go:
    """It is this machine's turn to send its train."""

    to: bytes


@dataclass(frozen=True, slots=True)
class End:
    """That was my train: so many datagrams."""

    count: int


@dataclass(frozen=True, slots=True)
class Result:
    """So much of the train of `of` came to me, within so long."""

    of: bytes
    received: int
    milliseconds: int
    merged: int
    overflowed: int


@dataclass(frozen=True, slots=True)
class Done:
    """All have had their turn."""


Message = Hello | Echo | Go | End | Result | Done
V = TypeVar("V", int, bytes)


def header(kind: int, ident: bytes) -> bytes:
    return MAGIC + bytes([kind]) + ident


def encode(message: Message, ident: bytes) -> bytes:
    """The datagram in which `ident` says this."""
    match message:
        case Hello(number, name, port, heard):
            kind, body = (
                HELLO,
                {
                    b"heard": list(heard[:OTHERS_MAX]),
                    b"name": _cut(name),
                    b"number": number,
                    b"port": port,
                },
            )
        case Echo(to, number):
            kind, body = ECHO, {b"number": number, b"to": to}
        case Go(to):
            kind, body = GO, {b"to": to}
        case End(count):
            kind, body = END, {b"count": count}
        case Result(of, received, milliseconds, merged, overflowed):
            kind, body = (
                RESULT,
                {
                    b"merged": merged,
                    b"ms": milliseconds,
                    b"of": of,
                    b"overflowed": overflowed,
                    b"received": received,
                },
            )
        case Done():
            kind, body = DONE, {}
    return header(kind, ident) + bencode.encode(body)


def _cut(name: str) -> bytes:
    """At most `NAME_MAX_BYTES`, and no half character at the end."""
    cut = name.encode("utf-8", "replace")[:NAME_MAX_BYTES]
    return cut.decode("utf-8", "ignore").encode("utf-8")


def decode(data: bytes) -> tuple[bytes, Message]:
    """Who says what.  Raises `WireError` for anything but a control message."""
    if not HEADER_BYTES <= len(data) <= CONTROL_MAX_BYTES or data[:2] != MAGIC:
        raise WireError("no datagram of a measurement")
    ident, kind = data[3:HEADER_BYTES], data[2]
    body = bencode.decode(data[HEADER_BYTES:], limits=_LIMITS)
    if not isinstance(body, dict):
        raise WireError("a measurement's message is no dictionary")
    if kind == HELLO:
        heard = body.get(b"heard")
        if not isinstance(heard, list) or len(heard) > OTHERS_MAX:
            raise WireError("a greeting without a list of who was heard")
        idents = tuple(_ident(each) for each in heard)
        raw = _of(body, b"name", bytes)
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise WireError("a machine's name is no UTF-8") from None
        if len(raw) > NAME_MAX_BYTES:
            raise WireError(f"a machine's name has {len(raw)} bytes")
        return ident, Hello(_number(body, b"number"), name, _number(body, b"port", 65_535), idents)
    if kind == ECHO:
        return ident, Echo(_ident(body.get(b"to")), _number(body, b"number"))
    if kind == GO:
        return ident, Go(_ident(body.get(b"to")))
    if kind == END:
        return ident, End(_number(body, b"count"))
    if kind == RESULT:
        numbers = [_number(body, key) for key in (b"received", b"ms", b"merged", b"overflowed")]
        return ident, Result(_ident(body.get(b"of")), *numbers)
    if kind == DONE:
        return ident, Done()
    raise WireError(f"a measurement knows no message of kind {kind}")


def _of(body: dict[bytes, object], key: bytes, kind: type[V]) -> V:
    value = body.get(key)
    if not isinstance(value, kind):
        raise WireError(f"a measurement's message has no {key.decode()}")
    return value


def _number(body: dict[bytes, object], key: bytes, most: int = 0xFFFF_FFFF) -> int:
    value = _of(body, key, int)
    if not 0 <= value <= most:
        raise WireError(f"a measurement's {key.decode()} is {value}")
    return value


def _ident(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) != IDENT_BYTES:
        raise WireError("a measurement names a machine by eight bytes")
    return value
