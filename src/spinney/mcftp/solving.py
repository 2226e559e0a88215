"""`Solving`: lost symbols are computed away from the event loop, one block at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spinney.coding.code import Code
from spinney.mcftp.blocks import BlockBuffer
from spinney.net.host import Host


class Solving:
    """A block that waits here may still take symbols; one that is being solved may not (`busy`).

    Two at once would halve each other: both hold the interpreter's lock."""

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

    def add(self, buffer: BlockBuffer) -> None:
        if buffer.busy or buffer.block in self._waiting:
            return
        self._waiting[buffer.block] = buffer
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="solving")

    async def _run(self) -> None:
        while self._waiting:
            buffer = self._waiting.pop(next(iter(self._waiting)))
            if not buffer.missing or buffer.delivered or buffer.lack:
                if not buffer.missing and not buffer.delivered:
                    self._done(buffer)
                continue
            lost, repairs = buffer.lost(), dict(buffer.repairs)
            buffer.busy = True
            try:
                short = await self._host.work(self._solve, buffer, lost, repairs)
            finally:
                buffer.busy = False
            self.blocks += 1
            if short:
                self.failures += 1
                buffer.extra = max(0, len(repairs) + short - buffer.missing)
            else:
                buffer.missing = 0
            self._done(buffer)

    def _solve(self, buffer: BlockBuffer, lost: list[int], repairs: dict[int, bytes]) -> int:
        block = buffer.data[: buffer.length]
        return self._code.recover(block, self._symbol_bytes, lost, repairs)

    async def close(self) -> None:
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
