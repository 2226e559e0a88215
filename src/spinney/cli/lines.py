"""Lines for a program, written by a thread: a reader that stops holds nothing up."""

from __future__ import annotations

import threading
from collections import deque
from typing import IO

from spinney.cli.stdout import write_all

MOST_WAITING = 1000
"""Lines that wait for a slow reader; of those that may be dropped, none is added beyond."""
MOST_WAITING_AT_ALL = 4000
PATIENCE_S = 5.0
"""At the end, a reader that takes nothing for so long is left."""


class Lines:
    """Writes lines to `stream` in order, never blocking the caller.

    `lost` is the first error of writing; nothing is written after it.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.lost: OSError | None = None
        self._stream = stream
        self._waiting: deque[bytes] = deque()
        self._written = 0
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            self._descriptor: int | None = stream.fileno()
        except OSError:
            self._descriptor = None  # in memory: no thread is needed

    def put(self, line: str, *, droppable: bool = False) -> None:
        """`droppable`: left out while the reader is far behind; a newer one says as much."""
        if self._descriptor is None:
            self._stream.write(line + "\n")
            self._stream.flush()
            return
        with self._changed:
            most = MOST_WAITING if droppable else MOST_WAITING_AT_ALL
            if self.lost is not None or self._stop.is_set() or len(self._waiting) >= most:
                return
            self._waiting.append(line.encode() + b"\n")
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="lines", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Waits until all is written, or until the reader has taken nothing for a while."""
        with self._changed:
            while self._waiting:
                before = self._written
                self._changed.wait_for(
                    lambda before=before: self._written != before,  # type: ignore[misc]
                    PATIENCE_S,
                )
                if self._written == before:
                    self._stop.set()
                    break
        if self._stop.is_set() and self._thread is not None:
            self._thread.join()

    def _write(self) -> None:
        assert self._descriptor is not None
        while not self._stop.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                line = self._waiting[0]
            try:
                write_all(self._descriptor, memoryview(line), self._stop)
            except OSError as error:
                self.lost = error
            with self._changed:
                self._waiting.popleft()
                if self.lost is not None:
                    self._waiting.clear()
                self._written += 1
                self._changed.notify_all()
