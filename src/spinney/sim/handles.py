"""What the simulator's event loop hands out: handles of callbacks and timers, and tasks."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spinney.sim.loop import SimLoop

current_host: contextvars.ContextVar[Any] = contextvars.ContextVar("current_host", default=None)
"""The simulated host whose code runs: what it starts dies with it."""


def nothing(*_: object) -> None:
    """What a cancelled entry runs."""


class Ready:
    """A handle for `call_soon`, with asyncio's face of a handle."""

    __slots__ = ("args", "callback", "context")

    args: tuple[Any, ...]
    callback: Any
    context: contextvars.Context

    def cancel(self) -> None:
        self.callback = nothing
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is nothing


class Timer:
    """A handle for `call_at`.  Its maker fills it: an `__init__` would cost more than all else."""

    __slots__ = ("args", "at", "callback", "context", "loop")

    args: tuple[Any, ...]
    at: float
    callback: Any
    context: contextvars.Context
    loop: SimLoop

    def cancel(self) -> None:
        if self.callback is not nothing:
            self.callback = nothing
            self.args = ()
            self.loop.cancelled += 1

    def cancelled(self) -> bool:
        return self.callback is nothing

    def when(self) -> float:
        return self.at


class SimTask(asyncio.Task[Any]):
    """asyncio's task with a hash that counts (a set of tasks keeps one order) and its host."""

    __slots__ = ("host", "number")

    def __init__(
        self, coro: Any, loop: SimLoop, name: object, context: contextvars.Context | None
    ) -> None:
        self.number = number = next(loop.task_numbers)
        self.host = current_host.get() if context is None else context.get(current_host)
        super().__init__(
            coro, loop=loop, name=f"task {number}" if name is None else str(name), context=context
        )

    def __hash__(self) -> int:
        return self.number
