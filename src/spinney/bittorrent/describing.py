"""`Describing`: how a swarm learns what its torrent is, and tells others (BEP 9, BEP 52).

First the info dictionary, then, where a magnet link leads to version 2 alone, the piece layers.
The two fetches are pure (`metadata`, `layer_fetch`); here they meet the peers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from spinney.bittorrent.codec import encode
from spinney.bittorrent.extensions import METADATA, ExtensionHandshake
from spinney.bittorrent.hash_desk import HashDesk
from spinney.bittorrent.layer_fetch import LayerFetch
from spinney.bittorrent.messages import Hashes, HashReject, HashRequest
from spinney.bittorrent.metadata import DATA, REJECT, MetadataFetch, MetadataMessage, matches
from spinney.errors import DescriptorError, TransferError

if TYPE_CHECKING:
    from spinney.bittorrent.peer import Peer
    from spinney.bittorrent.swarm import Swarm
    from spinney.content.descriptor import Descriptor

UNASKED_CHATTER = 20
"""What hashes cost their sender that nobody asked for (or no longer)."""


class Describing:
    """One a swarm.  Sets `swarm.info_bytes`."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._loop = asyncio.get_running_loop()
        self._info: MetadataFetch | None = MetadataFetch(swarm.infohashes)
        self._layers: LayerFetch | None = None
        self._desk = HashDesk(self._loop)
        self._described = asyncio.Event()
        self._layered = asyncio.Event()
        self._closed = False

    # for the swarm's owner

    async def metadata(self) -> bytes:
        """The info dictionary.  Raises `TransferError` if the swarm is closed first."""
        await self._described.wait()
        info_bytes = self._swarm.info_bytes
        if info_bytes is None:
            raise TransferError("the transfer was closed before its description was found")
        return info_bytes

    async def layers(self, descriptor: Descriptor) -> dict[bytes, bytes]:
        """`descriptor.missing_layers`, each proven by its root, for its `add_piece_layer`.

        Ends when some peers have answered for all; raises `TransferError` if closed first.
        """
        self.take_info(descriptor.info_bytes)
        fetch = self._layers = LayerFetch(descriptor.missing_sizes, descriptor.piece_length)
        self._layered.clear()
        self._ask_layers(self._loop.time())
        try:
            while not fetch.done:
                if self._closed:
                    raise TransferError("the transfer was closed before its hashes were found")
                await self._layered.wait()
        finally:
            self._layers = None
        return fetch.layers()

    def take_info(self, info_bytes: bytes) -> None:
        """Known from elsewhere.  `DescriptorError` if these are not our bytes."""
        if not matches(info_bytes, self._swarm.infohashes):
            raise DescriptorError("the info dictionary does not have this infohash", "infohash")
        self._swarm.info_bytes, self._info = info_bytes, None
        self._described.set()

    def serve(self, descriptor: Descriptor) -> None:
        """From now on its piece layers are told to who asks."""
        self._desk.begin(descriptor.piece_layers, descriptor.piece_length)

    def close(self) -> None:
        self._closed = True
        self._described.set()
        self._layered.set()
        self._desk.close()

    # for the swarm

    def tick(self, now: float) -> None:
        """Once a second."""
        self._ask_info(now)
        self._ask_layers(now)

    def introduced(self, peer: Peer, row: ExtensionHandshake) -> None:
        """Its extension handshake came."""
        if self._info is not None and row.metadata_bytes and row.ids.get(METADATA):
            self._info.joined(peer.key, row.metadata_bytes)
            self._ask_info(self._loop.time())

    def left(self, key: int) -> None:
        self._desk.left(key)
        if self._info is not None:
            self._info.left(key)
        if self._layers is not None:
            self._layers.left(key)
        if not self._closed:  # what it was asked for is asked of another at once
            self._ask_info(self._loop.time())
            self._ask_layers(self._loop.time())

    # for its peers

    def metadata_came(self, peer: Peer, message: MetadataMessage) -> None:
        """Raises `WireError` if the piece has a wrong length."""
        fetch = self._info
        if fetch is None:
            return
        if message.kind == DATA:
            fetch.received(peer.key, message.piece, message.data)
        elif message.kind == REJECT:
            fetch.rejected(peer.key, message.piece)
        self._ban(fetch.liars, "sent a false description")
        if fetch.info_bytes is not None:
            self._swarm.info_bytes, self._info = fetch.info_bytes, None
            self._described.set()
        else:
            self._ask_info(self._loop.time())

    def hash_message(self, peer: Peer, message: HashRequest | Hashes | HashReject) -> None:
        """Raises `WireError` if the answer has a wrong length, `PeerError` for a flood."""
        if isinstance(message, HashRequest):
            self._desk.ask(peer.key, peer.connection, message)
            return
        now = self._loop.time()
        fetch = self._layers
        if fetch is None:
            expected = False
        elif isinstance(message, Hashes):
            expected = fetch.received(peer.key, message)
        else:
            expected = fetch.rejected(peer.key, message, now)
        if not expected:
            peer.chatter(UNASKED_CHATTER)
        if fetch is not None:
            self._ban(fetch.liars, "sent false hashes")
            if fetch.done:
                self._layered.set()
            else:
                self._ask_layers(now)

    def _ban(self, liars: list[int], reason: str) -> None:
        for key in liars:
            if key in self._swarm.peers:
                self._swarm.ban(self._swarm.peers[key], reason)
        liars.clear()

    def _ask_info(self, now: float) -> None:
        if self._info is not None:
            for key, piece in self._info.requests(now):
                self._swarm.peers[key].ask_metadata(piece)

    def _ask_layers(self, now: float) -> None:
        if self._layers is not None:
            for key, peer in self._swarm.peers.items():
                if not peer.connection.closed:
                    self._layers.joined(key)
            for key, request in self._layers.requests(now):
                self._swarm.peers[key].connection.send(encode(request))
