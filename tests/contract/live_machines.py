"""The real side: this machine's loopback, and network namespaces where the right is there."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from contract.machines import CHECK_LIMIT_S, Machines
from spinney.net.host import Address, Host
from spinney.net.live import LiveHost
from spinney.net.live.plain import ENVIRONMENT_NAME

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
SMALL_DISK_BYTES = 1 << 20


@contextlib.contextmanager
def network_namespace() -> Iterator[None]:
    """This thread in a network of its own: `lo`, and `spin0`, which leads nowhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        for line in (
            "link set lo up",
            "link add spin0 type veth peer name spin1",
            "link set spin0 up mtu 1500 multicast on",
            "link set spin1 up mtu 1500",
            "addr add 10.77.0.1/24 dev spin0",
            "addr add 10.77.0.2/24 dev spin0",
            "addr add fd77::1/64 dev spin0 nodad",
            "addr add fd77::2/64 dev spin0 nodad",
        ):
            subprocess.run(["ip", *line.split()], check=True, timeout=10)
        yield
    finally:
        libc.setns(before, CLONE_NEWNET)
        os.close(before)


class LiveMachines(Machines):
    """`a` and `b` are this machine under two loopback addresses.

    `plain`: without the system calls that Windows lacks.
    """

    four = ("127.0.0.1", "127.0.0.2")
    six = ("::1", "::1")
    interface = "lo" if sys.platform == "linux" else "lo0"
    one_machine = True

    def __init__(self, folder: Path, *, plain: bool = False) -> None:
        self.side = "plain" if plain else "live"
        self._exit = contextlib.ExitStack()
        if plain:
            before = os.environ.get(ENVIRONMENT_NAME)
            os.environ[ENVIRONMENT_NAME] = "1"
            self._exit.callback(_set_environment, ENVIRONMENT_NAME, before)
        self.a: Host = LiveHost("a")
        self.b: Host = LiveHost("b")
        self.folder = str(folder)
        self._synced: list[str] = []
        answers = socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        self.known_name = ("localhost", list(dict.fromkeys(str(row[4][0]) for row in answers)))
        self._watch_syncs()

    def _watch_syncs(self) -> None:
        """Writes down which files the system was told to sync."""
        for name in ("fsync", "fdatasync"):
            real = getattr(os, name, None)
            if real is None:
                continue

            def watched(descriptor: int, real: Any = real) -> None:
                self._synced.append(os.path.realpath(f"/proc/self/fd/{descriptor}"))
                real(descriptor)

            setattr(os, name, watched)
            self._exit.callback(setattr, os, name, real)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        async def limited() -> T:
            async with asyncio.timeout(CHECK_LIMIT_S):
                return await main

        return asyncio.run(limited())

    def close(self) -> None:
        self._exit.close()
        for host in (self.a, self.b):
            assert isinstance(host, LiveHost)
            host.close()

    @functools.cached_property
    def group_port(self) -> int:  # type: ignore[override]
        """A port that the system gives to nobody else while this holds it; members share it."""
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        holder.bind(("", 0))
        port: int = holder.getsockname()[1]
        if sys.platform == "linux":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._exit.callback(holder.close)
        else:  # where all must have asked for it before binding
            holder.close()
        return port

    async def silent(self) -> Address:
        """A listener that accepts nobody, its queue full: the system drops what knocks."""
        listener = socket.socket()
        self._exit.callback(listener.close)
        listener.bind((self.four[1], 0))
        listener.listen(0)
        address: Address = listener.getsockname()
        for _ in range(4):
            knocker = socket.socket()
            self._exit.callback(knocker.close)
            knocker.setblocking(False)
            knocker.connect_ex(address)
        await asyncio.sleep(0.05)
        return address

    def vanish(self) -> None:
        raise NotImplementedError("needs a namespace")

    def power_cut(self) -> bool:
        return False

    def was_synced(self, path: str) -> bool:
        return os.path.realpath(path) in self._synced

    def plant_link(self, path: str, target: str) -> None:
        os.symlink(target, path)

    def small_disk(self) -> tuple[Host, str, int]:
        """As root a file system of its own; else a limit on the size of files."""
        folder = os.path.join(self.folder, "small")
        os.mkdir(folder)
        if os.geteuid() == 0 and sys.platform == "linux":
            options = f"size={SMALL_DISK_BYTES}"
            mount = ["mount", "-t", "tmpfs", "-o", options, "spinney-test", folder]
            if subprocess.run(mount, capture_output=True, timeout=10).returncode == 0:
                self._exit.callback(subprocess.run, ["umount", "-l", folder], timeout=10)
                return self.a, folder, SMALL_DISK_BYTES
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_DISK_BYTES, hard))
        self._exit.callback(resource.setrlimit, resource.RLIMIT_FSIZE, (soft, hard))
        return self.a, folder, SMALL_DISK_BYTES

    @contextlib.contextmanager
    def read_only(self, path: str) -> Iterator[None]:
        os.chmod(path, 0o444)
        is_root = os.geteuid() == 0  # root writes what it likes: be nobody for a moment
        try:
            if is_root:
                os.seteuid(65_534)
            yield
        finally:
            if is_root:
                os.seteuid(0)
            os.chmod(path, 0o644)

    def step_wall_clock(self, seconds: float) -> bool:
        real = time.time
        time.time = lambda: real() + seconds
        self._exit.callback(setattr, time, "time", real)
        return True


class IsolatedMachines(LiveMachines):
    """In a network namespace: `spin0` multicasts over IPv6 too, and can be slow, or die."""

    four = ("10.77.0.1", "10.77.0.2")
    six = ("fd77::1", "fd77::2")
    interface = "spin0"

    def __init__(
        self, folder: Path, *, plain: bool = False, slow_bytes_per_s: int | None = None
    ) -> None:
        super().__init__(folder, plain=plain)
        self._exit.enter_context(network_namespace())
        if slow_bytes_per_s is not None:
            rate = f"{slow_bytes_per_s * 8}bit"
            # The system loops traffic between its own addresses over `lo`, whatever they are.
            shape = ["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", rate]
            limits = ["burst", "70kb", "limit", "64mb"]
            subprocess.run([*shape, *limits], check=True, timeout=10)

    def vanish(self) -> None:
        """Everything that is sent is dropped; TCP gives up after about a second."""
        Path("/proc/sys/net/ipv4/tcp_retries2").write_text("1")
        subprocess.run(["ip", "link", "set", "lo", "down"], check=True, timeout=10)


def _set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
