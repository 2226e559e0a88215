"""`Claims`: the pieces that the streams will bring soon are claimed, so that nobody else fetches
them; a stream that stalls gives them back, and the swarm helps.  Pure but for the feed."""

from __future__ import annotations

from collections.abc import Iterable

from spinney.content.source import Feed, TransferLike
from spinney.mcftp.datasettings import DataSettings
from spinney.mcftp.layout import BlockLayout

PIECES_AT_ONCE = 64
"""Claims made in one go: each costs the transfer some ten microseconds."""


class Claims:
    def __init__(
        self, feed: Feed, layout: BlockLayout, transfer: TransferLike, settings: DataSettings
    ) -> None:
        self._feed = feed
        self._layout = layout
        self._transfer = transfer
        self._lease_s = settings.lease_s
        self._until: dict[int, float] = {}
        self._most: int | None = None
        """Pieces claimed at a time, where others fetch faster than the streams bring."""

    def bound(self, most_bytes: float | None) -> None:
        """From now on claims so much at the most (None: as it likes), but a block at least."""
        if most_bytes is None:
            self._most = None
            return
        if self._most is None:
            self.give_back()
        least = self._layout.block_bytes
        self._most = max(1, int(max(least, most_bytes) / self._layout.piece_length))

    @property
    def _full(self) -> bool:
        return self._most is not None and len(self._until) >= self._most

    def __len__(self) -> int:
        return len(self._until)

    def wanted(self, block: int) -> bool:
        """Does it hold a piece that is wanted and not verified?"""
        needed = self._transfer.needed
        return any(piece in needed for piece in self._layout.pieces_of(block))

    def claim(self, block: int, now: float) -> bool:
        """May we ask for this block?  Yes if at least one wanted piece of it is ours to fetch."""
        needed, ours, most = self._transfer.needed, False, PIECES_AT_ONCE
        for piece in self._layout.pieces_of(block):
            if piece not in needed:
                continue
            until = self._until.get(piece, 0.0)
            if until - now > self._lease_s / 2:
                ours = True
            elif most > 0:
                if self._full and piece not in self._until:
                    continue
                most -= 1
                if self._feed.lease((piece,), self._lease_s):
                    self._until[piece] = now + self._lease_s
                    ours = True
                else:
                    self._until.pop(piece, None)
        return ours

    def renew(self, blocks: Iterable[int], now: float) -> None:
        """Claims the pieces of these blocks, at most `PIECES_AT_ONCE` new or renewed ones."""
        needed, left = self._transfer.needed, PIECES_AT_ONCE
        for block in blocks:
            for piece in self._layout.pieces_of(block):
                if piece not in needed or self._until.get(piece, 0.0) - now > self._lease_s / 2:
                    continue
                if self._full and piece not in self._until:
                    return
                left -= 1
                if self._feed.lease((piece,), self._lease_s):
                    self._until[piece] = now + self._lease_s
                else:
                    self._until.pop(piece, None)
                if not left:
                    return

    def ended(self, piece: int) -> None:
        """It is verified."""
        self._until.pop(piece, None)

    def give_back(self, pieces: Iterable[int] | None = None) -> None:
        """These (without: all) may be fetched by others."""
        rows = [piece for piece in (self._until if pieces is None else pieces)
                if piece in self._until]  # fmt: skip
        for piece in rows:
            del self._until[piece]
        if rows:
            self._feed.give_lease_back(rows)

    def held(self) -> list[int]:
        return list(self._until)
