"""`Storage` on this machine's file systems.  Every call may block."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
from typing import Literal

from spinney.errors import StorageError
from spinney.net.host import File, FileInfo, OpenMode
from spinney.net.live.beneath import make_folders_beneath, open_beneath
from spinney.net.live.disk_errors import in_our_words, storage_error
from spinney.net.live.files import LiveFile, PlainFile, check_kind
from spinney.net.live.plain import plain_io

_ALWAYS = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    # Opening a pipe that nobody writes to would hang; files and disks do not care.
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
)
_MODES: dict[OpenMode, int] = {
    "read": os.O_RDONLY,
    "write": os.O_RDWR,
    "create": os.O_RDWR | os.O_CREAT,
    "exclusive": os.O_RDWR | os.O_CREAT | os.O_EXCL,
}


class LiveStorage:
    """Files and folders of the system, relative to the working folder."""

    def open(self, path: str, mode: OpenMode, *, beneath: str | None = None) -> File:
        flags = _MODES[mode] | _ALWAYS
        shown = path if beneath is None else f"{beneath}/{path}"
        with in_our_words(shown):
            if beneath is None:
                descriptor = os.open(path, flags, 0o666)
            else:
                descriptor = open_beneath(beneath, path, flags, 0o666)
            try:
                check_kind(descriptor, shown, regular_only=beneath is not None)
                return _file(descriptor, shown)
            except BaseException:
                os.close(descriptor)
                raise

    def make_folders(self, path: str, *, beneath: str | None = None) -> None:
        with in_our_words(path):
            if beneath is None:
                os.makedirs(path, exist_ok=True)
            else:
                make_folders_beneath(beneath, path)

    def list_folder(self, path: str) -> list[str]:
        with in_our_words(path):
            return sorted(os.listdir(path or "."))

    def info(self, path: str, *, follow: bool = False) -> FileInfo | None:
        try:
            with in_our_words(path):
                found = os.stat(path, follow_symlinks=follow)
                size = found.st_size
                if stat.S_ISBLK(found.st_mode):
                    size = _device_bytes(path)
        except StorageError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise
        return FileInfo(_kind(found.st_mode), size, found.st_mtime_ns, (found.st_dev, found.st_ino))

    def rename(self, old: str, new: str) -> None:
        with in_our_words(f"{old} as {new}"):
            os.replace(old, new)

    def remove(self, path: str) -> None:
        with in_our_words(path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def remove_folder(self, path: str) -> None:
        with in_our_words(path), contextlib.suppress(FileNotFoundError):
            os.rmdir(path)

    def free_bytes(self, path: str) -> int:
        with in_our_words(path):
            if hasattr(os, "statvfs"):
                found = os.statvfs(path)
                return found.f_bavail * found.f_frsize
            return shutil.disk_usage(path).free

    def sync_folder(self, path: str) -> None:
        if sys.platform == "win32":  # folders cannot be opened there, and need no sync on NTFS
            return
        with in_our_words(path):
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def lock(self, path: str) -> File:
        with in_our_words(path):
            descriptor = os.open(path, _MODES["create"] | _ALWAYS, 0o666)
            try:
                check_kind(descriptor, path, regular_only=True)
                _lock(descriptor, path)
                return _file(descriptor, path)
            except BaseException:
                os.close(descriptor)
                raise


def _file(descriptor: int, path: str) -> LiveFile:
    return PlainFile(descriptor, path) if plain_io() else LiveFile(descriptor, path)


def _kind(mode: int) -> Literal["file", "folder", "link", "block", "other"]:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISLNK(mode):
        return "link"
    return "block" if stat.S_ISBLK(mode) else "other"


def _device_bytes(path: str) -> int:
    """A block device's size; 0 without the right to open it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _ALWAYS)
    except OSError:
        return 0
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: str) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise StorageError(f"{path} is in use: another program holds its lock") from None
        raise storage_error(error, path) from error
