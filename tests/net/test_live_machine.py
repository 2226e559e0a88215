"""What only the real side has: names, zones, interfaces, special files, rights, endings."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.live_machines import IsolatedMachines
from contract.machines import Recorder
from needs import require_program, require_root
from spinney.errors import (
    ConnectError,
    DiskFullError,
    NetworkError,
    ResolveError,
    StorageError,
    UnsafeNameError,
)
from spinney.net.live import LiveHost
from spinney.net.live.names import LOOKUPS_AT_ONCE, Resolver
from spinney.net.live.sockets import address_of, system_address

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="not on this system: Linux's own")


@pytest.fixture
def host() -> Iterator[LiveHost]:
    made = LiveHost("live")
    yield made
    made.close()


# Names


def test_a_name_server_that_is_silent_costs_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: release.wait(10) and [])
    monkeypatch.setattr("spinney.net.live.names.RESOLVE_TIMEOUT_S", 0.1)

    async def check() -> None:
        resolver = Resolver()
        waiting = [resolver.resolve(f"name{n}.test", 80, 0) for n in range(LOOKUPS_AT_ONCE + 1)]
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        texts = sorted(str(error) for error in errors)
        assert all(isinstance(error, ResolveError) for error in errors)
        assert texts[0].startswith(f"{LOOKUPS_AT_ONCE} names are being looked up")
        assert texts[1].startswith("no answer about the name name")
        release.set()
        for _ in range(200):
            if resolver._free._value == LOOKUPS_AT_ONCE:
                break
            await asyncio.sleep(0.01)
        with pytest.raises(ResolveError, match="no address"):
            await resolver.resolve("name.test", 80, 0)

    asyncio.run(check())


def test_a_program_ends_while_a_lookup_hangs() -> None:
    script = """
import asyncio, socket, time
socket.getaddrinfo = lambda *_: time.sleep(60)
from spinney.net.live import LiveHost
async def main():
    asyncio.ensure_future(LiveHost().resolve("name.test", 80))
    await asyncio.sleep(0.1)
