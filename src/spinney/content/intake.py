"""`Intake`: full pieces are hashed, written, judged and made known.

One job at a time goes to `Host.work`: it hashes and writes a few pieces.  What
waits here counts against the back-pressure limit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spinney.content.evidence import Evidence, Record, cut, fingerprint, judge
from spinney.content.openpiece import OpenPiece
from spinney.errors import SpinneyError

if TYPE_CHECKING:
    from spinney.content.feed import TransferFeed
    from spinney.content.transfer import Transfer

BATCH_PIECES = 4
SMALL_BATCH_BYTES = 2 << 20
BATCH_BYTES = 16 << 20
"""Pieces of one job: enough to save hand-offs, few enough to be told of a piece soon.  Of small
pieces (a block of a group brings up to 64 at once) as many as make two MiB."""

Open = OpenPiece["TransferFeed"]


@dataclass(slots=True)
class Outcome:
    """What the worker found about one piece."""

    right: bool
    prints: list[bytes]
    """Fingerprints: of the old records' ranges (right), or of this attempt's (wrong)."""


class Intake:
    """The way of a piece from full to verified (or to evidence)."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._queue: deque[Open] = deque()
        self._held: dict[int, Open] = {}
        self.waiting_bytes = 0
        self.evidence: Evidence[TransferFeed] = Evidence()
        self.task: asyncio.Task[None] | None = None

    def holds(self, piece: int) -> bool:
        """Is the piece full and waiting to be verified?"""
        return piece in self._held

    def waiting(self) -> list[Open]:
        """The full pieces that are not verified yet."""
        return list(self._held.values())

    def __len__(self) -> int:
        return len(self._held)

    def add(self, opened: Open) -> None:
        """All bytes of a piece are here."""
        del self._transfer.open_pieces[opened.piece]
        self._transfer.progress.orphans.pop(opened.piece, None)
        self._held[opened.piece] = opened
        self._queue.append(opened)
        self.waiting_bytes += opened.length
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self._run())

    async def drain(self) -> None:
        """Returns when nothing waits any more (or the transfer has failed)."""
        while self.task is not None and not self.task.done():
            await asyncio.wait([self.task])
        if self.task is not None:
            self.task.result()

    async def _run(self) -> None:
        transfer = self._transfer
        while self._queue and transfer.failure is None:
            batch = [self._queue.popleft()]
            total = batch[0].length
            while self._queue:
                total += self._queue[0].length
                if total > (BATCH_BYTES if len(batch) < BATCH_PIECES else SMALL_BATCH_BYTES):
                    break
                batch.append(self._queue.popleft())
            try:
                outcomes = await transfer.host.work(self._job, batch)
            except SpinneyError as error:
                for opened in batch:
                    del self._held[opened.piece]
                    self.waiting_bytes -= opened.length
                transfer.fail(error)
                return
            for opened, outcome in zip(batch, outcomes, strict=True):
                del self._held[opened.piece]
                self.waiting_bytes -= opened.length
                if outcome.right:
                    self._passed(opened, outcome.prints)
                else:
                    self.reject(opened, outcome.prints)
            try:
                await transfer.selection.finish_files()
            except SpinneyError as error:
                transfer.fail(error)
                return
            transfer.changed()

    def _job(self, batch: list[Open]) -> list[Outcome]:
        """In a worker: hash and write.  A write that fails ends the transfer."""
        transfer, rows = self._transfer, []
        for opened in batch:
            data = opened.view[: opened.length]
            if transfer.descriptor.check_piece(opened.piece, data):
                if not transfer.sink.in_order:
                    transfer.sink.write(opened.offset, data)
                old = self.evidence.records(opened.piece)
                rows.append(Outcome(True, [fingerprint(data[r.start : r.end]) for r in old]))
            else:
                ranges = cut(opened.segments())
                rows.append(Outcome(False, [fingerprint(data[a:b]) for a, b, _ in ranges]))
        return rows

    # -- judgement ----------------------------------------------------------------------

    def _passed(self, opened: Open, right: list[bytes]) -> None:
        transfer, piece = self._transfer, opened.piece
        segments = opened.segments()
        blame: list[tuple[int, int, TransferFeed]] = []
        if piece in self.evidence:
            verdict = judge(self.evidence.close(piece), right, segments)
            for start, end, feed in verdict.useful:
                feed.count_useful(end - start)
            for start, end, feed in verdict.duplicate:
                feed.count_duplicate(end - start)
            for start, end, feed in verdict.bad:
                feed.count_bad(end - start)
            blame = verdict.bad
            transfer.clear_suspects(piece)
        else:
            for start, end, feed in segments:
                feed.count_useful(end - start)
        transfer.verified(opened)
        self._blame(opened, blame)

    def reject(self, opened: Open, prints: list[bytes]) -> None:
        """A piece that failed its hash: one sender is guilty, several are suspects."""
        transfer, piece = self._transfer, opened.piece
        segments = opened.segments()
        keys = dict.fromkeys(feed.source.peer_key for _, _, feed in segments)
        transfer.progress.reopen(opened)
        if len(keys) == 1:
            for start, end, feed in segments:
                feed.count_bad(end - start)
            self._blame(opened, segments)
            return
        self.keep(piece, segments, prints)
        for _, _, feed in segments:
            transfer.suspect(feed, piece)
        for feed in dict.fromkeys(feed for _, _, feed in segments):
            if feed.forgiving and not feed.left:
                feed.source.blamed(piece, opened.offset, opened.length)

    def keep(
        self, piece: int, segments: list[tuple[int, int, TransferFeed]], prints: list[bytes]
    ) -> None:
        """Remembers an attempt until the piece passes; what must be forgotten counts as refused."""
        attempt = [
            Record(start, end, feed, digest)
            for (start, end, feed), digest in zip(cut(segments), prints, strict=True)
        ]
        for record in self.evidence.add(piece, attempt):
            record.sender.count_refused(record.end - record.start)

    def _blame(self, opened: Open, ranges: list[tuple[int, int, TransferFeed]]) -> None:
        merged: list[tuple[int, int, TransferFeed]] = []
        for start, end, feed in ranges:
            if merged and merged[-1][1] == start and merged[-1][2] is feed:
                merged[-1] = (merged[-1][0], end, feed)
            else:
                merged.append((start, end, feed))
        for _, _, feed in merged:
            if not feed.forgiving:
                self._transfer.convict(feed)
        for start, end, feed in merged:
            if not feed.left:
                feed.source.blamed(opened.piece, opened.offset + start, end - start)
