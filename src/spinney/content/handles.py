"""`Handles`: a bounded number of open files, the least recently used closed first.

Used by one job at a time (the writer has one, the reader another), so it needs no lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from spinney.net.host import File

MAX_OPEN_FILES = 64
"""Well below the usual limit of 1,024 descriptors, sockets included."""


class Handles:
    """Open files by number; `opener` opens one that is not open yet."""

    def __init__(self, opener: Callable[[int], File]) -> None:
        self._opener = opener
        self._open: OrderedDict[int, File] = OrderedDict()

    def get(self, number: int) -> File:
        file = self._open.get(number)
        if file is None:
            while len(self._open) >= MAX_OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            file = self._open[number] = self._opener(number)
        else:
            self._open.move_to_end(number)
        return file

    def peek(self, number: int) -> File | None:
        """The file if it is open; from any thread."""
        return self._open.get(number)

    def drop(self, number: int) -> None:
        file = self._open.pop(number, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()
