"""What the command prints, written by a thread: a reader that stops holds nothing up."""

from __future__ import annotations

import threading
from collections import deque
from typing import IO

from spinney.cli.stdout import write_all

MOST_WAITING = 1000
"""Lines that wait for a slow reader; of those that may be dropped, none is added beyond."""
MOST_WAITING_AT_ALL = 4000
MOST_FRAMES_WAITING = 4
"""Of a progress line: a terminal that was held shows what is, not what was."""
PATIENCE_S = 5.0
"""At the end, a reader that takes nothing for so long is left."""
LAST_WRITE_S = 1.0
"""For a write under way to end once it is not wanted; one to a terminal that is held never does."""


class Lines:
    """Writes texts in order, never blocking the caller.  `stream`: where `put` writes.

    One thread writes to all streams, so that what goes to a terminal by stdout and by stderr
    keeps its order.  `lost` is the first error of writing to `stream`; nothing is written to a
    stream after its first error.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.lost: OSError | None = None
        self._stream = stream
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._written = 0
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._broken: set[int] = set()
        self._descriptor = descriptor_of(stream)

    def put(self, line: str, *, droppable: bool = False) -> None:
        """`droppable`: left out while the reader is far behind; a newer one says as much."""
        most = MOST_WAITING if droppable else MOST_WAITING_AT_ALL
        self.write(line + "\n", self._stream, most=most)

    def write(self, text: str, stream: IO[str], *, most: int = MOST_WAITING_AT_ALL) -> bool:
        """Any text to any stream; left out while `most` texts wait, and then False."""
        descriptor = descriptor_of(stream)
        if descriptor is None:  # in memory: no thread is needed
            stream.write(text)
            stream.flush()
            return True
        data = text.encode(getattr(stream, "encoding", None) or "utf-8", "backslashreplace")
        with self._changed:
            if descriptor in self._broken or self._stop.is_set() or len(self._waiting) >= most:
                return False
            self._waiting.append((descriptor, data))
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="lines", daemon=True)
            self._thread.start()
        return True

    def finish(self, patience_s: float = PATIENCE_S) -> None:
        """Waits until all is written, or until the reader has taken nothing for so long."""
        with self._changed:
            while self._waiting and not self._stop.is_set():
                before = self._written
                self._changed.wait_for(
                    lambda before=before: self._written != before,  # type: ignore[misc]
                    patience_s,
                )
                if self._written == before:
                    self._stop.set()
                    break
        if self._stop.is_set() and self._thread is not None:
            # A terminal may say that it takes something and then block for want of room.
            self._thread.join(LAST_WRITE_S)

    def _write(self) -> None:
        while not self._stop.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                descriptor, data = self._waiting[0]
            try:
                if descriptor not in self._broken:
                    write_all(descriptor, memoryview(data), self._stop)
            except OSError as error:
                self._broken.add(descriptor)
                if descriptor == self._descriptor:
                    self.lost = error
            with self._changed:
                self._waiting.popleft()
                self._written += 1
                self._changed.notify_all()


def descriptor_of(stream: IO[str]) -> int | None:
    """None for a stream in memory."""
    try:
        return stream.fileno()
    except OSError:
        return None


class Behind:
    """A stream for `rich` that writes to `stream` by `lines`: a frame a flush.

    Frames are left out while `lines` cannot get rid of them, unless `keep` is set.
    """

    def __init__(self, lines: Lines, stream: IO[str]) -> None:
        self.keep = False
        self._lines = lines
        self._stream = stream
        self._parts: list[str] = []

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        text, self._parts = "".join(self._parts), []
        if text:
            most = MOST_WAITING_AT_ALL if self.keep else MOST_FRAMES_WAITING
            self._lines.write(text, self._stream, most=most)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
