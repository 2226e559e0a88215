"""The allowed fast set (BEP 6): pieces that a peer may ask for even while choked.  Pure."""

from __future__ import annotations

import hashlib
import ipaddress

SET_PIECES = 10


def allowed_fast_set(
    infohash: bytes, host: str, piece_count: int, size: int = SET_PIECES
) -> list[int]:
    """The canonical set for the peer at `host`, in BEP 6's order.

    It depends on the peer's /24 only, so that one who comes back under another port or address
    nearby gets no more.  BEP 6 defines it for IPv4; there is none for IPv6.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version != 4 or piece_count <= 0:
        return []
    size = min(size, piece_count)
    chosen: list[int] = []
    digest = address.packed[:3] + b"\0" + infohash
    while len(chosen) < size:
        digest = hashlib.sha1(digest).digest()
        for at in range(0, 20, 4):
            piece = int.from_bytes(digest[at : at + 4], "big") % piece_count
            if piece not in chosen and len(chosen) < size:
                chosen.append(piece)
    return chosen
