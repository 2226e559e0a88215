"""`LiveHost`: this machine."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from spinney.net.host import (
    Address,
    DatagramOptions,
    DatagramReceiver,
    Datagrams,
    Interface,
    Listener,
    P,
    R,
    Rng,
    Storage,
    Ts,
)
from spinney.net.live import streams
from spinney.net.live.allocator import keep_freed_memory
from spinney.net.live.datagrams import open_datagrams
from spinney.net.live.interfaces import list_interfaces
from spinney.net.live.names import Resolver
from spinney.net.live.sockets import NumericSocket, make_socket
from spinney.net.live.storage import LiveStorage

WORK_THREADS = 4
"""For calls that block.  Whoever hashes and writes bulk data keeps one such call in flight,
not four: a second one that holds the interpreter lock halves the throughput of both."""

_PLAIN_OPTIONS = DatagramOptions()


class LiveHost:
    """The `Host` that is the machine we run on.

    `seed` fixes `rng` (never `entropy`), for runs that should choose alike.  A program makes
    one and calls `close` at its end.
    """

    def __init__(self, name: str | None = None, seed: int | None = None) -> None:
        keep_freed_memory()
        self.name = name or socket.gethostname()
        fixed = random.SystemRandom().getrandbits(128) if seed is None else seed
        self.rng: Rng = random.Random(fixed)
        self.storage: Storage = LiveStorage()
        self._resolver = Resolver()
        self._pool = ThreadPoolExecutor(WORK_THREADS, thread_name_prefix="spinney-work")

    def close(self) -> None:
        """Lets the worker threads end; work that has not begun is cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def make_socket(self, family: int, kind: int) -> NumericSocket:
        """Every socket of this host is made here (tests put some in network namespaces)."""
        return make_socket(family, kind)

    def time(self) -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:  # a worker thread: asyncio's loops read this very clock
            return time.monotonic()

    def wall_time(self) -> float:
        return time.time()

    def entropy(self, length: int) -> bytes:
        return os.urandom(length)

    async def work(self, function: Callable[[*Ts], R], *args: *Ts) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    def interfaces(self) -> list[Interface]:
        return list_interfaces()

    async def resolve(self, name: str, port: int, *, family: Literal[0, 4, 6] = 0) -> list[Address]:
        return await self._resolver.resolve(name, port, family)

    async def connect(
        self,
        factory: Callable[[], P],
        remote: Address,
        *,
        local: Address | None = None,
        reuse_port: bool = False,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        timeout_s: float = 20.0,
    ) -> tuple[asyncio.Transport, P]:
        return await streams.connect(
            self.make_socket,
            factory,
            remote,
            local=local,
            reuse_port=reuse_port,
            tls=tls,
            server_name=server_name,
            timeout_s=timeout_s,
        )

    async def listen(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        local: Address,
        *,
        reuse_port: bool = False,
        backlog: int = 128,
        tls: ssl.SSLContext | None = None,
    ) -> Listener:
        return await streams.listen(
            self.make_socket, factory, local, reuse_port=reuse_port, backlog=backlog, tls=tls
        )

    async def open_datagrams(
        self,
        receiver: DatagramReceiver,
        local: Address,
        options: DatagramOptions = _PLAIN_OPTIONS,
    ) -> Datagrams:
        return await open_datagrams(self.make_socket, receiver, local, options)
