"""S1 to S11: folders, names, locks."""

from __future__ import annotations

import pytest

from contract.machines import Machines
from spinney.errors import NotFoundError, NotWritableError, StorageError, UnsafeNameError
from spinney.net.host import Storage


def put(storage: Storage, path: str, data: bytes = b"data", *, synced: bool = False) -> None:
    file = storage.open(path, "create")
    file.truncate(0)
    file.write(0, [data])
    if synced:
        file.sync()
    file.close()


def get(storage: Storage, path: str) -> bytes:
    file = storage.open(path, "read")
    try:
        return file.read(0, 1 << 20)
    finally:
        file.close()


def test_s1_paths(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = machines.a.storage
    storage.make_folders(machines.path("one/two"))
    put(storage, machines.path("one/two/three"))
    assert get(storage, machines.path("one/two/three")) == b"data"
    if machines.side != "sim":
        monkeypatch.chdir(machines.folder)
    storage.make_folders("relative")
    put(storage, "relative/file", b"near")
    assert get(storage, "relative/file") == b"near"
    assert get(storage, "./relative/file") == b"near"
    for name in ("with space", "ünïcode ✓", "-", "back\\slash", "line\nbreak", "a" * 255):
        put(storage, machines.path(name), name.encode())
        assert get(storage, machines.path(name)) == name.encode()


def test_s2_open(machines: Machines) -> None:
    storage = machines.a.storage
    path = machines.path("file")
    for mode in ("read", "write"):
        with pytest.raises(NotFoundError, match="file"):
            storage.open(path, mode)
    with pytest.raises(NotFoundError):
        storage.open(machines.path("no folder/file"), "create")
    storage.open(path, "exclusive").close()
    with pytest.raises(StorageError):
        storage.open(path, "exclusive")
    put(storage, path, b"kept")
    storage.open(path, "create").close()
    assert get(storage, path) == b"kept", "`create` never cuts"
    writing = storage.open(path, "write")
    writing.write(0, [b"K"])
    writing.close()
    assert get(storage, path) == b"Kept"
    with machines.read_only(path), pytest.raises(NotWritableError):
        storage.open(path, "write")
    storage.make_folders(machines.path("folder"))
    for wrong in ("folder", "file/below", "nul\0", "a" * 5_000, "lone \ud800 surrogate"):
        with pytest.raises(StorageError):
            storage.open(machines.path(wrong), "create")
    with pytest.raises(StorageError):
        storage.open("", "create")


def test_s3_beneath(machines: Machines) -> None:
    storage = machines.a.storage
    root = machines.path("root")
    storage.make_folders(root)
    put(storage, machines.path("secret"), b"outside")
    storage.make_folders("a/b", beneath=root)
    storage.make_folders("a/b/c", beneath=root)
    file = storage.open("a/b/inside", "create", beneath=root)
    file.write(0, [b"inside"])
    file.close()
    assert get(storage, f"{root}/a/b/inside") == b"inside"
    machines.plant_link(f"{root}/up", machines.folder)
    machines.plant_link(f"{root}/a/link", machines.path("secret"))
    machines.plant_link(f"{root}/a/self", "b")
    machines.plant_link(f"{root}/a/dangling", machines.path("new"))
    for name in ("up/secret", "a/link", "a/self/inside", "a/dangling"):
        for mode in ("read", "write", "create", "exclusive"):
            with pytest.raises(UnsafeNameError):
                storage.open(name, mode, beneath=root)
    for name in ("up/x", "up", "a/self/x", "a/dangling/x"):
        with pytest.raises(UnsafeNameError):
            storage.make_folders(name, beneath=root)
    outside = machines.path("secret")
    for name in ("../secret", "a/../../secret", "a/./b", "a//b", "", ".", "..", outside, "a/b/"):
        with pytest.raises(UnsafeNameError):
            storage.open(name, "create", beneath=root)
        with pytest.raises(UnsafeNameError):
            storage.make_folders(name, beneath=root)
    assert get(storage, machines.path("secret")) == b"outside"
    assert storage.info(machines.path("new")) is None
    with pytest.raises(NotFoundError):
        storage.open("a/none", "read", beneath=root)
    with pytest.raises(NotFoundError):
        storage.open("none/file", "create", beneath=root)
    with pytest.raises(StorageError):
        storage.open("a/b", "read", beneath=root)
    machines.plant_link(machines.path("to root"), root)
    file = storage.open("a/b/inside", "read", beneath=machines.path("to root"))
    assert file.read(0, 9) == b"inside", "the folder itself may be a link: its owner made it"
    file.close()


def test_s4_make_folders(machines: Machines) -> None:
    storage = machines.a.storage
    for _ in range(2):
        storage.make_folders(machines.path("a/b/c"))
    assert storage.list_folder(machines.path("a/b")) == ["c"]
    put(storage, machines.path("file"))
    for wrong in ("file", "file/below"):
        with pytest.raises(StorageError):
            storage.make_folders(machines.path(wrong))


def test_s5_rename(machines: Machines) -> None:
    storage = machines.a.storage
    old, new = machines.path("state.new"), machines.path("state")
    put(storage, new, b"old state", synced=True)
    storage.sync_folder(machines.folder)
    put(storage, old, b"new state", synced=True)
    storage.rename(old, new)
    assert get(storage, new) == b"new state"
    assert storage.info(old) is None
    machines.power_cut()
    storage = machines.a.storage
    assert get(storage, new) in (b"old state", b"new state")
    put(storage, old, b"third state", synced=True)
    storage.rename(old, new)
    storage.sync_folder(machines.folder)
    machines.power_cut()
    assert get(machines.a.storage, new) == b"third state"
    with pytest.raises(NotFoundError):
        machines.a.storage.rename(machines.path("none"), new)
    machines.a.storage.make_folders(machines.path("folder"))
    with pytest.raises(StorageError):
        machines.a.storage.rename(new, machines.path("folder"))


def test_s6_remove(machines: Machines) -> None:
    storage = machines.a.storage
    put(storage, machines.path("file"))
    machines.plant_link(machines.path("link"), machines.path("file"))
    storage.remove(machines.path("link"))
    assert storage.info(machines.path("link")) is None
    for _ in range(2):
        storage.remove(machines.path("file"))
        assert storage.info(machines.path("file")) is None
    storage.remove(machines.path("no folder/file"))
    storage.make_folders(machines.path("folder/inner"))
    with pytest.raises(StorageError):
        storage.remove(machines.path("folder"))
    with pytest.raises(StorageError):
        storage.remove_folder(machines.path("folder"))
    storage.remove_folder(machines.path("folder/inner"))
    for _ in range(2):
        storage.remove_folder(machines.path("folder"))
    assert storage.info(machines.path("folder")) is None
    put(storage, machines.path("file"))
    with pytest.raises(StorageError):
        storage.remove_folder(machines.path("file"))


def test_s7_info(machines: Machines) -> None:
    storage = machines.a.storage
    put(storage, machines.path("file"), b"12345")
    storage.make_folders(machines.path("folder"))
    machines.plant_link(machines.path("link"), machines.path("file"))
    machines.plant_link(machines.path("dangling"), machines.path("none"))
    file = storage.info(machines.path("file"))
    assert file is not None
    assert (file.kind, file.size_bytes) == ("file", 5)
    folder, link = storage.info(machines.path("folder")), storage.info(machines.path("link"))
    assert folder is not None
    assert folder.kind == "folder"
    assert link is not None
    assert link.kind == "link"
    assert storage.info(machines.path("link"), follow=True) == file
    assert folder.identity != file.identity != link.identity
    for nothing in ("none", "none/below", "file/below"):
        assert storage.info(machines.path(nothing)) is None
    assert storage.info(machines.path("dangling"), follow=True) is None
    wall = machines.a.wall_time()
    assert abs(file.modified_ns / 1e9 - wall) < 60
    storage.rename(machines.path("file"), machines.path("renamed"))
    renamed = storage.info(machines.path("renamed"))
    assert renamed is not None
    assert renamed.identity == file.identity


def test_s8_list_folder(machines: Machines) -> None:
    storage = machines.a.storage
    for name in ("b", "a", "C", "10", "9", "é"):
        put(storage, machines.path(name))
    storage.make_folders(machines.path("folder/below"))
    assert storage.list_folder(machines.folder) == ["10", "9", "C", "a", "b", "folder", "é"]
    with pytest.raises(NotFoundError):
        storage.list_folder(machines.path("none"))
    with pytest.raises(StorageError):
        storage.list_folder(machines.path("a"))


def test_s9_free_bytes(machines: Machines) -> None:
    assert machines.a.storage.free_bytes(machines.folder) > 0
    with pytest.raises(NotFoundError):
        machines.a.storage.free_bytes(machines.path("none"))
    host, folder, _ = machines.small_disk()
    before = host.storage.free_bytes(folder)
    file = host.storage.open(f"{folder}/file", "create")
    file.write(0, [bytes(500_000)])
    file.sync()
    assert host.storage.free_bytes(folder) <= before - 400_000
    file.close()


def test_s10_sync_folder(machines: Machines) -> None:
    storage = machines.a.storage
    storage.make_folders(machines.path("folder"))
    put(storage, machines.path("folder/file"), b"kept", synced=True)
    storage.sync_folder(machines.path("folder"))
    storage.sync_folder(machines.folder)
    assert machines.was_synced(machines.path("folder"))
    machines.power_cut()
    assert get(machines.a.storage, machines.path("folder/file")) == b"kept"
    with pytest.raises(NotFoundError):
        machines.a.storage.sync_folder(machines.path("none"))


def test_s11_lock(machines: Machines) -> None:
    storage = machines.a.storage
    path = machines.path("lock")
    held = storage.lock(path)
    for _ in range(2):
        with pytest.raises(StorageError, match="lock"):
            storage.lock(path)
    held.write(0, [b"12345"])
    assert get(storage, path) == b"12345"
    held.close()
    again = storage.lock(path)
    assert again.read(0, 10) == b"12345"
    machines.power_cut()
    if not machines.one_machine:
        machines.a.storage.lock(path).close()
    again.close()
