"""`verify`: are these files what a descriptor says, and if not, which pieces are bad?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from os import PathLike, fspath
from typing import Any

from spinney.content.descriptor import Descriptor
from spinney.content.handles import Handles
from spinney.content.layout import Layout
from spinney.content.magnet import parse_key
from spinney.content.pieces import Bitfield
from spinney.errors import NotFoundError, UsageError
from spinney.net.host import Host
from spinney.peer.layering import require_layers
from spinney.peer.local import given_or_live
from spinney.peer.locating import locate
from spinney.peer.opening import open_link
from spinney.peer.paper import check_paper

Preparing = Callable[[int, int], None]

JOB_BYTES = 16 << 20
"""Read and hashed in one job: small enough that progress moves."""
JOBS = 2
"""Jobs at once: reading and SHA-1 both let the other go on."""
MISSING = -1


async def verify(
    torrent: str | PathLike[str],
    path: str | PathLike[str] | None = None,
    *,
    paper: bool = False,
    publisher: str | None = None,
    host: Host | None = None,
    on_preparing: Preparing | None = None,
) -> dict[str, Any]:
    """Checks the files at `path` (the file, its folder, or the folder it was fetched into).

    `paper`: against the MC-FTP paper's checksums too, under `paper` of the report; `publisher`:
    the key (as in `x.pub`) that must have signed them.

    Raises `NotFoundError` if nothing of it is there, another `StorageError` for a file that
    cannot be read, and what reading the torrent raises.
    """
    with given_or_live(host) as machine:
        descriptor = (await open_link(machine, fspath(torrent))).descriptor
        if descriptor is None:
            raise UsageError("verify needs the .torrent itself: a magnet link lists no pieces")
        require_layers(descriptor, fspath(torrent))
        key = parse_key(publisher) if publisher is not None else None
        if paper and descriptor.paper is None:
            raise UsageError(f"{fspath(torrent)} has no checksums of the paper: share --paper")
        check = _Check(machine, descriptor, fspath(path or "."))
        await machine.work(check.look)
        good = await check.run(on_preparing)
        report = check.report(good)
        if paper and descriptor.paper is not None:
            right = [piece for piece in range(descriptor.piece_count) if piece in good]
            report["paper"] = await check_paper(
                machine, descriptor, descriptor.paper, key, right, check.pieces, check.content
            )
        return report


class _Check:
    """One check of files against a descriptor."""

    def __init__(self, host: Host, descriptor: Descriptor, path: str) -> None:
        self._host = host
        self._descriptor = descriptor
        self._layout = Layout(descriptor)
        self._path = path
        self._paths: list[str] = []
        self._sizes: list[int] = []

    def look(self) -> None:
        """In a worker: which files are there, and how long."""
        storage = self._host.storage
        self._paths = locate(storage, self._descriptor, self._path)
        for each in self._paths:
            info = storage.info(each, follow=True)
            is_there = info is not None and info.kind in ("file", "block")
            self._sizes.append(info.size_bytes if info is not None and is_there else MISSING)
        if self._paths and max(self._sizes) == MISSING:
            names = self._descriptor.name
            raise NotFoundError(f"nothing of {names} is at {self._path}: name the file or folder")

    async def run(self, progress: Preparing | None) -> Bitfield:
        """The pieces that are right."""
        descriptor = self._descriptor
        good = Bitfield(descriptor.piece_count)
        step = max(1, JOB_BYTES // max(1, descriptor.piece_length))
        jobs = iter(range(0, descriptor.piece_count, step))
        done = 0

        async def worker() -> None:
            nonlocal done
            for begin in jobs:
                pieces = range(begin, min(begin + step, descriptor.piece_count))
                for piece in await self._host.work(self._right, pieces):
                    good.add(piece)
                done += sum(descriptor.piece_bytes(piece) for piece in pieces)
                if progress is not None:
                    progress(done, self._layout.size_bytes)

        await asyncio.gather(*(worker() for _ in range(JOBS)))
        return good

    def _right(self, pieces: Sequence[int]) -> list[int]:
        """In a worker: those of `pieces` that hash right."""
        handles = Handles(lambda number: self._host.storage.open(self._paths[number], "read"))
        buffer = bytearray(self._descriptor.piece_length)
        right: list[int] = []
        try:
            for piece in pieces:
                view = memoryview(buffer)[: self._descriptor.piece_bytes(piece)]
                if self._read(piece, view, handles) and self._descriptor.check_piece(piece, view):
                    right.append(piece)
        finally:
            handles.close()
        return right

    def pieces(self, pieces: Sequence[int]) -> list[bytes | None]:
        """In a worker: the bytes of pieces, None for what is not all there."""
        handles = Handles(lambda number: self._host.storage.open(self._paths[number], "read"))
        rows: list[bytes | None] = []
        try:
            for piece in pieces:
                data = bytearray(self._descriptor.piece_bytes(piece))
                rows.append(bytes(data) if self._read(piece, memoryview(data), handles) else None)
        finally:
            handles.close()
        return rows

    def content(self, number: int, offset: int, length: int) -> bytes | None:
        """In a worker: bytes of a file, None if they are not there."""
        if self._sizes[number] < offset + length:
            return None
        file = self._host.storage.open(self._paths[number], "read")
        try:
            data = file.read(offset, length)
        finally:
            file.close()
        return data if len(data) == length else None

    def _read(self, piece: int, view: memoryview, handles: Handles) -> bool:
        """False if a part of the piece is not there."""
        offset = piece * self._descriptor.piece_length
        for begin, end in self._layout.padding(offset, len(view)):
            view[begin:end] = bytes(end - begin)
        for span in self._layout.spans(offset, len(view)):
            if self._sizes[span.file] < span.file_offset + span.length:
                return False
            try:
                file = handles.get(span.file)
                part = view[span.at : span.at + span.length]
                if file.read_into(span.file_offset, part) < span.length:
                    return False
            except NotFoundError:
                return False  # others are raised: what cannot be read is not yet bad
        return True

    def report(self, good: Bitfield) -> dict[str, Any]:
        """Plain values for `--json`; `bad_pieces` of a file are those that hold bytes of it."""
        descriptor = self._descriptor
        files = []
        for number, entry in enumerate(descriptor.files):
            size = self._sizes[number]
            bad = [piece for piece in self._layout.pieces_of(number) if piece not in good]
            state = "bad" if bad else "right"
            if size == MISSING:
                state = "missing"
            elif size != entry.length:
                state = "wrong size"
            files.append(
                {
                    "path": self._paths[number],
                    "length": entry.length,
                    "have_bytes": max(0, size),
                    "state": state,
                    "bad_pieces": bad,
                }
            )
        return {
            "name": descriptor.name,
            "infohash": descriptor.infohash,
            "total_bytes": descriptor.total_bytes,
            "pieces": descriptor.piece_count,
            "good_pieces": good.count,
            "whole": good.full and all(row["state"] == "right" for row in files),
            "files": files,
        }
