"""`Supply`: the blocks that a sender has in memory, read ahead, and their codes kept ready."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from spinney.coding.code import Code, Encoder
from spinney.content.source import TransferLike
from spinney.errors import SpinneyError
from spinney.mcftp.datasettings import DataSettings
from spinney.mcftp.layout import BlockLayout
from spinney.net.host import Host

MIN_BLOCKS = 4


class Supply:
    """Reads through the transfer (memory first, the store off the event loop).

    A block that cannot be read is answered with None: the transfer says why, to whom it may
    concern."""

    def __init__(
        self, layout: BlockLayout, transfer: TransferLike, code: Code, settings: DataSettings
    ) -> None:
        self._layout = layout
        self._transfer = transfer
        self._code = code
        self._most = max(MIN_BLOCKS, settings.held_bytes // max(1, layout.block_bytes))
        self._most_encoders = settings.encoders
        self._held: OrderedDict[int, memoryview] = OrderedDict()
        self._encoders: OrderedDict[int, Encoder] = OrderedDict()
        self._reads: dict[int, asyncio.Task[memoryview | None]] = {}

    def has(self, block: int) -> bool:
        """Is every piece of the block here?"""
        have = self._transfer.have
        return all(piece in have for piece in self._layout.pieces_of(block))

    def held(self, block: int) -> memoryview | None:
        """The block, if it is in memory."""
        view = self._held.get(block)
        if view is not None:
            self._held.move_to_end(block)
        return view

    def ahead(self, blocks: Sequence[int]) -> None:
        """These come soon: starts to read them, as many as are kept anyway."""
        for block in blocks[: self._most // 2]:
            if block not in self._held and block not in self._reads and self.has(block):
                self._start(block)

    def _start(self, block: int) -> asyncio.Task[memoryview | None]:
        task = asyncio.get_running_loop().create_task(self._read(block))
        self._reads[block] = task
        return task

    async def _read(self, block: int) -> memoryview | None:
        try:
            if not self.has(block):
                return None
            view = await self._transfer.read(*self._layout.extent(block))
        except SpinneyError:
            return None
        finally:
            del self._reads[block]
        self._held[block] = view
        while len(self._held) > self._most:
            self._held.popitem(last=False)
        return view

    async def get(self, block: int) -> memoryview | None:
        """The block, read if need be; None if it cannot be."""
        view = self.held(block)
        if view is not None:
            return view
        return await asyncio.shield(self._reads.get(block) or self._start(block))

    def encoder(self, block: int, view: memoryview) -> Encoder:
        """The block's code, made when it is first asked for."""
        encoder = self._encoders.get(block)
        if encoder is None:
            encoder = self._code.encoder(view, self._layout.symbol_bytes)
            self._encoders[block] = encoder
            if len(self._encoders) > self._most_encoders:
                self._encoders.popitem(last=False)
        self._encoders.move_to_end(block)
        return encoder

    async def prepare(self, host: Host) -> None:
        """Gets ready to make repair symbols."""
        await host.work(self._code.prepare)

    async def close(self) -> None:
        tasks = list(self._reads.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._held.clear()
        self._encoders.clear()
