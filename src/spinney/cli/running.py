"""Runs a verb's coroutine: signals, logging and exit codes.

The first Ctrl-C (or SIGTERM) ends in good order and keeps all state; the second ends at once.
What was done stays done: whatever comes after it, short of a disk that fails, ends with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from spinney.cli import DONE, FAILED, INTERRUPTED
from spinney.cli.lines import Lines
from spinney.cli.reporter import JsonLines, Reporter
from spinney.errors import PortTakenError, SpinneyError, StorageError, UsageError
from spinney.events import Error

SHOW_CURSOR = "\x1b[?25h"
MOST_LOG_LINES = 1_000
"""That wait for a slow reader of stderr."""
LOG_PATIENCE_S = 1.0
"""At the end, for a reader that takes nothing."""
LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class Terminal(logging.Handler):
    """Log lines on stderr.  A reader that stops, such as a pipe that nobody reads, holds nothing
    up: lines are left out meanwhile, and counted."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = Lines(sys.stderr)
        self._stream = sys.stderr
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record) + "\n"
        if self._left_out:
            text = f"({self._left_out} lines were left out here: nobody read them)\n{text}"
        if self._lines.write(text, self._stream, most=MOST_LOG_LINES):
            self._left_out = 0
        else:
            self._left_out += 1

    def close(self) -> None:
        self._lines.finish(LOG_PATIENCE_S)
        super().close()


class _LogFile(logging.FileHandler):
    """A disk that is full ends the log, after one sentence, and not the transfer."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        logging.getLogger("spinney").removeHandler(self)
        with contextlib.suppress(OSError):  # else what it still holds is tried once more, aloud
            self.close()
        with contextlib.suppress(OSError):
            why = f"cannot write the log file {self.baseFilename}: {error.strerror}"
            print(f"spinney: {why}; it ends here", file=sys.stderr, flush=True)


def set_up_logging(verbose: int, log_file: str | None, *, least: int = logging.CRITICAL) -> None:
    """-v: what happens; -vv: everything.  The log file holds everything.

    `least`: what a terminal is told without -v; a transfer's warnings come as events instead.
    """
    log = logging.getLogger("spinney")
    log.propagate = False
    log.handlers.clear()
    log.setLevel(logging.DEBUG)
    terminal = Terminal()
    terminal.setLevel({0: least, 1: logging.INFO}.get(verbose, logging.DEBUG))
    terminal.setFormatter(logging.Formatter(LOG_FORMAT))
    log.addHandler(terminal)
    if log_file is not None:
        try:
            file = _LogFile(log_file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise SpinneyError(
                f"cannot write the log file {log_file}: {error.strerror}; "
                "choose another with --log-file"
            ) from None
        file.setFormatter(logging.Formatter(LOG_FORMAT))
        log.addHandler(file)


def run_verb(
    work: Callable[[Reporter], Coroutine[Any, Any, int]],
    reporter: Reporter,
    *,
    ready: Callable[[], bool] = lambda: False,
    finished: Callable[[], bool] = lambda: False,
) -> int:
    """The exit code of `work`.  One that is stopped when `ready()` is true has done its job; one
    that fails when `finished()` is, too: what goes wrong while it stays for others is no failure
    of it, unless the disk fails.

    From now on signals are ours, until the program ends.
    """
    stops = _Stops(ready)
    try:
        with reporter:
            code = asyncio.run(stops.until_stopped(work(reporter)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = INTERRUPTED
    except Exception as error:
        if not finished() or isinstance(error, StorageError):
            if isinstance(error, PortTakenError):
                error = PortTakenError(_with_port_option(str(error)))
            if isinstance(error, SpinneyError):
                return _failed(reporter, error)
            raise
        logging.getLogger("spinney").warning("after the job was done", exc_info=True)
        code = DONE
    if reporter.lost is not None and not isinstance(reporter.lost, BrokenPipeError):
        raise SpinneyError(f"cannot write the output: {reporter.lost.strerror}")
    return DONE if code == INTERRUPTED and ready() else code


def _with_port_option(text: str) -> str:
    """The sentence of a taken port, with the option that chooses another."""
    if "--port" in text:
        return text
    if "choose another port" in text:
        return text.replace("choose another port", "choose another with --port")
    return f"{text.rstrip('.')}; choose another with --port, or leave it out"


def _failed(reporter: Reporter, error: SpinneyError) -> int:
    """One sentence on stderr; for a program the `error` event as well, if none was sent."""
    if isinstance(reporter, JsonLines):
        if not reporter.failed:
            reporter.heard(Error(time.time(), "", error.kind, str(error)))
            reporter.finish()
        if reporter.on_stderr and not isinstance(error, UsageError):
            return FAILED  # stderr is for programs here, and has the sentence
    raise error


class _Stops:
    """What SIGINT and SIGTERM do.  Python's own handlers, not the loop's: they hold until the
    program ends, so that there is no moment in which a signal would undo what was done."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Future[int] | None = None

    async def until_stopped(self, work: Coroutine[Any, Any, int]) -> int:
        """The code of `work`, or `INTERRUPTED`."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._heard)
        try:
            return await self._task
        except asyncio.CancelledError:
            if self._count:
                return INTERRUPTED
            raise
        finally:
            self._loop = None

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), SHOW_CURSOR.encode() + b"\n")
            os._exit(DONE if self._ready() else INTERRUPTED)
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