asyncio.run(main())
"""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
    assert time.monotonic() - began < 10


def test_addresses_with_zones_go_both_ways() -> None:
    name = socket.if_indextoname(1)
    assert address_of(("fe80::1", 80, 0, 1)) == (f"fe80::1%{name}", 80)
    assert address_of(("fe80::1%ignored", 80, 0, 1)) == (f"fe80::1%{name}", 80)
    assert address_of(("::1", 80, 0, 0)) == ("::1", 80)
    assert address_of(("127.0.0.1", 80)) == ("127.0.0.1", 80)
    assert system_address((f"fe80::1%{name}", 80)) == ("fe80::1", 80, 0, 1)
    assert system_address(("fe80::1%1", 80)) == ("fe80::1", 80, 0, 1)
    for wrong in (("name", 80), ("127.0.0.1", -1), ("::1", 65_536), ("fe80::1%nowhere9", 1)):
        with pytest.raises(NetworkError):
            system_address(wrong)


@linux_only
def test_link_local_addresses_carry_their_zone(tmp_path: Path) -> None:
    require_root()
    machines = IsolatedMachines(tmp_path)

    async def check() -> None:
        rows = {row.name: row for row in machines.a.interfaces()}
        for _ in range(100):
            local = [host for host, _ in rows["spin0"].addresses if host.startswith("fe80")]
            if local:
                break
            await asyncio.sleep(0.02)
            rows = {row.name: row for row in machines.a.interfaces()}
        assert local[0].endswith("%spin0")
        for _ in range(200):  # the system first looks whether somebody else has the address
            try:
                listener = await machines.a.listen(Recorder, (local[0], 0))
                break
            except NetworkError:
                await asyncio.sleep(0.02)
        _, here = await machines.a.connect(Recorder, listener.addresses[0])
        assert here.transport.get_extra_info("peername") == listener.addresses[0]
        assert listener.addresses[0][0] == local[0]
        here.transport.abort()
        listener.close()

    machines.run(check())
    machines.close()


# Interfaces


@linux_only
def test_the_interfaces_are_those_that_ip_shows(host: LiveHost) -> None:
    ip = require_program("ip")
    shown = json.loads(subprocess.run([ip, "-j", "addr"], capture_output=True, check=True).stdout)
    rows = host.interfaces()
    assert [row.name for row in rows] == [row["ifname"] for row in shown]
    for row, other in zip(rows, shown, strict=True):
        assert (row.index, row.mtu) == (other["ifindex"], other["mtu"])
        assert row.multicast == ("MULTICAST" in other["flags"])
        assert row.up == ("UP" in other["flags"])
        assert row.loopback == ("LOOPBACK" in other["flags"])
        expected = [(a["local"], a["prefixlen"]) for a in other["addr_info"]]
        assert [(host.partition("%")[0], prefix) for host, prefix in row.addresses] == expected


def test_without_netlink_names_and_addresses_are_still_told(
    monkeypatch: pytest.MonkeyPatch, host: LiveHost
) -> None:
    monkeypatch.setattr("spinney.net.live.interfaces.sys.platform", "other")
    rows = host.interfaces()
    assert [row.name for row in rows] == [name for _, name in socket.if_nameindex()]
    loopback = next(row for row in rows if row.loopback)
    assert ("127.0.0.1", 8) in loopback.addresses


# Streams


def test_errors_say_what_to_do(host: LiveHost) -> None:
    async def check() -> None:
        listener = await host.listen(Recorder, ("127.0.0.1", 0))
        port = listener.addresses[0][1]
        with pytest.raises(NetworkError, match=f"`ss -ap 'tcp sport = :{port}'` shows it"):
            await host.listen(Recorder, ("127.0.0.1", port))
        with pytest.raises(NetworkError, match=r"203\.0\.113\.9 is not an address of this machine"):
            await host.listen(Recorder, ("203.0.113.9", 0))
        with pytest.raises(NetworkError, match="is not a numeric address"):
            await host.connect(Recorder, ("some.name", 80))
        listener.close()
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            floor = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
            if floor.exists() and int(floor.read_text()) > 99:
                os.seteuid(65_534)
                try:
                    with pytest.raises(NetworkError, match="a port of 1024 or more"):
                        await host.listen(Recorder, ("127.0.0.1", 99))
                finally:
                    os.seteuid(0)

    asyncio.run(check())


def test_a_factory_that_fails_leaks_no_socket(host: LiveHost) -> None:
    async def check() -> None:
        listener = await host.listen(Recorder, ("127.0.0.1", 0))
        before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

        def factory() -> Recorder:
            raise RuntimeError("our own mistake")

        for _ in range(3):
            with pytest.raises(RuntimeError, match="our own"):
                await host.connect(factory, listener.addresses[0])
        await asyncio.sleep(0.05)
        if sys.platform == "linux":
            # The three that were accepted end as soon as the other side is seen to be gone.
            assert len(os.listdir("/proc/self/fd")) <= before
        listener.close()

    asyncio.run(check())


def test_what_a_name_server_says_is_not_dialled_by_connect(host: LiveHost) -> None:
    async def check() -> None:
        with pytest.raises(NetworkError, match="not a numeric"):
            await host.connect(Recorder, ("localhost", 1))
        with pytest.raises(ConnectError):
            await host.connect(Recorder, ("127.0.0.1", 1))

    asyncio.run(check())


# Storage


def test_a_pipe_is_refused_and_does_not_hang(host: LiveHost, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()
    for mode in ("read", "write", "create"):
        with pytest.raises(StorageError, match="not a file"):
            host.storage.open(str(tmp_path / "pipe"), mode)
    with pytest.raises(StorageError, match="not a file"):
        host.storage.open("pipe", "read", beneath=str(tmp_path))
    assert time.monotonic() - began < 5
    info = host.storage.info(str(tmp_path / "pipe"))
    assert info is not None
    assert info.kind == "other"


@linux_only
def test_a_character_device_works_unless_a_stranger_named_it(host: LiveHost) -> None:
    null = host.storage.open("/dev/null", "write")
    null.write(1 << 40, [b"x"])
    null.close()
    with pytest.raises(DiskFullError):
        host.storage.open("/dev/full", "write").write(0, [b"x"])
    with pytest.raises(StorageError, match="not a file"):
        host.storage.open("null", "write", beneath="/dev")


@linux_only
def test_a_block_device_has_a_size_and_an_end(host: LiveHost, tmp_path: Path) -> None:
    losetup = require_program("losetup")
    require_root()
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    made = subprocess.run(
        [losetup, "--find", "--show", str(image)], capture_output=True, text=True, timeout=10
    )
    if made.returncode:
        pytest.skip("not on this system: loop devices")
    device = made.stdout.strip()
    try:
        info = host.storage.info(device)
        assert info is not None
        assert (info.kind, info.size_bytes) == ("block", 1 << 20)
        file = host.storage.open(device, "create")
        assert file.size() == 1 << 20
        file.write((1 << 20) - 3, [b"end"])
        with pytest.raises(DiskFullError):
            file.write((1 << 20) - 1, [b"over the end"])
        file.truncate(1 << 19)
        file.allocate(1 << 20)
        assert file.size() == 1 << 20
        with pytest.raises(DiskFullError):
            file.allocate((1 << 20) + 1)
        file.sync()
        assert file.read((1 << 20) - 5, 100) in (b"\0\0end", b"\0\0eno")
        file.close()
    finally:
        subprocess.run([losetup, "--detach", device], timeout=10)


def test_writes_that_the_system_cuts_short_are_finished(
    host: LiveHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = host.storage.open(str(tmp_path / "file"), "create")
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, rows, at: real(fd, [bytes(rows[0])[:3]], at))
    file.write(1, [b"one", b"", b"second", bytearray(b"the third")])
    monkeypatch.undo()
    real_read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, rows, at: real_read(fd, [rows[0][:2]], at))
    assert file.read(0, 100) == b"\0onesecondthe third"
    file.close()


def test_a_file_closed_during_a_write_keeps_its_number_until_the_write_ends(
    host: LiveHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"innocent")
    inside, go_on = threading.Event(), threading.Event()
    real = os.pwritev

    def slow(descriptor: int, rows: Any, at: int) -> int:
        inside.set()
        go_on.wait(10)
        return real(descriptor, rows, at)

    monkeypatch.setattr(os, "pwritev", slow)
    file = host.storage.open(str(tmp_path / "file"), "create")
    writing = threading.Thread(target=file.write, args=(0, [b"own data"]))
    writing.start()
    assert inside.wait(10)
    file.close()
    other = host.storage.open(str(victim), "write")
    go_on.set()
    writing.join()
    assert victim.read_bytes() == b"innocent"
    assert (tmp_path / "file").read_bytes() == b"own data"
    with pytest.raises(StorageError, match="is closed"):
        file.read(0, 1)
    other.close()


def test_a_swapped_folder_does_not_lead_out(host: LiveHost, tmp_path: Path) -> None:
    """Between looking and opening there is no moment: the walk holds folders open."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "sub", root / "away")
            os.symlink(outside, root / "sub")
            os.unlink(root / "sub")
            os.rename(root / "away", root / "sub")

    swapping = threading.Thread(target=swap)
    swapping.start()
    outcomes = {"made": 0, "refused": 0}
    number, latest = itertools.count(), time.monotonic() + 30
    try:
        # Where both threads get their turns on a busy machine is chance: until both were seen.
        while (n := next(number)) < 400 or (
            not all(outcomes.values()) and time.monotonic() < latest
        ):
            try:
                host.storage.open(f"sub/file{n}", "create", beneath=str(root)).close()
                outcomes["made"] += 1
            except (UnsafeNameError, StorageError):
                outcomes["refused"] += 1
    finally:
        stop.set()
        swapping.join()
    assert os.listdir(outside) == []
    assert all(outcomes.values()), outcomes


