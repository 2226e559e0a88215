"""The resume record: when it is believed, when everything is checked anew."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from content.moving import Content, Script, everything, give, in_memory, settle
from spinney.content import keeper
from spinney.content.pieces import Bitfield
from spinney.content.resume import ResumeRecord, decode_record
from spinney.content.store import FolderStore
from spinney.content.transfer import Transfer
from spinney.errors import StorageError
from spinney.net.live.host import LiveHost
from spinney.sim.world import World

KIB = 1024
CONTENT = Content([200_000, 100_000], 16 * KIB, seed=6)


def record(clean: bool = True) -> ResumeRecord:
    pieces = Bitfield(20)
    pieces.add(3)
    return ResumeRecord(bytes(20), pieces, ((100, 5), (-1, 0)), clean)


def test_a_record_is_read_as_it_was_written() -> None:
    for clean in (True, False):
        assert decode_record(record(clean).encode(), bytes(20), 20) == record(clean)


@given(some.binary(max_size=200))
def test_any_bytes_are_a_record_or_none(data: bytes) -> None:
    assert decode_record(data, bytes(20), 20) is None


@given(some.integers(0, 90), some.integers(0, 255))
def test_a_damaged_record_never_raises(at: int, byte: int) -> None:
    data = bytearray(record().encode())
    data[at % len(data)] = byte
    decode_record(bytes(data), bytes(20), 20)
    assert decode_record(bytes(data[: at % len(data)]), bytes(20), 20) is None


def test_a_record_of_other_content_is_none() -> None:
    assert decode_record(record().encode(), b"x" * 20, 20) is None
    assert decode_record(record().encode(), bytes(20), 21 * 8) is None


def test_after_a_clean_end_size_and_time_must_be_the_same() -> None:
    assert record().fits([(100, 5), (-1, 0)])
    for stamps in ([(101, 5), (-1, 0)], [(100, 6), (-1, 0)], [(100, 5), (3, 1)], [(100, 5)]):
        assert not record().fits(stamps)


def test_after_a_kill_files_may_have_grown_and_never_shrunk() -> None:
    killed = record(clean=False)
    assert killed.fits([(150, 9), (20, 3)])
    assert not killed.fits([(99, 9), (20, 3)])
    assert not killed.fits([(100, 4), (-1, 0)])


async def some_of_it(folder: Path, limit: int = 150_000) -> Transfer:
    host = LiveHost(seed=1)
    store = FolderStore(host.storage, CONTENT.descriptor, str(folder))
    transfer = Transfer(host, CONTENT.descriptor, store)
    await transfer.start()
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(CONTENT))
    give(CONTENT, feed, feed.request(limit))
    await settle(transfer)
    return transfer


class Checked:
    """Counts what a start hashes."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, done: int, total: int) -> None:
        self.bytes = done


async def started(folder: Path, checked: Checked, **options: Any) -> Transfer:
    host = LiveHost(seed=1)
    store = FolderStore(host.storage, CONTENT.descriptor, str(folder))
    transfer = Transfer(host, CONTENT.descriptor, store)
    await transfer.start(progress=checked, **options)
    return transfer


async def test_a_clean_record_is_believed_without_hashing(tmp_path: Path) -> None:
    first = await some_of_it(tmp_path)
    await first.close()
    checked = Checked()
    again = await started(tmp_path, checked)
    assert bytes(again.have) == bytes(first.have)
    assert checked.bytes == 0
    await again.close()
    again = await started(tmp_path, checked, check=True)
    assert bytes(again.have) == bytes(first.have)
    assert checked.bytes > 0
    await again.close()


@pytest.mark.parametrize("harm", ["touched", "record gone", "record torn", "file gone"])
async def test_everything_is_checked_when_something_does_not_fit(tmp_path: Path, harm: str) -> None:
    first = await some_of_it(tmp_path)
    await first.close()
    parts = sorted((tmp_path / "wood").glob("*.part"))
    hidden = tmp_path / ".wood.spinney"
    if harm == "touched":
        with parts[0].open("r+b") as file:
            file.seek(20_000)
            file.write(b"damage")
    elif harm == "record gone":
        hidden.unlink()
    elif harm == "record torn":
        hidden.write_bytes(hidden.read_bytes()[:-9])
    else:
        parts[0].unlink()
    again = await started(tmp_path, Checked())
    for piece in again.have:
        offset, length = piece * 16 * KIB, CONTENT.descriptor.piece_bytes(piece)
        assert bytes(await again.read(offset, length)) == CONTENT.piece(piece)
    if harm in ("record gone", "record torn"):
        assert bytes(again.have) == bytes(first.have)
    else:
        assert again.have.count < first.have.count
    await again.close()


async def test_other_files_after_a_kill_are_noticed(tmp_path: Path) -> None:
    transfer = await some_of_it(tmp_path)
    await transfer.keeper.keep()  # and then it is killed
    transfer.sink._lock.close()  # type: ignore[attr-defined]
    for part in (tmp_path / "wood").glob("*.part"):
        part.write_bytes(bytes(part.stat().st_size))
        os.utime(part)
    again = await started(tmp_path, Checked())
    assert again.have.count == 0
    await again.close()


async def test_data_is_synced_before_it_is_marked() -> None:
    transfer = await in_memory(CONTENT)
    sink: Any = transfer.sink
    sink.events.clear()
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(CONTENT))
    give(CONTENT, feed, feed.request(64 * KIB))
    await settle(transfer)
    assert "save" not in sink.events  # not each piece
    await transfer.close()
    events = sink.events
    assert events.index("sync") > max(at for at, each in enumerate(events) if each == "write")
    assert events[-1] == "save"
    assert events.index("save") > events.index("sync")


def test_a_batch_is_synced_by_age_or_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    with World(1) as world:

        async def main() -> None:
            transfer = await in_memory(CONTENT)
            sink: Any = transfer.sink
            feed = transfer.attach(Script())
            feed.saw_bitfield(everything(CONTENT))
            sink.events.clear()
            give(CONTENT, feed, feed.request(16 * KIB))
            await asyncio.sleep(keeper.SYNC_INTERVAL_S - 0.5)
            assert "save" not in sink.events
            await asyncio.sleep(1.0)
            assert sink.events.count("save") == 1
            monkeypatch.setattr(keeper, "SYNC_BYTES", 32 * KIB)
            give(CONTENT, feed, feed.request(48 * KIB))
            await asyncio.sleep(0.1)
            assert sink.events.count("save") == 2

        world.run(main())


async def test_a_failed_sync_marks_nothing() -> None:
    transfer = await in_memory(CONTENT)
    sink: Any = transfer.sink
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(CONTENT))
    give(CONTENT, feed, feed.request(64 * KIB))
    await settle(transfer)
    sink.fail_with = StorageError("the disk does not answer")
    with pytest.raises(StorageError):
        await transfer.keeper.keep()
    assert transfer.keeper.durable.count == 0
    sink.fail_with = None
    await transfer.close()  # it answers again: what was written is marked after all
    saved = decode_record(sink.record, transfer.infohash, transfer.needed.size)
    assert saved is not None
    assert bytes(saved.pieces) == bytes(transfer.have)
