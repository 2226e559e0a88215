"""`SimLoop`: an asyncio event loop whose clock jumps to the next event.

Everything that waits is a tuple `(when, callback, argument)`, or `(when, None, timer)`, in a
calendar of buckets of about a millisecond.  A bucket that is due is sorted once, stably, and taken
from its end; what comes later for the same millisecond goes on a small heap beside it.  What is
ready is a handle in a deque; tasks and futures are asyncio's own, in C.  The loop never sleeps:
when nothing is ready it moves its clock to the earliest event.  Its order depends on the times and
on the order of asking alone, so that one seed gives one run (docs/decisions/simulator.md).

What has no meaning here (`add_reader`, signals, subprocesses, sockets, threads) raises
`NotSimulated`.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from operator import itemgetter
from typing import Any, TypeAlias, TypeVar

from spinney.sim import guards
from spinney.sim.guards import Livelock, SimulationError, Stalled
from spinney.sim.handles import Ready, SimTask, Timer, current_host, nothing
from spinney.sim.refused import NotSimulated, Refusing

T = TypeVar("T")
Entry: TypeAlias = tuple[float, Any, Any]
"""(when, callback, its one argument), or (when, None, timer): a timer can be cancelled."""

__all__ = ["Livelock", "NotSimulated", "SimLoop", "SimTask", "SimulationError", "Stalled"]

ROUNDS_AT_ONE_INSTANT = 200_000
"""So many passes over the ready queue without the clock moving mean that somebody spins."""

EVENTS_A_SPELL = 80_000
"""The loop does its chores (folding the digest) after about so many events."""

SPELLS_PER_COLLECTION = 4
"""Cycles are collected after so many spells, not after so many allocations: the moment then
depends on the run alone, and a finalizer cannot make two runs differ."""

BUCKETS_PER_S = 1024.0
"""Buckets of the calendar in a virtual second; `truncated(when * BUCKETS_PER_S)` is a key."""
truncated = float.__trunc__
"""A float's whole part: a third cheaper than `int`, half of what `//` costs."""

FEWEST_SWEPT = 16_384
"""Cancelled timers stay in the calendar until they are due, or so many and half of it."""

_NEVER = float("inf")
FAR_S = 86_400.0 * 365
"""Delays beyond it may be endless, and go the careful way."""
_when = itemgetter(0)


def _spread(pair: tuple[Callable[..., object], tuple[Any, ...]]) -> None:
    """An event of `push`: of any number of arguments."""
    pair[0](*pair[1])


class _Stop(BaseException):
    """Leaves the loop: cheaper than asking after every event whether to."""


def _stop() -> None:
    raise _Stop


