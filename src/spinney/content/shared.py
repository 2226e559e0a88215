"""`SharedFiles`: content that is served from where its owner has it; never written.

Every span is read with a look at the file's size, time and identity: after a change the piece
must prove itself by its hash, else it is a `ChangedFileError` of this transfer.  Nothing is
mapped into memory, so a file that is cut short kills nobody.
"""

from __future__ import annotations

from collections.abc import Sequence

from spinney.content.descriptor import Descriptor
from spinney.content.handles import Handles
from spinney.content.layout import Layout
from spinney.content.resident import read_resident
from spinney.errors import ChangedFileError, NotFoundError, StorageError
from spinney.net.host import File, FileInfo, Storage


def shared_paths(descriptor: Descriptor, path: str) -> list[str]:
    """Where each file lies if the content as a whole is at `path`."""
    if descriptor.single_file:
        return [path]
    top = path.rstrip("/")
    return ["/".join((top, *entry.path[1:])) for entry in descriptor.files]


class SharedFiles:
    """The sink of `share PATH`: `paths[n]` is file number n of the descriptor."""

    writable = False
    in_order = False

    def __init__(self, storage: Storage, descriptor: Descriptor, paths: Sequence[str]) -> None:
        assert len(paths) == len(descriptor.files), "a path for each file"
        self.layout = Layout(descriptor)
        self.paths = list(paths)
        self._storage = storage
        self._baseline: list[FileInfo | None] = [None] * len(paths)
        self._reader = Handles(self._open)

    def open(self) -> None:
        for number, path in enumerate(self.paths):
            info = self._storage.info(path, follow=True)
            length = self.layout.files[number].length
            if info is None:
                raise NotFoundError(f"{path} is missing: the content is not complete")
            if info.kind == "file" and info.size_bytes != length:
                raise ChangedFileError(
                    f"{path} has {info.size_bytes:,} bytes and should have {length:,}"
                )
            self._baseline[number] = info

    def _open(self, number: int) -> File:
        try:
            return self._storage.open(self.paths[number], "read")
        except NotFoundError as error:
            raise ChangedFileError(f"{self.paths[number]} was removed while in use") from error

    def handles(self) -> Handles:
        return Handles(self._open)

    def read_into(self, offset: int, buffer: memoryview, handles: Handles | None = None) -> None:
        for begin, end in self.layout.padding(offset, len(buffer)):
            buffer[begin:end] = bytes(end - begin)
        for span in self.layout.spans(offset, len(buffer)):
            file = (handles or self._reader).get(span.file)
            part = buffer[span.at : span.at + span.length]
            if file.read_into(span.file_offset, part) < span.length:
                raise ChangedFileError(f"{self.paths[span.file]} was cut short while in use")

    def read_resident(self, offset: int, buffer: memoryview) -> bool:
        return read_resident(self.layout, self._reader, offset, buffer) and not any(
            self._changed(span.file) for span in self.layout.spans(offset, len(buffer))
        )

    def _changed(self, number: int) -> bool:
        return self._storage.info(self.paths[number], follow=True) != self._baseline[number]

    def doubtful(self, offset: int, length: int) -> bool:
        for span in self.layout.spans(offset, length):
            if self._changed(span.file):
                self._reader.drop(span.file)
                return True
        return False

    def existing(self, piece: int) -> bool:
        return True

    def adopt(self, good: Sequence[bool]) -> None:
        """Nothing is written, so nothing can be in the way."""

    def close(self, *, done: bool) -> None:
        self._reader.close()

    # What a store that is never written has none of.

    def load(self) -> bytes | None:
        return None

    def save(self, record: bytes) -> None:
        raise StorageError("shared files keep no resume record")

    def load_note(self) -> bytes | None:
        return None

    def note(self, note: bytes) -> None:
        raise StorageError("shared files keep no note")

    def stamps(self, files: Sequence[int]) -> list[tuple[int, int]]:
        return []

    def free_bytes(self) -> int | None:
        return None

    def reserve(self, files: Sequence[int]) -> None:
        raise StorageError("shared files are not written")

    def write(self, offset: int, data: memoryview) -> None:
        raise StorageError("shared files are not written")

    def finish(self, files: Sequence[int]) -> None:
        """They bear their names."""

    def sync(self, files: Sequence[int]) -> None:
        """They are where they were."""

    async def put(self, data: memoryview) -> None:
        raise StorageError("shared files are not written")
