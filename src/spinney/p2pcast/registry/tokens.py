"""Tokens: 8 bytes that only one who receives at an address can know.  Pure; nothing is kept.

A forged sender never sees the token that was sent to the address it forged, so neither a place
in the registry nor a large answer can be had in somebody else's name.
"""

from __future__ import annotations

from hashlib import blake2b

from spinney.net.host import Address
from spinney.p2pcast.registry.messages import TOKEN_BYTES, compact_of

SECRET_BYTES = 32


class Tokens:
    """Makes and knows tokens; `secret` comes from the host's entropy at each start and is never
    written, so that no token outlives a restart."""

    def __init__(self, secret: bytes, token_s: float) -> None:
        assert len(secret) == SECRET_BYTES
        self._secret = secret
        self._token_s = token_s

    def give(self, remote: Address, now: float) -> bytes:
        """The token of this address, good for `token_s` at least."""
        return self._of(compact_of(remote), self._epoch(now))

    def epoch_of(self, token: bytes, remote: Address, now: float) -> int | None:
        """When it was given, in epochs of `token_s`; None for an old or a foreign one."""
        packed, epoch = compact_of(remote), self._epoch(now)
        for candidate in (epoch, epoch - 1):
            if token == self._of(packed, candidate):
                return candidate
        return None

    def _epoch(self, now: float) -> int:
        return int(now // self._token_s)

    def _of(self, packed: bytes, epoch: int) -> bytes:
        text = epoch.to_bytes(8, "big", signed=True) + packed
        return blake2b(text, digest_size=TOKEN_BYTES, key=self._secret).digest()
