"""Peer exchange (BEP 11): who else is in the swarm.  Pure.

A bencoded dictionary in an extended message: `added`, `dropped` (compact IPv4), `added6`,
`dropped6`, and a byte of flags for each added one.  Limits of BEP 11: at most 50 added and 50
dropped in a message, at most one message a minute.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spinney.errors import WireError
from spinney.net.address import COMPACT4_BYTES, COMPACT6_BYTES, pack_compact, unpack_compact
from spinney.net.host import Address
from spinney.wire import bencode

INTERVAL_S = 60.0
MAX_CHANGES = 50
MAX_TAKEN = 100
"""Addresses believed of one message, both families; the rest is not looked at."""
FLAG_SEED = 0x02
FLAG_REACHABLE = 0x10
"""The sender itself made a connection to this address."""

_LIMITS = bencode.Limits(depth=4, tokens=50, length_bytes=65_536)


@dataclass(frozen=True, slots=True)
class PeerExchange:
    """`added` with their flags, `dropped`."""

    added: tuple[tuple[Address, int], ...] = ()
    dropped: tuple[Address, ...] = ()


def encode_exchange(message: PeerExchange) -> bytes:
    row: dict[bytes, Any] = {}
    for six, tail in ((False, b""), (True, b"6")):
        added = [(peer, flags) for peer, flags in message.added if _is_six(peer) == six]
        dropped = [peer for peer in message.dropped if _is_six(peer) == six]
        if six and not added and not dropped:
            continue
        row[b"added" + tail] = b"".join(pack_compact(peer) for peer, _ in added)
        row[b"added" + tail + b".f"] = bytes(flags for _, flags in added)
        row[b"dropped" + tail] = b"".join(pack_compact(peer) for peer in dropped)
    return bencode.encode(row)


def decode_exchange(payload: bytes) -> PeerExchange:
    """Raises `WireError` for what is no dictionary of compact addresses."""
    row = bencode.decode(payload, limits=_LIMITS, canonical=False)
    if not isinstance(row, dict):
        raise WireError("a peer exchange that is no dictionary")
    added: list[tuple[Address, int]] = []
    for six, tail in ((False, b""), (True, b"6")):
        peers = _compact(row, b"added" + tail, six=six)
        flags = row.get(b"added" + tail + b".f")
        if not isinstance(flags, bytes) or len(flags) != len(peers):
            flags = bytes(len(peers))
        added.extend(zip(peers, flags, strict=True))
    dropped = _compact(row, b"dropped", six=False) + _compact(row, b"dropped6", six=True)
    return PeerExchange(tuple(added[:MAX_TAKEN]), tuple(dropped[:MAX_TAKEN]))


class ExchangeOutbox:
    """What one peer has been told, and when it may be told more."""

    def __init__(self) -> None:
        self._told: dict[Address, int] = {}
        """Bounded by what is told: at most `MAX_CHANGES` more a minute, and those still here."""
        self._next_at = 0.0

    def next(
        self, now: float, here: Mapping[Address, int] | Sequence[tuple[Address, int]]
    ) -> PeerExchange | None:
        """The changes since the last message, if one may be sent now and there are any.

        `here`: the peers connected now (without the one that is told), with their flags.
        """
        if now < self._next_at:
            return None
        present: dict[Address, int] = dict(here)
        added = [(peer, flags) for peer, flags in present.items() if peer not in self._told]
        dropped = [peer for peer in self._told if peer not in present]
        if not added and not dropped:
            return None
        added, dropped = added[:MAX_CHANGES], dropped[:MAX_CHANGES]
        for peer in dropped:
            del self._told[peer]
        self._told.update(added)
        self._next_at = now + INTERVAL_S
        return PeerExchange(tuple(added), tuple(dropped))


class ExchangeInbox:
    """Takes one message a minute of a peer; what comes faster is not looked at."""

    EARLY_S = 15.0
    """Others' clocks and queues: a message this much too early is taken."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def may_take(self, now: float) -> bool:
        if now < self._next_at:
            return False
        self._next_at = now + INTERVAL_S - self.EARLY_S
        return True


def _is_six(peer: Address) -> bool:
    return ipaddress.ip_address(peer[0].partition("%")[0]).version == 6


def _compact(row: dict[bytes, Any], key: bytes, *, six: bool) -> list[Address]:
    value = row.get(key, b"")
    if not isinstance(value, bytes):
        raise WireError(f"{key.decode()} of a peer exchange is no string")
    size = COMPACT6_BYTES if six else COMPACT4_BYTES
    if len(value) % size:
        raise WireError(f"{key.decode()} of a peer exchange has {len(value)} bytes")
    return unpack_compact(value[: size * MAX_TAKEN], six=six)
