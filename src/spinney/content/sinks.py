"""`Sink`: where verified pieces go and are read from again.

`store.FolderStore` (a folder, or one file), `SharedFiles` (what is shared, never written),
`DeviceSink` (a block device, in place), `PipeSink` (standard output, in order).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from spinney.content.handles import Handles
from spinney.content.layout import Layout


class Sink(Protocol):
    """Blocking calls, made through `Host.work`.

    `open` is called first and `close` last.  Calls of `write` and `finish` never overlap each
    other, nor do calls of `read_into`; a write, a read and a `sync` may overlap.
    """

    layout: Layout
    writable: bool
    """False: the content is only served (and must be there)."""
    in_order: bool
    """True: takes pieces in ascending order only, through `put`, and keeps none of them."""

    def open(self) -> None:
        """Gets hold of what is there; raises `StorageError` with a sentence of what to do."""

    def load(self) -> bytes | None:
        """The resume record as it was saved, None if there is none."""

    def save(self, record: bytes) -> None:
        """Replaces the resume record in one step; returns when it survives a power cut."""

    def load_note(self) -> bytes | None:
        """The note as far as it survived, None if there is none."""

    def note(self, note: bytes) -> None:
        """Replaces the note in one step, without a sync: a power cut may lose or tear it."""

    def stamps(self, files: Sequence[int]) -> list[tuple[int, int]]:
        """(size, modified in ns) of every file, these looked at anew; (-1, 0): not there."""

    def existing(self, piece: int) -> bool:
        """Could this piece be there already (so that checking it makes sense)?"""

    def adopt(self, good: Sequence[bool]) -> None:
        """After the check: for each file, is it ours to write (any piece of it was right, or it
        was begun by us)?  Raises `StorageError` if a strange file is in the way."""

    def free_bytes(self) -> int | None:
        """How much may be written; None if that does not matter here."""

    def reserve(self, files: Sequence[int]) -> None:
        """These files will be written: makes room for them if so configured."""

    def write(self, offset: int, data: memoryview) -> None:
        """One verified piece (padding included, which is not stored)."""

    def finish(self, files: Sequence[int]) -> None:
        """These files are whole: give them their final names."""

    def sync(self, files: Sequence[int]) -> None:
        """Returns when what was written to these files before survives a power cut."""

    def read_into(self, offset: int, buffer: memoryview, handles: Handles | None = None) -> None:
        """Fills `buffer`, zeros where padding lies.  Raises `ChangedFileError` if bytes are
        missing.  With `handles` of its own a job may overlap other reads."""

    def read_resident(self, offset: int, buffer: memoryview) -> bool:
        """Fills `buffer` as `read_into` does if that needs no disk and nobody has touched the
        files since their check; False, with anything in it, if not.  For the event loop."""

    def handles(self) -> Handles: ...

    def doubtful(self, offset: int, length: int) -> bool:
        """Has a file of this range changed since it was checked, so that a hash must decide?"""

    def close(self, *, done: bool) -> None:
        """Lets go; `done`: everything wanted is there, no need to resume."""

    async def put(self, data: memoryview) -> None:
        """In order only: the next bytes; returns when the reader can take more."""
