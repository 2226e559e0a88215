"""Simulated storage: a disk in memory that can be full, lose power, and tear writes."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from spinney.errors import (
    DiskFullError,
    NotFoundError,
    NotWritableError,
    StorageError,
    UnsafeNameError,
)
from spinney.net.host import Buffer, FileInfo, OpenMode
from spinney.sim.blocks import Blocks

if TYPE_CHECKING:
    from spinney.sim.host import SimHost
    from spinney.sim.world import World

UNBOUNDED_BYTES = 1 << 50
WORKING_FOLDER = "/home"
LONGEST_NAME_BYTES = 255


class NoFolderError(StorageError):
    """A part of a path above its end is a file."""


def _check_names(path: str) -> None:
    """What no file system takes: nothing, a NUL, half a character, a very long name."""
    if not path or "\0" in path:
        raise StorageError(f"{path!r} names no file")
    try:
        longest = max(len(part.encode()) for part in path.split("/"))
    except UnicodeEncodeError:
        raise StorageError(f"{path!r} is no text that a file can be named by") from None
    if longest > LONGEST_NAME_BYTES:
        raise StorageError(f"a name in {path[:40]!r}… has {longest} bytes, 255 are the most")


class Inode:
    """A file, folder or link on the disk; `names` of a folder are volatile until synced."""

    __slots__ = (
        "blocks",
        "durable_names",
        "kind",
        "locked",
        "modified_ns",
        "names",
        "number",
        "read_only",
        "target",
    )

    def __init__(self, kind: str, number: int) -> None:
        self.kind = kind
        self.number = number
        self.blocks = Blocks()
        self.names: dict[str, Inode] = {}
        self.durable_names: dict[str, Inode] = {}
        self.target = ""
        self.modified_ns = 0
        self.read_only = False
        self.locked = False


class Disk:
    """What a machine keeps when it is switched off.

    `free_bytes` None: no bound.  `crash_at(k)` makes the machine lose power in the middle of
    the k-th operation from now that changes the disk.
    """

    def __init__(self, world: World, name: str, capacity_bytes: int | None) -> None:
        self.world = world
        self.name = name
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self.operations = 0
        self.power_cuts = 0
        self.crash_operation: int | None = None
        self._numbers = 1
        self.root = Inode("folder", 1)
        self.reachable: list[Inode] = [self.root]
        self.make_path(WORKING_FOLDER)

    def new(self, kind: str) -> Inode:
        self._numbers += 1
        inode = Inode(kind, self._numbers)
        inode.modified_ns = self.now_ns()
        return inode

    def now_ns(self) -> int:
        return int((self.world.wall_start_s + self.world.loop.now) * 1e9)

    def make_path(self, path: str) -> None:
        """Makes folders that survive, outside of any program (for setting a scene)."""
        place = self.root
        for part in path.strip("/").split("/"):
            if part not in place.names:
                place.names[part] = place.durable_names[part] = self.new("folder")
            place = place.names[part]

    def crash_at(self, operation: int) -> None:
        """Loses power in the middle of the `operation`-th change from now (1: the next)."""
        self.crash_operation = self.operations + operation

    def due(self) -> bool:
        """Counts one operation; True if the machine loses power during it."""
        self.operations += 1
        return self.crash_operation is not None and self.operations >= self.crash_operation

    def lose_power(self) -> None:
        """Forgets, keeps or tears what was not synced, as the seed decides."""
        self.power_cuts += 1
        self.crash_operation = None
        rng = self.world.rng_for(f"power cut {self.power_cuts} of {self.name}")
        self._settle(self.root, rng)
        self.used_bytes = self._count(self.root)

    def sync_all(self) -> None:
        """An orderly end: everything is safe, and no program holds a lock."""
        self._sync(self.root)

    def _sync(self, folder: Inode) -> None:
        folder.durable_names = dict(folder.names)
        for inode in folder.names.values():
            inode.locked = False
            if inode.kind == "folder":
                self._sync(inode)
            else:
                inode.blocks.sync()

    def _settle(self, folder: Inode, rng: Random) -> None:
        """Names: each change since the last sync of the folder happened or did not, in order.

        A journal keeps their order, so some first part of the changes survived.
        """
        if folder.names != folder.durable_names:
            folder.names = dict(_some(folder, rng))
            folder.durable_names = dict(folder.names)
        for inode in folder.names.values():
            inode.locked = False
            if inode.kind == "folder":
                self._settle(inode, rng)
            else:
                inode.blocks.lose_power(rng)

    def _count(self, folder: Inode) -> int:
        total = 0
        for inode in folder.names.values():
            total += self._count(inode) if inode.kind == "folder" else inode.blocks.held_bytes
        return total


def _some(folder: Inode, rng: Random) -> dict[str, Inode]:
    """The folder's names after a power cut: for each changed name the old or the new entry."""
    kept = dict(folder.durable_names)
    for name in sorted({*folder.names, *folder.durable_names}):
        new = folder.names.get(name)
        if new is not folder.durable_names.get(name) and rng.random() < 0.5:
            if new is None:
                kept.pop(name)
            else:
                kept[name] = new
    return kept


