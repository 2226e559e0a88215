"""`Keeper`: makes verified pieces durable, in batches, and then marks them done.

Data is synced first and marked afterwards, so that what is marked done is done, whenever the
program or the machine stops.  What is not synced yet is noted (see `noting`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from spinney.content.noting import Noting
from spinney.content.pieces import Bitfield
from spinney.content.resume import ResumeRecord
from spinney.errors import SpinneyError

if TYPE_CHECKING:
    from spinney.content.transfer import Transfer

SYNC_INTERVAL_S = 5.0
SYNC_BYTES = 64 << 20
"""A batch is synced when it is this old or this large: what a power cut may cost."""


class Keeper:
    """Syncs and saves; one task while there is something to keep."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self.durable = Bitfield(transfer.descriptor.piece_count)
        self.noting = Noting(transfer)
        self._fresh: list[int] = []
        self._syncing: list[int] = []
        self._fresh_bytes = 0
        self._enough = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def written(self, piece: int, length: int) -> None:
        """A verified piece was written (and may still be in the system's memory only)."""
        self._fresh.append(piece)
        self._fresh_bytes += length
        if self._fresh_bytes >= SYNC_BYTES:
            self._enough.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        self.noting.written()

    def found(self, piece: int) -> None:
        """A start found this piece right by its hash: in the system's memory, perhaps, so that
        it is synced by the next `keep` before it is marked."""
        self._fresh.append(piece)

    def unsynced(self, limit: int) -> list[int]:
        """Pieces that were written and are not marked; of too many the newest."""
        return (self._syncing + self._fresh)[-limit:]

    async def _run(self) -> None:
        while self._fresh:
            try:
                async with asyncio.timeout(SYNC_INTERVAL_S):
                    await self._enough.wait()
            except TimeoutError:
                pass
            try:
                await self.keep()
            except SpinneyError as error:
                self._transfer.fail(error)
                return

    async def keep(self, *, clean: bool = False) -> None:
        """Syncs what was written until now, then saves the record."""
        transfer = self._transfer
        fresh, self._fresh, self._fresh_bytes = self._fresh, [], 0
        self._syncing = fresh
        self._enough.clear()
        try:
            await transfer.host.work(self._job, fresh, clean)
        except SpinneyError:
            self._fresh = fresh + self._fresh  # not durable: never marked
            raise
        finally:
            self._syncing = []

    def _job(self, fresh: list[int], clean: bool) -> None:
        sink = self._transfer.sink
        layout = sink.layout
        files = layout.files_of(fresh)
        sink.sync(files)
        for piece in fresh:
            self.durable.add(piece)
        stamps = sink.stamps(range(len(layout.files)) if clean else files)
        record = ResumeRecord(self._transfer.infohash, self.durable, tuple(stamps), clean)
        sink.save(record.encode())

    async def stop(self) -> None:
        """Ends the tasks; `keep` may be called afterwards."""
        await self.noting.stop()
        if self._task is not None:
            self._enough.set()
            await asyncio.wait([self._task])
            self._task = None
