"""`Selection`: which files are wanted, how much, and which of them are whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from spinney.content.openpiece import OpenPiece
from spinney.content.picker import DEFAULT_PRIORITY

if TYPE_CHECKING:
    from spinney.content.feed import TransferFeed
    from spinney.content.transfer import Transfer

Open: TypeAlias = "OpenPiece[TransferFeed]"


class Selection:
    """Priorities by file; bytes that are wanted and missing; files that wait for their name."""

    def __init__(self, transfer: Transfer) -> None:
        files, layout = transfer.descriptor.files, transfer.sink.layout
        self._transfer = transfer
        self.file_priority = [DEFAULT_PRIORITY] * len(files)
        self.left_bytes = transfer.descriptor.total_bytes
        self._file_left = [len(layout.pieces_of(number)) for number in range(len(files))]
        self._to_finish: list[int] = []
        self._finished: dict[int, None] = {}

    def unfinished(self) -> list[int]:
        """Wanted files that miss pieces."""
        ranks = enumerate(self.file_priority)
        return [number for number, rank in ranks if rank and self._file_left[number]]

    def name_empty_files(self) -> None:
        """A file without bytes is whole from the start."""
        for number, entry in enumerate(self._transfer.descriptor.files):
            if not entry.length and self.file_priority[number]:
                self._to_finish.append(number)

    def select(self, priorities: Mapping[int, int]) -> None:
        """Priorities of files by number: 0 skips, 1 to 7, 4 is usual.  Others stay.

        A piece has the highest priority of the files that it holds bytes of.
        """
        transfer = self._transfer
        layout, rows = transfer.sink.layout, self.file_priority
        for number, priority in priorities.items():
            assert 0 <= priority <= 7, "priorities are 0 to 7"
            rows[number] = priority
        fresh = bytearray(transfer.needed.size)
        for number, priority in enumerate(rows):
            for piece in layout.pieces_of(number):
                fresh[piece] = max(fresh[piece], priority)
        for piece, priority in enumerate(fresh):
            if priority != transfer.picker.priority[piece]:
                self._prioritise(piece, priority)
        for number, priority in enumerate(rows):
            if priority and not self._file_left[number] and number not in self._finished:
                self._to_finish.append(number)
        for feed in transfer.feeds:
            feed.recount()
        transfer.changed()

    def _prioritise(self, piece: int, priority: int) -> None:
        transfer = self._transfer
        content = transfer.sink.layout.content_bytes(*transfer.extent(piece))
        transfer.picker.set_priority(piece, priority)
        if piece in transfer.have:
            return
        if not priority:
            if transfer.needed.discard(piece):
                self.left_bytes -= content
            opened = transfer.progress.open_pieces.get(piece)
            if opened is not None:
                self._drop_unwanted(opened)
            transfer.picker.withdraw(piece)
        elif transfer.needed.add(piece):
            self.left_bytes += content
            if not transfer.intake.holds(piece) and transfer.leases.holder(piece) is None:
                transfer.picker.offer(piece)

    def _drop_unwanted(self, opened: Open) -> None:
        """A piece in progress is not wanted any more: what came of it is refused."""
        transfer = self._transfer
        lost = [
            (feed, *feed.lose(opened, block))
            for block, askers in enumerate(opened.askers)
            for feed in askers
        ]
        for start, end, feed in opened.segments():
            feed.count_refused(end - start)
        transfer.progress.reopen(opened)
        for feed, offset, length in lost:
            feed.source.cancelled(offset, length)

    def file_wanted(self, number: int) -> bool:
        return self.file_priority[number] > 0

    def mark(self, piece: int) -> None:
        transfer = self._transfer
        if not transfer.have.add(piece):
            return
        transfer.picker.verified(piece)
        layout, extent = transfer.sink.layout, transfer.extent(piece)
        if transfer.needed.discard(piece):
            self.left_bytes -= layout.content_bytes(*extent)
            for feed in transfer.feeds:
                if piece in feed.has:
                    feed.missing -= 1
        for span in layout.spans(*extent):
            self._file_left[span.file] -= 1
            if not self._file_left[span.file] and self.file_priority[span.file]:
                self._to_finish.append(span.file)

    async def finish_files(self) -> None:
        """Gives whole files their names; then, if all are, tells that it is complete."""
        transfer = self._transfer
        files, self._to_finish = self._to_finish, []
        if files and transfer.sink.writable and not transfer.sink.in_order:
            self._finished.update(dict.fromkeys(files))
            await transfer.host.work(transfer.sink.finish, files)
        if transfer.running:
            transfer.check_complete()
