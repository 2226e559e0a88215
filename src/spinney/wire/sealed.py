"""Sealed state: what a server knows, as one file with a checksum.  Pure.

    its magic, a line  LF  SHA-256 of what follows, in hex  LF
    a bencoded list of entries

The checksum tells accidents, not intent: who reads the entries checks them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from spinney.errors import WireError
from spinney.wire import bencode


@dataclass(frozen=True)
class Seal:
    """One kind of state: what it is called, its first line, the most bytes and tokens of a file."""

    name: str
    magic: bytes
    bytes_max: int
    tokens_max: int

    def parts(self, entries: Iterable[bytes]) -> list[bytes]:
        """The file's parts, in order, from bencoded entries."""
        packed = list(entries)
        digest = hashlib.sha256(b"l")
        for entry in packed:
            digest.update(entry)
        digest.update(b"e")
        return [self.magic + digest.hexdigest().encode() + b"\nl", *packed, b"e"]

    def is_one(self, data: bytes) -> bool:
        """Whether this was once such a file, or the beginning of one."""
        return data.startswith(self.magic[: len(data)])

    def entries(self, data: bytes) -> list[bencode.Value]:
        """What is inside; `WireError` for a file that is not exactly what was written."""
        magic, head = self.magic, len(self.magic) + 65
        if len(data) > self.bytes_max or not data.startswith(magic) or len(data) < head:
            raise WireError(f"not a {self.name}'s state")
        if hashlib.sha256(data[head:]).hexdigest().encode() + b"\n" != data[len(magic) : head]:
            raise WireError(f"the {self.name}'s state does not match its checksum")
        limits = bencode.Limits(depth=3, tokens=self.tokens_max, length_bytes=self.bytes_max)
        entries = bencode.decode(data[head:], limits=limits)
        if not isinstance(entries, list):
            raise WireError(f"the {self.name}'s state is no list")
        return entries
