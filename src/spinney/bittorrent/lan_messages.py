"""LAN discovery's one message and its codec (BEP 14); pure.

BT-SEARCH * HTTP/1.1
Host: 239.192.152.143:6771
Port: 6881
Infohash: 40 hexadecimal digits, as often as needed
cookie: opaque, so that the sender ignores itself
(two empty lines)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spinney.errors import WireError

GROUP4 = "239.192.152.143"
GROUP6 = "ff15::efc0:988f"
PORT = 6771

DATAGRAM_BYTES_MAX = 1400
"""BEP 14's bound, for what comes in.  Ours stay below 1,200, the project's own."""
INFOHASHES_MAX = 20
"""In one announce of ours: 20 lines of 52 bytes and the head are 1,170 bytes."""
INFOHASHES_READ_MAX = 26
"""More do not fit in 1,400 bytes."""
COOKIE_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class LanAnnounce:
    """ "Peers on this link: I have these torrents, and listen at this port."

    `infohashes`: 20 bytes each; a v2 hash cut to 20.  `cookie`: the sender's own mark.
    """

    port: int
    infohashes: tuple[bytes, ...]
    cookie: str = ""


def encode(announce: LanAnnounce, six: bool = False) -> bytes:
    """One datagram.  At most `INFOHASHES_MAX` torrents: more is our own mistake."""
    assert 0 < len(announce.infohashes) <= INFOHASHES_MAX
    host = f"[{GROUP6}]:{PORT}" if six else f"{GROUP4}:{PORT}"
    lines = ["BT-SEARCH * HTTP/1.1", f"Host: {host}", f"Port: {announce.port}"]
    lines += [f"Infohash: {infohash.hex()}" for infohash in announce.infohashes]
    if announce.cookie:
        lines.append(f"cookie: {announce.cookie}")
    return ("\r\n".join(lines) + "\r\n\r\n\r\n").encode("ascii")


def split(infohashes: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    """Torrents in groups that fit one datagram each."""
    return [
        tuple(infohashes[at : at + INFOHASHES_MAX])
        for at in range(0, len(infohashes), INFOHASHES_MAX)
    ]


def decode(data: bytes) -> LanAnnounce:
    """What a datagram says, or `WireError`.  Unknown headers are ignored."""
    if len(data) > DATAGRAM_BYTES_MAX:
        raise WireError(f"a LAN announce of {len(data)} bytes is over {DATAGRAM_BYTES_MAX}")
    first, *lines = data.split(b"\r\n")
    if first != b"BT-SEARCH * HTTP/1.1":
        raise WireError("not a LAN announce")
    port, cookie = 0, ""
    infohashes: dict[bytes, None] = {}
    for line in lines:
        if not line:
            break
        name, colon, value = line.partition(b":")
        name, value = name.strip().lower(), value.strip()
        if not colon:
            raise WireError("a line of a LAN announce is no header")
        if name == b"port":
            if port or not value.isdigit() or len(value) > 5 or not 0 < int(value) < 65536:
                raise WireError("the port of a LAN announce is none")
            port = int(value)
        elif name == b"infohash":
            infohashes[_infohash(value)] = None
        elif name == b"cookie":
            cookie = value[:COOKIE_CHARACTERS_MAX].decode("latin-1")
    if not port or not infohashes or len(infohashes) > INFOHASHES_READ_MAX:
        raise WireError("a LAN announce without port or infohash, or with too many")
    return LanAnnounce(port, tuple(infohashes), cookie)


def _infohash(value: bytes) -> bytes:
    if len(value) == 40 and value.isalnum():  # `fromhex` skips spaces
        try:
            return bytes.fromhex(value.decode("ascii"))
        except ValueError:
            pass
    raise WireError("an infohash of a LAN announce is not 40 hexadecimal digits")
