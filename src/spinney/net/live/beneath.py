"""Opening paths that strangers named: never through a symbolic link, never out of the folder.

Where the system can open relative to an open folder, the walk holds each folder open, so that
nobody can swap one for a link meanwhile.  Elsewhere each part is looked at first, which
leaves a moment in between (docs/decisions/live-host.md).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from spinney.errors import UnsafeNameError
from spinney.net.live.plain import plain_io

_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)


def safe_parts(path: str) -> list[str]:
    """The parts of a relative path; `UnsafeNameError` if one leads elsewhere."""
    parts = path.split("/")
    for part in parts:
        if part in ("", ".", "..") or "\0" in part or (os.sep != "/" and os.sep in part):
            raise UnsafeNameError(f"{path!r} does not name something beneath a folder")
    return parts


def can_walk() -> bool:
    return os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW") and not plain_io()


def open_beneath(folder: str, path: str, flags: int, mode: int) -> int:
    """A descriptor of `path` under `folder`; raises `OSError` or `UnsafeNameError`."""
    parts = safe_parts(path)
    if not can_walk():
        target = _look_first(folder, parts)
        return os.open(target, flags | _FLAGS, mode)
    at = _walk(folder, parts[:-1], path, make=False)
    try:
        return _open_part(parts[-1], flags, mode, at, path)
    finally:
        os.close(at)


def make_folders_beneath(folder: str, path: str) -> None:
    """Makes `folder/path` and what is above it, down from `folder`, which exists."""
    parts = safe_parts(path)
    if can_walk():
        os.close(_walk(folder, parts, path, make=True))
        return
    for count in range(1, len(parts) + 1):
        target = _look_first(folder, parts[:count])
        if not os.path.isdir(target):
            os.mkdir(target)


def _walk(folder: str, parts: list[str], path: str, *, make: bool) -> int:
    """An open descriptor of the folder that `parts` lead to; the caller closes it."""
    at = os.open(folder, _FOLDER)
    for part in parts:
        below = at
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=at)
            below = _open_part(part, _FOLDER, 0, at, path)
        finally:
            os.close(at)
        at = below
    return at


def _open_part(part: str, flags: int, mode: int, at: int, path: str) -> int:
    try:
        return os.open(part, flags | _FLAGS, mode, dir_fd=at)
    except OSError as error:
        # A link gives ELOOP, or ENOTDIR where a folder was asked for; EEXIST if exclusive.
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK, errno.EEXIST):
            try:
                found = os.stat(part, dir_fd=at, follow_symlinks=False)
            except OSError:
                raise error from None
            if stat.S_ISLNK(found.st_mode):
                raise _is_link(path) from None
        raise


def _look_first(folder: str, parts: list[str]) -> str:
    target = folder
    for part in parts:
        target = os.path.join(target, part)
        if os.path.islink(target):
            raise _is_link("/".join(parts))
    return target


def _is_link(path: str) -> UnsafeNameError:
    return UnsafeNameError(f"a part of {path!r} is a symbolic link, which is not followed")