class SimFile:
    """An open file of a simulated host (rules of `File`)."""

    def __init__(self, storage: SimStorage, inode: Inode, path: str, writable: bool) -> None:
        self._storage = storage
        self._inode = inode
        self._path = path
        self._writable = writable
        self._open = True
        self.holds_lock = False

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> int:
        self._check()
        return self._inode.blocks.read_into(offset, memoryview(buffer).cast("B"))

    def read_resident(self, offset: int, buffer: bytearray | memoryview) -> int:
        self._check()
        return 0  # a simulated disk keeps nothing in memory

    def read(self, offset: int, length: int) -> bytes:
        self._check()
        length = max(0, min(length, self._inode.blocks.size - offset))
        room = bytearray(length)
        self._inode.blocks.read_into(offset, memoryview(room))
        return bytes(room)

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        self._check_writable()
        torn = self._storage.begin()
        disk = self._storage.disk
        blocks = self._inode.blocks
        for buffer in buffers:
            data = buffer if isinstance(buffer, bytes) else bytes(buffer)
            need = blocks.new_bytes(offset, len(data))
            if disk.capacity_bytes is not None and disk.used_bytes + need > disk.capacity_bytes:
                raise DiskFullError(f"no room left on the disk for {self._path}")
            disk.used_bytes += need
            blocks.write(offset, data)
            offset += len(data)
        self._inode.modified_ns = disk.now_ns()
        self._storage.end(torn)

    def sync(self) -> None:
        self._check()
        torn = self._storage.begin()
        if torn:
            self._storage.end(torn)
        self._inode.blocks.sync()

    def size(self) -> int:
        self._check()
        return self._inode.blocks.size

    def truncate(self, size: int) -> None:
        self._check_writable()
        torn = self._storage.begin()
        self._storage.disk.used_bytes -= self._inode.blocks.truncate(size)
        self._storage.end(torn)

    def allocate(self, size: int) -> None:
        self._check_writable()
        torn = self._storage.begin()
        disk = self._storage.disk
        need = self._inode.blocks.reservation(size)
        if disk.capacity_bytes is not None and disk.used_bytes + need > disk.capacity_bytes:
            raise DiskFullError(f"no room left on the disk for {size} bytes of {self._path}")
        disk.used_bytes += need
        self._inode.blocks.allocate(size)
        self._storage.end(torn)

    def close(self) -> None:
        if self._open and self.holds_lock:
            self._inode.locked = False
        self._open = False

    def _check(self) -> None:
        self._storage.must_be_up()
        if not self._open:
            raise StorageError(f"{self._path} is closed")

    def _check_writable(self) -> None:
        self._check()
        if not self._writable:
            raise NotWritableError(f"{self._path} was opened for reading")


