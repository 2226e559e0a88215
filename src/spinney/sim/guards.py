"""What guards a run: its errors, who waits for what, and what the loop refuses."""

from __future__ import annotations

import asyncio
import gc
import sys
from asyncio import events
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spinney.sim.loop import SimLoop

WAITERS_NAMED = 40
"""A stalled world names at most so many waiting tasks: ten thousand lines help nobody."""


class SimulationError(Exception):
    """The run itself failed: an error that nobody caught in a callback or a task."""


class Stalled(SimulationError):
    """Nothing can ever wake: names the tasks that wait, where, and for what."""


class Livelock(SimulationError):
    """Callbacks run without end and the clock never moves."""


class Entered:
    """While a simulated loop runs: it is asyncio's running loop, and cycles wait for it."""

    def __init__(self, loop: SimLoop, first: Any, last: Any) -> None:
        self.loop = loop
        self.hooks = (first, last)

    def __enter__(self) -> None:
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("another event loop runs in this thread")
        self._old_hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(*self.hooks)
        self._collecting = gc.isenabled()
        if self.loop.collects:
            gc.disable()
            gc.freeze()  # what was there before the run is not searched again and again
        self.loop._running = True
        events._set_running_loop(self.loop)

    def __exit__(self, *_: object) -> None:
        events._set_running_loop(None)
        self.loop._running = False
        if self.loop.collects:
            gc.unfreeze()
        if self._collecting:
            gc.enable()
        sys.set_asyncgen_hooks(*self._old_hooks)


def is_task_step(callback: Any) -> bool:
    """Is this a task being resumed (so that a cancelled task can still end)?"""
    name = type(callback).__name__
    return name.startswith("Task") or isinstance(getattr(callback, "__self__", None), asyncio.Task)


def who_waits(loop: SimLoop) -> str:
    """One line for each waiting task: its name, where it stands, what it awaits."""
    tasks = sorted(asyncio.all_tasks(loop), key=_number)
    lines = [f"nothing can ever wake at {loop.now:.6f} s; {len(tasks)} task(s) wait:"]
    lines += [f"  {describe(task)}" for task in tasks[:WAITERS_NAMED]]
    if len(tasks) > WAITERS_NAMED:
        lines.append(f"  … and {len(tasks) - WAITERS_NAMED} more")
    return "\n".join(lines)


def who_spins(loop: SimLoop, ready: Iterable[Any]) -> str:
    first = [repr(handle.callback) for handle in list(ready)[:5]]
    return f"the clock stands at {loop.now:.6f} s while callbacks run on: {', '.join(first)}"


def _number(task: asyncio.Task[Any]) -> int:
    return getattr(task, "number", 0)


def describe(task: asyncio.Task[Any]) -> str:
    """`'name' on host at file.py:12 in f (called by …), waits for <future>`."""
    frames = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is None:
            break
        code = frame.f_code
        frames.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno} {code.co_name}")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
    host = getattr(task, "host", None)
    where = " < ".join(reversed(frames)) or "no frame"
    on = f" on {host.name}" if host is not None else ""
    waits = getattr(task, "_fut_waiter", None)
    return f"{task.get_name()!r}{on} at {where}; waits for {_what(waits)}"


def _what(future: Any) -> str:
    if future is None:
        return "its turn"
    if isinstance(future, asyncio.Task):
        return f"the task {future.get_name()!r}"
    said = getattr(future, "waits_for", None)
    return said if said else f"a {type(future).__name__} that nobody sets"
