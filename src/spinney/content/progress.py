"""`InProgress`: the pieces that are coming in, who fetches each, and when the endgame begins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from spinney.content.evidence import cut, fingerprint
from spinney.content.openpiece import OpenPiece

if TYPE_CHECKING:
    from spinney.content.feed import TransferFeed
    from spinney.content.transfer import Transfer

MIN_OPEN_PIECES = 8
"""However large pieces are: fewer would leave a fast source waiting for the disk."""
ENDGAME_TICK_S = 0.5
"""How often idle sources are asked again during the endgame (rates change)."""

Open = OpenPiece["TransferFeed"]


class InProgress:
    """Open pieces by number; `orphans` are those that nobody is fetching."""

    def __init__(self, transfer: Transfer) -> None:
        self.open_pieces: dict[int, Open] = {}
        self.orphans: dict[int, Open] = {}
        self._transfer = transfer
        self._endgame = False
        piece_length = max(1, transfer.piece_length)
        self.max_open = max(MIN_OPEN_PIECES, transfer.settings.open_bytes // piece_length)

    @property
    def has_room(self) -> bool:
        transfer = self._transfer
        return len(self.open_pieces) + len(transfer.intake) < self.max_open

    def begin(self, piece: int, owner: TransferFeed | None) -> Open | None:
        """Opens a piece for an owner, if there is room, and if it is not whole already: waiting
        for its hash it may still be leased, and wanted until it passes."""
        transfer = self._transfer
        if not self.has_room or piece not in transfer.needed or transfer.intake.holds(piece):
            return None
        offset, length = transfer.extent(piece)
        opened: Open = OpenPiece(
            piece,
            offset,
            length,
            piece * transfer.blocks_per_piece,
            transfer.cache.take_buffer(),
            transfer.sink.layout.padding(offset, length),
        )
        transfer.picker.withdraw(piece)
        self.open_pieces[piece] = opened
        opened.solo = piece in transfer.intake.evidence
        if owner is None:
            self.orphans[piece] = opened
        else:
            self.adopt(opened, owner)
        return opened

    def open_unasked(self, piece: int, feed: TransferFeed) -> Open | None:
        """A piece begun by bytes that nobody asked for; None if they are not wanted here."""
        transfer = self._transfer
        if piece not in transfer.needed:
            return None
        if transfer.in_order and transfer.window_is_hard and piece not in transfer.window():
            return None
        return self.begin(piece, transfer.leases.holder(piece))

    def adopt(self, opened: Open, feed: TransferFeed) -> None:
        """`feed` fetches this piece from now on."""
        opened.owner = feed
        opened.solo = opened.solo or bool(feed.suspected)
        feed.working[opened.piece] = opened
        self.orphans.pop(opened.piece, None)

    def disown(self, opened: Open) -> None:
        """Its owner fetches it no more."""
        transfer = self._transfer
        opened.owner = None
        if self.open_pieces.get(opened.piece) is not opened:
            return
        if opened.solo:
            self._abandon(opened)
        elif opened.untouched:
            self.reopen(opened)
        else:
            self.orphans[opened.piece] = opened
        transfer.changed()

    def _abandon(self, opened: Open) -> None:
        """An attempt that had to be one sender's alone has ended early: as evidence it stays."""
        transfer = self._transfer
        assert opened.asked_of_nobody(), "whole pieces alone"
        segments = opened.segments()
        prints = [fingerprint(opened.view[a:b]) for a, b, _ in cut(segments)]
        self.reopen(opened)
        if segments:
            transfer.intake.keep(opened.piece, segments, prints)

    def reopen(self, opened: Open) -> None:
        """The piece must be begun anew."""
        transfer = self._transfer
        self.open_pieces.pop(opened.piece, None)
        self.orphans.pop(opened.piece, None)
        opened.owner = None
        opened.view.release()
        transfer.cache.recycle(opened.buffer)
        if transfer.leases.holder(opened.piece) is None and opened.piece in transfer.needed:
            transfer.picker.offer(opened.piece)
        transfer.changed()

    def all_asked(self) -> bool:
        """Is every wanted block that anybody has asked for?  Then the endgame is on."""
        transfer = self._transfer
        on = not transfer.picker.reachable() and not any(
            opened.free and transfer.leases.holder(piece) is None
            for piece, opened in self.open_pieces.items()
        )
        if on and not self._endgame and transfer.running and transfer.needed.count:
            asyncio.get_running_loop().call_later(ENDGAME_TICK_S, self._endgame_tick)
            self._endgame = True
            transfer.changed()
        return on

    def _endgame_tick(self) -> None:
        transfer = self._transfer
        self._endgame = False
        if transfer.running:
            transfer.changed()
