"""Material of the content tests: made-up content, a plain descriptor of it, a scripted source."""

from __future__ import annotations

import asyncio
import random
from hashlib import sha1
from typing import Any, cast

from spinney.content.descriptor import Descriptor, FileEntry
from spinney.content.feed import TransferFeed
from spinney.content.handles import Handles
from spinney.content.layout import Layout
from spinney.content.pieces import Bitfield
from spinney.content.transfer import Settings, Transfer

USUAL = Settings()


class Content:
    """Files in a piece space, like a v1 torrent; `padded` aligns each file to a piece (BEP 47)."""

    def __init__(
        self,
        sizes: list[int],
        piece_length: int,
        *,
        seed: int = 1,
        padded: bool = False,
        gaps: bool = False,
        name: str = "wood",
    ) -> None:
        rng = random.Random(seed)
        space = bytearray()
        files = []
        self.data: list[bytes] = []
        for number, size in enumerate(sizes):
            if (padded or gaps) and len(space) % piece_length:
                space += bytes(piece_length - len(space) % piece_length)
            path = (name,) if len(sizes) == 1 else (name, f"leaf{number}")
            files.append(FileEntry(path, size, len(space)))
            self.data.append(rng.randbytes(size))
            space += self.data[-1]
        self.space = bytes(space)
        self.piece_length = piece_length
        self.files = tuple(files)
        self.gaps = gaps
        self.descriptor = cast(Descriptor, PlainDescriptor(self, name, len(sizes) == 1))

    def piece(self, number: int) -> bytes:
        at = number * self.piece_length
        return self.space[at : at + self.descriptor.piece_bytes(number)]


