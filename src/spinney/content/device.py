"""`DeviceSink`: verified pieces straight onto a block device (`-o /dev/sdX`).

Written in place, never cut or renamed.  A device keeps no resume record, so the same command
first checks what is there; what is right is not fetched again.
"""

from __future__ import annotations

from collections.abc import Sequence

from spinney.content.descriptor import Descriptor
from spinney.content.handles import Handles
from spinney.content.layout import Layout
from spinney.content.resident import read_resident
from spinney.errors import ChangedFileError, NotFoundError, StorageError, UsageError
from spinney.net.host import File, Storage


class DeviceSink:
    """The sink of an existing block device.  Only single-file content fits one."""

    writable = True
    in_order = False

    def __init__(self, storage: Storage, descriptor: Descriptor, path: str) -> None:
        if not descriptor.single_file:
            raise UsageError(f"{descriptor.name} is a folder: it cannot be written to {path}")
        self.layout = Layout(descriptor)
        self.path = path
        self.paths = [path]
        self._length = descriptor.total_bytes
        self._storage = storage
        self._file: File | None = None
        self._reader = Handles(self._open)

    def open(self) -> None:
        info = self._storage.info(self.path, follow=True)
        if info is None:
            raise NotFoundError(f"there is no device {self.path}")
        if info.kind != "block":
            raise StorageError(f"{self.path} is not a block device")
        self._file = self._storage.open(self.path, "write")
        room = self._file.size()
        if room < self._length:
            self._file.close()
            raise StorageError(
                f"{self.path} holds {room:,} bytes and {self._length:,} are needed: "
                "choose a larger device"
            )

    def _open(self, number: int) -> File:
        return self._storage.open(self.path, "read")

    def handles(self) -> Handles:
        return Handles(self._open)

    def read_into(self, offset: int, buffer: memoryview, handles: Handles | None = None) -> None:
        for begin, end in self.layout.padding(offset, len(buffer)):
            buffer[begin:end] = bytes(end - begin)
        for span in self.layout.spans(offset, len(buffer)):
            file = (handles or self._reader).get(span.file)
            part = buffer[span.at : span.at + span.length]
            if file.read_into(span.file_offset, part) < span.length:
                raise ChangedFileError(f"{self.path} ends too early: was it unplugged?")

    def read_resident(self, offset: int, buffer: memoryview) -> bool:
        return read_resident(self.layout, self._reader, offset, buffer)

    def write(self, offset: int, data: memoryview) -> None:
        assert self._file is not None, "opened first"
        for span in self.layout.spans(offset, len(data)):
            self._file.write(span.file_offset, [data[span.at : span.at + span.length]])

    def sync(self, files: Sequence[int]) -> None:
        if self._file is not None:
            self._file.sync()

    def close(self, *, done: bool) -> None:
        self._reader.close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def existing(self, piece: int) -> bool:
        return True

    # What a device has none of.

    def load(self) -> bytes | None:
        return None

    def save(self, record: bytes) -> None:
        """No place for a record; the next start checks the device."""

    def load_note(self) -> bytes | None:
        return None

    def note(self, note: bytes) -> None:
        """Nor for a note."""

    def stamps(self, files: Sequence[int]) -> list[tuple[int, int]]:
        return [(-1, 0)]

    def adopt(self, good: Sequence[bool]) -> None:
        """Whoever names a device means it."""

    def free_bytes(self) -> int | None:
        return None

    def reserve(self, files: Sequence[int]) -> None:
        """A device has its room."""

    def finish(self, files: Sequence[int]) -> None:
        """It keeps its name."""

    def doubtful(self, offset: int, length: int) -> bool:
        return False

    async def put(self, data: memoryview) -> None:
        raise AssertionError("a device takes pieces in any order, through write")
