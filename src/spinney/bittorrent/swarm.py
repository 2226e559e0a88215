"""`Swarm`: one torrent among its peers.

.metadata()                  waits for the info dictionary (BEP 9), verified
.describing.layers(made)     waits for its piece layers (BEP 52), proven
.begin(transfer, info)       from now on fetches and serves
.found(addresses, source)    addresses of peers, from any `PeerSource`
.status()                    `SwarmStatus` for people
.close()
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from spinney.bittorrent.announcing import Announcing, PeerSource
from spinney.bittorrent.choking import Choking
from spinney.bittorrent.connection import Connection
from spinney.bittorrent.describing import Describing
from spinney.bittorrent.extensions import ExtensionHandshake
from spinney.bittorrent.finishing import Finishing
from spinney.bittorrent.messages import Handshake
from spinney.bittorrent.meter import Meter
from spinney.bittorrent.peer import Peer
from spinney.bittorrent.peers import Candidates
from spinney.bittorrent.pex import FLAG_REACHABLE, FLAG_SEED, PeerExchange
from spinney.bittorrent.rationing import Rationing
from spinney.bittorrent.roster import keep_new, no_place, weakest
from spinney.bittorrent.status import SwarmNode, SwarmStatus
from spinney.errors import SpinneyError, StorageError
from spinney.net.address import is_loopback
from spinney.net.host import Address
from spinney.net.limits import Limit

if TYPE_CHECKING:
    from spinney.content.transfer import TransferLike

__all__ = ["Announcing", "PeerSource", "Swarm", "SwarmNode", "SwarmStatus"]

GOODBYE_S = 4.0
"""Sources have 3 s to say goodbye; then they are left alone."""
CLOSE_S = 2.0
BOTH_WHOLE = "both have everything"
WARNINGS_KEPT = 20
FAREWELL_S = 1.0
"""Another seed may ask for a proof that we have everything: it has so long to begin."""
PROOF_LEAVE_S = 40.0
"""One that is interested in us although it has everything stays no longer."""


class Swarm:
    """Made by `BitTorrent.add`.  Implements `Announcing`."""

    def __init__(
        self,
        node: SwarmNode,
        infohashes: tuple[bytes, ...],
        peer_id: bytes,
        *,
        sources: Sequence[PeerSource],
        private: bool,
        up: Limit,
        down: Limit,
        connections: int,
        may_dial: Callable[[Address, str], bool],
        reserved: bytes,
    ) -> None:
        self.infohashes = infohashes
        self.infohash = infohashes[0]
        self.peer_id = peer_id
        self.private = private
        self.port = node.port
        self.completed = asyncio.Event()
        self.up, self.down = up, down
        self.turns = node.turns
        self.settings = node.settings
        self.exchanging = node.settings.exchange and not private
        self.transfer: TransferLike | None = None
        self.info_bytes: bytes | None = None
        self.piece_count = 0
        self.space_bytes = 0
        self.failure: SpinneyError | None = None
        self.peers: dict[int, Peer] = {}
        self.candidates = Candidates(node.settings.candidates, may_dial)
        self._node = node
        self._reserved = reserved
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._down_meter, self._up_meter = Meter(now), Meter(now)
        self._opening: dict[Address, None] = {}
        self._dial_due = False
        self._whole_at = float("-inf")
        """When everything was here: long ago if it was at the beginning."""
        self._closed = False
        self._warnings: deque[str] = deque(maxlen=WARNINGS_KEPT)
        self.describing = Describing(self)
        self.finishing = Finishing(
            node.rng, self.ban, lambda peer: peer.connection.close(BOTH_WHOLE)
        )
        self.rationing = Rationing(
            lambda: self.peers.values(), lambda: self._choking.slots, self._up_meter
        )
        self._choking = Choking(
            lambda: self.peers.values(),
            up,
            node.rng,
            now,
            fixed_slots=node.settings.upload_slots,
            line_bytes_per_s=node.settings.upload_bytes_per_s,
            in_turn=node.settings.seed_in_turn,
        )
        self._sources = tuple(sources)
        self._tasks: list[asyncio.Task[None]] = []

    # for its owner

    def start(self) -> None:
        """Runs the sources; called once, by `BitTorrent.add`."""
        self._tasks = [self._loop.create_task(self._run(source)) for source in self._sources]

    async def _run(self, source: PeerSource) -> None:
        try:
            await source.run(self)
        except SpinneyError as error:
            self.warn(f"{source.name}: {error}")

    async def metadata(self) -> bytes:
        """The exact bytes of the info dictionary.  Raises `TransferError` if closed first."""
        return await self.describing.metadata()

    def begin(self, transfer: TransferLike, info_bytes: bytes) -> None:
        """From now on fetches and serves.  `DescriptorError` if these are not our bytes."""
        assert self.transfer is None, "a swarm begins once"
        self.describing.take_info(info_bytes)
        self.transfer = transfer
        descriptor = transfer.descriptor
        self.describing.serve(descriptor)
        count = self.piece_count = descriptor.piece_count
        self.space_bytes = 0
        if count:
            self.space_bytes = (count - 1) * descriptor.piece_length
            self.space_bytes += descriptor.piece_bytes(count - 1)
        self._choking.seeding = transfer.complete
        if transfer.complete:
            if self.settings.ration:
                self.rationing.begin(count, descriptor.piece_length, self._node.rng)
        else:
            transfer.on_complete(self._completed)
        for peer in list(self.peers.values()):
            peer.begin()
            peer.tell_extensions()
        self._drop_seeds()

    def status(self) -> SwarmStatus:
        now = self._loop.time()
        peers = self.peers.values()
        return SwarmStatus(
            peers=len(peers),
            seeds=sum(1 for peer in peers if peer.seed),
            unchoked=sum(1 for peer in peers if not peer.choked),
            down_bytes_per_s=self._down_meter.rate_bytes_per_s(now),
            up_bytes_per_s=self._up_meter.rate_bytes_per_s(now),
            downloaded_bytes=self._down_meter.total_bytes,
            uploaded_bytes=self._up_meter.total_bytes,
            candidates=len(self.candidates),
            opening=len(self._opening),
            finished_peers=self.finishing.count,
            rationing=self.rationing.active,
            tried=tuple(source.tried() for source in self._sources),
            warnings=tuple(self._warnings),
            failure=self.failure,
        )

    async def close(self) -> None:
        """Says goodbye to the sources of peers and to the peers; a few seconds at most."""
        if self._closed:
            return
        self._closed = True
        self.describing.close()
        await self._farewell()
        for task in self._tasks:
            task.cancel()
        await self.finishing.close()
        connections = [peer.connection for peer in self.peers.values()]
        for connection in connections:
            connection.close("the transfer ends here")
        goodbye = asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await asyncio.wait_for(goodbye, GOODBYE_S)
        except TimeoutError:
            self.warn("a source of peers did not end in time")
        deadline = self._loop.time() + CLOSE_S
        while self.peers and self._loop.time() < deadline:
            await asyncio.sleep(0.02)
        for connection in connections:
            connection.abort()
        self._node.removed(self)

    async def _farewell(self) -> None:
        """A seed that wants a proof of our copy gets it, if it asks at once."""
        deadline = self._whole_at + FAREWELL_S
        while self._loop.time() < deadline and any(peer.seed for peer in self.peers.values()):
            await asyncio.sleep(0.02)

    # for sources of peers (`Announcing`)

    @property
    def uploaded_bytes(self) -> int:
        return self._up_meter.total_bytes

    @property
    def downloaded_bytes(self) -> int:
        return self._down_meter.total_bytes

    @property
    def left_bytes(self) -> int | None:
        return None if self.transfer is None else self.transfer.left_bytes

    def found(self, peers: Sequence[Address], source: str) -> None:
        if self.candidates.found(peers, source):
            self._dial_soon()

    def drop_peers(self, reason: str) -> None:
        self.candidates.clear()
        self._opening.clear()
        for peer in list(self.peers.values()):
            peer.connection.close(reason)

    def warn(self, message: str) -> None:
        self._warnings.append(message)

    # for its node

    def handshake(self, infohash: bytes | None = None) -> Handshake:
        return Handshake(self._reserved, infohash or self.infohash, self.peer_id)

    def admit(self, connection: Connection, handshake: Handshake) -> Peer | None:
        """The handshakes are through: a peer, or None with `connection.why` set."""
        now = self._loop.time()
        known = self._opening.pop(connection.remote, 0) is None
        connection.why = self._objection(connection, handshake, now)
        if connection.outgoing and not known:
            connection.why = connection.why or "was found by a tracker that is no longer ours"
        if connection.why:
            return None
        peer = Peer(self, connection, handshake, self._node.next_key(), now)
        self.peers[peer.key] = peer
        connection.begin(peer)
        peer.start()
        return peer

    def _objection(self, connection: Connection, handshake: Handshake, now: float) -> str:
        host = connection.remote[0]
        if self._closed:
            return "the transfer ends here"
        if handshake.peer_id == self.peer_id:
            if connection.outgoing:
                self.candidates.own(connection.remote)
            return "this is ourselves"
        if self.candidates.banned(host):
            return "has lied before"
        for other in self.peers.values():
            if other.peer_id == handshake.peer_id:
                age_s = now - other.connected_at
                if not keep_new(
                    self.peer_id, handshake.peer_id, other.connection, connection, age_s
                ):
                    return "is connected already"
                other.connection.close("connected twice")
                return ""
        if self._node.crowded(host):
            return "has too many connections"
        if self._full(outgoing=connection.outgoing):
            worst = weakest(list(self.peers.values()), connection.remote, self._own(), now)
            if worst is None:
                return "no room for another peer"
            worst.connection.close("made room for another peer")
        return ""

    def _full(self, *, outgoing: bool) -> bool:
        """A part of the places is for connections that we make."""
        share = 1.0 if outgoing else 1.0 - self.settings.outgoing_share
        rows = list(self.peers.values())
        return no_place(rows, self._connections, share) or self._node.full(outgoing=outgoing)

    def dial_ended(self, address: Address) -> None:
        """An attempt came to nothing (refused, timed out, another torrent, a duplicate)."""
        if self._opening.pop(address, 0) is None:
            self.candidates.failed(address, self._loop.time())
            self._dial_soon()

    def tick(self, now: float) -> None:
        """Once a second."""
        here = [
            (peer.listens_at, _flags(peer))
            for peer in self.peers.values()
            if peer.listens_at is not None
        ]
        for peer in list(self.peers.values()):
            peer.tick(now, self.settings.idle_timeout_s, self.settings.keep_alive_s)
            if self.exchanging:
                self._exchange(peer, now, here)
        self._choking.tick(now, self._up_meter.rate_bytes_per_s(now))
        self._drop_seeds()
        self.describing.tick(now)
        self._dial()

    def _own(self) -> list[Address]:
        return self._node.own_addresses()

    def _dial_soon(self) -> None:
        if not self._dial_due and not self._closed:
            self._dial_due = True
            self._loop.call_soon(self._dial)

    def _dial(self) -> None:
        self._dial_due = False
        if self._closed or self._node.full(outgoing=True):
            return
        room = min(
            self.settings.half_open - len(self._opening),
            self._connections - len(self.peers) - len(self._opening),
        )
        if room <= 0:
            return
        now = self._loop.time()
        chosen = self.candidates.choose(
            now,
            room,
            self._own(),
            seeding=self.complete,
            half_open=self.settings.half_open,
            opening=len(self._opening),
        )
        for address in chosen:
            self._opening[address] = None
            self.candidates.dialling(address)
            self._node.dial(self, address)

    # for its peers

    @property
    def complete(self) -> bool:
        return self.transfer is not None and self.transfer.complete

    def count_sent(self, length_bytes: int) -> None:
        self._up_meter.add(self._loop.time(), length_bytes)

    def count_received(self, connection: Connection, length_bytes: int) -> None:
        self._down_meter.add(self._loop.time(), length_bytes)
        self._node.count_received(connection, self, length_bytes)

    def slots_changed(self) -> None:
        self._choking.changed()

    def peer_introduced(self, peer: Peer, row: ExtensionHandshake) -> None:
        """Its extension handshake came."""
        now = self._loop.time()
        if peer.listens_at is not None and not peer.connection.outgoing:
            self.candidates.found([peer.listens_at], "incoming")
            self.candidates.dialling(peer.listens_at)
        self.describing.introduced(peer, row)
        if self.exchanging:
            here = [
                (other.listens_at, _flags(other))
                for other in self.peers.values()
                if other.listens_at is not None
            ]
            self._exchange(peer, now, here)
        self._seen_finished(peer)

    def peer_described(self, peer: Peer) -> None:
        """It has said which pieces it has."""
        self._seen_finished(peer)

    def peer_has(self, peer: Peer, piece: int) -> None:
        self.rationing.has(peer, piece)
        feed = peer.downloader.feed
        if feed is not None and feed.has.full:
            self._seen_finished(peer)

    def _seen_finished(self, peer: Peer) -> None:
        """It says that it has everything, or wants nothing more."""
        if not peer.seed:
            return
        if peer.listens_at is not None:
            self.candidates.is_seed(peer.listens_at)
        feed = peer.downloader.feed
        if self.complete and self.transfer is not None and feed is not None and feed.has.full:
            self.finishing.claimed(peer, self.transfer)
        self._drop_seeds()

    def _drop_seeds(self) -> None:
        """Two who have everything have nothing to say to each other, but for a proof of it."""
        if not self.complete:
            return
        now = self._loop.time()
        for peer in list(self.peers.values()):
            if not peer.seed or self.finishing.proving(peer):
                continue
            since = max(self._whole_at, peer.connected_at if peer.came_whole else 0.0)
            if now - since >= (PROOF_LEAVE_S if peer.interested else FAREWELL_S):
                peer.connection.close(BOTH_WHOLE)

    def exchanged(self, peer: Peer, message: PeerExchange) -> None:
        rows = [a for a, flags in message.added if not (self.complete and flags & FLAG_SEED)]
        self.found(rows, f"pex:{peer.connection.remote[0]}")

    def _exchange(self, peer: Peer, now: float, here: list[tuple[Address, int]]) -> None:
        peer.exchange(now, [row for row in here if row[0] != peer.listens_at])

    def ban(self, peer: Peer, reason: str) -> None:
        """It lied: its connections end, and its address is not dialled again."""
        host = peer.connection.remote[0]
        if is_loopback(host):  # everybody on this machine has that address
            if peer.listens_at is not None:
                self.candidates.forget(peer.listens_at)
        else:
            self.candidates.ban(host)
        self.warn(f"{host} {reason}")
        peer.connection.close(reason, abort=True)

    def storage_failed(self, error: StorageError) -> None:
        """What is shared cannot be read: this transfer ends, the program goes on."""
        if self.failure is None:
            self.failure = error
            self.warn(str(error))
            for peer in list(self.peers.values()):
                peer.connection.close("cannot read what it shares")

    def peer_left(self, peer: Peer, reason: str) -> None:
        now = self._loop.time()
        self.peers.pop(peer.key, None)
        self.describing.left(peer.key)
        self.rationing.left(peer)
        self.finishing.left(peer)
        if peer.listens_at is not None:
            self.candidates.ended(peer.listens_at, now, now - peer.connected_at)
        self._choking.changed()
        self._dial_soon()

    def _completed(self) -> None:
        self.completed.set()
        self._whole_at = self._loop.time()
        self._choking.seeding = True
        for peer in list(self.peers.values()):
            peer.tell_extensions()
        self._drop_seeds()


def _flags(peer: Peer) -> int:
    return (FLAG_SEED if peer.seed else 0) | (FLAG_REACHABLE if peer.connection.outgoing else 0)
