"""The system's errors about files in our words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from spinney.errors import DiskFullError, NotFoundError, NotWritableError, StorageError

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def storage_error(error: OSError | ValueError, path: str) -> StorageError:
    """One sentence that says what is wrong with `path` and what to do."""
    if isinstance(error, ValueError):  # a NUL, or a character that the file system cannot name
        return StorageError(f"{path!r} cannot be the name of a file here")
    if error.errno == errno.EFBIG:
        return DiskFullError(
            f"no room for {path}: the file would be larger than this file system or the "
            "limit on file sizes (`ulimit -f`) allows"
        )
    if error.errno in _FULL:
        return DiskFullError(f"no room for {path}: free some space and run the command again")
    if error.errno == errno.EROFS:
        return NotWritableError(f"{path} is on a read-only file system")
    if error.errno in _READ_ONLY:
        return NotWritableError(f"no permission for {path}")
    if error.errno == errno.ENOENT:
        return NotFoundError(f"there is no {path}")
    if error.errno == errno.ENOTDIR:
        return StorageError(f"a part of {path} is a file, not a folder: choose another path")
    if error.errno == errno.EISDIR:
        return StorageError(f"{path} is a folder")
    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
        return StorageError(f"{path} exists already, or is a folder that is not empty")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StorageError(f"cannot open {path}: too many files are open (`ulimit -n`)")
    if error.errno == errno.EIO:
        return StorageError(f"the disk fails at {path}")
    return StorageError(f"{path}: {error.strerror or error}")


@contextmanager
def in_our_words(path: str) -> Iterator[None]:
    """Turns `OSError`, and names that no system call takes, into `StorageError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise storage_error(error, path) from error
