"""Two machines that reach each other, real or simulated: what every check of the contract uses.

The checks know nothing else of the side that they run on; what only one side can do by its
own means (a power cut, a link planted in a folder, a slow line) is a method here.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from spinney.net.host import Address, Datagram, DatagramReceiver, Host

T = TypeVar("T")

CHECK_LIMIT_S = 20.0
"""No check may take longer on its own clock (real or virtual)."""


class Machines(abc.ABC):
    """Hosts `a` and `b`; `four` and `six` are their addresses, a's first."""

    side: str
    a: Host
    b: Host
    four: tuple[str, str]
    six: tuple[str, str]
    interface: str
    """The name of the interface by which both meet."""
    group_port: int = 46_881
    """Of the groups here: on a real machine nobody else's, so that no test hears another."""
    folder: str
    """An empty folder of `a`."""
    one_machine: bool = False
    """Whether `a` and `b` are the same machine under two addresses."""
    known_name: tuple[str, list[str]]
    """A name that resolves, and its addresses."""

    @abc.abstractmethod
    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Runs a check to its end."""

    @abc.abstractmethod
    def close(self) -> None: ...

    @abc.abstractmethod
    async def silent(self) -> Address:
        """Where a connection attempt gets no answer at all."""

    @abc.abstractmethod
    def vanish(self) -> None:
        """`b` dies without a word; `a` gives connections up soon."""

    @abc.abstractmethod
    def power_cut(self) -> bool:
        """`a` loses power and comes back with what its disk kept; False if only pretended."""

    @abc.abstractmethod
    def was_synced(self, path: str) -> bool:
        """Whether the system was told to make `path` safe (True where `power_cut` shows it)."""

    @abc.abstractmethod
    def plant_link(self, path: str, target: str) -> None:
        """A symbolic link at `path` on a's disk."""

    @abc.abstractmethod
    def small_disk(self) -> tuple[Host, str, int]:
        """A host, a folder of it, and the most bytes that fit in there."""

    @abc.abstractmethod
    def read_only(self, path: str) -> Any:
        """A context in which the file at `path` on `a` may not be written."""

    @abc.abstractmethod
    def step_wall_clock(self, seconds: float) -> bool:
        """Sets a's wall clock; False where it cannot be done."""

    def addresses(self, family: int) -> tuple[str, str]:
        return self.four if family == 4 else self.six

    def group(self, family: int, number: int = 0) -> str:
        """Groups 0 and 1 of this test."""
        if family == 6:
            return f"ff12::{0x8000 + number:x}:{self.group_port:x}"
        return f"239.{195 + number}.{self.group_port >> 8}.{self.group_port & 255}"

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}"


class Recorder(asyncio.Protocol):
    """A stream's end that writes down what happens to it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()
        self.lost = asyncio.Event()
        self.paused = asyncio.Event()
        self.resumed = asyncio.Event()
        self.error: Exception | None = None
        self.calls: list[str] = []
        self.keep_open = False
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.calls.append("made")
        self.connected.set()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._changed.set()

    def eof_received(self) -> bool:
        self.calls.append("eof")
        self.ended.set()
        return self.keep_open

    def pause_writing(self) -> None:
        self.calls.append("pause")
        self.paused.set()

    def resume_writing(self) -> None:
        self.calls.append("resume")
        self.resumed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self.calls.append("lost")
        self.lost.set()
        self._changed.set()

    async def until(self, size: int) -> bytes:
        """All that came, once it is `size` bytes or the connection is lost."""
        while len(self.data) < size and not self.lost.is_set():
            self._changed.clear()
            await self._changed.wait()
        return bytes(self.data)


class Filler(asyncio.BufferedProtocol):
    """Receives into one buffer of its own."""

    def __init__(self, room: int) -> None:
        self.buffer = bytearray(room)
        self.filled = 0
        self.chunks = 0
        self.full = asyncio.Event()
        self.lost = asyncio.Event()

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.buffer)[self.filled : self.filled + 65_536]

    def buffer_updated(self, nbytes: int) -> None:
        self.filled += nbytes
        self.chunks += 1
        if self.filled == len(self.buffer):
            self.full.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


class Ear(DatagramReceiver):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.batches: list[list[Datagram]] = []
        self.bursts = 0
        self.errors: list[OSError] = []
        self._changed = asyncio.Event()

    @property
    def heard(self) -> list[Datagram]:
        return [datagram for batch in self.batches for datagram in batch]

    @property
    def payloads(self) -> list[bytes]:
        return [datagram[0] for datagram in self.heard]

    def datagrams_received(self, batch: list[Datagram]) -> None:
        self.batches.append(list(batch))
        self._changed.set()

    def burst_received(
        self, data: memoryview, segment_bytes: int, remote: Address, interface: int
    ) -> None:
        self.bursts += 1
        super().burst_received(data, segment_bytes, remote, interface)

    def error_received(self, error: OSError) -> None:
        self.errors.append(error)
        self._changed.set()

    async def until(self, count: int) -> list[bytes]:
        """The payloads, once there are `count`."""
        await self.when(lambda: len(self.heard) >= count)
        return self.payloads

    async def until_heard(self, payload: bytes) -> list[bytes]:
        """The payloads, once this one has come: what was sent before and is missing is lost."""
        await self.when(lambda: payload in self.payloads)
        return self.payloads

    async def when(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


async def pair(machines: Machines, *, family: int = 4, **connect: Any) -> tuple[Recorder, Recorder]:
    """A connection from `a` to `b`: both ends."""
    made: asyncio.Queue[Recorder] = asyncio.Queue()

    def factory() -> Recorder:
        recorder = Recorder()
        made.put_nowait(recorder)
        return recorder

    listener = await machines.b.listen(factory, (machines.addresses(family)[1], 0))
    _, here = await machines.a.connect(Recorder, listener.addresses[0], **connect)
    there = await made.get()
    await there.connected.wait()
    listener.close()
    return here, there


@contextmanager
def closing(*things: Any) -> Iterator[None]:
    """Closes datagram sockets and listeners at the end of a check."""
    try:
        yield
    finally:
        for thing in things:
            thing.close()
