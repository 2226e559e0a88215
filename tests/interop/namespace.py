"""A network namespace with many addresses on its loopback interface, and programs inside it.

libtorrent treats loopback and private addresses as "local" (no limits, always unchoked), and
others drop peers on 127/8.  So each client of a test gets an address of its own, 198.18.N.1
(the range for benchmarks, RFC 2544), on `lo` of a namespace that the test makes and removes.

Trap: whoever connects from one local address to another without binding leaves from the
address that he connects to.  Every client must bind its outgoing connections too.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from spinney.net.host import Interface
from spinney.net.live import LiveHost

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """In the child, before exec: a test that is killed leaves no clients behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Namespace:
    """Made on entering, with `addresses` addresses; on leaving all its processes end.

    `prefix_bits`: 16 makes them neighbours on one link, as libtorrent's LAN discovery wants.
    """

    def __init__(self, addresses: int = 10, prefix_bits: int = 32) -> None:
        self.name = f"spinney-{os.getpid()}-{next(_numbers)}"
        self._count = addresses
        self._prefix_bits = prefix_bits
        self._processes: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Namespace:
        self._ip("netns", "add", self.name)
        try:
            self._ip("-n", self.name, "link", "set", "lo", "up")
            for n in range(1, self._count + 1):
                address = f"{self.address(n)}/{self._prefix_bits}"
                self._ip("-n", self.name, "addr", "add", address, "dev", "lo")
        except BaseException:
            self._ip("netns", "delete", self.name)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self._processes):
            self.stop(process)
        self._ip("netns", "delete", self.name)

    @staticmethod
    def _ip(*words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20)
        if done.returncode:
            raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")

    @staticmethod
    def address(n: int) -> str:
        assert 1 <= n <= 255
        return f"198.18.{n}.1"

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Starts a program inside; it is ended with the namespace."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            preexec_fn=_die_with_parent,
            **options,
        )
        self._processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[Any], gently_s: float = 3.0) -> None:
        """Asks it to end, then ends it; by its own id, and waits."""
        if process in self._processes:
            self._processes.remove(process)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(gently_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the namespace; sockets made meanwhile stay there for good."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if _libc.setns(inside, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                if _libc.setns(before, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns back")
        finally:
            os.close(before)
            os.close(inside)

    def host(self, n: int | None = None) -> LiveHost:
        """A `LiveHost` of this process whose sockets are in the namespace.

        With `n` its connections leave from address number `n`, unless they name another.
        """
        return _HostInside(self, None if n is None else self.address(n))


class _HostInside(LiveHost):
    def __init__(self, namespace: Namespace, address: str | None) -> None:
        super().__init__(name=namespace.name)
        self._namespace = namespace
        self._address = address

    def make_socket(self, family: int, kind: int) -> Any:
        with self._namespace.entered():
            return super().make_socket(family, kind)

    def interfaces(self) -> list[Interface]:
        with self._namespace.entered():
            return super().interfaces()

    async def connect(self, factory: Any, remote: Any, **options: Any) -> Any:
        if self._address is not None and options.get("local") is None and ":" not in remote[0]:
            options["local"] = (self._address, 0)
        return await super().connect(factory, remote, **options)
