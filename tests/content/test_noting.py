"""The note of what is written and not synced: of use after a kill, and never believed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from content.moving import Content, Script, everything, give, in_memory, settle
from spinney.content import noting
from spinney.content.resume import (
    MAX_NOTE_BYTES,
    MAX_NOTED_PIECES,
    decode_note,
    decode_record,
    encode_note,
)
from spinney.content.store import FolderStore
from spinney.content.transfer import Transfer
from spinney.errors import DiskFullError
from spinney.net.live.host import LiveHost
from spinney.sim.host import SimHost
from spinney.sim.storage import WORKING_FOLDER
from spinney.sim.world import World

KIB = 1024
CONTENT = Content([640 * KIB], 16 * KIB, seed=8)
NAME = bytes(20)


# --- the note itself


def test_a_note_is_read_as_it_was_written() -> None:
    assert decode_note(encode_note(NAME, [7, 3, 39]), NAME, 40) == [3, 7, 39]
    most = range(MAX_NOTED_PIECES)
    assert decode_note(encode_note(NAME, most), NAME, MAX_NOTED_PIECES) == list(most)
    assert len(encode_note(bytes(32), most)) <= MAX_NOTE_BYTES


def test_a_note_names_no_piece_twice_and_none_that_does_not_exist() -> None:
    assert decode_note(encode_note(NAME, [3, 3, 40, 2**32 - 1]), NAME, 40) == [3]


def test_a_note_of_other_content_names_nothing() -> None:
    assert decode_note(encode_note(b"x" * 20, [3]), NAME, 40) == []


@given(some.binary(max_size=200))
def test_any_bytes_are_a_note_or_none(data: bytes) -> None:
    assert decode_note(data, NAME, 40) == []


@given(some.integers(0, 200), some.integers(0, 255))
def test_a_damaged_note_names_pieces_that_exist_or_nothing(at: int, byte: int) -> None:
    data = bytearray(encode_note(NAME, [1, 2, 3]))
    data[at % len(data)] = byte
    assert set(decode_note(bytes(data), NAME, 40)) <= set(range(40))
    assert decode_note(bytes(data[: at % len(data)]), NAME, 40) == []


# --- when it is written


def test_pieces_are_noted_at_once_and_then_twice_a_second_at_most() -> None:
    with World(1) as world:

        async def main() -> None:
            transfer = await in_memory(CONTENT)
            sink: Any = transfer.sink
            sink.events.clear()
            feed = transfer.attach(Script())
            feed.saw_bitfield(everything(CONTENT))
            for _ in range(30):  # three seconds of pieces
                give(CONTENT, feed, feed.request(16 * KIB))
                await asyncio.sleep(0.1)
                noted = decode_note(sink.notes[-1], transfer.infohash, transfer.needed.size)
                assert transfer.have.count - len(noted) <= 10 * noting.NOTE_INTERVAL_S
            assert 6 <= len(sink.notes) <= 7
            assert "sync" not in sink.events
            await asyncio.sleep(1.0)
            noted = decode_note(sink.notes[-1], transfer.infohash, transfer.needed.size)
            assert noted == list(transfer.have)
            notes = len(sink.notes)
            await asyncio.sleep(60.0)
            assert len(sink.notes) == notes, "nothing new, nothing noted"
            await transfer.close()

        world.run(main())


async def test_what_is_being_synced_is_noted_too_and_the_newest_of_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transfer = await in_memory(CONTENT)
    sink: Any = transfer.sink
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(CONTENT))
    give(CONTENT, feed, feed.request(64 * KIB))
    await settle(transfer)
    during: list[list[int]] = []
    monkeypatch.setattr(sink, "sync", lambda files: during.append(transfer.keeper.unsynced(99)))
    await transfer.keeper.keep()
    assert during == [list(dict.fromkeys(during[0]))]
    assert sorted(during[0]) == list(transfer.have)
    assert transfer.keeper.unsynced(99) == []
    for piece in (5, 6, 7):
        transfer.keeper.written(piece, 16 * KIB)
    assert transfer.keeper.unsynced(2) == [6, 7]


async def test_a_note_that_cannot_be_written_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = LiveHost(seed=1)
    store = FolderStore(host.storage, CONTENT.descriptor, str(tmp_path))
    transfer = Transfer(host, CONTENT.descriptor, store)
    await transfer.start()
    rename = host.storage.rename
    full: list[str] = []

    def no_room(old: str, new: str) -> None:
        if "-note" in new:
            full.append(new)
            raise DiskFullError("no room")
        rename(old, new)

    monkeypatch.setattr(host.storage, "rename", no_room)
    monkeypatch.setattr(noting, "NOTE_INTERVAL_S", 0.01)
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(CONTENT))
    async with asyncio.timeout(10):
        while len(full) < 2:  # it is tried again
            give(CONTENT, feed, feed.request(16 * KIB))
            await asyncio.sleep(0.02)
    await settle(transfer)
    task = transfer.keeper.noting._task
    assert task is not None
    await transfer.keeper.noting.stop()
    assert task.exception() is None
    assert not [path.name for path in tmp_path.iterdir() if "-note" in path.name]
    assert transfer.failure is None
    await transfer.close()
    host.close()


# --- what it is good for


async def part_of_it(host: SimHost, limit: int) -> Transfer:
    """A life that fetches some pieces, notes them and syncs none: it may end at any time."""
    transfer = await begun(host)
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(CONTENT))
    give(CONTENT, feed, feed.request(limit))
    await settle(transfer)
    await asyncio.sleep(2 * noting.NOTE_INTERVAL_S)
    assert not transfer.keeper.durable.count
    return transfer


async def begun(host: SimHost) -> Transfer:
    store = FolderStore(host.storage, CONTENT.descriptor, "down")
    transfer = Transfer(host, CONTENT.descriptor, store)
    await transfer.start()
    return transfer


def killed(transfer: Transfer) -> None:
    """The program ends without a word, the machine goes on: its files stay, its lock goes."""
    sink: Any = transfer.sink
    sink._lock.close()
    for task in (transfer.keeper._task, transfer.keeper.noting._task):
        if task is not None:
            task.cancel()


def test_after_a_kill_noted_pieces_are_hashed_and_a_torn_one_is_fetched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[int] = []
    check = type(CONTENT.descriptor).check_piece

    def counted(self: Any, piece: int, data: Any) -> bool:
        hashed.append(piece)
        return bool(check(self, piece, data))

    with World(1) as world:
        host = world.host("getter")

        async def main() -> None:
            first = await part_of_it(host, 320 * KIB)
            mine = list(first.have)
            assert len(mine) == 20
            killed(first)
            torn = mine[7]
            file = host.storage.open("down/wood.part", "write")
            file.write(torn * 16 * KIB + 5_000, [b"torn"])
            file.close()
            monkeypatch.setattr(type(CONTENT.descriptor), "check_piece", counted)
            again = await begun(host)
            assert sorted(hashed) == mine, "what is noted, and nothing else"
            assert list(again.have) == [piece for piece in mine if piece != torn]
            feed = again.attach(Script())
            feed.saw_bitfield(everything(CONTENT))
            while not again.complete:
                rows = feed.request(64 * KIB)
                assert not {piece for piece, _, _ in rows} & (set(mine) - {torn})
                give(CONTENT, feed, rows)
                await settle(again)
            await again.close()
            assert host.storage.list_folder("down") == ["wood"]
            whole = host.storage.open("down/wood", "read")
            assert whole.read(0, whole.size()) == CONTENT.space

        world.run(main())


async def half_synced(host: SimHost) -> Transfer:
    """As if the power went between the sync of a batch and its record, with more to sync."""
    transfer = await part_of_it(host, 160 * KIB)
    transfer.sink.sync([0])
    for feed in transfer.feeds:
        give(CONTENT, feed, feed.request(160 * KIB))
    await settle(transfer)
    await asyncio.sleep(noting.NOTE_INTERVAL_S)
    return transfer


def test_after_a_power_cut_the_hash_decides_what_survived() -> None:
    kept = lost = 0
    for seed in range(40):
        with World(seed) as world:
            host = world.host("getter")
            host.disk.make_path(f"{WORKING_FOLDER}/down")
            first = world.run(half_synced(host))
            written = set(first.have)
            host.crash()
            host.restart()
            again = world.run(begun(host))
            store: Any = again.sink
            for piece in again.have:
                found = bytearray(16 * KIB)
                store.read_into(piece * 16 * KIB, memoryview(found))
                assert bytes(found) == CONTENT.piece(piece)
            assert set(again.have) <= written
            kept += again.have.count
            lost += len(written) - again.have.count
            world.run(again.close())
    assert kept, "some survived and were taken over"
    assert lost, "some were torn and are fetched again"


def test_what_a_note_saved_is_synced_before_it_is_marked() -> None:
    """A kill, a start that takes the noted pieces over, and only then the power cut."""
    marked = 0
    for seed in range(10):
        with World(seed) as world:
            host = world.host("getter")
            host.disk.make_path(f"{WORKING_FOLDER}/down")
            killed(world.run(part_of_it(host, 320 * KIB)))
            second = world.run(begun(host))
            assert second.have.count == 20
            host.crash()
            host.restart()
            store = FolderStore(host.storage, CONTENT.descriptor, "down")
            store.open()
            record = decode_record(store.load() or b"", second.infohash, second.needed.size)
            assert record is not None
            for piece in record.pieces:
                found = bytearray(16 * KIB)
                store.read_into(piece * 16 * KIB, memoryview(found))
                assert bytes(found) == CONTENT.piece(piece)
            marked += record.pieces.count
            store.close(done=False)
    assert marked == 10 * 20
