"""`GroupDirectory`: the paper's two maps behind one face.

The first leads from a file (the key of its descriptor) to the address of its management group;
the second says which group addresses are taken, and its space is that of one multicast scope.
An entry lasts as long as it is renewed.  The LAN directory needs no set-up; overlays with exact
keys (DHT, Chord, Pastry) come later through the same door.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

KEY_BYTES_MAX = 80
VALUE_BYTES_MAX = 80
CLAIM_S = 120.0
"""How long an entry lasts."""
RENEW_S = 40.0
"""How often it is renewed: two renewals may be lost."""


def file_key(infohash: bytes) -> bytes:
    """Under which a file's management group is found: the v2 infohash, else v1."""
    return b"file:" + infohash


def group_key(address: bytes) -> bytes:
    """Under which a group's address is reserved."""
    return b"group:" + address


def order(key: bytes, owner: bytes) -> bytes:
    """Of two who claim one key, the one with the lower of these wins: all compute the same."""
    return sha256(key + owner).digest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One claim: `owner` is a public key, `seconds` how long it still lasts."""

    key: bytes
    value: bytes
    owner: bytes
    seconds: float


class GroupDirectory(Protocol):
    """Exact keys of bytes, values of bytes, each with an owner and an end."""

    def known(self, key: bytes) -> Entry | None:
        """The entry that wins, as far as it is known without asking anybody."""

    async def find(self, key: bytes, *, patience_s: float = 0.0) -> Entry | None:
        """The entry that wins, or None when nobody answered (within about a second) and nobody
        claimed it within `patience_s` more, where the directory can tell that."""

    async def claim(self, key: bytes, value: bytes, seconds: float = CLAIM_S) -> bool:
        """True when the entry is ours, or somebody else's with the same value (several may hold
        up one entry); False when another value holds the key: `find` tells it."""

    async def renew(self, key: bytes, seconds: float = CLAIM_S) -> bool:
        """Keeps a claim of ours; False when it was lost meanwhile (or never made)."""

    async def release(self, key: bytes) -> None:
        """Ends a claim of ours; no error if there is none."""

    def conflicts(self, key: bytes) -> Entry | None:
        """Who took a key from us after we had claimed it, by the rule of `order`."""
