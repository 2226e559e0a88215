"""`Leasing`: the leases of one transfer, with the timer that ends them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from spinney.content.leases import Leases

if TYPE_CHECKING:
    from spinney.content.feed import TransferFeed
    from spinney.content.transfer import Transfer


MAX_LEASES = 1024
"""Of one transfer: 20 s of small pieces at 100 MB/s, and a claim stays cheap."""


class Leasing:
    """Grants, renews and ends leases; a leased piece is out of everybody else's reach."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self.leases: Leases[TransferFeed] = Leases()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def claim(self, piece: int, feed: TransferFeed, seconds: float) -> bool:
        """A lease on a piece that is wanted and that no other source is fetching."""
        transfer = self._transfer
        if not 0 <= piece < transfer.needed.size or piece not in transfer.needed:
            return False
        progress, holder = transfer.progress, self.leases.holder(piece)
        opened = progress.open_pieces.get(piece)
        if transfer.intake.holds(piece):
            return False
        if opened is not None:
            alone = opened.solo or feed.suspected
            if opened.owner not in (None, feed):
                return False
            if opened.owner is None and alone and not opened.untouched:
                return False
        elif holder is None:
            begun = len(progress.open_pieces) + len(transfer.intake)
            if len(self.leases) >= MAX_LEASES:
                return False
            if len(self.leases) + begun >= progress.max_open:  # counted only where it decides
                closed = sum(1 for each in self.leases if each not in progress.open_pieces)
                if closed + begun >= progress.max_open:
                    return False
        end = self.leases.claim(piece, feed, seconds, transfer.host.time())
        if end is None:
            return False
        transfer.picker.withdraw(piece)
        if opened is not None and opened.owner is None:
            progress.adopt(opened, feed)
        if self._timer is None or end < self._wakes_at:  # waking early does no harm
            self._watch()
        return True

    def of_others(self, feed: TransferFeed) -> list[int]:
        return [piece for piece in self.leases if self.leases.holder(piece) is not feed]

    def end(self, piece: int) -> None:
        transfer = self._transfer
        holder = self.leases.end(piece)
        opened = transfer.progress.open_pieces.get(piece)
        if opened is None:
            if piece in transfer.needed and not transfer.intake.holds(piece):
                transfer.picker.offer(piece)
        elif holder is not None and opened.owner is holder and not holder.fetches(opened):
            transfer.progress.disown(opened)
        transfer.changed()

    def _watch(self) -> None:
        transfer = self._transfer
        end = self.leases.next_end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if end is not None:
            self._wakes_at = end
            delay = max(0.0, end - transfer.host.time())
            self._timer = asyncio.get_running_loop().call_later(delay, self._ended)

    def _ended(self) -> None:
        transfer = self._transfer
        self._timer = None
        for piece in self.leases.expired(transfer.host.time()):
            self.end(piece)
        self._watch()