class SimStorage:
    """The files of a simulated host during one life of it (rules of `Storage`)."""

    def __init__(self, host: SimHost, disk: Disk) -> None:
        self._host = host
        self.disk = disk
        self._on = True

    # --- power ------------------------------------------------------------------------

    def power_off(self) -> None:
        self._on = False

    def must_be_up(self) -> None:
        if not self._on:
            raise StorageError(f"the machine {self._host.name} is down")

    def begin(self) -> bool:
        """Counts an operation; True if power fails in the middle of it."""
        self.must_be_up()
        return self.disk.due()

    def end(self, torn: bool) -> None:
        if torn:
            self._host.crash()
            raise StorageError(f"the machine {self._host.name} lost power")

    # --- paths ------------------------------------------------------------------------

    def _walk(
        self,
        path: str,
        *,
        beneath: str | None,
        follow: bool = True,
        above: bool = True,
        links: int = 40,
    ) -> tuple[Inode, str, Inode | None]:
        """(folder, last name, what is there or None); `above`: the folder must be there."""
        self.must_be_up()
        if beneath is not None and any(part in ("", ".", "..") for part in path.split("/")):
            raise UnsafeNameError(f"{path!r} is no path beneath {beneath!r}", "beneath")
        _check_names(path)
        place = self.disk.root
        if beneath is not None:
            place = self._folder(beneath)
        elif not path.startswith("/"):
            path = f"{WORKING_FOLDER}/{path}"
        if beneath is None:
            path = posixpath.normpath(path)
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not parts:
            return place, ".", place
        for at, part in enumerate(parts):
            found = place.names.get(part)
            last = at == len(parts) - 1
            if found is not None and found.kind == "link":
                if beneath is not None:
                    raise UnsafeNameError(f"{part!r} in {path!r} is a symbolic link", "beneath")
                if not last or follow:
                    if not links:
                        raise StorageError(f"{path} has too many symbolic links")
                    rest = "/".join([found.target, *parts[at + 1 :]])
                    if not rest.startswith("/"):
                        rest = "/" + "/".join([*parts[:at], rest])
                    return self._walk(rest, beneath=None, follow=follow, links=links - 1)
            if last:
                return place, part, found
            if found is None:
                if not above:
                    return place, part, None
                raise NotFoundError(f"there is no folder {'/'.join(parts[: at + 1])}")
            if found.kind != "folder":
                raise NoFolderError(f"{'/'.join(parts[: at + 1])} is no folder")
            place = found
        raise AssertionError

    def _folder(self, path: str) -> Inode:
        _, _, found = self._walk(path, beneath=None)
        if found is None:
            raise NotFoundError(f"there is no folder {path}")
        if found.kind != "folder":
            raise StorageError(f"{path} is no folder")
        return found

    # --- the contract -----------------------------------------------------------------

    def open(self, path: str, mode: OpenMode, *, beneath: str | None = None) -> SimFile:
        folder, name, found = self._walk(path, beneath=beneath)
        if found is not None and found.kind == "folder":
            raise StorageError(f"{path} is a folder")
        if found is None:
            if mode in ("read", "write"):
                raise NotFoundError(f"there is no file {path}")
            if folder.read_only:
                raise NotWritableError(f"{path}: the folder is read-only")
            torn = self.begin()
            found = folder.names[name] = self.disk.new("file")
            self.end(torn)
        elif mode == "exclusive":
            raise StorageError(f"{path} exists already")
        if mode != "read" and found.read_only:
            raise NotWritableError(f"{path} is read-only")
        return SimFile(self, found, path, mode != "read")

    def make_folders(self, path: str, *, beneath: str | None = None) -> None:
        self._walk(path, beneath=beneath, above=False)
        parts = path.split("/")
        for at in range(len(parts)):
            some = "/".join(parts[: at + 1])
            if some in ("", "."):
                continue
            folder, name, found = self._walk(some, beneath=beneath)
            if found is None:
                if folder.read_only:
                    raise NotWritableError(f"{some}: the folder above is read-only")
                torn = self.begin()
                folder.names[name] = self.disk.new("folder")
                self.end(torn)
            elif found.kind != "folder":
                raise StorageError(f"{some} exists and is no folder")

    def list_folder(self, path: str) -> list[str]:
        return sorted(self._folder(path).names)

    def info(self, path: str, *, follow: bool = False) -> FileInfo | None:
        try:
            _, _, found = self._walk(path, beneath=None, follow=follow)
        except (NotFoundError, NoFolderError):
            return None
        if found is None:
            return None
        size = len(found.target) if found.kind == "link" else found.blocks.size
        return FileInfo(found.kind, size, found.modified_ns, (1, found.number))  # type: ignore[arg-type]

    def rename(self, old: str, new: str) -> None:
        from_folder, from_name, moved = self._walk(old, beneath=None, follow=False)
        if moved is None:
            raise NotFoundError(f"there is no file {old}")
        to_folder, to_name, replaced = self._walk(new, beneath=None, follow=False)
        if replaced is moved:
            return
        onto_folder = replaced is not None and replaced.kind == "folder"
        if onto_folder and (moved.kind != "folder" or (replaced and replaced.names)):
            raise StorageError(f"{new} is a folder")
        if from_folder.read_only or to_folder.read_only:
            raise NotWritableError(f"{new}: the folder is read-only")
        torn = self.begin()
        del from_folder.names[from_name]
        to_folder.names[to_name] = moved
        if replaced is not None:
            self.disk.used_bytes -= replaced.blocks.held_bytes
        self.end(torn)

    def remove(self, path: str) -> None:
        try:
            folder, name, found = self._walk(path, beneath=None, follow=False)
        except (NotFoundError, NoFolderError):
            return
        if found is None:
            return
        if found.kind == "folder":
            raise StorageError(f"{path} is a folder")
        if folder.read_only:
            raise NotWritableError(f"{path}: the folder is read-only")
        torn = self.begin()
        del folder.names[name]
        self.disk.used_bytes -= found.blocks.held_bytes
        self.end(torn)

    def remove_folder(self, path: str) -> None:
        folder, name, found = self._walk(path, beneath=None, follow=False)
        if found is None:
            return
        if found.kind != "folder" or found.names:
            raise StorageError(f"{path} is no folder, or not empty")
        torn = self.begin()
        del folder.names[name]
        self.end(torn)

    def free_bytes(self, path: str) -> int:
        self._folder(path)
        if self.disk.capacity_bytes is None:
            return UNBOUNDED_BYTES
        return max(0, self.disk.capacity_bytes - self.disk.used_bytes)

    def sync_folder(self, path: str) -> None:
        folder = self._folder(path)
        torn = self.begin()
        if torn:
            self.end(torn)
        folder.durable_names = dict(folder.names)

    def lock(self, path: str) -> SimFile:
        file = self.open(path, "create")
        _, _, inode = self._walk(path, beneath=None)
        assert inode is not None
        if inode.locked:
            raise StorageError(f"{path} is locked by another program")
        inode.locked = True
        file.holds_lock = True
        return file

    # --- for setting a scene ----------------------------------------------------------

    def make_link(self, path: str, target: str) -> None:
        """A symbolic link (rooms never make one: tests do)."""
        folder, name, found = self._walk(path, beneath=None, follow=False)
        assert found is None
        folder.names[name] = self.disk.new("link")
        folder.names[name].target = target

    def set_read_only(self, path: str, read_only: bool = True) -> None:
        _, _, found = self._walk(path, beneath=None)
        assert found is not None
        found.read_only = read_only
