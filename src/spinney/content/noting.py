"""`Noting`: notes which verified pieces are written and not synced yet.

A killed program loses nothing that it wrote, but its resume record names only what was synced.
The note names the rest.  It is written without a sync and never believed: the next start hashes
what it names, so it may be old, torn or gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from spinney.content.resume import MAX_NOTED_PIECES, encode_note
from spinney.errors import StorageError

if TYPE_CHECKING:
    from spinney.content.transfer import Transfer

NOTE_INTERVAL_S = 0.5
"""At most one note in this time, however fast pieces come: what a kill may cost."""


class Noting:
    """One task while pieces come; the first piece after a pause is noted at once."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._stale = False
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def written(self) -> None:
        """The keeper has one more piece that is not synced."""
        self._stale = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._stale:
            self._stale = False
            unsynced = self._transfer.keeper.unsynced(MAX_NOTED_PIECES)
            if unsynced:
                # Nothing depends on it; whoever writes pieces or the record tells what is wrong.
                with contextlib.suppress(StorageError):
                    await self._transfer.host.work(self._job, unsynced)
            try:
                async with asyncio.timeout(NOTE_INTERVAL_S):
                    await self._ending.wait()
                return
            except TimeoutError:
                continue

    def _job(self, unsynced: Sequence[int]) -> None:
        self._transfer.sink.note(encode_note(self._transfer.infohash, unsynced))

    async def stop(self) -> None:
        """Ends the task; no note is written afterwards."""
        self._ending.set()
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task = None
