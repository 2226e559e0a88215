"""`Early`: what a peer says of its pieces before the descriptor is known (a magnet link)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinney.bittorrent.codec import MAX_PIECES
from spinney.content.pieces import Bitfield
from spinney.errors import PeerError

if TYPE_CHECKING:
    from spinney.content.transfer import Feed

MAX_HAVES = 20_000
"""Haves kept: 8 bytes each."""


class Early:
    """Bounded by `MAX_HAVES` and by the longest bitfield that a torrent can have."""

    __slots__ = ("all", "bits", "haves")

    def __init__(self) -> None:
        self.all = False
        self.bits: bytes | None = None
        self.haves: list[int] = []

    def have(self, piece: int) -> None:
        """Raises `PeerError` for what no torrent has, and for more than is kept."""
        if piece >= MAX_PIECES or len(self.haves) >= MAX_HAVES:
            raise PeerError("has more pieces than a torrent can have")
        self.haves.append(piece)

    def tell(self, feed: Feed, piece_count: int) -> None:
        """Now that it is known.  Raises `WireError` or `PeerError` if it does not fit."""
        if self.all:
            feed.saw_bitfield(Bitfield(piece_count, full=True))
        elif self.bits is not None:
            feed.saw_bitfield(Bitfield.from_bytes(self.bits, piece_count))
        for piece in self.haves:
            if piece >= piece_count:
                raise PeerError(f"has piece {piece} of {piece_count}")
            if piece not in feed.has:
                feed.saw_have(piece)
        self.bits, self.haves = None, []
