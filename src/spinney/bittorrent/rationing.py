"""`Rationing`: applies a young seed's ration (`seeding.Ration`) to a swarm's peers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from spinney.bittorrent.codec import encode_haves
from spinney.bittorrent.messages import BLOCK_BYTES
from spinney.bittorrent.meter import Meter
from spinney.bittorrent.seeding import UNINTERESTED_S, Ration
from spinney.net.address import is_loopback
from spinney.net.host import Rng

if TYPE_CHECKING:
    from spinney.bittorrent.peer import Peer

SHOW_PAUSE_S = 0.1
SPARE_S = 0.1
"""A backlog of requests shorter than this leaves a part of the upload unused."""


class Rationing:
    """`peers()`: those connected; `slots()`: how many are served at a time; `sent`: all upload."""

    def __init__(
        self, peers: Callable[[], Iterable[Peer]], slots: Callable[[], int], sent: Meter
    ) -> None:
        self._peers = peers
        self._slots = slots
        self._sent = sent
        self._loop = asyncio.get_running_loop()
        self._due = False
        self.ration: Ration | None = None

    def begin(self, piece_count: int, piece_bytes: int, rng: Rng) -> None:
        self.ration = Ration(piece_count, piece_bytes, rng)

    @property
    def active(self) -> bool:
        return self.ration is not None and self.ration.active

    def joined(self, peer: Peer) -> None:
        """It has said what it has.  One who says everything wants nothing, and is not believed."""
        feed = peer.downloader.feed
        if self.ration is not None and feed is not None and not feed.has.full:
            self.ration.joined(peer.key, feed.has, who(peer))
            self.show(peer)
            self._loop.call_later(UNINTERESTED_S + SHOW_PAUSE_S, self._look_again, peer)

    def show(self, peer: Peer) -> None:
        """Haves for the pieces that this peer is shown now."""
        ration = self.ration
        if ration is None:
            return
        now = self._loop.time()
        meter = peer.uploader.meter
        rate = min(meter.rate_bytes_per_s(now), 2.0 * meter.total_bytes)  # at first: unknown
        idle = not peer.interested or (not peer.choked and not peer.uploader.pending)
        rows = ration.show(
            peer.key,
            now,
            rate,
            seats=self._slots(),
            spare=self.has_spare_upload,
            idle=idle,
            interested=peer.interested,
        )
        if rows:
            peer.connection.send(encode_haves(rows))

    def _look_again(self, peer: Peer) -> None:
        """One who wants only a part need not wait for the next second's tick."""
        if peer.rationed and not peer.connection.closed:
            self.show(peer)

    def has(self, peer: Peer, piece: int) -> None:
        ration = self.ration
        if ration is not None:
            was_active = ration.active
            sent_bytes = peer.uploader.meter.total_bytes
            ration.has(peer.key, piece, who(peer), sent_bytes, self._loop.time())
            if (was_active and not ration.active) or ration.exhausted:
                self._show_soon()

    def left(self, peer: Peer) -> None:
        if self.ration is not None:
            self.ration.left(peer.key)

    def has_spare_upload(self) -> bool:
        """Is less asked of us than we can send in a moment?"""
        pending = sum(len(peer.uploader.pending) for peer in self._peers())
        rate = self._sent.rate_bytes_per_s(self._loop.time())
        return pending * BLOCK_BYTES <= rate * SPARE_S

    def _show_soon(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_later(SHOW_PAUSE_S, self._show)

    def _show(self) -> None:
        self._due = False
        ration = self.ration
        if ration is None:
            return
        for peer in list(self._peers()):
            if peer.rationed:
                self.show(peer)
                peer.rationed = ration.active
                if not ration.active:
                    peer.tell_extensions()
        if not ration.active:
            self.ration = None


def who(peer: Peer) -> object:
    """Whom a claim counts for: its address; on loopback, which all share, its peer id."""
    host = peer.connection.remote[0]
    return peer.peer_id if is_loopback(host) else host
