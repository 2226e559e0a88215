"""`File` on a descriptor of the system: by `pread` and `pwrite`, or by seeking under a lock."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
from collections.abc import Sequence

from spinney.errors import StorageError
from spinney.net.host import Buffer
from spinney.net.live.disk_errors import in_our_words, storage_error

BUFFERS_AT_ONCE = 1_000
"""`pwritev` takes at most IOV_MAX = 1,024."""


class LiveFile:
    """An open file.  Calls may come from several threads; each names its offset."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path
        self._is_block = stat.S_ISBLK(os.fstat(descriptor).st_mode)

    def __del__(self) -> None:
        self.close()

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        with in_our_words(self._path):
            while done < len(view):
                got = self._read_some(offset + done, view[done:])
                if got == 0:
                    break
                done += got
        return done

    def read(self, offset: int, length: int) -> bytes:
        buffer = bytearray(length)
        got = self.read_into(offset, buffer)
        return bytes(buffer) if got == length else bytes(memoryview(buffer)[:got])

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        with in_our_words(self._path):
            for at in range(0, len(buffers), BUFFERS_AT_ONCE):
                offset = self._write_all(offset, buffers[at : at + BUFFERS_AT_ONCE])

    def _write_all(self, offset: int, buffers: Sequence[Buffer]) -> int:
        """Writes them whole, however little the system takes at a time; returns the end."""
        views = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
        while views:
            taken = self._write_some(offset, views)
            offset += taken
            while views and taken >= len(views[0]):
                taken -= len(views.pop(0))
            if taken:
                views[0] = views[0][taken:]
        return offset

    def _read_some(self, offset: int, view: memoryview) -> int:
        return os.preadv(self._descriptor, [view], offset)

    def _write_some(self, offset: int, views: Sequence[memoryview]) -> int:
        return os.pwritev(self._descriptor, views, offset)

    def sync(self) -> None:
        with in_our_words(self._path):
            if sys.platform == "darwin":
                import fcntl

                fcntl.fcntl(self._descriptor, fcntl.F_FULLFSYNC)  # fsync stops at the cache
            elif hasattr(os, "fdatasync"):
                os.fdatasync(self._descriptor)
            else:
                os.fsync(self._descriptor)

    def size(self) -> int:
        with in_our_words(self._path):
            if self._is_block:
                return os.lseek(self._descriptor, 0, os.SEEK_END)
            return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        if self._is_block:
            self._fits_device(size)
            return
        with in_our_words(self._path):
            os.ftruncate(self._descriptor, size)

    def allocate(self, size: int) -> None:
        """Where the file system cannot reserve room, the file only gets its size."""
        if self._is_block:
            self._fits_device(size)
            return
        if size == 0:
            return
        with in_our_words(self._path):
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._descriptor, 0, size)
            elif os.fstat(self._descriptor).st_size < size:
                os.ftruncate(self._descriptor, size)

    def _fits_device(self, size: int) -> None:
        room = self.size()
        if size > room:
            raise storage_error(OSError(28, ""), f"{size:,} bytes on {self._path} ({room:,})")

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class PlainFile(LiveFile):
    """The same by seek, read and write: for systems without `pread` and `pwrite`."""

    def __init__(self, descriptor: int, path: str) -> None:
        super().__init__(descriptor, path)
        self._turn = threading.Lock()

    def _read_some(self, offset: int, view: memoryview) -> int:
        with self._turn:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            data = os.read(self._descriptor, len(view))
        view[: len(data)] = data
        return len(data)

    def _write_some(self, offset: int, views: Sequence[memoryview]) -> int:
        with self._turn:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.write(self._descriptor, views[0])

    def size(self) -> int:
        with self._turn:
            return super().size()


def check_kind(descriptor: int, path: str, *, regular_only: bool) -> None:
    """Refuses what cannot be read by offset: folders, pipes, sockets, terminals."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise StorageError(f"{path} is a folder")
    if regular_only or not (stat.S_ISBLK(mode) or stat.S_ISCHR(mode)):
        raise StorageError(f"{path} is not a file")
