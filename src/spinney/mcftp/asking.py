"""`Asking`: which blocks are asked of which stream's sender."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from spinney.mcftp.following import Following
from spinney.mcftp.packets import MAX_RUNS

if TYPE_CHECKING:
    from spinney.mcftp.receiving import Receiving

MAX_PASSED_OVER = 256
"""Blocks that others fetch, looked at for one report."""


class Asking:
    """A block is asked of the newest live stream that has carried it; of streams on demand what
    no other carries."""

    def __init__(self, receiving: Receiving) -> None:
        self._receiving = receiving

    def begun(self, following: Following) -> list[tuple[int, int]]:
        """(block, symbols) of begun blocks that this stream's sender shall mend; 0 symbols:
        enough is here, probably, and more is on its way."""
        now, rows = self._receiving.host.time(), []
        for buffer in self._receiving.buffers:
            if buffer.busy or buffer.delivered or not buffer.missing:
                continue
            if not self._asks(following, buffer.block) or not self._receiving.claims.claim(
                buffer.block, now
            ):
                continue
            lack = buffer.lack
            if lack or following.needs.waits_until(buffer.block, 0, now):
                rows.append((buffer.block, lack))  # more will come: then it is solved at once
            else:
                self._receiving.solving.add(buffer)
        return rows

    def whole(self, following: Following) -> list[tuple[int, int]]:
        """Runs of blocks that have gone by and of which nothing is here."""
        if following.stream.blocks:
            runs = _gone_by(following)
        else:
            runs = iter(((0, self._receiving.layout.block_count),))
        rows: list[tuple[int, int]] = []
        left = MAX_PASSED_OVER
        now, find = self._receiving.host.time(), self._receiving.touched.find
        for first, count in runs:
            at, end = find(0, first, first + count), first + count
            while at >= 0 and left and len(rows) < MAX_RUNS:
                stop = find(1, at, end)
                stop = end if stop < 0 else stop
                if not following.stream.blocks and not self._asks(following, at):
                    break
                if self._receiving.claims.claim(at, now):
                    rows.append((at, stop - at))
                else:
                    stop = at + 1  # others fetch it
                    left -= 1
                at = find(0, stop, end)
        return rows

    def _asks(self, following: Following, block: int) -> bool:
        """Is it this stream that is asked for this block, now?"""
        position = following.order.position(block)
        if position is not None:
            if position >= following.position:
                return False
            rivals = [
                each.stream.number
                for each in self._receiving.following.values()
                if not each.stalled and each.order.position(block) is not None
            ]
            return not rivals or following.stream.number == max(rivals)
        if following.stream.blocks:
            return False
        carried = any(
            each.order.position(block) is not None and not each.stalled
            for each in self._receiving.following.values()
        )
        free = [n for n, each in self._receiving.following.items()
                if not each.stream.blocks and not each.stalled]  # fmt: skip
        return not carried and (not free or following.stream.number == max(free))


def _gone_by(following: Following) -> Iterator[tuple[int, int]]:
    """Runs of the order that have gone by."""
    left = following.position
    for first, count in following.stream.blocks:
        if left <= 0:
            return
        yield first, min(count, left)
        left -= count
