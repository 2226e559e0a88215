"""`PipeSink`: verified bytes in order to one reader (`-o - | zstd -d`), no copy on disk.

Pieces are fetched in order within a window; one that is verified early waits in memory until
its turn.  The reader's pace is the pace of the whole: `write` returns when it can take more.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from spinney.content.descriptor import Descriptor
from spinney.content.handles import Handles
from spinney.content.layout import Layout
from spinney.errors import DiskFullError, SpinneyError, StorageError
from spinney.net.host import File

if TYPE_CHECKING:
    from spinney.content.transfer import Transfer

Write = Callable[[memoryview], Awaitable[None]]
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Standard output may be a file on a disk that is full."""


class PipeSink:
    """The sink of standard output.  `write` takes the next bytes; it may raise `OSError`."""

    writable = True
    in_order = True

    def __init__(self, descriptor: Descriptor, write: Write) -> None:
        self.layout = Layout(descriptor)
        self.paths = ["-"]
        self._write = write

    async def put(self, data: memoryview) -> None:
        try:
            await self._write(data)
        except BrokenPipeError as error:
            raise StorageError("the reader of the output went away") from error
        except OSError as error:
            if error.errno in _FULL:
                raise DiskFullError("no room where the output goes") from error
            raise StorageError(f"cannot write the output: {error.strerror or error}") from error

    def read_into(self, offset: int, buffer: memoryview, handles: Handles | None = None) -> None:
        raise StorageError("what was written to a pipe cannot be served any more")

    def read_resident(self, offset: int, buffer: memoryview) -> bool:
        return False

    def handles(self) -> Handles:
        return Handles(_no_file)

    def existing(self, piece: int) -> bool:
        return False

    def open(self) -> None:
        """The reader is there already."""

    def close(self, *, done: bool) -> None:
        """The caller closes its own pipe."""

    def load(self) -> bytes | None:
        return None

    def save(self, record: bytes) -> None:
        """A pipe cannot be resumed."""

    def load_note(self) -> bytes | None:
        return None

    def note(self, note: bytes) -> None:
        """Nor is anything noted."""

    def stamps(self, files: Sequence[int]) -> list[tuple[int, int]]:
        return []

    def adopt(self, good: Sequence[bool]) -> None:
        """Nothing is in the way."""

    def free_bytes(self) -> int | None:
        return None

    def reserve(self, files: Sequence[int]) -> None:
        """No room is needed."""

    def write(self, offset: int, data: memoryview) -> None:
        raise AssertionError("a pipe takes pieces in order, through put")

    def finish(self, files: Sequence[int]) -> None:
        """A pipe has no names."""

    def sync(self, files: Sequence[int]) -> None:
        """What the reader has, it has."""

    def doubtful(self, offset: int, length: int) -> bool:
        return False


def _no_file(number: int) -> File:
    raise StorageError("a pipe has no files")


class Pouring:
    """Hands verified pieces to an in-order sink, each at its turn."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._ready: dict[int, memoryview] = {}
        self._task: asyncio.Task[None] | None = None
        self.next = 0
        """The piece whose turn it is: the window begins here."""

    @property
    def empty(self) -> bool:
        return not self._ready and (self._task is None or self._task.done())

    def add(self, piece: int, data: memoryview) -> None:
        """A verified piece; the view keeps its buffer alive until it is poured."""
        self._ready[piece] = data
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _skip(self) -> None:
        """Steps over pieces that are not wanted."""
        transfer = self._transfer
        while self.next < transfer.needed.size and not transfer.picker.priority[self.next]:
            self.next += 1

    async def _run(self) -> None:
        transfer = self._transfer
        self._skip()
        while transfer.failure is None and self.next in self._ready:
            data = self._ready[self.next]
            spans = transfer.sink.layout.spans(self.next * transfer.piece_length, len(data))
            try:
                for span in spans:
                    if transfer.selection.file_wanted(span.file):
                        await transfer.sink.put(data[span.at : span.at + span.length])
            except SpinneyError as error:
                transfer.fail(error)
                return
            del self._ready[self.next]
            data.release()
            self.next += 1
            self._skip()
            transfer.changed()
        if not self._ready:
            transfer.check_complete(poured=True)

    async def stop(self) -> None:
        """Ends, whatever the reader does."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        for data in self._ready.values():
            data.release()
        self._ready.clear()