class PlainDescriptor:
    def __init__(self, content: Content, name: str, single: bool) -> None:
        self.info_bytes = b""
        self.name = name
        self.piece_length = content.piece_length
        self.files = content.files
        self.single_file = single
        self.private = False
        self.infohash_v1 = sha1(content.space).digest()
        self.infohash_v2 = None
        self._size = len(content.space)
        self._gaps = content.gaps
        self._hashes = [
            sha1(content.space[at : at + self.piece_bytes(at // content.piece_length)]).digest()
            for at in range(0, self._size, content.piece_length)
        ]

    @property
    def piece_count(self) -> int:
        return -(-self._size // self.piece_length)

    @property
    def total_bytes(self) -> int:
        return sum(entry.length for entry in self.files)

    def piece_bytes(self, piece: int) -> int:
        begin = piece * self.piece_length
        if self._gaps:  # version 2 alone: the last piece of a file ends with it
            for entry in self.files:
                if entry.offset <= begin < entry.offset + entry.length:
                    return min(self.piece_length, entry.offset + entry.length - begin)
        return min(self.piece_length, self._size - begin)

    def can_check(self, piece: int) -> bool:
        return True

    def check_piece(self, piece: int, data: Any) -> bool:
        right = self._hashes[piece]
        return len(data) == self.piece_bytes(piece) and sha1(data).digest() == right


class Script:
    """A source that remembers what it was told."""

    def __init__(self, label: str = "peer", way: str = "swarm", key: str | None = None) -> None:
        self.way = way
        self.label = label
        self.peer_key = key or label
        self.verified: list[int] = []
        self.cancels: list[tuple[int, int]] = []
        self.blames: list[tuple[int, int, int]] = []
        self.woken = 0

    def piece_verified(self, piece: int) -> None:
        self.verified.append(piece)

    def cancelled(self, offset: int, length: int) -> None:
        self.cancels.append((offset, length))

    def blamed(self, piece: int, offset: int, length: int) -> None:
        self.blames.append((piece, offset, length))

    def wake(self) -> None:
        self.woken += 1


class InlineHost:
    """A host for the transfer alone: its clock is the loop's, its work is done at once."""

    name = "inline"

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.jobs = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def time(self) -> float:
        return asyncio.get_running_loop().time()

    async def work(self, function: Any, *args: Any) -> Any:
        self.jobs += 1
        await self.gate.wait()
        await asyncio.sleep(0)
        return function(*args)


class MemorySink:
    """Keeps what is written in one buffer; can be told to fail."""

    writable = True
    in_order = False

    def __init__(self, content: Content) -> None:
        self.layout = Layout(content.descriptor)
        self.space = bytearray(len(content.space))
        self.record: bytes | None = None
        self.notes: list[bytes] = []
        self.finished: list[int] = []
        self.events: list[str] = []
        self.fail_with: Exception | None = None

    def _may_fail(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with

    def open(self) -> None:
        self._may_fail()

    def load(self) -> bytes | None:
        return self.record

    def save(self, record: bytes) -> None:
        self._may_fail()
        self.events.append("save")
        self.record = record

    def load_note(self) -> bytes | None:
        return self.notes[-1] if self.notes else None

    def note(self, note: bytes) -> None:
        self._may_fail()
        self.notes.append(note)

    def stamps(self, files: Any) -> list[tuple[int, int]]:
        return [(entry.length, 1) for entry in self.layout.files]

    def existing(self, piece: int) -> bool:
        return True

    def adopt(self, good: Any) -> None: ...

    def free_bytes(self) -> int | None:
        return None

    def reserve(self, files: Any) -> None: ...

    def write(self, offset: int, data: memoryview) -> None:
        self._may_fail()
        self.events.append("write")
        self.space[offset : offset + len(data)] = data

    def finish(self, files: Any) -> None:
        self.finished += files

    def sync(self, files: Any) -> None:
        self._may_fail()
        self.events.append("sync")

    def read_into(self, offset: int, buffer: memoryview, handles: Any = None) -> None:
        self._may_fail()
        buffer[:] = self.space[offset : offset + len(buffer)]

    def read_resident(self, offset: int, buffer: memoryview) -> bool:
        return False

    def handles(self) -> Handles:
        return Handles(lambda number: None)  # type: ignore[arg-type, return-value]

    def doubtful(self, offset: int, length: int) -> bool:
        return False

    def close(self, *, done: bool) -> None: ...

    async def put(self, data: memoryview) -> None: ...


async def in_memory(
    content: Content, seed: int = 1, settings: Settings = USUAL, policy: Any = None
) -> Transfer:
    """A started transfer without a disk."""
    host = cast(Any, InlineHost(seed))
    sink = cast(Any, MemorySink(content))
    transfer = Transfer(host, content.descriptor, sink, settings=settings, policy=policy)
    await transfer.start()
    return transfer


def everything(content: Content) -> Bitfield:
    return Bitfield(content.descriptor.piece_count, full=True)


def give(content: Content, feed: Any, rows: list[tuple[int, int, int]], lie: bool = False) -> None:
    """Answers what was requested, rightly or with every byte wrong."""
    for piece, begin, length in rows:
        at = piece * content.piece_length + begin
        feed.deliver(at, wrong(content, at, length) if lie else content.space[at : at + length])


def wrong(content: Content, at: int, length: int) -> bytes:
    return bytes(255 - byte for byte in content.space[at : at + length])


async def settle(transfer: Transfer) -> None:
    """Until nothing waits to be verified."""
    await transfer.intake.drain()
    await asyncio.sleep(0)


def undecided(transfer: Transfer, feed: TransferFeed) -> int:
    """Bytes of a feed that are neither useful nor duplicate, bad or refused yet."""
    open_pieces = [*transfer.open_pieces.values(), *transfer.intake.waiting()]
    held = sum(b - a for each in open_pieces for a, b, sender in each.segments() if sender is feed)
    evidence = transfer.intake.evidence
    return held + sum(
        record.end - record.start
        for piece in range(transfer.needed.size)
        for record in evidence.records(piece)
        if record.sender is feed
    )


def assert_accounts(transfer: Transfer, feeds: list[TransferFeed]) -> None:
    """Every byte delivered is counted exactly once, by source and by way of moving."""
    ways: dict[str, list[int]] = {}
    for feed in feeds:
        counts = [feed.useful_bytes, feed.duplicate_bytes, feed.bad_bytes, feed.refused_bytes]
        assert feed.delivered_bytes == sum(counts) + undecided(transfer, feed)
        way = ways.setdefault(feed.source.way, [0, 0, 0])
        for at in range(3):
            way[at] += counts[at]
    totals = {way: [row.useful, row.duplicate, row.bad] for way, row in transfer.totals().items()}
    assert totals == ways
