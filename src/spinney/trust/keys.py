"""Ed25519 keys, one pair per file and peer: no identity across files.

    keys = Keys(host.entropy(32))
    keys.peer                         # 20 bytes: the first of SHA-256(public key)
    verify(keys.public, keys.sign(data), data)

`cryptography` is imported when the first key is made: it is large, and most commands of a
program need none.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

SEED_BYTES = 32
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
PEER_ID_BYTES = 20

VERIFIED_KEPT = 4_096
"""Outcomes remembered: the same message comes again by a second interface."""


def peer_id_of(public: bytes) -> bytes:
    """The name under which a public key goes in a group."""
    return sha256(public).digest()[:PEER_ID_BYTES]


class Keys:
    """One key pair, made from 32 secret bytes of `Host.entropy`."""

    def __init__(self, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        assert len(seed) == SEED_BYTES
        self.seed = seed
        """Secret.  Kept only so that who restarts can be who he was."""
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()
        self.peer = peer_id_of(self.public)

    def __repr__(self) -> str:
        return f"<Keys {self.peer.hex()[:8]}>"

    def sign(self, data: bytes) -> bytes:
        """64 bytes; the same for the same data."""
        return self._private.sign(data)

    def verify(self, peer: bytes, public: bytes, data: bytes, signature: bytes) -> bool:
        """Is `public` the key of `peer`, and did its holder sign this?"""
        return peer_id_of(public) == peer and verify(public, signature, data)


@lru_cache(maxsize=VERIFIED_KEPT)
def verify(public: bytes, signature: bytes, data: bytes) -> bool:
    """Did the holder of `public` sign this?  Never raises, whatever the bytes."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
