"""`Filling`: pieces that are here already are copied into the blocks that they share with others,
so that they are never asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spinney.content.source import TransferLike
from spinney.errors import SpinneyError
from spinney.mcftp.blocks import BlockBuffer
from spinney.mcftp.layout import BlockLayout


class Filling:
    def __init__(
        self, transfer: TransferLike, layout: BlockLayout, done: Callable[[BlockBuffer], None]
    ) -> None:
        self._transfer = transfer
        self._layout = layout
        self._done = done
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def fill(self, buffer: BlockBuffer) -> None:
        """Begins to copy the held pieces of a block, if there are any."""
        pieces, have = self._layout.pieces_of(buffer.block), self._transfer.have
        if buffer.block in self._tasks or not any(piece in have for piece in pieces):
            return
        task = asyncio.get_running_loop().create_task(self._fill(buffer))
        self._tasks[buffer.block] = task

    async def _fill(self, buffer: BlockBuffer) -> None:
        try:
            for begin, end in self._held(buffer):
                if not self._gaps(buffer, begin, end):
                    continue
                view = await self._transfer.read(buffer.offset + begin, end - begin)
                if buffer.busy or buffer.delivered:
                    return
                self._copy(buffer, begin, view)
        except SpinneyError:
            return  # then it is asked for
        finally:
            del self._tasks[buffer.block]
        self._done(buffer)

    def _held(self, buffer: BlockBuffer) -> list[tuple[int, int]]:
        """Ranges of the block that are verified, whole pieces joined."""
        rows: list[tuple[int, int]] = []
        length, have = self._layout.piece_length, self._transfer.have
        for piece in self._layout.pieces_of(buffer.block):
            if piece not in have:
                continue
            begin = max(0, piece * length - buffer.offset)
            end = begin + self._transfer.descriptor.piece_bytes(piece)
            end = min(end, buffer.length)
            if rows and rows[-1][1] == begin:
                rows[-1] = (rows[-1][0], end)
            else:
                rows.append((begin, end))
        return rows

    def _symbols(self, begin: int, end: int, length: int) -> range:
        """Symbols that lie wholly in a range of a block."""
        width = self._layout.symbol_bytes
        return range(-(-begin // width), -(-length // width) if end == length else end // width)

    def _gaps(self, buffer: BlockBuffer, begin: int, end: int) -> bool:
        symbols = self._symbols(begin, end, buffer.length)
        return buffer.seen.find(0, symbols.start, symbols.stop) >= 0

    def _copy(self, buffer: BlockBuffer, begin: int, view: memoryview) -> None:
        width = self._layout.symbol_bytes
        for symbol in self._symbols(begin, begin + len(view), buffer.length):
            if not buffer.seen[symbol]:
                at = symbol * width - begin
                buffer.fill(symbol, view[at : at + width])

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