def test_files_are_not_inherited_and_get_the_users_mask(host: LiveHost, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        file: Any = host.storage.open(str(tmp_path / "file"), "create")
        assert not os.get_inheritable(file._descriptor)
        assert stat.S_IMODE(os.stat(tmp_path / "file").st_mode) == 0o640
        file.close()
    finally:
        os.umask(before)


def test_a_lock_is_seen_by_other_programs_and_freed_by_death(
    host: LiveHost, tmp_path: Path
) -> None:
    path = str(tmp_path / "lock")
    script = (
        "import sys; from spinney.net.live import LiveHost;"
        "held = LiveHost().storage.lock(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(StorageError, match="another program holds its lock"):
            host.storage.lock(path)
        child.kill()
        child.wait(10)
        host.storage.lock(path).close()


# Chance, and the end


def test_a_seed_fixes_choices_and_never_keys() -> None:
    one, other, third = LiveHost("a", seed=7), LiveHost("b", seed=7), LiveHost("c")
    assert one.rng.getrandbits(64) == other.rng.getrandbits(64) != third.rng.getrandbits(64)
    assert one.entropy(16) != other.entropy(16)
    for host in (one, other, third):
        host.close()


def test_time_is_told_in_worker_threads_too(host: LiveHost) -> None:
    async def check() -> None:
        before = host.time()
        inside = await host.work(host.time)
        assert before <= inside <= host.time()

    asyncio.run(check())
