"""The extension protocol's handshake (BEP 10), with what others put into it (BEP 9, 11, 21).

A bencoded dictionary in message 20 with id 0.  Each side names the ids under which *it* wants
to receive each extension; 0 switches one off.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spinney.errors import WireError
from spinney.wire import bencode

HANDSHAKE_ID = 0
METADATA = "ut_metadata"
METADATA_ID = 2
PEX = "ut_pex"
PEX_ID = 1
DONT_HAVE = "lt_donthave"

MAX_NAMES = 50
"""Extensions named in one handshake; others are not looked at."""
MAX_VERSION_CHARACTERS = 80
MAX_METADATA_BYTES = 10_000_000
"""As for a whole `.torrent`."""

_LIMITS = bencode.Limits(depth=8, tokens=1_000, length_bytes=16_384)


@dataclass(frozen=True, slots=True)
class ExtensionHandshake:
    """`ids`: extension name to the sender's id.  None or absent: not said.

    `port`: where the sender listens.  `your_ip`: the receiver's address as the sender sees it.
    `request_limit`: `reqq`.  `metadata_bytes`: length of the info dictionary.
    `upload_only`: wants nothing (BEP 21).
    """

    ids: Mapping[str, int] = field(default_factory=dict)
    port: int | None = None
    version: str | None = None
    your_ip: str | None = None
    ipv4: str | None = None
    ipv6: str | None = None
    request_limit: int | None = None
    metadata_bytes: int | None = None
    upload_only: bool | None = None


def encode_extension_handshake(handshake: ExtensionHandshake) -> bytes:
    row: dict[bytes, Any] = {b"m": {name.encode(): kind for name, kind in handshake.ids.items()}}
    numbers = {
        b"p": handshake.port,
        b"reqq": handshake.request_limit,
        b"metadata_size": handshake.metadata_bytes,
        b"upload_only": None if handshake.upload_only is None else int(handshake.upload_only),
    }
    row.update({key: value for key, value in numbers.items() if value is not None})
    if handshake.version is not None:
        row[b"v"] = handshake.version.encode()
    for key, text in (
        (b"yourip", handshake.your_ip),
        (b"ipv4", handshake.ipv4),
        (b"ipv6", handshake.ipv6),
    ):
        if text is not None:
            row[key] = ipaddress.ip_address(text.partition("%")[0]).packed
    return bencode.encode(row)


def decode_extension_handshake(payload: bytes) -> ExtensionHandshake:
    """Raises `WireError` if it is no dictionary; a field of a wrong type is as good as absent."""
    row = bencode.decode(payload, limits=_LIMITS, canonical=False)
    if not isinstance(row, dict):
        raise WireError("an extension handshake that is no dictionary")
    ids: dict[str, int] = {}
    named = row.get(b"m")
    if isinstance(named, dict):
        for name, kind in list(named.items())[:MAX_NAMES]:
            if isinstance(kind, int) and 0 <= kind <= 255:
                ids[name.decode("ascii", "replace")] = kind
    version = row.get(b"v")
    text = version.decode("utf-8", "replace") if isinstance(version, bytes) else None
    upload_only = row.get(b"upload_only")
    return ExtensionHandshake(
        ids=ids,
        port=_number(row, b"p", 1, 65_535),
        version=None if text is None else _printable(text),
        your_ip=_address(row, b"yourip", (4, 16)),
        ipv4=_address(row, b"ipv4", (4,)),
        ipv6=_address(row, b"ipv6", (16,)),
        request_limit=_number(row, b"reqq", 1, 1 << 31),
        metadata_bytes=_number(row, b"metadata_size", 1, MAX_METADATA_BYTES),
        upload_only=bool(upload_only) if isinstance(upload_only, int) else None,
    )


def _printable(text: str) -> str:
    """A stranger's text, fit for a terminal and a log."""
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_VERSION_CHARACTERS])


def _number(row: dict[bytes, Any], key: bytes, low: int, high: int) -> int | None:
    value = row.get(key)
    return value if isinstance(value, int) and low <= value <= high else None


def _address(row: dict[bytes, Any], key: bytes, lengths: tuple[int, ...]) -> str | None:
    value = row.get(key)
    if not isinstance(value, bytes) or len(value) not in lengths:
        return None
    return str(ipaddress.ip_address(value))
