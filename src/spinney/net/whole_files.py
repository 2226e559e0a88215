"""Small files that are read whole and replaced whole, over a host's `Storage`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from spinney.errors import InputError, StorageError
from spinney.net.host import Storage


def read(storage: Storage, path: str, most_bytes: int) -> bytes:
    """The file's content.

    Raises `InputError`: a device, a pipe, or more than `most_bytes`; `NotFoundError` or another
    `StorageError`.
    """
    info = storage.info(path, follow=True)
    if info is not None and info.kind not in ("file", "folder"):
        raise InputError(f"{path} is not a file")  # a device has no size, and no end
    file = storage.open(path, "read")
    try:
        size = file.size()
        if size > most_bytes:
            raise InputError(f"{path} has {size} bytes, more than {most_bytes}")
        return file.read(0, size)
    finally:
        file.close()


def replace(storage: Storage, path: str, parts: Sequence[bytes]) -> None:
    """The whole new file or the old one, whatever happens meanwhile (S5); `path`.new is ours.

    When it returns the new one survives a power cut.  Raises `StorageError`; a full disk is not
    left with a useless rest.
    """
    fresh = path + ".new"
    file = storage.open(fresh, "create")
    try:
        try:
            file.truncate(0)
            file.write(0, parts)
            file.sync()
        finally:
            file.close()
        storage.rename(fresh, path)
    except StorageError:
        with suppress(StorageError):
            storage.remove(fresh)
        raise
    storage.sync_folder(_above(path))


def make_folder(storage: Storage, folder: str) -> None:
    """The folder and those above it, so that they survive a power cut: the name of each new one
    is in its parent.  Raises `StorageError`."""
    fresh, at = [], folder
    while at not in ("/", ".") and storage.info(at, follow=True) is None:
        at = _above(at)
        fresh.append(at)
    storage.make_folders(folder)
    for parent in reversed(fresh):
        storage.sync_folder(parent)


def _above(path: str) -> str:
    return path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")
