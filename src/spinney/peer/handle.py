"""`Moving`: the handle of one transfer that a `Peer` runs; `Sharing` and `Getting` are two.

It runs in a task of its own.  Whoever holds it hears its events, waits for its end, closes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from spinney.errors import SpinneyError
from spinney.events import Error, Event, Listener, Progress, Ready, Warning
from spinney.net.host import Host
from spinney.peer.ending import end_all

log = logging.getLogger("spinney.peer")

QUEUED_EVENTS = 1000
"""Events that wait for a slow reader of `events()`; the oldest progress goes first."""
REPEATED_WARNINGS = 50
"""Different warnings that one transfer may give; the rest goes to the log alone."""
WINDOW_S = 5.0
"""Rates are means over this long."""

R = TypeVar("R")


class Closing(Protocol):
    """What a transfer may own: the peer that runs nothing else."""

    async def close(self) -> None: ...


class Speed:
    """The rate of a counter over the last `WINDOW_S` seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque(maxlen=64)

    def measure(self, now: float, count: int) -> float:
        """Bytes a second, given the counter's value now.  At most 64 points are kept."""
        if not self._points or now > self._points[-1][0]:
            self._points.append((now, count))
        while len(self._points) > 2 and now - self._points[1][0] >= WINDOW_S:
            self._points.popleft()
        then, before = self._points[0]
        return max(0.0, (count - before) / (now - then)) if now > then else 0.0


class Moving(Generic[R]):
    """One transfer.  Subclasses say what it does (`_run`) and how far it is (`status`)."""

    def __init__(self, host: Host, transfer: str, link: str) -> None:
        self.transfer = transfer
        """The infohash in hex, v1 where there is one: the name in every event."""
        self.link = link
        self._host = host
        self._listeners: list[Listener] = []
        self._queues: list[asyncio.Queue[Event | None]] = []
        self._said: set[str] = set()
        self._failed = False
        self._kept: list[Event] = []
        self._progress: Progress | None = None
        self._task: asyncio.Task[R] | None = None
        self._down, self._up = Speed(), Speed()
        self._owned: Closing | None = None
        self._entered = False
        self.ready = False
        """It runs: a sharer can be reached, a getter has begun."""

    async def _run(self) -> R:
        raise NotImplementedError

    async def _clean_up(self) -> None:
        """Gives everything back; runs once, also after an error."""

    def status(self) -> Progress:
        """How far it is, now."""
        raise NotImplementedError

    # -- events

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` with every event from now on; the result ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def events(self) -> AsyncIterator[Event]:
        """Every event, with those that tell how it stands (`Ready`, warnings) from the start.

        Ends when the transfer does.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        for event in [*self._kept, *([self._progress] if self._progress else [])]:
            queue.put_nowait(event)
        if self._task is not None and self._task.done():
            queue.put_nowait(None)
        self._queues.append(queue)
        try:
            while (following := await queue.get()) is not None:
                yield following
        finally:
            self._queues.remove(queue)

    def _emit(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._progress = event
            log.debug("%s", event)
        else:
            if not isinstance(event, Warning):  # `_warn` logs those, also the repeated ones
                log.info("%s", event)
            self._kept.append(event)  # bounded: Ready, Done, Error once, warnings by _said
            self.ready = self.ready or isinstance(event, Ready)
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed")
        for queue in self._queues:
            while queue.qsize() >= QUEUED_EVENTS:
                queue.get_nowait()
            queue.put_nowait(event)

    def _warn(self, kind: str, message: str) -> None:
        """Says it once."""
        log.warning("%s", message)
        if message not in self._said and len(self._said) < REPEATED_WARNINGS:
            self._said.add(message)
            self._emit(Warning(self._host.wall_time(), self.transfer, kind, message))

    # -- life

    def own(self, peer: Closing) -> None:
        """`peer` is closed when this ends."""
        self._owned = peer

    def begin(self) -> None:
        """Runs from now on, in a task of its own."""
        self._task = asyncio.get_running_loop().create_task(self._guarded())

    async def _guarded(self) -> R:
        self._entered = True
        try:
            return await self._run()
        except SpinneyError as error:
            self._failed = True
            self._emit(Error(self._host.wall_time(), self.transfer, error.kind, str(error)))
            raise
        finally:
            try:
                owned = [self._owned.close] if self._owned is not None else []
                await end_all(self._clean_up, *owned)
            finally:
                for queue in self._queues:
                    queue.put_nowait(None)

    async def wait(self) -> R:
        """Waits for the end.  Raises what ended it: a `SpinneyError`, or `CancelledError`.

        Cancelling the wait does not cancel the transfer.
        """
        assert self._task is not None
        return await asyncio.shield(self._task)

    def cancel(self) -> None:
        """Ends it soon; what is verified stays, and the same call resumes."""
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Cancels and waits until everything is given back.  May be called twice."""
        self.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._entered:  # closed in the moment in which it began
                self._entered = True
                await self._clean_up()
            if not self._task.cancelled():
                self._task.exception()  # seen: `wait` is where it is raised

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