class SimLoop(Refusing):
    """The loop.  `push` is the simulator's own way in; the rest is asyncio's."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[Entry] = []
        self.late: list[tuple[float, int, Entry]] = []
        self.buckets: dict[int, list[Entry]] = {}
        self.cancelled = 0
        self._sequence = itertools.count().__next__
        self.task_numbers = itertools.count(1)
        self.events = 0
        self.failures: list[dict[str, Any]] = []
        self.fail_on_error = True
        self.collects = True
        self._spells = 0
        self._rounds = 0
        self.housekeeping: list[Callable[[], object]] = []
        self._ready: deque[Any] = deque()
        self._keys: list[int] = []
        self._key = -1
        self._sweep_at = FEWEST_SWEPT
        self._running = False
        self._closed = False
        self._handler: Callable[[SimLoop, dict[str, Any]], object] | None = None
        self._task_factory: Any = None
        self._generators: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._generators_made = 0
        self._inherit = contextvars.copy_context

    # --- scheduling -------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the world began."""
        return self.now

    def push(self, when: float, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Runs `callback(*args)` at `when`, without a context: the simulator's own events."""
        self.place((when, _spread, (callback, args)))

    def place(self, entry: Entry) -> None:
        """Puts an entry into its bucket, into a new one, or on the heap if it is due."""
        when = entry[0]
        if when == _NEVER:
            return
        key = truncated(when * BUCKETS_PER_S)
        bucket = self.buckets.get(key)
        if bucket is not None:
            bucket.append(entry)
        elif key <= self._key:
            heappush(self.late, (when, self._sequence(), entry))
        else:
            self.buckets[key] = [entry]
            heappush(self._keys, key)

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Ready:
        handle = Ready()
        handle.callback = callback
        handle.args = args
        handle.context = self._inherit() if context is None else context
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Timer:
        timer = Timer()
        timer.callback = callback
        timer.args = args
        timer.context = self._inherit() if context is None else context
        timer.at = when
        timer.loop = self
        self.place((when, None, timer))
        return timer

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Timer:
        timer = Timer()
        timer.callback = callback
        timer.args = args
        timer.context = self._inherit() if context is None else context
        timer.at = when = self.now + delay
        timer.loop = self
        if delay < FAR_S:
            bucket = self.buckets.get(truncated(when * BUCKETS_PER_S))
            if bucket is not None:
                bucket.append((when, None, timer))
                return timer
        self.place((when, None, timer))
        return timer

    def call_soon_threadsafe(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Ready:
        """The same as `call_soon`: there are no threads in a simulated world."""
        return self.call_soon(callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        if self._task_factory is not None:
            made: asyncio.Task[T] = self._task_factory(self, coro)
            return made
        return SimTask(coro, self, name, context)

    def set_task_factory(self, factory: Any) -> None:
        self._task_factory = factory

    def get_task_factory(self) -> Any:
        return self._task_factory

    # --- running ----------------------------------------------------------------------

    def run_until_complete(self, future: Any) -> Any:
        """Runs until `future` is done; raises `Stalled` if it never can be."""
        own = not asyncio.isfuture(future)
        with self._entered():
            task = asyncio.ensure_future(future, loop=self)
            task.add_done_callback(self._stop_on)
            try:
                self._run(None)
            except BaseException:
                if own and task.done() and not task.cancelled():
                    task.exception()
                raise
            finally:
                task.remove_done_callback(self._stop_on)
            self._raise_failures(task)
        return task.result()

    def run_until_time(self, when: float) -> None:
        """Runs every event up to and including `when`; the clock then stands at `when`."""
        with self._entered():
            self._run(when)
            self._raise_failures(None)

    def run_forever(self) -> None:
        """Runs until `stop`."""
        with self._entered():
            self._run(None)
            self._raise_failures(None)

    def _entered(self) -> guards.Entered:
        if self._closed:
            raise RuntimeError("the event loop is closed")
        if self._running:
            raise RuntimeError("the event loop is running already")
        return guards.Entered(self, self._first_iteration, self._last_reference)

    def _run(self, until: float | None) -> None:
        limit = float("inf") if until is None else until
        finished = False
        while not finished:
            try:
                finished = self._spin(limit, EVENTS_A_SPELL)
            except _Stop:
                return
            except SimulationError:
                raise
            except Exception as error:
                self.call_exception_handler(
                    {"message": "an event of the simulator raised", "exception": error}
                )
            for chore in self.housekeeping:
                chore()
            self._spells += 1
            if self.collects and not self._spells % SPELLS_PER_COLLECTION:
                gc.collect(1 if self._spells % (SPELLS_PER_COLLECTION * 8) else 2)
        if until is None:
            raise Stalled(guards.who_waits(self))
        self.now = max(self.now, until)

    def _spin(self, limit: float, budget: int) -> bool:
        """Runs about `budget` events; True when there is nothing more to do up to `limit`."""
        due, late, ready = self.due, self.late, self._ready
        take, popleft = due.pop, ready.popleft
        instant = self.now
        left = budget
        rounds = self._rounds
        try:
            while True:
                while ready:
                    rounds += 1
                    if rounds > ROUNDS_AT_ONE_INSTANT:
                        raise Livelock(guards.who_spins(self, ready))
                    left -= len(ready)
                    for _ in range(len(ready)):
                        handle = popleft()
                        handle.context.run(handle.callback, *handle.args)
                if left <= 0:
                    return False
                if late and (not due or late[0][0] < due[-1][0]):
                    if late[0][0] > limit:
                        return True
                    when, callback, argument = heappop(late)[2]
                    left -= 1
                    if when > instant:
                        instant = when
                        rounds = 0
                    else:
                        rounds += 1
                        if rounds > ROUNDS_AT_ONE_INSTANT * 16:
                            raise Livelock(guards.who_spins(self, ready))
                    self._one(when, callback, argument)
                    continue
                if not due:
                    if not self._load():
                        return True
                    left -= len(due)
                if late or due[0][0] > limit:  # one at a time
                    if due[-1][0] > limit:
                        return True
                    self._one(*take())
                    continue
                while due:  # `_one` in line: a call less for each event
                    when, callback, argument = take()
                    if callback is not None:
                        self.now = when
                        callback(argument)
                    elif argument.callback is not nothing:
                        self.now = when
                        argument.context.run(argument.callback, *argument.args)
                    else:
                        self.cancelled -= 1
                        continue
                    if ready or late:
                        if when > instant:
                            instant = when
                            rounds = 0
                        break
        finally:
            self.events += budget - left
            self._rounds = rounds

    def _one(self, when: float, callback: Any, argument: Any) -> None:
        """Runs one entry, or drops it if it was cancelled."""
        if callback is not None:
            self.now = when
            callback(argument)
        elif argument.callback is not nothing:
            self.now = when
            argument.context.run(argument.callback, *argument.args)
        else:
            self.cancelled -= 1

    def _load(self) -> bool:
        """Makes the earliest bucket the one that is due; False if there is none."""
        if self.cancelled > self._sweep_at:
            self._sweep()
        while self._keys:
            self._key = heappop(self._keys)
            bucket = self.buckets.pop(self._key)
            if bucket:
                # Turned round, sorted stably and taken from the end: equal times keep their order.
                bucket.reverse()
                bucket.sort(key=_when, reverse=True)
                self.due[:] = bucket
                return True
        return False

    def _sweep(self) -> None:
        """Takes cancelled timers out of the calendar before they are due, if they are many."""
        total = sum(map(len, self.buckets.values()))
        if self.cancelled * 2 > total:
            for bucket in self.buckets.values():
                bucket[:] = [
                    entry
                    for entry in bucket
                    if entry[1] is not None or entry[2].callback is not nothing
                ]
            self.cancelled = sum(map(_is_cancelled, self._at_hand()))
            total = sum(map(len, self.buckets.values()))
        self._sweep_at = max(FEWEST_SWEPT, total // 2)

    def _at_hand(self) -> list[Entry]:
        """What is due in this millisecond."""
        return [*self.due, *(entry for _, _, entry in self.late)]

    def waiting(self) -> int:
        """Entries in the calendar, cancelled timers that were not swept out yet included."""
        return sum(map(len, self.buckets.values())) + len(self.due) + len(self.late)

    def drop_entries_of(self, host: object) -> None:
        """Forgets every timer and ready callback that a host's code asked for: it is dead."""
        for entries in (self._at_hand(), *self.buckets.values()):
            for _, callback, timer in entries:
                if callback is None and timer.context.get(current_host) is host:
                    timer.cancel()
        for handle in self._ready:
            if handle.context.get(current_host) is not host:
                continue
            if not guards.is_task_step(handle.callback):
                handle.cancel()

    def stop(self) -> None:
        """Ends the run once what is ready now has had its turn."""
        self.call_soon(_stop)

    @staticmethod
    def _stop_on(_: object) -> None:
        raise _Stop

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self.due.clear()
        self.late.clear()
        self.buckets.clear()
        self._keys.clear()
        self._ready.clear()

    async def shutdown_asyncgens(self) -> None:
        for _, generator in sorted(self._generators.items()):
            await generator.aclose()
        self._generators.clear()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is no executor."""

    def _first_iteration(self, generator: Any) -> None:
        self._generators_made += 1
        self._generators[self._generators_made] = generator

    def _last_reference(self, generator: Any) -> None:
        if not self._closed:
            self.create_task(generator.aclose())

    # --- errors -----------------------------------------------------------------------

    def get_exception_handler(self) -> Any:
        return self._handler

    def set_exception_handler(self, handler: Any) -> None:
        self._handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keeps the error; the run that it happened in ends, and fails with it."""
        self.failures.append(context)
        if self.fail_on_error and self._running:
            self.stop()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._handler is None:
            self.default_exception_handler(context)
        else:
            self._handler(self, context)

    def _raise_failures(self, main: asyncio.Future[Any] | None) -> None:
        if not self.failures or not self.fail_on_error:
            return
        context, self.failures = self.failures[0], []
        error = context.get("exception")
        if main is not None and main.done() and not main.cancelled():
            own = main.exception()
            if own is not None and own is error:
                return
        said = context.get("message", "unhandled error")
        text = "".join(traceback.format_exception(error)) if error is not None else ""
        raise SimulationError(f"{said}\n{text}") from error

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """Debugging by asyncio's loop has no meaning here: use the world's trace."""


def _is_cancelled(entry: Entry) -> bool:
    return entry[1] is None and entry[2].callback is nothing
