"""A registry's state as one file, so that a restart forgets nobody.  Pure.

The entries of a sealed file (`wire.sealed`): [stream, network that opened it, rows of members,
rows of bad peers].

A member is 50 bytes: flags (1 open, 2 IPv6, 4 source), depth (255 unknown), peer id (20), address
(16), port (2), seconds since it joined (4), seconds since it was heard (4), 2 of zero.  A bad peer
is 24: peer id (20), seconds until it is forgiven (4).  Tokens and accusations are not kept: both
are younger than any restart.
"""

from __future__ import annotations

import ipaddress
import struct

from spinney.errors import WireError
from spinney.net.address import is_dialable
from spinney.p2pcast.registry.codec import COMPACT_AT, DEPTH_UNKNOWN
from spinney.p2pcast.registry.messages import STREAM_BYTES
from spinney.p2pcast.registry.streams import Member, Registry, Stream
from spinney.wire import bencode
from spinney.wire.sealed import Seal

SEAL = Seal("registry", b"spinney-registry-1\n", bytes_max=32 << 20, tokens_max=100_000)
"""200,000 peers are 10 MB; a file that is larger is none of ours."""

_ROW = struct.Struct(">BB20s16sHIIxx")
_BAD = struct.Struct(">20sI")
_OPEN, _SIX, _SOURCE = 1, 2, 4
_AGE_MAX = 0xFFFFFFFF
NETWORK_BYTES_MAX = 8


def pack_stream(stream_id: bytes, stream: Stream, now: float) -> bytes:
    """One stream as bencode."""
    rows = b"".join(_pack(member, now) for member in stream.members.values())
    bad = b"".join(
        _BAD.pack(peer, min(max(0, int(until - now)), _AGE_MAX))
        for peer, until in stream.bad.items()
    )
    return bencode.encode([stream_id, stream.opened_from, rows, bad])


def _pack(member: Member, now: float) -> bytes:
    compact = member.row[COMPACT_AT:]
    packed, port = compact[:-2], int.from_bytes(compact[-2:], "big")
    flags = _OPEN * member.is_open + _SIX * (len(packed) == 16) + _SOURCE * member.is_source
    depth = DEPTH_UNKNOWN if member.depth is None else member.depth
    joined, heard = (
        min(max(0, int(now - at)), _AGE_MAX) for at in (member.joined_at, member.heard_at)
    )
    return _ROW.pack(flags, depth, member.peer, packed, port, joined, heard)


def restore(data: bytes, registry: Registry, now: float) -> None:
    """Fills an empty registry; `WireError` for a file that is not exactly what was written.

    Ages go on from where they were: the time that the registry was away does not count, since
    nobody could renew.
    """
    for entry in SEAL.entries(data):
        match entry:
            case [bytes(stream_id), bytes(network), bytes(rows), bytes(bad)] if (
                len(stream_id) == STREAM_BYTES
                and len(network) <= NETWORK_BYTES_MAX
                and len(rows) % _ROW.size == 0
                and len(bad) % _BAD.size == 0
            ):
                until = {peer: now + left for peer, left in _BAD.iter_unpack(bad)}
                members = [_unpack(row, now) for row in _ROW.iter_unpack(rows)]
                registry.restore(stream_id, network, members, until)
            case _:
                raise WireError("a stream in the registry's state is malformed")


def _unpack(row: tuple[int, int, bytes, bytes, int, int, int], now: float) -> Member:
    flags, depth, peer, packed, port, joined, heard = row
    if flags > 7:
        raise WireError("a peer in the registry's state has impossible flags")
    host = str(ipaddress.ip_address(packed if flags & _SIX else packed[:4]))
    if not is_dialable((host, port)):
        raise WireError("a peer in the registry's state has an impossible address")
    member = Member(peer, (host, port), now)
    member.joined_at, member.heard_at = now - joined, now - heard
    member.depth = None if depth == DEPTH_UNKNOWN else depth
    member.is_open = bool(flags & _OPEN)
    member.is_source = bool(flags & _SOURCE)
    return member
