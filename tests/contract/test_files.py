"""F1 to F8: files by offset."""

from __future__ import annotations

import pytest

from contract.machines import Machines
from spinney.errors import DiskFullError, StorageError
from spinney.net.host import File

PATTERN = bytes(range(251)) * 8_000


def filled(machines: Machines, data: bytes, name: str = "file") -> File:
    """A new file that holds `data`."""
    file = machines.a.storage.open(machines.path(name), "create")
    file.write(0, [data])
    return file


def test_f1_read_into(machines: Machines) -> None:
    file = filled(machines, PATTERN)
    for offset, length in [(0, 10), (7, 0), (100, 1_000_000), (len(PATTERN) - 5, 5)]:
        room = bytearray(b"?" * length)
        assert file.read_into(offset, room) == length
        assert room == PATTERN[offset : offset + length]
    room = bytearray(b"?" * 20)
    assert file.read_into(5, memoryview(room)[3:9]) == 6
    assert room == b"???" + PATTERN[5:11] + b"?" * 11
    assert file.read_into(len(PATTERN) - 5, room) == 5
    assert room[:5] == PATTERN[-5:]
    assert file.read_into(len(PATTERN), room) == 0
    assert file.read_into(len(PATTERN) + 1_000, room) == 0
    assert file.read(1_000, 100) == PATTERN[1_000:1_100]
    assert file.read(len(PATTERN) - 3, 100) == PATTERN[-3:]
    assert file.read(len(PATTERN), 1) == b""
    file.close()


def test_f9_read_resident(machines: Machines) -> None:
    file = filled(machines, PATTERN)
    for offset, length in [(0, 10), (7, 0), (100, 5_000), (len(PATTERN) - 5, 50)]:
        room = bytearray(b"?" * length)
        got = file.read_resident(offset, memoryview(room))
        assert 0 <= got <= min(length, len(PATTERN) - offset)
        assert room == PATTERN[offset : offset + got] + b"?" * (length - got)
    file.close()
    with pytest.raises(StorageError):
        file.read_resident(0, bytearray(1))


def test_f2_write_all_buffers(machines: Machines) -> None:
    file = filled(machines, b"." * 50)
    file.write(10, [b"one", bytearray(b"two"), b"", memoryview(b"--three--")[2:7]])
    assert file.read(0, 50) == b"." * 10 + b"onetwothree" + b"." * 29
    file.write(0, [])
    many = [bytes([n % 256]) * (n % 7) for n in range(5_000)]
    file.write(3, many)
    whole = b"".join(many)
    assert file.read(3, len(whole) + 1) == whole
    file.write(0, [PATTERN, PATTERN])
    assert file.read(0, 2 * len(PATTERN)) == PATTERN * 2
    file.close()
    reading = machines.a.storage.open(machines.path("file"), "read")
    with pytest.raises(StorageError):
        reading.write(0, [b"x"])
    reading.close()


def test_f3_a_gap_reads_as_zeros(machines: Machines) -> None:
    file = filled(machines, b"start")
    file.write(1_000_000, [b"end"])
    assert file.size() == 1_000_003
    assert file.read(0, 10) == b"start\0\0\0\0\0"
    assert file.read(5, 999_995) == bytes(999_995)
    assert file.read(999_999, 10) == b"\0end"
    file.close()


def test_f4_sync(machines: Machines) -> None:
    file = filled(machines, PATTERN)
    machines.a.storage.sync_folder(machines.folder)
    file.write(100, [b"changed"])
    file.sync()
    assert machines.was_synced(machines.path("file"))
    machines.power_cut()
    again = machines.a.storage.open(machines.path("file"), "read")
    assert again.read(0, len(PATTERN)) == PATTERN[:100] + b"changed" + PATTERN[107:]
    again.close()


def test_f5_truncate_and_allocate(machines: Machines) -> None:
    file = filled(machines, PATTERN)
    file.truncate(100)
    assert file.size() == 100
    file.truncate(200)
    assert file.size() == 200
    assert file.read(0, 300) == PATTERN[:100] + bytes(100)
    file.allocate(50)
    assert file.size() == 200
    file.allocate(100_000)
    assert file.size() == 100_000
    assert file.read(0, 200) == PATTERN[:100] + bytes(100)
    file.allocate(0)
    file.truncate(0)
    assert file.size() == 0
    file.close()


def test_f5_allocated_room_is_kept(machines: Machines) -> None:
    host, folder, room = machines.small_disk()
    file = host.storage.open(f"{folder}/kept", "create")
    file.allocate(room // 2)
    with pytest.raises(DiskFullError):
        host.storage.open(f"{folder}/kept2", "create").allocate(2 * room)
    file.write(0, [PATTERN[: room // 2]])
    assert file.read(0, room // 2) == PATTERN[: room // 2]
    file.close()


def test_f6_a_full_disk(machines: Machines) -> None:
    host, folder, room = machines.small_disk()
    file = host.storage.open(f"{folder}/big", "create")
    written = 0

    def fill() -> None:
        nonlocal written
        while written <= 2 * room:
            file.write(written, [PATTERN[written % 251 : written % 251 + 50_000]])
            written += 50_000

    with pytest.raises(DiskFullError, match="big"):
        fill()
    assert written >= room // 2
    for at in range(0, written, 50_000):
        assert file.read(at, 50_000) == PATTERN[at % 251 : at % 251 + 50_000]
    file.sync()
    file.truncate(0)
    file.write(0, [b"room again"])
    file.close()


def test_f7_close_twice(machines: Machines) -> None:
    file, other = filled(machines, b"data"), filled(machines, b"other", "other")
    file.close()
    file.close()
    for call in (
        lambda: file.read(0, 4),
        lambda: file.write(0, [b"x"]),
        lambda: file.sync(),
        lambda: file.size(),
        lambda: file.truncate(1),
    ):
        with pytest.raises(StorageError):
            call()
    assert other.read(0, 9) == b"other"
    other.close()


def test_f8_what_was_not_synced_may_be_lost(machines: Machines) -> None:
    old, new = b"o" * 300_000, b"n" * 300_000
    file = filled(machines, old)
    file.sync()
    machines.a.storage.sync_folder(machines.folder)
    file.write(50_000, [new[:100_000]])
    machines.power_cut()
    again = machines.a.storage.open(machines.path("file"), "read")
    data = again.read(0, 400_000)
    assert data[:50_000] == old[:50_000], "what was synced and not written again is kept"
    assert data[150_000:] == old[150_000:]
    assert set(data[50_000:150_000]) <= set(b"on")
    again.close()
