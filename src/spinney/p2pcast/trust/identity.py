"""Who a peer is: a key for one stream, and the name in the forest that follows from it.

    signer = KeySigner(Keys(host.entropy(32)), stream)      # on a network
    signer = HashSigner(name)                               # in simulations of many peers

A name is 63 bits of the hash of the public key, so a key shows whose name it is; the source's key
is the one whose hash is the stream's name.  A signature of Ed25519 costs some 50 microseconds and
its check 100: ten thousand simulated peers would spend most of their time on it.  `HashSigner`
costs one, and binds nobody who wants to cheat: adversaries in simulations that use it must not
sign for others, those that try do so against `KeySigner`.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

from spinney.p2pcast.place import SOURCE, Name
from spinney.p2pcast.registry.messages import stream_of
from spinney.trust.keys import PUBLIC_BYTES, SIGNATURE_BYTES, Keys, peer_id_of, verify

STREAM_TAG_BYTES = 8
"""Of the stream's name, in each call of the forest."""


def name_of(peer: bytes) -> Name:
    """The forest's name of a peer id (20 bytes): its first 63 bits."""
    return int.from_bytes(peer[:8], "big") >> 1


class Signer(Protocol):
    """Signs as one peer, and checks what others signed.  Nothing here raises."""

    public: bytes
    name: Name
    public_bytes: int
    signature_bytes: int

    def sign(self, data: bytes) -> bytes: ...

    def verify(self, public: bytes, signature: bytes, data: bytes) -> bool: ...

    def name_of(self, public: bytes) -> Name:
        """`SOURCE` for the source's key."""

    def peer_of(self, public: bytes) -> bytes:
        """The peer id (20 bytes) by which a registry knows the holder of this key."""


class KeySigner:
    """Ed25519.  `stream`: the 32 bytes of its name, by which the source's key is known."""

    public_bytes = PUBLIC_BYTES
    signature_bytes = SIGNATURE_BYTES

    def __init__(self, keys: Keys, stream: bytes) -> None:
        self.keys = keys
        self.public = keys.public
        self._stream = stream
        self.name = self.name_of(keys.public)

    def sign(self, data: bytes) -> bytes:
        return self.keys.sign(data)

    def verify(self, public: bytes, signature: bytes, data: bytes) -> bool:
        return verify(public, signature, data)

    def name_of(self, public: bytes) -> Name:
        return SOURCE if _is_key_of(public, self._stream) else name_of(peer_id_of(public))

    def peer_of(self, public: bytes) -> bytes:
        return peer_id_of(public)


@lru_cache(maxsize=1_024)
def _is_key_of(public: bytes, stream: bytes) -> bool:
    return stream_of(public) == stream


class HashSigner:
    """For simulations: the name is the key, and anybody could make the signature."""

    public_bytes = 8
    signature_bytes = 8

    def __init__(self, name: Name) -> None:
        self.name = name
        self.public = name.to_bytes(8, "big", signed=True)

    def sign(self, data: bytes) -> bytes:
        return blake2b(data, key=self.public, digest_size=8).digest()

    def verify(self, public: bytes, signature: bytes, data: bytes) -> bool:
        return blake2b(data, key=public, digest_size=8).digest() == signature

    def name_of(self, public: bytes) -> Name:
        return int.from_bytes(public, "big", signed=True)

    def peer_of(self, public: bytes) -> bytes:
        return public.rjust(20, b"\0")
