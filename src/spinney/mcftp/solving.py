"""`Solving`: lost symbols are computed, one block at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spinney.coding.code import Code
from spinney.mcftp.blocks import BlockBuffer
from spinney.net.host import Host

AT_ONCE = 48
"""A block that lacks so few symbols is solved where it stands, in 1 to 2 ms: a socket's buffer
holds what comes meanwhile many times over, and the way to a thread and back costs as much."""


class Solving:
    """Blocks that lack more are solved away from the event loop, one after the other: two at once
    would only halve each other.

    A block that waits here may still take symbols; one that is being solved may not (`busy`)."""

    def __init__(
        self, host: Host, code: Code, symbol_bytes: int, done: Callable[[BlockBuffer], None]
    ) -> None:
        self.blocks = 0
        self.failures = 0
        self._host = host
        self._code = code
        self._symbol_bytes = symbol_bytes
        self._done = done
        self._waiting: dict[int, BlockBuffer] = {}
        """At most one entry for each open block."""
        self._task: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._prepared = False

    def prepare(self) -> None:
        """Something will be mended: gets ready, once."""
        if self._preparing is None:
            self._preparing = asyncio.get_running_loop().create_task(self._prepare())

    async def _prepare(self) -> None:
        await self._host.work(self._code.prepare)
        self._prepared = True

    def add(self, buffer: BlockBuffer) -> None:
        """There may be enough of a block now: solves it, at once or soon."""
        if self._prepared and buffer.missing <= AT_ONCE and not self._is_here(buffer):
            if self._wants(buffer):
                lost, repairs = buffer.lost(), buffer.repairs
                self._solved(buffer, len(repairs), self._solve(buffer, lost, repairs))
        else:
            self.add_later(buffer)

    def add_later(self, buffer: BlockBuffer) -> None:
        """The same, but never at once."""
        if self._is_here(buffer):
            return
        self._waiting[buffer.block] = buffer
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="solving")

    def _is_here(self, buffer: BlockBuffer) -> bool:
        return buffer.busy or buffer.block in self._waiting

    def _wants(self, buffer: BlockBuffer) -> bool:
        """Is there anything to solve, and enough for it?"""
        if not buffer.missing and not buffer.delivered:
            self._done(buffer)
        return bool(buffer.missing) and not buffer.delivered and not buffer.lack

    async def _run(self) -> None:
        while self._waiting:
            buffer = self._waiting.pop(next(iter(self._waiting)))
            if not self._wants(buffer):
                continue
            lost, repairs = buffer.lost(), dict(buffer.repairs)
            buffer.busy = True
            try:
                short = await self._host.work(self._solve, buffer, lost, repairs)
            finally:
                buffer.busy = False
            self._solved(buffer, len(repairs), short)

    def _solve(self, buffer: BlockBuffer, lost: list[int], repairs: dict[int, bytes]) -> int:
        block = buffer.data[: buffer.length]
        return self._code.recover(block, self._symbol_bytes, lost, repairs)

    def _solved(self, buffer: BlockBuffer, repairs: int, short: int) -> None:
        self.blocks += 1
        if short:
            self.failures += 1
            buffer.extra = max(0, repairs + short - buffer.missing)
        else:
            buffer.missing = 0
        self._done(buffer)

    async def close(self) -> None:
        self._waiting.clear()
        tasks = [task for task in (self._task, self._preparing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
