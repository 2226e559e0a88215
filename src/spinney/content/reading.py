"""`Reading`: verified bytes from memory, or in whole spans from the store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from spinney.content.cache import SpanCache
from spinney.errors import ChangedFileError

if TYPE_CHECKING:
    from spinney.content.transfer import Transfer


class Reading:
    """What serves; one read at a time goes to the store, and each span once for all askers."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        settings = transfer.settings
        # What a pipe took can be served from here only; all else lies in files.
        idle_bytes = settings.cache_bytes if transfer.sink.in_order else settings.idle_bytes
        self.cache = SpanCache(transfer.piece_length, settings.cache_bytes, idle_bytes)
        self._reads: dict[tuple[int, int], asyncio.Task[memoryview]] = {}
        self._lock = asyncio.Lock()

    def cached(self, offset: int, length: int) -> memoryview | None:
        transfer = self._transfer
        piece, begin = divmod(offset, transfer.piece_length)
        return self.cache.get(piece, begin, length)

    def at_hand(self, offset: int, length: int) -> memoryview | None:
        view = self.cached(offset, length)
        transfer = self._transfer
        if view is not None or transfer.sink.in_order:
            return view
        piece, begin = divmod(offset, transfer.piece_length)
        start, size = self.cache.span_of(piece, begin, transfer.descriptor.piece_bytes(piece))
        if piece not in transfer.have or begin + length > start + size:
            return None
        buffer = self.cache.take_buffer(size)
        with memoryview(buffer) as room:
            filled = transfer.sink.read_resident(offset - begin + start, room)
        if not filled:
            self.cache.recycle(buffer)
            return None
        view = memoryview(buffer)[begin - start : begin - start + length].toreadonly()
        self.cache.put(piece, start, buffer, size)
        return view

    async def read(self, offset: int, length: int) -> memoryview:
        transfer = self._transfer
        view = self.cached(offset, length)
        if view is not None:
            return view
        whole = bytearray()
        for piece, begin, end in transfer.parts(offset, length):
            assert piece in transfer.have, "only verified bytes are read"
            while begin < end:
                start, size = self.cache.span_of(
                    piece, begin, transfer.descriptor.piece_bytes(piece)
                )
                stop = min(end, start + size)
                part = self.cache.get(piece, begin, stop - begin)
                if part is None:
                    span = await self._span(piece, start, size)
                    part = span[begin - start : stop - start]
                if len(part) == length:
                    return part
                whole += part
                begin = stop
        return memoryview(whole).toreadonly()

    async def _span(self, piece: int, start: int, size: int) -> memoryview:
        """A span from disk, read once for all who wait for it."""
        task = self._reads.get((piece, start))
        if task is None:
            loop = asyncio.get_running_loop()
            task = self._reads[piece, start] = loop.create_task(self._load(piece, start, size))
            task.add_done_callback(_seen)
        return await asyncio.shield(task)

    async def _load(self, piece: int, start: int, size: int) -> memoryview:
        transfer = self._transfer
        try:
            async with self._lock:
                buffer = await transfer.host.work(self._read_job, piece, start, size)
        except ChangedFileError as error:
            transfer.fail(error)
            raise
        finally:
            del self._reads[piece, start]
        self.cache.put(piece, start, buffer, size)
        return memoryview(buffer)[:size].toreadonly()

    def _read_job(self, piece: int, start: int, size: int) -> bytearray:
        """In a worker.  A file that changed since its check is believed by hash only."""
        transfer = self._transfer
        offset, length = transfer.extent(piece)
        buffer = self.cache.take_buffer(size)
        transfer.sink.read_into(offset + start, memoryview(buffer))
        if transfer.sink.doubtful(offset, length):
            whole = memoryview(bytearray(length))
            transfer.sink.read_into(offset, whole)
            if not transfer.descriptor.check_piece(piece, whole):
                raise ChangedFileError(
                    "a shared file was changed while in use: put it back, or share it anew"
                )
            buffer[:] = whole[start : start + size]
        return buffer


def _seen(task: asyncio.Task[memoryview]) -> None:
    """An error is for those who wait; that none is left (the transfer has ended) is no mistake."""
    if not task.cancelled():
        task.exception()
