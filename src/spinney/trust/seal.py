"""Sealed boxes: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
ChaCha20-Poly1305: what is sealed to a key only its holder reads, and nobody can alter.

A box is 32 bytes of ephemeral key, then the ciphertext with its 16-byte tag; each box has a
key of its own, used once.  The ephemeral key comes from the caller's entropy, so that a
simulated peer seals the same bytes in every run; `cryptography`'s own HPKE reads the result.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from spinney.errors import WireError

KEY_BYTES = 32
OVERHEAD_BYTES = 48
"""32 bytes of ephemeral key and 16 of tag."""

_KEM = b"KEM" + (0x0020).to_bytes(2, "big")
_SUITE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0003))


def _extract(salt: bytes, suite: bytes, label: bytes, secret: bytes) -> bytes:
    """LabeledExtract of RFC 9180, section 4."""
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + secret, "sha256")


def _expand(key: bytes, suite: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand of RFC 9180, section 4; one block of HKDF is enough here."""
    assert length <= sha256().digest_size
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labeled + b"\x01", "sha256")[:length]


def _schedule(shared_point: bytes, ephemeral: bytes, recipient: bytes, info: bytes) -> bytes:
    """ExtractAndExpand and KeySchedule (base mode): the key and the nonce, 44 bytes."""
    secret = _extract(b"", _KEM, b"eae_prk", shared_point)
    shared = _expand(secret, _KEM, b"shared_secret", ephemeral + recipient, 32)
    context = (
        b"\x00"
        + _extract(b"", _SUITE, b"psk_id_hash", b"")
        + _extract(b"", _SUITE, b"info_hash", info)
    )
    secret = _extract(shared, _SUITE, b"secret", b"")
    key = _expand(secret, _SUITE, b"key", context, 32)
    return key + _expand(secret, _SUITE, b"base_nonce", context, 12)


class SealingKeys:
    """The key pair of who opens boxes; made from 32 secret bytes."""

    def __init__(self, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        assert len(seed) == KEY_BYTES
        self._private = X25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def open(self, box: bytes, info: bytes) -> bytes:
        """What was sealed to this key with the same `info`.  Raises `WireError`."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        if len(box) < OVERHEAD_BYTES:
            raise WireError(f"a sealed box of {len(box)} bytes is cut short")
        ephemeral = box[:KEY_BYTES]
        try:
            point = self._private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
            made = _schedule(point, ephemeral, self.public, info)
            return ChaCha20Poly1305(made[:32]).decrypt(made[32:], box[KEY_BYTES:], b"")
        except (InvalidTag, ValueError):  # ValueError: a point of low order
            raise WireError("a sealed box is not for this key, or was altered") from None


def seal(recipient: bytes, plain: bytes, info: bytes, entropy: bytes) -> bytes:
    """A box for the holder of `recipient`; `entropy`: 32 secret bytes, never used again.

    Raises `WireError` when `recipient`, which came from the network, is no key.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    private = X25519PrivateKey.from_private_bytes(entropy)
    ephemeral = private.public_key().public_bytes_raw()
    try:
        point = private.exchange(X25519PublicKey.from_public_bytes(recipient))
    except ValueError:
        raise WireError("nothing can be sealed to this key") from None
    made = _schedule(point, ephemeral, recipient, info)
    return ephemeral + ChaCha20Poly1305(made[:32]).encrypt(made[32:], plain, b"")
