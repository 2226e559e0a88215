"""`PeerSource`: what finds peers for a swarm; `Announcing`: what it may know of the swarm.

Declared here, in the room that needs them; trackers, LAN discovery and the DHT implement
`PeerSource`, and `Swarm` is an `Announcing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from spinney.net.host import Address


class Announcing(Protocol):
    """What a `PeerSource` may know of the swarm that it finds peers for."""

    infohash: bytes
    """20 bytes: v1, or v2 cut to 20."""
    infohashes: tuple[bytes, ...]
    """Of a hybrid torrent both, each 20 bytes."""
    peer_id: bytes
    port: int
    private: bool
    completed: asyncio.Event
    """Set when the transfer becomes complete (BEP 3's `completed`; not set if it began so)."""

    @property
    def uploaded_bytes(self) -> int: ...
    @property
    def downloaded_bytes(self) -> int: ...
    @property
    def left_bytes(self) -> int | None:
        """None while a magnet link's metadata is not known."""

    def found(self, peers: Sequence[Address], source: str) -> None:
        """Addresses of possible peers; the swarm bounds, guards and forgets.

        `source`: `KIND` or `KIND:WHO`, as in `net.guard.may_dial`."""

    def drop_peers(self, reason: str) -> None:
        """Every connection ends and every address is forgotten but those that the user typed: a
        private torrent has changed its tracker (BEP 27)."""

    def warn(self, message: str) -> None: ...


class PeerSource(Protocol):
    """Finds peers: a tracker, LAN discovery, a DHT.  Declared here, implemented elsewhere."""

    name: str

    async def run(self, swarm: Announcing) -> None:
        """Announces and reports peers until cancelled; then says goodbye, at most 3 s."""

    def tried(self) -> str:
        """One phrase for people: what was asked and what came of it."""
