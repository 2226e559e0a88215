"""A tracker's state as one file, so that a restart forgets nobody.  Pure.

The entries of a sealed file (`wire.sealed`): [infohash, completed downloads, rows].

A row is 66 bytes: flags (1 seed, 2 IPv4, 4 IPv6), length of the key, peer id (20), key (16),
age in seconds (4), compact IPv4 endpoint (6), compact IPv6 endpoint (18); unused bytes are 0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from spinney.bittorrent.tracker.messages import COUNT_MAX, INFOHASH_BYTES, KEY_BYTES_MAX
from spinney.bittorrent.tracker.state import Peer, Torrent, TrackerState, owner_of
from spinney.errors import WireError
from spinney.net.address import unpack_compact
from spinney.wire import bencode
from spinney.wire.sealed import Seal

SEAL = Seal("tracker", b"spinney-tracker-1\n", bytes_max=48 << 20, tokens_max=400_000)
"""200,000 peers are 13 MB; a file that is larger is none of ours."""

_ROW = struct.Struct(">BB20s16sI6s18s")
_SEED, _FOUR, _SIX = 1, 2, 4


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


def restore(data: bytes, state: TrackerState, now: float) -> None:
    """Fills an empty `state`; `WireError` for a file that is not exactly what was written.

    Ages go on from where they were: the time that the tracker was away does not count, since
    nobody could announce.
    """
    for entry in SEAL.entries(data):
        match entry:
            case [bytes(infohash), int(downloaded), bytes(rows)] if (
                len(infohash) == INFOHASH_BYTES
                and 0 <= downloaded <= COUNT_MAX
                and len(rows) % _ROW.size == 0
            ):
                state.restore(infohash, downloaded, _peers(rows, now))
            case _:
                raise WireError("a torrent in the tracker's state is malformed")
