"""`Downloader`: what we ask of one peer.  The transfer's `Source` for that peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from spinney.bittorrent.codec import encode, encode_requests
from spinney.bittorrent.connection import Connection
from spinney.bittorrent.messages import Cancel, Have, Interested, NotInterested
from spinney.bittorrent.meter import Meter
from spinney.bittorrent.requests import RequestQueue
from spinney.content.pieces import Bitfield
from spinney.errors import PeerError
from spinney.net.address import format_address, is_local, is_loopback

if TYPE_CHECKING:
    from spinney.content.transfer import Feed, TransferLike

UNASKED_BYTES = 1 << 20
"""Data that we did not ask for: after cancels and time limits some comes; more is a flood."""
FIRST_REST_S = 0.1
LONGEST_REST_S = 10.0
"""After a reject, no new request for so long, doubling: or two peers would play ping-pong."""
SNUB_RETRY_S = 30.0


class Downloader:
    """One peer as a source.  `blame(reason)`: it sent wrong bytes."""

    way = "swarm"

    def __init__(self, connection: Connection, now: float, blame: Callable[[str], None]) -> None:
        self.label = format_address(connection.remote)
        host = connection.remote[0]
        self.peer_key = self.label if is_loopback(host) else host
        """Whom blame falls on.  Everybody on this machine has its loopback address."""
        self.peer_id = b""
        """As it said in its handshake."""
        self.on_link = is_local(host)
        """Is its address one of this machine or of a private network?"""
        self.feed: Feed | None = None
        self.queue = RequestQueue(now)
        self.meter = Meter(now, 10.0)
        self.choked = True
        """The peer chokes us."""
        self.interested = False
        """We have told the peer that we want something."""
        self.snubbed = False
        self.moved_at = now
        """When a block last came."""
        self.allowed: Bitfield | None = None
        """Pieces that we may ask for while choked (BEP 6)."""
        self._connection = connection
        self._blame = blame
        self._loop = asyncio.get_running_loop()
        self._piece_length = 1
        self._total_bytes = 0
        self._batch_bytes = 0
        self._budget_bytes = UNASKED_BYTES
        self._due = False
        self._rest_s = FIRST_REST_S
        self._rest_until = 0.0

    def begin(self, transfer: TransferLike, total_bytes: int) -> None:
        """`total_bytes`: length of the piece space."""
        self._piece_length = transfer.descriptor.piece_length
        self._total_bytes = total_bytes
        self.feed = transfer.attach(self)
        self.feed.asked_only = True

    # the transfer's callbacks

    def piece_verified(self, piece: int) -> None:
        if self.feed is None:
            return
        # Also to one who has everything: a seed spends its upload by what has left it, and its
        # user may want to know who has all of it.
        self._connection.send(encode(Have(piece)))
        self._later()

    def cancelled(self, offset: int, length: int) -> None:
        piece, begin = divmod(offset, self._piece_length)
        self._connection.send(encode(Cancel(piece, begin, length)))

    def blamed(self, piece: int, offset: int, length: int) -> None:
        self._blame(f"sent wrong bytes in piece {piece}")

    def wake(self) -> None:
        self._later()

    def _later(self) -> None:
        """Asks at the end of this step of the event loop, once for many reasons."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._ask_due)

    def _ask_due(self) -> None:
        self._due = False
        if not self._connection.closed:
            self.ask(self._loop.time())

    # the peer's side

    def block(self, piece: int, begin: int, data: memoryview) -> None:
        """A block came.  Raises `PeerError` if it lies outside the torrent."""
        feed, offset, length = self.feed, piece * self._piece_length + begin, len(data)
        if feed is None or begin + length > self._piece_length:
            raise PeerError("sent a block that nobody can have asked for")
        if offset + length > self._total_bytes:
            raise PeerError("sent a block from beyond the end")
        self._batch_bytes += length
        feed.deliver(offset, data)

    def batch_ended(self) -> int:
        """After one read: accounts and asks for more.  Returns the bytes of blocks in it."""
        length = self._batch_bytes
        if length:
            self._batch_bytes = 0
            now = self._loop.time()
            self._budget_bytes -= length
            if self._budget_bytes < 0:
                raise PeerError("sends data that was not asked for")
            if self.snubbed:
                self.snubbed = False
                self._rest_until = 0.0
            self._rest_s = FIRST_REST_S
            self.moved_at = now
            self.meter.add(now, length)
            self.queue.received(now, length)
            self.ask(now)
        return length

    def ask(self, now: float) -> None:
        """Says whether we are interested, and sends requests if the queue has room."""
        feed = self.feed
        if feed is None:
            return
        wanted = feed.interesting()
        if wanted != self.interested:
            self.interested = wanted
            self._connection.send(encode(Interested() if wanted else NotInterested()))
        if not wanted or now < self._rest_until:
            return
        pieces = None
        if self.choked:
            if self.allowed is None:
                return
            pieces = self.allowed
        room = self.queue.room_bytes(feed.pending_bytes)
        most = self.queue.peer_limit - feed.pending_requests
        if room <= 0 or most <= 0 or (self.snubbed and feed.pending_bytes):
            return
        before = feed.pending_bytes
        rows = feed.request(room, pieces=pieces, most=most)
        if rows:
            self.queue.asked(now, before)
            self._budget_bytes += sum([row[2] for row in rows])
            self._connection.send(encode_requests(rows))

    def was_choked(self, *, explicit_rejects: bool) -> None:
        """The peer chokes us; without the fast extension all requests are void."""
        self.choked = True
        if self.feed is not None and not explicit_rejects:
            self.feed.give_back_all()

    def was_unchoked(self, now: float) -> None:
        self.choked = False
        self._rest_until = 0.0
        self.ask(now)

    def rejected(self, piece: int, begin: int, length: int) -> None:
        if self.feed is None:
            return
        self.feed.give_back(piece * self._piece_length + begin, length)
        now = self._loop.time()
        if now >= self._rest_until:
            self._rest_until = now + self._rest_s
            self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)
            self._loop.call_later(self._rest_until - now, self._ask_due)

    def silent_s(self, now: float) -> float:
        """How long we have waited for a block that is asked for; 0.0 if for none."""
        return self.queue.silent_s(now) if self.snubbed else 0.0

    def check_time(self, now: float) -> None:
        """Once a second: is it too long since the last block?"""
        feed = self.feed
        if feed is None:
            return
        if self.queue.overdue(now, feed.pending_bytes):
            self.snubbed = True
            self._rest_until = now + SNUB_RETRY_S
            feed.give_back_all()
            self.queue.shrink()
        elif self.interested and feed.pending_bytes == 0:
            self.ask(now)

    def close(self) -> None:
        feed, self.feed = self.feed, None
        if feed is not None:
            feed.leave()
