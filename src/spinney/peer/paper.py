"""`verify --paper`: files against the MC-FTP paper's own checksums, and what those can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from hashlib import md5
from typing import Any

from spinney.content.descriptor import Descriptor
from spinney.content.paper import Paper, Verdict, judge
from spinney.net.host import Host

READ_BYTES = 4 << 20
JOBS = 2

Reads = Callable[[Sequence[int]], list[bytes | None]]
"""The bytes of these pieces; None for one that is not all there."""
Contents = Callable[[int, int, int], bytes | None]
"""(file, offset, length): bytes of a file; None if they are not there."""


def signature_state(descriptor: Descriptor, publisher: bytes | None) -> str:
    """`none`, `wrong`, `unverified` (it holds, but whose key it is nobody said), `verified`,
    `another publisher`."""
    paper = descriptor.paper
    if paper is None or paper.publisher is None:
        return "none"
    if not paper.holds(descriptor):
        return "wrong"
    if publisher is None:
        return "unverified"
    return "verified" if paper.publisher == publisher else "another publisher"


async def check_paper(
    host: Host,
    descriptor: Descriptor,
    paper: Paper,
    publisher: bytes | None,
    right: Sequence[int],
    reads: Reads,
    contents: Contents,
) -> dict[str, Any]:
    """Every pair that can be checked, the file id, the signature; plain values for `--json`.

    `right`: pieces that the torrent's own hashes accept.  A chunk of nothing but zeros that they
    refuse is a hole that was never received."""
    count = descriptor.piece_count
    accepted = frozenset(right)
    step = max(1, READ_BYTES // max(1, descriptor.piece_length))
    jobs = iter(range(0, count, step))
    pairs: dict[int, bool] = {}
    held: list[int] = []

    def check(first: int) -> tuple[list[int], dict[int, bool]]:
        end = min(first + step, count)
        chunks = reads([*range(first, end), end % count])
        there = [
            data is not None and (at % count in accepted or any(data))
            for at, data in enumerate(chunks, first)
        ]
        found: dict[int, bool] = {}
        for at in range(end - first):
            one, other = chunks[at], chunks[at + 1]
            if there[at] and there[at + 1] and one is not None and other is not None:
                digest = md5(one, usedforsecurity=False)
                digest.update(other)
                found[first + at] = digest.digest() == paper.checksum(first + at)
        return [first + at for at in range(end - first) if there[at]], found

    async def worker() -> None:
        for first in jobs:
            some, found = await host.work(check, first)
            held.extend(some)
            pairs.update(found)

    await asyncio.gather(*(worker() for _ in range(JOBS)))
    verdicts = judge(pairs, count, sorted(held))
    chunks_by = {
        verdict: [chunk for chunk, each in verdicts.items() if each is verdict]
        for verdict in Verdict
    }
    file_id = await host.work(_file_id, descriptor, contents)
    return {
        "chunks": count,
        "held_chunks": len(held),
        "checked_pairs": len(pairs),
        "good_chunks": len(chunks_by[Verdict.GOOD]),
        "bad_chunks": chunks_by[Verdict.BAD],
        "doubted_chunks": chunks_by[Verdict.DOUBTED],
        "unchecked_chunks": len(chunks_by[Verdict.UNCHECKED]),
        "file_id": None if file_id is None else file_id == paper.file_id,
        "signature": signature_state(descriptor, publisher),
        "publisher": paper.publisher.hex() if paper.publisher is not None else None,
    }


def _file_id(descriptor: Descriptor, contents: Contents) -> bytes | None:
    """In a worker: MD5 of the files one after the other; None if one is not all there."""
    digest = md5(usedforsecurity=False)
    for number, entry in enumerate(descriptor.files):
        for offset in range(0, entry.length, READ_BYTES):
            data = contents(number, offset, min(READ_BYTES, entry.length - offset))
            if data is None:
                return None
            digest.update(data)
    return digest.digest()
