"""The store: names, places, what is in the way, what goes wrong on a disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from content.moving import Content, Script, everything, give, settle
from spinney.content.layout import Layout
from spinney.content.shared import SharedFiles, shared_paths
from spinney.content.store import FolderStore, fitted, part_names
from spinney.content.transfer import Settings, Transfer
from spinney.errors import (
    ChangedFileError,
    DiskFullError,
    NotFoundError,
    NotWritableError,
    SpinneyError,
    StorageError,
    UnsafeNameError,
)
from spinney.net.live.host import LiveHost
from spinney.sim.world import World

KIB = 1024
SMALL = Content([100_000, 0, 40_000], 16 * KIB, seed=2)


def stored(content: Content, folder: Path, **options: object) -> Transfer:
    host = LiveHost(seed=3)
    store = FolderStore(host.storage, content.descriptor, str(folder), **options)  # type: ignore[arg-type]
    return Transfer(host, content.descriptor, store)


async def filled(transfer: Transfer, content: Content, limit: int = 1 << 30) -> None:
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(content))
    got = 0
    async with asyncio.timeout(20):
        while not transfer.complete and transfer.failure is None and got < limit:
            rows = feed.request(64 * KIB)
            got += sum(row[2] for row in rows)
            give(content, feed, rows)
            await asyncio.sleep(0)
    await settle(transfer)


# --- where bytes lie


def test_spans_and_padding_cover_every_byte_once() -> None:
    for options in ({}, {"padded": True}, {"gaps": True}):
        content = Content([5, 0, 70_000, 1, 33_333, 16_384], 16 * KIB, **options)  # type: ignore[arg-type]
        layout = Layout(content.descriptor)
        rebuilt = bytearray(len(content.space))
        for piece in range(layout.piece_count):
            offset, length = piece * layout.piece_length, content.descriptor.piece_bytes(piece)
            covered = bytearray(length)
            for span in layout.spans(offset, length):
                data = content.data[span.file][span.file_offset : span.file_offset + span.length]
                rebuilt[offset + span.at : offset + span.at + span.length] = data
                for at in range(span.at, span.at + span.length):
                    covered[at] += 1
            for begin, end in layout.padding(offset, length):
                for at in range(begin, end):
                    covered[at] += 1
            assert covered == bytes([1]) * length
        assert bytes(rebuilt) == content.space


def test_part_names_never_meet_a_real_name() -> None:
    names = ["a", "a.part", "A.PART_", "d/a", "x" * 255, "é" * 127]
    parts = part_names(names)
    everyone = [name.casefold() for name in [*names, *parts]]
    assert len(set(everyone)) == len(everyone)
    assert all(len(part.rpartition("/")[2].encode()) <= 255 for part in parts)
    assert fitted("short", ".part") == "short.part"


async def test_a_file_bears_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    transfer = stored(SMALL, tmp_path)
    await transfer.start()
    await filled(transfer, SMALL, limit=50_000)
    assert (tmp_path / "wood" / "leaf1").read_bytes() == b""
    assert not (tmp_path / "wood" / "leaf0").exists()
    assert any(path.name.endswith(".part") for path in (tmp_path / "wood").iterdir())
    await filled(transfer, SMALL)
    assert (tmp_path / "wood" / "leaf0").read_bytes() == SMALL.data[0]
    await transfer.close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["leaf0", "leaf1", "leaf2", "wood"]


async def test_one_file_under_another_name(tmp_path: Path) -> None:
    content = Content([70_000], 16 * KIB)
    transfer = stored(content, tmp_path, single_name="other.iso")
    await transfer.start()
    await filled(transfer, content)
    await transfer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["other.iso"]


async def test_preallocated_files_have_their_size_at_once(tmp_path: Path) -> None:
    transfer = stored(SMALL, tmp_path, preallocate=True)
    await transfer.start()
    assert (tmp_path / "wood" / "leaf0.part").stat().st_size == 100_000
    await filled(transfer, SMALL)
    await transfer.close()
    assert (tmp_path / "wood" / "leaf2").read_bytes() == SMALL.data[2]


# --- what is there already


async def test_whole_files_are_taken_over_without_fetching(tmp_path: Path) -> None:
    (tmp_path / "wood").mkdir()
    for entry, data in zip(SMALL.files, SMALL.data, strict=True):
        tmp_path.joinpath(*entry.path).write_bytes(data)
    transfer = stored(SMALL, tmp_path)
    seen: list[tuple[int, int]] = []
    await transfer.start(progress=lambda done, total: seen.append((done, total)))
    assert transfer.complete
    assert seen[-1] == (140_000, 140_000)
    await transfer.close()


async def test_a_strange_file_in_the_way_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "wood").mkdir()
    for name in ("leaf0", "leaf0.part"):
        (tmp_path / "wood" / name).write_bytes(b"my diary")
        with pytest.raises(NotWritableError, match="exists and is something else"):
            await stored(SMALL, tmp_path).start()
        assert (tmp_path / "wood" / name).read_bytes() == b"my diary"
        (tmp_path / "wood" / name).unlink()
    (tmp_path / "wood" / "leaf0").write_bytes(b"my diary")
    transfer = stored(SMALL, tmp_path, overwrite=True)
    await transfer.start()
    await filled(transfer, SMALL)
    await transfer.close()
    assert (tmp_path / "wood" / "leaf0").read_bytes() == SMALL.data[0]


async def test_a_damaged_file_is_mended_and_cut_to_size(tmp_path: Path) -> None:
    content = Content([100_000], 16 * KIB)
    damaged = bytearray(content.data[0]) + b"tail"
    damaged[50_000] ^= 1
    (tmp_path / "wood").write_bytes(damaged)
    transfer = stored(content, tmp_path)
    await transfer.start()
    assert transfer.needed.count == 1
    await filled(transfer, content)
    await transfer.close()
    assert (tmp_path / "wood").read_bytes() == content.data[0]


async def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for place in ("wood", "wood/leaf0", "wood/leaf0.part", ".wood.spinney-lock"):
        folder = tmp_path / place.replace("/", "_")
        (folder / place).parent.mkdir(parents=True)
        (folder / place).symlink_to(outside / "target")
        transfer = stored(SMALL, folder)
        failure: SpinneyError | None = None
        try:
            await transfer.start()
            await filled(transfer, SMALL)
            failure = transfer.failure
            await transfer.close()
        except SpinneyError as error:
            failure = error
        assert isinstance(failure, StorageError | UnsafeNameError)
        assert list(outside.iterdir()) == []


async def test_the_longest_name_can_be_resumed(tmp_path: Path) -> None:
    for length in (255, 247, 241):
        content = Content([100_000], 16 * KIB, name="x" * length)
        first = stored(content, tmp_path)
        await first.start()
        await filled(first, content, limit=50_000)
        await first.close()
        again = stored(content, tmp_path)
        await again.start()
        assert again.have.count == first.have.count > 0
        await filled(again, content)
        await again.close()
        assert (tmp_path / ("x" * length)).read_bytes() == content.data[0]
        assert len(list(tmp_path.iterdir())) == 1
        (tmp_path / ("x" * length)).unlink()


def test_a_file_that_is_whole_and_protected_is_no_obstacle() -> None:
    with World(1) as world:
        host = world.host("getter")

        def there() -> Transfer:
            store = FolderStore(host.storage, SMALL.descriptor, "down")
            return Transfer(host, SMALL.descriptor, store)

        async def main() -> None:
            first = there()
            await first.start()
            await filled(first, SMALL)
            await first.close()
            host.storage.set_read_only("down/wood/leaf0")
            again = there()
            await again.start()
            assert again.complete
            await again.close()

        world.run(main())


async def test_two_programs_on_one_output(tmp_path: Path) -> None:
    first = stored(SMALL, tmp_path)
    await first.start()
    with pytest.raises(StorageError, match="another program is writing"):
        await stored(SMALL, tmp_path).start()
    await filled(first, SMALL, limit=30_000)
    await first.close()
    again = stored(SMALL, tmp_path)
    await again.start()
    assert again.have.count == first.have.count > 0
    await again.close()


# --- what goes wrong


def test_a_folder_that_cannot_be_written() -> None:
    with World(1) as world:
        host = world.host("getter")
        host.storage.make_folders("down")
        host.disk.root.names["home"].names["down"].read_only = True

        async def main() -> None:
            store = FolderStore(host.storage, SMALL.descriptor, "down")
            with pytest.raises(NotWritableError, match="choose another folder with -o"):
                await Transfer(host, SMALL.descriptor, store).start()

        world.run(host.start(main()))


def test_a_full_disk_says_so_and_the_same_command_resumes() -> None:
    content = Content([400_000], 16 * KIB, seed=4)
    with World(4) as world:
        host = world.host("getter", disk_bytes=600_000)
        big = host.storage.open("other", "create")
        big.write(0, [bytes(300_000)])

        async def first() -> None:
            store = FolderStore(host.storage, content.descriptor, "down")
            with pytest.raises(DiskFullError, match="make room, or choose another folder"):
                await Transfer(host, content.descriptor, store).start()

        async def second() -> int:
            store = FolderStore(host.storage, content.descriptor, "down")
            store.free_bytes = lambda: None  # type: ignore[method-assign]  # and then it fills up
            transfer = Transfer(host, content.descriptor, store)
            failed: list[StorageError] = []
            transfer.on_failure(failed.append)
            await transfer.start()
            await filled(transfer, content)
            assert isinstance(transfer.failure, DiskFullError)
            assert "run the same command again" in str(transfer.failure)
            assert failed == [transfer.failure]
            feed = transfer.attach(Script())
            feed.saw_bitfield(everything(content))
            assert feed.request(1 << 20) == []
            await transfer.close()
            return transfer.have.count

        async def third(before: int) -> None:
            big.truncate(0)
            host.storage.remove("other")
            store = FolderStore(host.storage, content.descriptor, "down")
            transfer = Transfer(host, content.descriptor, store)
            await transfer.start()
            assert transfer.have.count >= before > 2
            await filled(transfer, content)
            await transfer.close()
            found = host.storage.open("down/wood", "read")
            assert found.read(0, 1 << 20) == content.data[0]

        world.run(host.start(first()))
        before = world.run(host.start(second()))
        world.run(host.start(third(before)))


# --- serving


async def shared(content: Content, folder: Path, cache_bytes: int = 0) -> Transfer:
    top = folder / "wood"
    for entry, data in zip(content.files, content.data, strict=True):
        path = folder.joinpath(*entry.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    host = LiveHost(seed=3)
    paths = shared_paths(content.descriptor, str(top))
    sink = SharedFiles(host.storage, content.descriptor, paths)
    settings = Settings(cache_bytes=cache_bytes)
    transfer = Transfer(host, content.descriptor, sink, settings=settings)
    await transfer.start(trust=True)
    return transfer


async def test_shared_files_are_read_and_never_written(tmp_path: Path) -> None:
    transfer = await shared(SMALL, tmp_path)
    assert transfer.complete
    for at in range(0, len(SMALL.space), 10_000):
        length = min(10_000, len(SMALL.space) - at)
        assert bytes(await transfer.read(at, length)) == SMALL.space[at : at + length]
    await transfer.close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["leaf0", "leaf1", "leaf2", "wood"]


async def test_a_shared_file_that_is_cut_short_is_an_error_of_that_transfer(tmp_path: Path) -> None:
    transfer = await shared(SMALL, tmp_path)
    other = await shared(Content([50_000], 16 * KIB), tmp_path / "else")
    await transfer.read(0, 100)
    os.truncate(tmp_path / "wood" / "leaf0", 20_000)
    with pytest.raises(ChangedFileError):
        await transfer.read(90_000, 100)
    assert isinstance(transfer.failure, ChangedFileError)
    assert other.failure is None
    assert len(await other.read(0, 100)) == 100
    await transfer.close()
    await other.close()


async def test_a_changed_file_is_believed_by_hash_only(tmp_path: Path) -> None:
    transfer = await shared(SMALL, tmp_path)
    path = tmp_path / "wood" / "leaf0"
    os.utime(path, ns=(1, 1))  # touched: still right
    assert bytes(await transfer.read(0, 100)) == SMALL.space[:100]
    changed = bytearray(SMALL.data[0])
    changed[3] ^= 1
    path.with_name("new").write_bytes(changed)
    path.with_name("new").rename(path)  # replaced
    assert bytes(await transfer.read(50_000, 100)) == SMALL.space[50_000:50_100]
    with pytest.raises(ChangedFileError):
        await transfer.read(0, 100)
    await transfer.close()


async def test_a_missing_or_shorter_shared_file_is_refused_at_once(tmp_path: Path) -> None:
    host = LiveHost()
    paths = [str(tmp_path / name) for name in ("a", "b", "c")]
    with pytest.raises(NotFoundError):
        SharedFiles(host.storage, SMALL.descriptor, paths).open()
    for path in paths:
        Path(path).write_bytes(b"x")
    with pytest.raises(ChangedFileError, match="should have 100,000"):
        SharedFiles(host.storage, SMALL.descriptor, paths).open()


async def test_many_files_keep_few_open(tmp_path: Path) -> None:
    content = Content([700] * 300, 16 * KIB, seed=9)
    transfer = stored(content, tmp_path)
    await transfer.start()
    before = len(os.listdir("/proc/self/fd"))
    await filled(transfer, content)
    assert len(os.listdir("/proc/self/fd")) - before <= 80
    await transfer.close()
    for entry, data in zip(content.files, content.data, strict=True):
        assert tmp_path.joinpath(*entry.path).read_bytes() == data


async def test_a_start_that_fails_lets_go_of_the_lock(tmp_path: Path) -> None:
    (tmp_path / "wood").mkdir()
    (tmp_path / "wood" / "leaf2").mkdir()
    with pytest.raises(UnsafeNameError):
        await stored(SMALL, tmp_path).start()
    (tmp_path / "wood" / "leaf2").rmdir()
    transfer = stored(SMALL, tmp_path)
    await transfer.start()
    await transfer.close()
