"""Piece layers from the peers (BEP 52), for a magnet link of version 2 alone.  Pure.

The info dictionary has the root of each file's tree, not the hashes of its pieces.  They are
asked for by 512, each with its uncles up to the root, so that each answer is proven, or its
sender a liar, at once.  Who rejects or is silent rests, twice as long each time, and another is
asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from spinney.bittorrent.hashes import joined, layer_requests, proven, same_place
from spinney.bittorrent.messages import Hashes, HashReject, HashRequest
from spinney.errors import WireError
from spinney.trust.merkle import HASH_BYTES

IN_FLIGHT = 32
"""Requests to one peer at a time: for folders of many small files."""
HASHES_IN_FLIGHT = 2_048
"""And their hashes: 64 KiB of answers, four of the largest."""
TIMEOUT_S = 15.0
REST_S = 2.0
"""After a reject or a silence.  It may be a getter that has the layers itself in a moment."""
MAX_REST_S = 120.0


@dataclass(slots=True)
class _Peer:
    asked: dict[int, float] = field(default_factory=dict)
    """Number of the request to when it was asked; at most `IN_FLIGHT`."""
    rests_until: float = 0.0
    rest_s: float = REST_S
    hashes: int = 0
    """Of all that it was asked."""


class LayerFetch:
    """`wanted`: pieces root to number of pieces, all above one.  Peers are the caller's keys.

    Memory: 32 bytes a piece, which the descriptor bounds, and `IN_FLIGHT` rows a peer.
    """

    def __init__(self, wanted: Mapping[bytes, int], piece_length: int) -> None:
        self._wanted = dict(wanted)
        self._requests = [
            request
            for root, pieces in self._wanted.items()
            for request in layer_requests(root, pieces, piece_length)
        ]
        self._waiting = deque(range(len(self._requests)))
        self._parts: dict[int, bytes] = {}
        self._peers: dict[int, _Peer] = {}
        self.liars: list[int] = []
        """Peers proven to have lied; the caller takes them out and drops them."""

    @property
    def done(self) -> bool:
        return len(self._parts) == len(self._requests)

    def layers(self) -> dict[bytes, bytes]:
        """Once `done`: each root's whole piece layer."""
        assert self.done, "some answers are missing"
        rows: dict[bytes, list[bytes]] = {root: [] for root in self._wanted}
        for number, request in enumerate(self._requests):
            rows[request.pieces_root].append(self._parts[number])
        return {root: joined(parts, self._wanted[root]) for root, parts in rows.items()}

    def joined(self, key: int) -> None:
        self._peers.setdefault(key, _Peer())

    def left(self, key: int) -> None:
        peer = self._peers.pop(key, None)
        if peer is not None:
            self._waiting.extendleft(reversed(peer.asked))

    def requests(self, now: float) -> list[tuple[int, HashRequest]]:
        """(peer, request) to send now."""
        for peer in self._peers.values():
            late = [number for number, at in peer.asked.items() if now - at > TIMEOUT_S]
            if late:
                self._rest(peer, now)
        ready = [(key, peer) for key, peer in self._peers.items() if peer.rests_until <= now]
        ready.sort(key=lambda row: (row[1].rest_s, row[0]))  # who never refused comes first
        rows: list[tuple[int, HashRequest]] = []
        before = -1
        while len(rows) > before:  # in turns, so that all are asked alike
            before = len(rows)
            for key, peer in ready:
                if self._waiting and self._has_room(peer):
                    number = self._waiting.popleft()
                    peer.asked[number] = now
                    peer.hashes += self._requests[number].length
                    rows.append((key, self._requests[number]))
        return rows

    def _has_room(self, peer: _Peer) -> bool:
        length = self._requests[self._waiting[0]].length
        return len(peer.asked) < IN_FLIGHT and peer.hashes + length <= HASHES_IN_FLIGHT

    def _rest(self, peer: _Peer, now: float) -> None:
        """It asks for patience: what it was asked for is for others meanwhile."""
        self._waiting.extendleft(reversed(peer.asked))
        peer.asked.clear()
        peer.hashes = 0
        peer.rests_until = now + peer.rest_s
        peer.rest_s = min(peer.rest_s * 2.0, MAX_REST_S)

    def _asked(self, peer: _Peer, message: Hashes | HashReject) -> int | None:
        for number in peer.asked:
            if same_place(self._requests[number], message):
                return number
        return None

    def rejected(self, key: int, message: HashReject, now: float) -> bool:
        """False if this was not asked of that peer (any more)."""
        peer = self._peers.get(key)
        if peer is None or self._asked(peer, message) is None:
            return False
        self._rest(peer, now)
        return True

    def received(self, key: int, message: Hashes) -> bool:
        """False if this was not asked of that peer (any more).

        Raises `WireError` if the length is wrong.
        """
        peer = self._peers.get(key)
        number = None if peer is None else self._asked(peer, message)
        if peer is None or number is None:
            return False
        del peer.asked[number]
        request = self._requests[number]
        peer.hashes -= request.length
        try:
            true = proven(request, message)
        except WireError:
            self._waiting.appendleft(number)
            raise
        if true:
            self._parts[number] = message.hashes[: request.length * HASH_BYTES]
            peer.rest_s = REST_S
            return True
        self._waiting.appendleft(number)
        self.left(key)
        self.liars.append(key)
        return True
