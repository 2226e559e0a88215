"""The full check: what on disk is right, by its hashes.  All reading and hashing in workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from spinney.content.descriptor import Descriptor
from spinney.content.pieces import Bitfield
from spinney.content.sinks import Sink
from spinney.errors import ChangedFileError
from spinney.net.host import Host

JOB_BYTES = 16 << 20
"""Read and hashed in one job: small enough that progress moves."""
JOBS = 2
"""Jobs at once: reading and SHA-1 both let the other go on."""

Progress = Callable[[int, int], None]
"""(bytes checked, bytes to check)."""


async def check_pieces(
    host: Host,
    descriptor: Descriptor,
    sink: Sink,
    pieces: Sequence[int],
    progress: Progress | None = None,
) -> Bitfield:
    """Which of `pieces` are right on disk.  Raises `StorageError` (in an `ExceptionGroup` of
    its own) if the disk fails."""
    good = Bitfield(descriptor.piece_count)
    there = [piece for piece in pieces if sink.existing(piece)]
    total = sum(descriptor.piece_bytes(piece) for piece in there)
    step = max(1, JOB_BYTES // max(1, descriptor.piece_length))
    jobs = iter([there[at : at + step] for at in range(0, len(there), step)])
    done = 0

    async def worker() -> None:
        nonlocal done
        for job in jobs:
            for piece in await host.work(_check, descriptor, sink, job):
                good.add(piece)
            done += sum(descriptor.piece_bytes(piece) for piece in job)
            if progress is not None:
                progress(done, total)

    async with asyncio.TaskGroup() as group:
        for _ in range(JOBS):
            group.create_task(worker())
    return good


def _check(descriptor: Descriptor, sink: Sink, pieces: Sequence[int]) -> list[int]:
    """In a worker: those of `pieces` that are right."""
    handles = sink.handles()
    buffer = bytearray(descriptor.piece_length)
    right: list[int] = []
    try:
        for piece in pieces:
            view = memoryview(buffer)[: descriptor.piece_bytes(piece)]
            try:
                sink.read_into(piece * descriptor.piece_length, view, handles)
            except ChangedFileError:  # shorter than it should be
                continue
            if descriptor.check_piece(piece, view):
                right.append(piece)
    finally:
        handles.close()
    return right
