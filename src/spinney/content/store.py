"""`FolderStore`: verified pieces into files below an output folder.

A file is written as `NAME.part` and gets its own name when all its pieces are verified, so
that what bears its name is whole.  Beside the output lie hidden files while the transfer is not
done: the resume record, the note of what is not synced yet, the piece layers if they came from
peers, and the lock that keeps a second program out.  Every name is opened beneath the output
folder: no symbolic link is followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from spinney.content import layers
from spinney.content.descriptor import Descriptor
from spinney.content.handles import Handles
from spinney.content.layout import Layout
from spinney.content.resident import read_resident
from spinney.content.resume import LIMITS, MAX_NOTE_BYTES
from spinney.errors import (
    ChangedFileError,
    DiskFullError,
    NotFoundError,
    NotWritableError,
    StorageError,
    UnsafeNameError,
)
from spinney.net.host import File, FileInfo, Storage

PART_SUFFIX = ".part"
MAX_NAME_BYTES = 255
"""The longest name of one file that common file systems take."""


def fitted(name: str, suffix: str) -> str:
    """`name` + `suffix`, the name cut and marked with a hash if the whole would be too long."""
    if len((name + suffix).encode()) <= MAX_NAME_BYTES:
        return name + suffix
    mark = "~" + sha256(name.encode()).hexdigest()[:8]
    room = MAX_NAME_BYTES - len((mark + suffix).encode())
    return name.encode()[:room].decode(errors="ignore") + mark + suffix


def hidden(name: str, suffix: str) -> str:
    """The name of a hidden file beside `name`, with room for the `~` of its successor."""
    return fitted("." + name, suffix + "~")[:-1]


def part_names(finals: Sequence[str]) -> list[str]:
    """For each path the one it bears while it is incomplete; no two names are alike, also
    where capitals do not count."""
    taken = {final.casefold() for final in finals}
    rows: list[str] = []
    for final in finals:
        folder, slash, name = final.rpartition("/")
        suffix = PART_SUFFIX
        part = folder + slash + fitted(name, suffix)
        while part.casefold() in taken:
            suffix += "_"
            part = folder + slash + fitted(name, suffix)
        taken.add(part.casefold())
        rows.append(part)
    return rows


class FolderStore:
    """The sink of `-o FOLDER` (or of one file in it, with `single_name`).

    `preallocate` reserves the room at once (`DiskFullError` at the start, not in the middle).
    `overwrite`: a file that is in the way and is something else may be written over.
    """

    writable = True
    in_order = False

    def __init__(
        self,
        storage: Storage,
        descriptor: Descriptor,
        folder: str,
        *,
        single_name: str | None = None,
        preallocate: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.layout = Layout(descriptor)
        self.folder = folder
        self._storage = storage
        self._preallocate = preallocate
        self._overwrite = overwrite
        if single_name is not None and descriptor.single_file:
            self.finals = [single_name]
        else:
            self.finals = ["/".join(entry.path) for entry in descriptor.files]
        self._parts = part_names(self.finals)
        top = self.finals[0].partition("/")[0] if self.finals else descriptor.name
        self._record = hidden(top, ".spinney")
        self._note = hidden(top, ".spinney-note")
        self._layers = hidden(top, ".spinney-layers")
        self._lock_name = hidden(top, ".spinney-lock")
        self._lock: File | None = None
        self._place: list[str | None] = [None] * len(self.finals)
        self._stamps: list[tuple[int, int]] = [(-1, 0)] * len(self.finals)
        self._baseline: list[FileInfo | None] = [None] * len(self.finals)
        self._whole: set[int] = set()
        """Files that got their own name: such a one is never removed."""
        self._leftover: list[str] = []
        self._begun = False
        """Was this content begun here before (a record was found)?"""
        self._writer = Handles(self._open_for_writing)
        self._reader = Handles(self._open_for_reading)
        self.paths = [self._path(final) for final in self.finals]

    # -- names --------------------------------------------------------------------------

    def _path(self, relative: str) -> str:
        return f"{self.folder.rstrip('/')}/{relative}" if self.folder else relative

    def _info(self, relative: str) -> FileInfo | None:
        return self._storage.info(self._path(relative))

    # -- begin and end ------------------------------------------------------------------

    def open(self) -> None:
        try:
            self._storage.make_folders(self.folder)
            found = self._info(self._lock_name)
            if found is not None and found.kind != "file":
                raise UnsafeNameError(f"{self._path(self._lock_name)} is not a file: remove it")
            self._lock = self._take_lock()
        except NotWritableError as error:
            raise NotWritableError(
                f"cannot write in {self.folder}: choose another folder with -o, or change its "
                f"permissions ({error})"
            ) from error
        for number, final in enumerate(self.finals):
            self._find(number, final)

    def _take_lock(self) -> File:
        try:
            return self._storage.lock(self._path(self._lock_name))
        except (NotWritableError, DiskFullError):
            raise
        except NotFoundError as error:  # such as /proc: a folder that takes no new files
            raise NotWritableError(f"it takes no new files: {error}") from error
        except StorageError as error:
            raise StorageError(
                f"another program is writing {self._path(self.finals[0] if self.finals else '')}"
                ": wait for it, or choose another folder with -o"
            ) from error

    def _find(self, number: int, final: str) -> None:
        for name in (final, self._parts[number]):
            info = self._info(name)
            if info is None:
                continue
            if info.kind != "file":
                raise UnsafeNameError(f"{self._path(name)} is a {info.kind}, not a file: remove it")
            if self._place[number] is not None:  # a rename that a power cut tore in two
                self._leftover.append(name)
                continue
            self._place[number] = name
            self._stamps[number] = (info.size_bytes, info.modified_ns)

    def load(self) -> bytes | None:
        record = self._load(self._record, LIMITS.length_bytes)
        self._begun = record is not None
        return record

    def load_note(self) -> bytes | None:
        return self._load(self._note, MAX_NOTE_BYTES)

    def load_layers(self) -> bytes | None:
        """What `save_layers` kept; also before `open`."""
        if self._storage.info(self.folder) is None:
            return None
        return self._load(self._layers, layers.MAX_BYTES)

    def save_layers(self, data: bytes) -> None:
        """Piece layers that came from peers; once, and not synced: they can be asked for."""
        self._replace(self._layers, data, synced=False)

    def _load(self, name: str, limit_bytes: int) -> bytes | None:
        try:
            file = self._storage.open(name, "read", beneath=self.folder)
        except NotFoundError:
            return None
        try:
            return file.read(0, min(file.size(), limit_bytes))
        finally:
            file.close()

    def save(self, record: bytes) -> None:
        try:
            self._replace(self._record, record, synced=True)
        except DiskFullError:
            # An older record would make the next start forget what was verified since: with
            # none it checks everything.
            self._storage.remove(self._path(self._record + "~"))
            self._storage.remove(self._path(self._record))
            raise

    def note(self, note: bytes) -> None:
        try:
            self._replace(self._note, note, synced=False)
        except StorageError:
            self._storage.remove(self._path(self._note + "~"))  # on a full disk pieces go first
            raise

    def _replace(self, name: str, data: bytes, *, synced: bool) -> None:
        fresh = name + "~"
        file = self._storage.open(fresh, "create", beneath=self.folder)
        try:
            file.truncate(0)
            file.write(0, [data])
            if synced:
                file.sync()
        finally:
            file.close()
        self._storage.rename(self._path(fresh), self._path(name))
        if synced:
            self._storage.sync_folder(self.folder)

    def stamps(self, files: Sequence[int]) -> list[tuple[int, int]]:
        for number in files:
            info = self._info(self.finals[number]) or self._info(self._parts[number])
            stamp = (-1, 0) if info is None else (info.size_bytes, info.modified_ns)
            self._stamps[number] = stamp
        return list(self._stamps)

    def close(self, *, done: bool) -> None:
        self._writer.close()
        self._reader.close()
        if self._lock is None:
            return
        if done:
            for number, part in enumerate(self._parts):
                if self._place[number] != part:
                    continue
                if number in self._whole:
                    self._storage.rename(self._path(part), self._path(self.finals[number]))
                else:  # a file that was not wanted, in part
                    self._storage.remove(self._path(part))
            for name in self._leftover if self._begun else ():
                self._storage.remove(self._path(name))
            for name in (self._note, self._layers, self._record):
                self._storage.remove(self._path(name))
                self._storage.remove(self._path(name + "~"))
            self._storage.remove(self._path(self._lock_name))
        self._lock.close()
        self._lock = None

    # -- what is there ------------------------------------------------------------------

    def existing(self, piece: int) -> bool:
        offset = piece * self.layout.piece_length
        spans = self.layout.spans(offset, self.layout.piece_length)
        return all(self._stamps[span.file][0] > span.file_offset for span in spans)

    def adopt(self, good: Sequence[bool]) -> None:
        for number, ours in enumerate(good):
            size = self._stamps[number][0]
            if size > 0 and not ours and not self._overwrite:
                place = self._path(self._place[number] or "")
                raise NotWritableError(
                    f"{place} exists and is something else: move it away, or choose another "
                    "folder with -o"
                )

    # -- writing ------------------------------------------------------------------------

    def _open_for_writing(self, number: int) -> File:
        part, place = self._parts[number], self._place[number]
        folder = part.rpartition("/")[0]
        if place is None:
            if folder:
                self._storage.make_folders(folder, beneath=self.folder)
        elif place != part:
            self._storage.rename(self._path(place), self._path(part))
        self._place[number] = part
        self._baseline[number] = None
        file = self._storage.open(part, "create", beneath=self.folder)
        if place is None and self._preallocate:
            try:
                file.allocate(self.layout.files[number].length)
            except StorageError:
                file.close()
                raise
        return file

    def write(self, offset: int, data: memoryview) -> None:
        for span in self.layout.spans(offset, len(data)):
            file = self._writer.get(span.file)
            file.write(span.file_offset, [data[span.at : span.at + span.length]])

    def free_bytes(self) -> int | None:
        return None if self._preallocate else self._storage.free_bytes(self.folder)

    def reserve(self, files: Sequence[int]) -> None:
        """With `preallocate`, makes room for these files now."""
        if self._preallocate:
            for number in files:
                self._writer.get(number)

    def finish(self, files: Sequence[int]) -> None:
        for number in files:
            final, length = self.finals[number], self.layout.files[number].length
            info = self._info(final) if self._place[number] == final else None
            if info is None or info.size_bytes != length:
                file = self._writer.get(number)
                if file.size() != length:
                    file.truncate(length)
                self._writer.drop(number)
                self._storage.rename(self._path(self._parts[number]), self._path(final))
                self._place[number] = final
            self._baseline[number] = self._info(final)
            self._whole.add(number)

    def sync(self, files: Sequence[int]) -> None:
        folders: dict[str, None] = {}
        for number in files:
            file = self._reopen(number)
            try:
                file.sync()
            finally:
                file.close()
            folder = self.finals[number].rpartition("/")[0]
            while folder:
                folders[folder] = None
                folder = folder.rpartition("/")[0]
        for folder in folders:
            self._storage.sync_folder(self._path(folder))
        self._storage.sync_folder(self.folder)

    def _reopen(self, number: int) -> File:
        """A handle of its own for a sync; the file may get its final name meanwhile."""
        try:
            return self._storage.open(self._parts[number], "write", beneath=self.folder)
        except NotFoundError:
            final = self.finals[number]
        try:
            return self._storage.open(final, "write", beneath=self.folder)
        except NotWritableError:  # whole, and its owner protected it
            return self._storage.open(final, "read", beneath=self.folder)

    # -- reading ------------------------------------------------------------------------

    def _open_for_reading(self, number: int) -> File:
        for name in (self._place[number], self.finals[number]):
            if name is not None:
                try:
                    return self._storage.open(name, "read", beneath=self.folder)
                except NotFoundError:
                    continue
        raise ChangedFileError(f"{self.paths[number]} is gone: it was removed while in use")

    def handles(self) -> Handles:
        return Handles(self._open_for_reading)

    def read_into(self, offset: int, buffer: memoryview, handles: Handles | None = None) -> None:
        for begin, end in self.layout.padding(offset, len(buffer)):
            buffer[begin:end] = bytes(end - begin)
        for span in self.layout.spans(offset, len(buffer)):
            file = (handles or self._reader).get(span.file)
            got = file.read_into(span.file_offset, buffer[span.at : span.at + span.length])
            if got < span.length:
                raise ChangedFileError(
                    f"{self.paths[span.file]} was cut short while in use: put it back, then "
                    "start again"
                )

    def read_resident(self, offset: int, buffer: memoryview) -> bool:
        return read_resident(self.layout, self._reader, offset, buffer) and not any(
            self._changed(span.file) for span in self.layout.spans(offset, len(buffer))
        )

    def _changed(self, number: int) -> bool:
        before = self._baseline[number]
        return before is not None and self._info(self.finals[number]) != before

    def doubtful(self, offset: int, length: int) -> bool:
        for span in self.layout.spans(offset, length):
            if self._changed(span.file):
                self._reader.drop(span.file)
                return True
        return False

    async def put(self, data: memoryview) -> None:
        raise AssertionError("a folder takes pieces in any order, through write")
