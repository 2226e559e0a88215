"""The info dictionary from the peers themselves (BEP 9), so that a magnet link suffices.  Pure.

It comes in pieces of 16 KiB, from several peers at once.  Nothing tells a true piece from a
false one before all are there and the whole hashes to the infohash; so each piece remembers
its sender, and after a failure with several senders the next attempt is made with one sender
alone: whoever fails alone is a liar, and is blamed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from spinney.bittorrent.extensions import MAX_METADATA_BYTES
from spinney.errors import WireError
from spinney.wire import bencode

PIECE_BYTES = 16_384
REQUEST, DATA, REJECT = 0, 1, 2
IN_FLIGHT = 4
"""Pieces asked of one peer at a time."""
MAX_SIZES = 3
"""Different lengths that peers claim, each collected for itself; further claims wait."""
TURN_S = 30.0
"""While others wait, an attempt gives up its place after this time, and after twice as long each
time that this happened: three who answer slowly for a made-up length must not block the rest."""
MAX_TURN_S = 960.0
TIMEOUT_S = 15.0
MAX_REFUSALS = 3
"""Rejects and silences of one peer before it is no longer asked."""

_LIMITS = bencode.Limits(depth=4, tokens=50)


@dataclass(frozen=True, slots=True)
class MetadataMessage:
    """`kind`: 0 request, 1 data, 2 reject.  `total_bytes` comes with data."""

    kind: int
    piece: int
    total_bytes: int | None = None
    data: bytes = b""


def encode_metadata(message: MetadataMessage) -> bytes:
    row: dict[bytes, Any] = {b"msg_type": message.kind, b"piece": message.piece}
    if message.total_bytes is not None:
        row[b"total_size"] = message.total_bytes
    return bencode.encode(row) + message.data


def decode_metadata(payload: bytes) -> MetadataMessage:
    """Raises `WireError`.  A kind that nobody defined comes out as it is, to be ignored."""
    row, end = bencode.decode_prefix(payload, limits=_LIMITS, canonical=False)
    if not isinstance(row, dict):
        raise WireError("a metadata message that is no dictionary")
    kind, piece, total = row.get(b"msg_type"), row.get(b"piece"), row.get(b"total_size")
    if not isinstance(kind, int) or not isinstance(piece, int) or piece < 0:
        raise WireError("a metadata message without its kind or piece")
    data = payload[end:]
    if len(data) > PIECE_BYTES:
        raise WireError(f"a metadata piece of {len(data)} bytes")
    return MetadataMessage(kind, piece, total if isinstance(total, int) else None, data)


def answer(info_bytes: bytes | None, piece: int) -> MetadataMessage:
    """What to say to a request: the piece, or a reject."""
    at = piece * PIECE_BYTES
    if info_bytes is None or at >= len(info_bytes):
        return MetadataMessage(REJECT, piece)
    return MetadataMessage(DATA, piece, len(info_bytes), info_bytes[at : at + PIECE_BYTES])


def matches(info_bytes: bytes, infohashes: Sequence[bytes]) -> bool:
    """Is this the info dictionary of one of these (v1, or v2 whole or cut to 20 bytes)?"""
    v1, v2 = hashlib.sha1(info_bytes).digest(), hashlib.sha256(info_bytes).digest()
    return any(wanted in (v1, v2, v2[:20]) for wanted in infohashes)


@dataclass(slots=True)
class _Peer:
    key: int
    size_bytes: int
    asked: dict[int, float] = field(default_factory=dict)
    """Piece to when it was asked; at most `IN_FLIGHT`."""
    refusals: int = 0
    turns: int = 0
    """How often the attempt at its size had to make room for others."""


@dataclass(slots=True)
class _Attempt:
    """One claimed size: the pieces so far, and who sent each."""

    pieces: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    alone: int | None = None
    """After a failure: only this peer is asked."""
    since: float = 0.0


class MetadataFetch:
    """Collects the info dictionary for `infohashes`; peers are known by the caller's keys."""

    def __init__(self, infohashes: Sequence[bytes]) -> None:
        self._infohashes = tuple(infohashes)
        self._peers: dict[int, _Peer] = {}
        self._attempts: dict[int, _Attempt] = {}
        self.liars: list[int] = []
        """Peers proven to have lied; the caller takes them out and drops them."""
        self.info_bytes: bytes | None = None

    def joined(self, key: int, size_bytes: int) -> None:
        """A peer says that it has the dictionary, and how long it is."""
        if key in self._peers or not 0 < size_bytes <= MAX_METADATA_BYTES:
            return  # what it said first counts: saying it again forgives nothing
        self._peers[key] = _Peer(key, size_bytes)

    def left(self, key: int) -> None:
        peer = self._peers.pop(key, None)
        if peer is None:
            return
        attempt = self._attempts.get(peer.size_bytes)
        if attempt is not None and attempt.alone == key:
            attempt.alone = self._next_alone(peer.size_bytes)
            attempt.pieces.clear()
        self._forget_useless()

    def requests(self, now: float) -> list[tuple[int, int]]:
        """(peer, piece) to ask for now."""
        if self.info_bytes is not None:
            return []
        rows: list[tuple[int, int]] = []
        for peer in self._peers.values():
            for piece, at in list(peer.asked.items()):
                if now - at > TIMEOUT_S:
                    del peer.asked[piece]
                    peer.refusals += 1
        self._forget_useless()
        self._pass_on()
        willing = [peer for peer in self._peers.values() if peer.refusals < MAX_REFUSALS]
        for peer in sorted(willing, key=lambda peer: peer.turns):
            attempt = self._attempt(peer.size_bytes, now)
            if attempt is None:
                continue
            if attempt.alone is not None and attempt.alone != peer.key:
                continue
            rows.extend((peer.key, piece) for piece in self._missing(peer, attempt, now))
        return rows

    def _forget_useless(self) -> None:
        """A claimed size that no willing peer stands for makes room for another."""
        useful = {peer.size_bytes for peer in self._peers.values() if peer.refusals < MAX_REFUSALS}
        for size_bytes in [size for size in self._attempts if size not in useful]:
            del self._attempts[size_bytes]

    def _pass_on(self) -> None:
        """One who is tried alone and does not answer any more gives way to the next."""
        for size_bytes, attempt in self._attempts.items():
            peer = None if attempt.alone is None else self._peers.get(attempt.alone)
            if peer is not None and peer.refusals >= MAX_REFUSALS:
                attempt.alone = self._next_alone(size_bytes)
                attempt.pieces.clear()

    def _attempt(self, size_bytes: int, now: float) -> _Attempt | None:
        if size_bytes not in self._attempts:
            if len(self._attempts) >= MAX_SIZES and not self._make_room(now):
                return None
            self._attempts[size_bytes] = _Attempt(since=now)
        return self._attempts[size_bytes]

    def _make_room(self, now: float) -> bool:
        """Ends the attempt whose turn is over for longest."""

        def over_s(size_bytes: int) -> float:
            turn_s = min(TURN_S * 2.0 ** min(self._turns(size_bytes), 10), MAX_TURN_S)
            return now - self._attempts[size_bytes].since - turn_s

        oldest = max(self._attempts, key=over_s)
        if over_s(oldest) < 0:
            return False
        del self._attempts[oldest]
        for peer in self._peers.values():
            if peer.size_bytes == oldest:
                peer.turns += 1
                peer.asked.clear()
        return True

    def _turns(self, size_bytes: int) -> int:
        rows = [peer.turns for peer in self._peers.values() if peer.size_bytes == size_bytes]
        return max(rows, default=0)

    def _missing(self, peer: _Peer, attempt: _Attempt, now: float) -> list[int]:
        room = IN_FLIGHT - len(peer.asked)
        if room <= 0:
            return []
        asked = {
            piece
            for other in self._peers.values()
            if other.size_bytes == peer.size_bytes
            for piece in other.asked
        }
        count = -(-peer.size_bytes // PIECE_BYTES)
        chosen: list[int] = []
        for piece in range(count):
            if len(chosen) == room:
                break
            if piece not in attempt.pieces and piece not in asked:
                chosen.append(piece)
                peer.asked[piece] = now
        return chosen

    def rejected(self, key: int, piece: int) -> None:
        peer = self._peers.get(key)
        if peer is not None and peer.asked.pop(piece, None) is not None:
            peer.refusals += 1

    def received(self, key: int, piece: int, data: bytes) -> None:
        """Raises `WireError` if the length is wrong.  What was not asked for is ignored."""
        peer = self._peers.get(key)
        if peer is None or peer.asked.pop(piece, None) is None or self.info_bytes is not None:
            return
        count = -(-peer.size_bytes // PIECE_BYTES)
        expected = PIECE_BYTES if piece < count - 1 else peer.size_bytes - piece * PIECE_BYTES
        if len(data) != expected:
            raise WireError(f"metadata piece {piece} has {len(data)} bytes instead of {expected}")
        attempt = self._attempts.get(peer.size_bytes)
        if attempt is None or attempt.alone not in (None, key):
            return
        attempt.pieces.setdefault(piece, (key, data))
        if len(attempt.pieces) == count:
            self._finish(peer.size_bytes, attempt)

    def _finish(self, size_bytes: int, attempt: _Attempt) -> None:
        whole = b"".join(data for _, (_, data) in sorted(attempt.pieces.items()))
        if matches(whole, self._infohashes):
            self.info_bytes = whole
            self._attempts.clear()
            return
        senders = sorted({key for key, _ in attempt.pieces.values()})
        attempt.pieces.clear()
        if len(senders) == 1:
            self.liars.append(senders[0])
            self._peers.pop(senders[0], None)
        attempt.alone = self._next_alone(size_bytes)
        for peer in self._peers.values():
            if peer.size_bytes == size_bytes:
                peer.asked.clear()
        self._forget_useless()

    def _next_alone(self, size_bytes: int) -> int | None:
        """The next peer to be tried by itself; those that refused already come last."""
        rows = [peer for peer in self._peers.values() if peer.size_bytes == size_bytes]
        rows.sort(key=lambda peer: (peer.refusals, peer.key))
        return rows[0].key if rows else None
