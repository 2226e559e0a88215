"""The part of a swarm that a `PeerSource` sees, with a memory: for tests of peer sources."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from spinney.net.host import Address


class RememberingSwarm:
    """An `Announcing` that keeps what it is told."""

    def __init__(
        self,
        infohash: bytes,
        port: int,
        *,
        private: bool = False,
        left_bytes: int | None = 1000,
        name: str = "abcdefghijkl",
        infohashes: tuple[bytes, ...] = (),
    ) -> None:
        self.infohash = infohash
        self.infohashes = infohashes or (infohash,)
        self.peer_id = b"-SP0001-" + name.encode().rjust(12, b"0")[:12]
        self.port = port
        self.private = private
        self.completed = asyncio.Event()
        self.uploaded_bytes = 0
        self.downloaded_bytes = 0
        self.left_bytes = left_bytes
        self.peers: list[Address] = []
        self.sources: list[str] = []
        self.warnings: list[str] = []
        self.dropped: list[str] = []
        self._news = asyncio.Event()

    def found(self, peers: Sequence[Address], source: str) -> None:
        self.peers.extend(peers)
        self.sources.append(source)
        self._news.set()

    def drop_peers(self, reason: str) -> None:
        self.dropped.append(reason)
        self.peers.clear()

    def warn(self, message: str) -> None:
        self.warnings.append(message)
        self._news.set()

    async def hears_of(self, port: int, within_s: float = 5.0) -> Address:
        """The first peer with that port, past or to come."""
        async with asyncio.timeout(within_s):
            while True:
                for peer in self.peers:
                    if peer[1] == port:
                        return peer
                self._news.clear()
                await self._news.wait()

    async def warned(self, within_s: float = 5.0) -> str:
        async with asyncio.timeout(within_s):
            while not self.warnings:
                self._news.clear()
                await self._news.wait()
        return self.warnings[0]
