"""Disks: what a power cut leaves, crash points, full disks, shared blocks."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from spinney.errors import DiskFullError, StorageError
from spinney.sim import SimHost, World

OLD, NEW = b"o" * 200_000, b"n" * 200_000


def disk(seed: int = 1, **options: object) -> SimHost:
    return World(seed).host("a", **options)  # type: ignore[arg-type]


def power_cut(host: SimHost) -> None:
    host.crash()
    host.restart()


def read(host: SimHost, path: str) -> bytes | None:
    if host.storage.info(path) is None:
        return None
    return host.storage.open(path, "read").read(0, 1 << 30)


def write(host: SimHost, path: str, data: bytes, *, sync: bool) -> None:
    file = host.storage.open(path, "create")
    file.write(0, [data])
    if sync:
        file.sync()
        host.storage.sync_folder(".")
    file.close()


def test_what_was_synced_survives_every_power_cut() -> None:
    for seed in range(20):
        host = disk(seed)
        write(host, "file", OLD, sync=True)
        power_cut(host)
        assert read(host, "file") == OLD


def test_what_was_not_synced_is_kept_lost_or_torn_by_the_seed() -> None:
    found: Counter[str] = Counter()
    for seed in range(60):
        host = disk(seed)
        write(host, "file", OLD, sync=True)
        write(host, "file", NEW, sync=False)
        power_cut(host)
        left = read(host, "file")
        assert left is not None
        assert len(left) == len(OLD)
        assert set(left) <= {OLD[0], NEW[0]}
        changes = sum(1 for at in range(512, len(left), 512) if left[at] != left[at - 512])
        whole = "old" if left == OLD else "new" if left == NEW else None
        found[whole or ("torn" if changes > 4 else "by block")] += 1
        again = disk(seed)
        write(again, "file", OLD, sync=True)
        write(again, "file", NEW, sync=False)
        power_cut(again)
        assert read(again, "file") == left, "one seed, one outcome"
    assert {"old", "torn"} <= set(found)


def test_a_file_that_was_never_synced_may_be_missing_or_empty() -> None:
    found = set()
    for seed in range(40):
        host = disk(seed)
        write(host, "file", NEW, sync=False)
        power_cut(host)
        left = read(host, "file")
        found.add(None if left is None else len(left))
    assert {None, 0, len(NEW)} <= found


def test_a_rename_leaves_the_old_or_the_new_file_never_a_mixture() -> None:
    found = set()
    for seed in range(40):
        host = disk(seed)
        write(host, "state", OLD, sync=True)
        write(host, "state.new", NEW, sync=True)
        host.storage.rename("state.new", "state")
        power_cut(host)
        left = read(host, "state")
        assert left in (OLD, NEW)
        found.add(left)
        host = disk(seed)
        write(host, "state", OLD, sync=True)
        write(host, "state.new", NEW, sync=True)
        host.storage.rename("state.new", "state")
        host.storage.sync_folder(".")
        power_cut(host)
        assert read(host, "state") == NEW
        assert read(host, "state.new") is None
    assert found == {OLD, NEW}


def test_a_crash_point_at_every_operation_of_a_careful_write() -> None:
    def careful(host: SimHost) -> None:
        file = host.storage.open("state.new", "create")
        file.truncate(0)
        file.write(0, [NEW])
        file.sync()
        file.close()
        host.storage.rename("state.new", "state")
        host.storage.sync_folder(".")

    host = disk()
    write(host, "state", OLD, sync=True)
    before = host.disk.operations
    careful(host)
    operations = host.disk.operations - before
    assert operations == 6
    outcomes = set()
    for seed in range(8):
        for k in range(1, operations + 1):
            host = disk(seed)
            write(host, "state", OLD, sync=True)
            host.disk.crash_at(k)
            with pytest.raises(StorageError, match="lost power"):
                careful(host)
            assert not host.is_up
            with pytest.raises(StorageError, match="is down"):
                host.storage.list_folder(".")
            host.restart()
            left = read(host, "state")
            assert left in (OLD, NEW), f"seed {seed}, operation {k}"
            outcomes.add((k, left == NEW))
    assert (operations - 1, True) in outcomes
    assert (1, False) in outcomes


def test_a_crash_point_kills_the_program() -> None:
    world = World(1)
    host = world.host("a")
    done: list[int] = []

    async def program() -> None:
        file = host.storage.open("file", "create")
        for number in range(10):
            await host.work(file.write, number, [b"x"])
            done.append(number)

    async def main() -> None:
        host.disk.crash_at(4)
        task = host.start(program())
        await asyncio.wait((task,))
        assert done == [0, 1]
        assert not host.is_up
        assert task.cancelled() or isinstance(task.exception(), StorageError)

    world.run(main())


def test_a_full_disk_says_so_and_keeps_what_was_written() -> None:
    host = disk(disk_bytes=1_000_000)
    assert host.storage.free_bytes(".") == 1_000_000
    file = host.storage.open("file", "create")
    file.write(0, [bytes(400_000)])
    with pytest.raises(DiskFullError):
        file.write(400_000, [b"x" * 700_000])
    assert file.read(0, 400_000) == bytes(400_000)
    free = host.storage.free_bytes(".")
    with pytest.raises(DiskFullError):
        file.allocate(2_000_000)
    file.truncate(0)
    assert host.storage.free_bytes(".") > free
    file.close()
    host.storage.remove("file")
    assert host.storage.free_bytes(".") == 1_000_000


def test_a_sparse_file_takes_only_what_was_written() -> None:
    host = disk(disk_bytes=1_000_000)
    file = host.storage.open("file", "create")
    file.truncate(1 << 40)
    file.write((1 << 39) + 12_345, [b"in the middle"])
    assert file.read((1 << 39) + 12_344, 15) == b"\0in the middle\0"
    assert host.disk.used_bytes <= 2 * 65_536


def test_equal_blocks_of_many_hosts_are_one_object() -> None:
    world = World(1)
    data = bytes(range(256)) * 1_024
    hosts = [world.host(f"h{n}") for n in range(50)]
    blocks = set()
    for host in hosts:
        file = host.storage.open("file", "create")
        for at in range(0, len(data), 16_384):
            file.write(at, [data[at : at + 16_384]])
        blocks |= {id(block) for block in file._inode.blocks._blocks.values()}
    assert len(blocks) == 1


def test_locks_end_with_the_machines_life() -> None:
    host = disk()
    host.storage.lock("lock")
    with pytest.raises(StorageError, match="locked"):
        host.storage.lock("lock")
    host.stop()
    host.restart()
    host.storage.lock("lock").close()
    host.storage.lock("lock")
