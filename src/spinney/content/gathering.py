"""What a path holds that can be shared: its files, in a torrent's canonical order.

What is shared is what the path names, and nothing is followed out of it:

    a file              shared under its name
    a folder            all files below it, hidden ones too, sorted by the bytes of their names;
                        empty files are shared, empty folders are not (torrents cannot say them)
    the path itself     may be a symbolic link: the user typed it
    a link below it     refused: it would share what nobody named
    a block device      shared as one file of its size, if the path itself is one
    another device, a socket, a device in a folder: refused
"""

from __future__ import annotations

from dataclasses import dataclass

from spinney.errors import ChangedFileError, NotFoundError, UsageError
from spinney.net.host import FileInfo, Storage

MAX_FILES = 250_000
"""More do not fit a torrent of 10 MB."""
MAX_FOLDER_DEPTH = 99


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to be shared; `below` are the parts of its path below the gathered folder (none
    for a single file), `info` what the system said when it was found."""

    path: str
    below: tuple[bytes, ...]
    info: FileInfo


@dataclass(frozen=True, slots=True)
class Gathered:
    """`root` is the folder, or the single file itself."""

    root: str
    single: bool
    files: tuple[FoundFile, ...]

    @property
    def total_bytes(self) -> int:
        return sum(found.info.size_bytes for found in self.files)


def gather(storage: Storage, path: str) -> Gathered:
    """Blocks.  Raises `NotFoundError`, another `StorageError`, or `UsageError` for what cannot
    be shared."""
    info = storage.info(path, follow=True)
    if info is None:
        raise NotFoundError(f"no such file or folder: {path}")
    if info.kind in ("file", "block"):
        found = [FoundFile(path, (), info)]
    elif info.kind == "folder":
        found = _below(storage, path.rstrip("/") or "/")
    else:
        raise UsageError(f"{path} is neither a file nor a folder")
    gathered = Gathered(path, info.kind in ("file", "block"), tuple(found))
    if not gathered.total_bytes:
        raise UsageError(f"{path} holds no bytes that could be shared")
    return gathered


def _below(storage: Storage, root: str) -> list[FoundFile]:
    """Depth first, so that the order is that of BEP 52's file tree."""
    found: list[FoundFile] = []
    stack: list[tuple[str, tuple[bytes, ...]]] = [(root, ())]
    while stack:
        path, below = stack.pop()
        info = storage.info(path, follow=not below)
        if info is None:
            raise ChangedFileError(f"{path} vanished while its folder was read")
        if info.kind == "folder":
            if len(below) > MAX_FOLDER_DEPTH:
                raise UsageError(f"{path} is more than {MAX_FOLDER_DEPTH} folders deep")
            names = [(_bytes(name, path), name) for name in storage.list_folder(path)]
            stack += [
                (f"{path}/{name}", (*below, raw)) for raw, name in sorted(names, reverse=True)
            ]
        elif info.kind == "file":
            found.append(FoundFile(path, below, info))
            if len(found) > MAX_FILES:
                raise UsageError(f"{root} holds more than {MAX_FILES} files")
        else:
            kind = "a symbolic link" if info.kind == "link" else "no file or folder"
            raise UsageError(f"{path} is {kind}: move it away, or share what it leads to")
    return found


def _bytes(name: str, folder: str) -> bytes:
    try:
        return name.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"a name in {folder} is no UTF-8: {name!r}; rename it") from None


def check_unchanged(storage: Storage, gathered: Gathered) -> None:
    """Blocks.  `ChangedFileError` if a file is not what it was when it was gathered."""
    for found in gathered.files:
        now = storage.info(found.path, follow=gathered.single)
        if now != found.info:
            raise ChangedFileError(f"{found.path} changed while it was read: share it again")
