"""Making a descriptor of a file or folder: read once, hashed on all cores.

    made = await make_descriptor(host, "film.mkv")

The default is version 1, which every program reads; docs/decisions/descriptors.md says which
programs refuse or misread hybrids.  Padding and the choice of keys are the ones that libtorrent
writes, so that both make the same infohash of the same files.  Files are sorted as BEP 52's
tree is, part by part (`a/x` before `a-b`); a hybrid in another order is no hybrid.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Literal, TypeAlias

from spinney.content.descriptor import Descriptor
from spinney.content.gathering import FoundFile, Gathered, check_unchanged, gather
from spinney.content.info import broken
from spinney.content.paper import Pairs, PaperSums
from spinney.content.rules import MAX_PIECE_LENGTH, MAX_TORRENT_BYTES
from spinney.errors import ChangedFileError, UsageError
from spinney.net.host import Address, Host, Storage
from spinney.trust import merkle
from spinney.trust.keys import Keys
from spinney.wire.bencode import Value, encode

if TYPE_CHECKING:
    from hashlib import _Hash

Version: TypeAlias = Literal["v1", "v2", "hybrid"]
Progress: TypeAlias = Callable[[int, int], None]
"""(bytes hashed, bytes in all), on the event loop, some times a second."""

SMALLEST_PIECE = merkle.LEAF_BYTES
USUAL_SMALLEST_PIECE = 65_536
USUAL_LARGEST_PIECE = 16 << 20
FEW_PIECES = 1_024
MANY_PIECES = 131_072
"""A hybrid spends 52 bytes a piece: 6.8 MB, which leaves room for names below 10 MB."""
UNIT_BYTES = 4 << 20
"""Read and hashed at once: large enough that threads are busy with bytes, not with turns."""
AT_ONCE_BYTES = 64 << 20
"""Memory while making, unless two pieces alone are larger."""
MOST_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Made:
    """`paths`: where each of `descriptor.files` lies on disk (its name there may be one that
    descriptors change).  `sha256`: of a single file, in hex; None of a folder."""

    descriptor: Descriptor
    paths: tuple[str, ...]
    sha256: str | None


@dataclass(frozen=True, slots=True)
class _Placed:
    """A file in the piece space."""

    found: FoundFile
    offset: int
    first_piece: int

    @property
    def length(self) -> int:
        return self.found.info.size_bytes


def piece_length_for(total_bytes: int) -> int:
    """The piece length for content of this size.

    up to 1 MiB        16 KiB         small files still come from several peers
    up to 64 MiB       64 KiB         the seeder's pieces spread at once
    up to 16 GiB       64 KiB to 16 MiB, about 1,000 pieces
    up to 2 TiB        16 MiB
    beyond             up to 128 MiB, at most 131,072 pieces
    """
    if total_bytes <= 1 << 20:
        return SMALLEST_PIECE
    length = USUAL_SMALLEST_PIECE
    while length < USUAL_LARGEST_PIECE and total_bytes > length * FEW_PIECES:
        length *= 2
    while length < MAX_PIECE_LENGTH and total_bytes > length * MANY_PIECES:
        length *= 2
    return length


async def make_descriptor(
    host: Host,
    path: str,
    *,
    version: Version = "v1",
    piece_length: int | None = None,
    name: str | None = None,
    private: bool = False,
    trackers: Sequence[Sequence[str]] = (),
    web_seeds: Sequence[str] = (),
    nodes: Sequence[Address] = (),
    comment: str | None = None,
    created_by: str | None = None,
    creation_date: int | None = None,
    paper: bool = False,
    keys: Keys | None = None,
    progress: Progress | None = None,
) -> Made:
    """Reads everything below `path` once and makes its descriptor.

    `paper`: with the MC-FTP paper's fields, which takes three passes of MD5; `keys`: signed.

    Raises `NotFoundError` and other `StorageError`s, `ChangedFileError` if a file changes
    meanwhile, `UsageError` for what cannot be shared and a piece length that is not allowed,
    `DescriptorError` for names that a torrent must not hold.  May be cancelled at any time.
    """
    gathered = await host.work(gather, host.storage, path)
    if piece_length is None:
        piece_length = piece_length_for(gathered.total_bytes)
    if not SMALLEST_PIECE <= piece_length <= MAX_PIECE_LENGTH or piece_length & (piece_length - 1):
        raise UsageError("a piece length is a power of two from 16 KiB to 128 MiB")
    if name is None:
        name = path.rstrip("/").rpartition("/")[2]
    if name in ("", ".", ".."):
        raise UsageError(f"{path} has no name of its own: give one")
    _require_utf8(name, "the name")
    _require_utf8(comment or "", "the comment")
    layout = _place(gathered, piece_length, aligned=version != "v1")
    sums = PaperSums() if paper or keys is not None else None
    hashed = await _Hashing(host, gathered, layout, piece_length, version, sums, progress).run()
    await host.work(check_unchanged, host.storage, gathered)
    info: dict[bytes, Value] = {b"name": name.encode(), b"piece length": piece_length}
    if private:
        info[b"private"] = 1
    layers: dict[bytes, bytes] = {}
    if version != "v1":
        info[b"meta version"] = 2
        info[b"file tree"] = _file_tree(layout, hashed.nodes, piece_length, name, layers)
    if version != "v2":
        info[b"pieces"] = b"".join(hashed.digests)
        if gathered.single:
            info[b"length"] = layout[0].length
        else:
            info[b"files"] = _file_list(layout, piece_length, padded=version == "hybrid")
    descriptor = Descriptor.from_info(
        encode(info),
        trackers=trackers,
        web_seeds=web_seeds,
        nodes=nodes,
        comment=comment,
        created_by=created_by,
        creation_date=creation_date,
        piece_layers=layers,
    )
    if sums is not None:
        added = sums.paper()
        if keys is not None:
            added = added.signed(keys, descriptor)
        descriptor = descriptor.edited(paper=added)
    size = len(descriptor.encode())
    if size > MAX_TORRENT_BYTES:
        raise broken("torrent-bytes", f"here {size}: choose longer pieces, or fewer files")
    return Made(descriptor, tuple(placed.found.path for placed in layout), hashed.sha256)


def _require_utf8(text: str, what: str) -> None:
    """A path of the system may hold bytes that are no text; a torrent's name may not (BEP 3)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{what} {text!r} is no UTF-8: rename it, or say it otherwise") from None


