"""A tracker's state as one file, so that a restart forgets nobody.  Pure.

    spinney-tracker-1 LF  SHA-256 of what follows, in hex LF
    bencoded list of [infohash, completed downloads, rows]

A row is 66 bytes: flags (1 seed, 2 IPv4, 4 IPv6), length of the key, peer id (20), key (16),
age in seconds (4), compact IPv4 endpoint (6), compact IPv6 endpoint (18); unused bytes are 0.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from spinney.bittorrent.tracker.messages import COUNT_MAX, INFOHASH_BYTES, KEY_BYTES_MAX
from spinney.bittorrent.tracker.state import Peer, Torrent, TrackerState, owner_of
from spinney.errors import WireError
from spinney.net.address import unpack_compact
from spinney.wire import bencode

SNAPSHOT_BYTES_MAX = 48 << 20
"""200,000 peers are 13 MB; a file that is larger is none of ours."""

_MAGIC = b"spinney-tracker-1\n"
_ROW = struct.Struct(">BB20s16sI6s18s")
_SEED, _FOUR, _SIX = 1, 2, 4
_LIMITS = bencode.Limits(depth=3, tokens=400_000, length_bytes=SNAPSHOT_BYTES_MAX)


def pack_torrent(infohash: bytes, torrent: Torrent, now: float) -> bytes:
    """One torrent as bencode: about 70 bytes a peer."""
    rows = []
    for peer in torrent.peers.values():
        key = peer.identity[20:]
        flags = _SEED * peer.seed
        if peer.endpoint4 is not None:
            flags |= _FOUR
        if peer.endpoint6 is not None:
            flags |= _SIX
        age = min(max(0, int(now - peer.heard_at)), 0xFFFFFFFF)
        rows.append(
            _ROW.pack(
                flags,
                len(key),
                peer.identity[:20],
                key,
                age,
                peer.endpoint4 or b"",
                peer.endpoint6 or b"",
            )
        )
    return bencode.encode([infohash, torrent.downloaded, b"".join(rows)])


def seal(packed: list[bytes]) -> list[bytes]:
    """The file's parts, in order, from what `pack_torrent` made."""
    digest = hashlib.sha256(b"l")
    for part in packed:
        digest.update(part)
    digest.update(b"e")
    return [_MAGIC + digest.hexdigest().encode() + b"\nl", *packed, b"e"]


def _peers(rows: bytes, now: float) -> Iterator[tuple[Peer, tuple[bytes, ...]]]:
    for flags, key_bytes, peer_id, key, age, four, six in _ROW.iter_unpack(rows):
        if flags > 7 or key_bytes > KEY_BYTES_MAX:
            raise WireError("a peer in the tracker's state has impossible flags")
        endpoints = ((four,) if flags & _FOUR else ()) + ((six,) if flags & _SIX else ())
        owner = b""
        if endpoints:
            owner = owner_of(unpack_compact(endpoints[0], six=len(endpoints[0]) == 18)[0][0])
        identity = peer_id + key[:key_bytes]
        yield Peer(identity, owner, bool(flags & _SEED), now - age), endpoints


def is_one(data: bytes) -> bool:
    """Whether this was once a tracker's state, or the beginning of one."""
    return data.startswith(_MAGIC[: len(data)])


def restore(data: bytes, state: TrackerState, now: float) -> None:
    """Fills an empty `state`; `WireError` for a file that is not exactly what was written.

    Ages go on from where they were: the time that the tracker was away does not count, since
    nobody could announce.
    """
    head = len(_MAGIC) + 65
    if len(data) > SNAPSHOT_BYTES_MAX or not data.startswith(_MAGIC) or len(data) < head:
        raise WireError("not a tracker's state")
    if hashlib.sha256(data[head:]).hexdigest().encode() + b"\n" != data[len(_MAGIC) : head]:
        raise WireError("the tracker's state does not match its checksum")
    torrents = bencode.decode(data[head:], limits=_LIMITS)
    if not isinstance(torrents, list):
        raise WireError("the tracker's state holds no torrents")
    for entry in torrents:
        match entry:
            case [bytes(infohash), int(downloaded), bytes(rows)] if (
                len(infohash) == INFOHASH_BYTES
                and 0 <= downloaded <= COUNT_MAX
                and len(rows) % _ROW.size == 0
            ):
                state.restore(infohash, downloaded, _peers(rows, now))
            case _:
                raise WireError("a torrent in the tracker's state is malformed")
