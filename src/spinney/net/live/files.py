"""`File` on a descriptor of the system: by `pread` and `pwrite`, or by seeking under a lock."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import threading
from collections.abc import Sequence

from spinney.errors import StorageError
from spinney.net.host import Buffer
from spinney.net.live.disk_errors import storage_error
from spinney.net.live.resident import read_resident

BUFFERS_AT_ONCE = 1_000
"""`pwritev` takes at most IOV_MAX = 1,024."""


class LiveFile:
    """An open file.  Calls may come from several threads; each names its offset.

    The descriptor is given back when the last call that uses it has returned: the system
    gives the same number to the next file that anybody opens, and a worker that still writes
    to a file closed meanwhile would write into that one.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self._path = path
        self._is_block = stat.S_ISBLK(os.fstat(descriptor).st_mode)
        self._guard = threading.Lock()
        self._users = 0
        self._closed = False
        self._descriptor = descriptor

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.close()

    def __enter__(self) -> int:
        """The descriptor, for one call (`with self`): a generator would cost 3 µs more."""
        with self._guard:
            if self._closed:
                raise StorageError(f"{self._path} is closed")
            self._users += 1
        return self._descriptor

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with self._guard:
            self._users -= 1
            is_last = self._closed and not self._users
        if is_last:
            self._give_back()
        if isinstance(error, (OSError, ValueError)):
            raise storage_error(error, self._path) from error

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        with self as descriptor:
            while done < len(view):
                got = self._read_some(descriptor, offset + done, view[done:])
                if got == 0:
                    break
                done += got
        return done

    def read_resident(self, offset: int, buffer: bytearray | memoryview) -> int:
        with self as descriptor:
            return read_resident(descriptor, buffer, offset)

    def read(self, offset: int, length: int) -> bytes:
        buffer = bytearray(length)
        got = self.read_into(offset, buffer)
        return bytes(buffer) if got == length else bytes(memoryview(buffer)[:got])

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        with self as descriptor:
            for at in range(0, len(buffers), BUFFERS_AT_ONCE):
                offset = self._write_all(descriptor, offset, buffers[at : at + BUFFERS_AT_ONCE])

    def _write_all(self, descriptor: int, offset: int, buffers: Sequence[Buffer]) -> int:
        """Writes them whole, however little the system takes at a time; returns the end."""
        views = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
        while views:
            taken = self._write_some(descriptor, offset, views)
            offset += taken
            while views and taken >= len(views[0]):
                taken -= len(views.pop(0))
            if taken:
                views[0] = views[0][taken:]
        return offset

    def _read_some(self, descriptor: int, offset: int, view: memoryview) -> int:
        return os.preadv(descriptor, [view], offset)

    def _write_some(self, descriptor: int, offset: int, views: Sequence[memoryview]) -> int:
        return os.pwritev(descriptor, views, offset)

    def sync(self) -> None:
        with self as descriptor:
            if sys.platform == "darwin":
                import fcntl

                fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync stops at the cache
            elif hasattr(os, "fdatasync"):
                os.fdatasync(descriptor)
            else:
                os.fsync(descriptor)

    def size(self) -> int:
        with self as descriptor:
            if self._is_block:
                return os.lseek(descriptor, 0, os.SEEK_END)
            return os.fstat(descriptor).st_size

    def truncate(self, size: int) -> None:
        if self._is_block:
            self._fits_device(size)
            return
        with self as descriptor:
            os.ftruncate(descriptor, size)

    def allocate(self, size: int) -> None:
        """Where the file system cannot reserve room, the file only gets its size."""
        if self._is_block:
            self._fits_device(size)
            return
        if size == 0:
            return
        with self as descriptor:
            if not _reserve(descriptor, size) and os.fstat(descriptor).st_size < size:
                os.ftruncate(descriptor, size)

    def _fits_device(self, size: int) -> None:
        room = self.size()
        if size > room:
            raise storage_error(OSError(28, ""), f"{size:,} bytes on {self._path} ({room:,})")

    def close(self) -> None:
        with self._guard:
            if self._closed:
                return
            self._closed = True
            is_last = not self._users
        if is_last:
            self._give_back()

    def _give_back(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def _reserve(descriptor: int, size: int) -> bool:
    """False where the system or the file system cannot reserve room."""
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return False
        raise
    return True


class PlainFile(LiveFile):
    """The same by seek, read and write: for systems without `pread` and `pwrite`."""

    def __init__(self, descriptor: int, path: str) -> None:
        super().__init__(descriptor, path)
        self._turn = threading.Lock()

    def _read_some(self, descriptor: int, offset: int, view: memoryview) -> int:
        with self._turn:
            os.lseek(descriptor, offset, os.SEEK_SET)
            data = os.read(descriptor, len(view))
        view[: len(data)] = data
        return len(data)

    def _write_some(self, descriptor: int, offset: int, views: Sequence[memoryview]) -> int:
        with self._turn:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.write(descriptor, views[0])

    def read_resident(self, offset: int, buffer: bytearray | memoryview) -> int:
        with self:
            return 0

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