def _place(gathered: Gathered, piece_length: int, *, aligned: bool) -> list[_Placed]:
    """The piece space: files one after the other, with `aligned` each from a new piece."""
    layout: list[_Placed] = []
    offset = 0
    for found in gathered.files:
        if aligned and found.info.size_bytes:
            offset += -offset % piece_length
        layout.append(_Placed(found, offset, offset // piece_length))
        offset += found.info.size_bytes
    return layout


def _file_list(layout: list[_Placed], piece_length: int, *, padded: bool) -> list[Value]:
    """Version 1's list; a hybrid has a padding file (BEP 47) behind each file that does not
    fill its last piece.  Behind the last one it is a choice; libtorrent makes it so."""
    rows: list[Value] = []
    for placed in layout:
        rows.append({b"length": placed.length, b"path": list(placed.found.below)})
        gap = -placed.length % piece_length if padded else 0
        if gap:
            rows.append({b"attr": b"p", b"length": gap, b"path": [b".pad", b"%d" % gap]})
    return rows


def _file_tree(
    layout: list[_Placed],
    nodes: list[bytes],
    piece_length: int,
    name: str,
    layers: dict[bytes, bytes],
) -> dict[bytes, Value]:
    """Version 2's tree; fills `layers` for files longer than a piece."""
    tree: dict[bytes, Value] = {}
    for placed in layout:
        entry: dict[bytes, Value] = {b"length": placed.length}
        if placed.length:
            pieces = -(-placed.length // piece_length)
            row = nodes[placed.first_piece : placed.first_piece + pieces]
            root = row[0]
            if placed.length > piece_length:
                root = merkle.layer_root(row, piece_length)
                layers[root] = b"".join(row)
            entry[b"pieces root"] = root
        folder = tree
        parts = placed.found.below or (name.encode(),)
        for part in parts[:-1]:
            folder = folder.setdefault(part, {})
        folder[parts[-1]] = {b"": entry}
    return tree


@dataclass(frozen=True, slots=True)
class _Part:
    """`length` bytes at `file_offset` of a file, `at` bytes into a unit."""

    placed: _Placed
    file_offset: int
    at: int
    length: int


@dataclass(frozen=True, slots=True)
class _Hashed:
    """What one unit gave.  `first`: its first chunk; `pairs`: of `PaperSums`, if asked for."""

    data: bytearray
    digests: list[bytes]
    nodes: list[bytes]
    contents: list[memoryview]
    first: memoryview
    pairs: Pairs | None


class _Hashing:
    """One pass over the piece space, in units of whole pieces, several units at once."""

    def __init__(
        self,
        host: Host,
        gathered: Gathered,
        layout: list[_Placed],
        piece_length: int,
        version: Version,
        sums: PaperSums | None,
        progress: Progress | None,
    ) -> None:
        self.digests: list[bytes] = []
        self.nodes: list[bytes] = []
        self.sha256: str | None = None
        self._host = host
        self._gathered = gathered
        self._layout = [placed for placed in layout if placed.length]
        self._piece_length = piece_length
        self._v1 = version != "v2"
        self._v2 = version != "v1"
        self._sums = sums
        self._progress = progress
        self._space_bytes = self._layout[-1].offset + self._layout[-1].length
        if version == "hybrid" and not gathered.single:
            self._space_bytes += -self._space_bytes % piece_length
        self._unit_bytes = max(1, UNIT_BYTES // piece_length) * piece_length

    async def run(self) -> _Hashing:
        """Units begin in order and are taken in order; a cancelled run leaves no thread behind
        for longer than its unit."""
        at_once = max(2, min(MOST_AT_ONCE, AT_ONCE_BYTES // self._unit_bytes))
        running: deque[asyncio.Task[_Hashed]] = deque()
        whole = sha256() if self._gathered.single else None
        in_order: asyncio.Task[None] | None = None
        units = self._units()
        done_bytes = 0
        try:
            while True:
                while len(running) < at_once and (unit := next(units, None)) is not None:
                    step = self._host.work(self._unit, *unit)
                    running.append(asyncio.create_task(step))
                if not running:
                    break
                unit_done = await running.popleft()
                self.digests += unit_done.digests
                self.nodes += unit_done.nodes
                if in_order is not None:
                    await in_order
                step_in_order = self._host.work(self._add, whole, unit_done)
                in_order = asyncio.create_task(step_in_order)
                done_bytes += len(unit_done.data)
                if self._progress is not None:
                    self._progress(
                        done_bytes * self._gathered.total_bytes // self._space_bytes,
                        self._gathered.total_bytes,
                    )
            if in_order is not None:
                await in_order
            self.sha256 = whole.hexdigest() if whole is not None else None
        finally:
            for task in [*running, *([in_order] if in_order else [])]:
                task.cancel()
        return self

    def _add(self, whole: _Hash | None, unit: _Hashed) -> None:
        """In a thread: what has to be hashed in order."""
        if whole is not None:
            whole.update(unit.data)
        if self._sums is not None and unit.pairs is not None:
            self._sums.add(unit.first, unit.pairs, unit.contents)

    def _units(self) -> Iterator[tuple[int, int, list[_Part]]]:
        """(begin, length, parts of files) of each unit, in order."""
        first = 0
        for begin in range(0, self._space_bytes, self._unit_bytes):
            end = min(begin + self._unit_bytes, self._space_bytes)
            while self._layout[first].offset + self._layout[first].length <= begin:
                first += 1
            parts: list[_Part] = []
            for placed in self._layout[first:]:
                if placed.offset >= end:
                    break
                start = max(begin, placed.offset)
                stop = min(end, placed.offset + placed.length)
                if start < stop:
                    parts.append(_Part(placed, start - placed.offset, start - begin, stop - start))
            yield begin, end - begin, parts

    def _unit(self, begin: int, length: int, parts: list[_Part]) -> _Hashed:
        """In a thread: reads and hashes one unit.  Gaps stay zeros."""
        data = bytearray(length)
        view = memoryview(data)
        for part in parts:
            _read(self._host.storage, self._gathered, part, view[part.at : part.at + part.length])
        size = self._piece_length
        digests: list[bytes] = []
        if self._v1:
            digests = [sha1(view[at : at + size]).digest() for at in range(0, length, size)]
        nodes: list[bytes] = []
        for part in parts if self._v2 else ():
            # A unit holds whole pieces, and in version 2 a piece is of one file.
            for at in range(part.at, part.at + part.length, size):
                content = view[at : min(at + size, part.at + part.length)]
                long = part.placed.length > size
                nodes.append(
                    merkle.piece_hash(content, size) if long else merkle.file_root(content)
                )
        contents = [view[part.at : part.at + part.length] for part in parts]
        if self._v1:
            chunks = [view[at : at + size] for at in range(0, length, size)]
        else:
            chunks = [own[at : at + size] for own in contents for at in range(0, len(own), size)]
        pairs = self._sums.pairs(chunks) if self._sums is not None else None
        return _Hashed(data, digests, nodes, contents, chunks[0], pairs)


def _read(storage: Storage, gathered: Gathered, part: _Part, into: memoryview) -> None:
    found = part.placed.found
    if gathered.single:
        file = storage.open(found.path, "read")
    else:
        # Not through a link that took a folder's place meanwhile.
        below = b"/".join(found.below).decode()
        file = storage.open(below, "read", beneath=gathered.root)
    try:
        got = file.read_into(part.file_offset, into)
    finally:
        file.close()
    if got < part.length:
        raise ChangedFileError(f"{found.path} was cut short while it was read: share it again")
