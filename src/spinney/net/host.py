"""`Host`: one machine as protocol code sees it, real (`net.live`) or simulated (`sim`).

Protocol code is ordinary asyncio.  It may use tasks, futures, `asyncio.sleep`, `timeout`,
`loop.time`, `loop.call_later`; everything else that belongs to a machine it asks of the
`Host` that it was handed.  Each numbered sentence below is a rule; `tests/contract` holds
one check for each and runs them on both sides.  A number without a check fails.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, TypeVarTuple

Address: TypeAlias = tuple[str, int]
"""A numeric IP address and a port.  A link-local IPv6 address carries its zone: `fe80::1%eth0`."""

Buffer: TypeAlias = bytes | bytearray | memoryview

Datagram: TypeAlias = tuple[bytes, Address, int]
"""Payload, where it came from, and the index of the interface it came by (0: not asked for)."""

StreamProtocol: TypeAlias = asyncio.BaseProtocol
R = TypeVar("R")
Ts = TypeVarTuple("Ts")
P = TypeVar("P", bound=asyncio.BaseProtocol)


class Rng(Protocol):
    """The part of `random.Random` that rooms use: for choices, never for keys or tokens."""

    def random(self) -> float: ...
    def uniform(self, a: float, b: float) -> float: ...
    def randrange(self, start: int, stop: int | None = None) -> int: ...
    def getrandbits(self, k: int) -> int: ...
    def choice(self, seq: Sequence[R]) -> R: ...
    def sample(self, population: Sequence[R], k: int) -> list[R]: ...
    def shuffle(self, x: list[Any]) -> None: ...
    def expovariate(self, lambd: float) -> float: ...


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface.  `addresses` are (numeric address, prefix length in bits)."""

    name: str
    index: int
    addresses: tuple[tuple[str, int], ...]
    mtu: int
    multicast: bool
    loopback: bool
    up: bool


@dataclass(frozen=True, slots=True)
class DatagramOptions:
    """How a datagram socket is opened.

    `receive_buffer_bytes`: asked of the system, which may give less.  `packet_info`: tell the
    interface of each datagram.  `bursts`: let the system merge equal segments (UDP_GRO).
    `multicast_interface`: the interface's name that multicast leaves by (None: the system's
    choice).  `multicast_hops`: TTL or hop limit of multicast; 0 never leaves the machine.
    """

    reuse_address: bool = False
    reuse_port: bool = False
    receive_buffer_bytes: int = 4 << 20
    send_buffer_bytes: int = 1 << 20
    packet_info: bool = False
    bursts: bool = False
    dscp: int = 0
    multicast_interface: str | None = None
    multicast_hops: int = 1
    multicast_loop: bool = True


class DatagramReceiver:
    """Receives datagrams; subclass it.  Callbacks run on the event loop and must not block."""

    def datagrams_received(self, batch: list[Datagram]) -> None:
        """One or more datagrams, in the order in which the system had them."""

    def burst_received(
        self, data: memoryview, segment_bytes: int, remote: Address, interface: int
    ) -> None:
        """Equal segments of `segment_bytes` (the last may be shorter) that the system merged.

        `data` is valid during this call only.  By default they are split.
        """
        batch: list[Datagram] = [
            (bytes(data[at : at + segment_bytes]), remote, interface)
            for at in range(0, len(data), segment_bytes)
        ]
        self.datagrams_received(batch)

    def error_received(self, error: OSError) -> None:
        """The system reported an error about an earlier datagram (such as port unreachable)."""


class Datagrams(Protocol):
    """An open datagram socket.

    D1. `send` takes one datagram and never blocks; when the socket's buffer is full the
    datagram is dropped and counted in `dropped`.
    D2. `send_many` takes (data, remote) pairs in order, stops at the first that the buffer has
    no room for, and returns how many were taken.
    D3. `send_burst` sends the concatenation of `buffers` to `remote`, cut every
    `segment_bytes` bytes (the last segment may be shorter), in one call where the system can.
    D4. `send_burst` returns how many segments were taken (a shorter last one counts); the
    caller sends the rest after `writable`.
    D5. `writable` returns when the socket can take more.
    D6. A receiver is called with batches; datagrams from one sender over one path keep their
    order, if the path keeps it.
    D7. An empty datagram is a datagram.
    D8. A datagram of up to 65,507 bytes (IPv4) arrives whole or not at all.
    D9. `local_address` tells the numeric address and the port, also when 0 was asked for.
    D10. `join` makes datagrams to `group` that come by `interface` arrive here; with `source`,
    only those from that sender.  What cannot be joined raises `NetworkError`.
    D11. `leave` ends a `join`, and `close` ends them all.
    D12. What is sent to a group goes out by `multicast_interface` with `multicast_hops`, and is
    heard on this machine too while `multicast_loop` is true.
    D13. Two sockets that were both opened with `reuse_address` on one group and port both
    receive what is sent to the group.
    D14. After `close` no callback runs and sending raises nothing and does nothing.
    D15. Sending to an address that nobody listens on, that no route leads to or that is no
    address raises nothing; `error_received` may tell, later, never from within `send`.
    D16. With `packet_info` each datagram tells the index of the interface that it came by, or 0
    where the system cannot tell.
    D17. `path_mtu` is the largest datagram payload towards `remote` that is not fragmented, as
    far as this machine knows.
    D18. `overflowed` counts the datagrams that came and were lost because nobody took them out
    of the receive buffer in time, as far as the system tells; it keeps its value after `close`.
    """

    @property
    def local_address(self) -> Address: ...
    @property
    def dropped(self) -> int: ...
    @property
    def overflowed(self) -> int: ...

    def send(self, data: Buffer, remote: Address) -> None: ...
    def send_many(self, batch: Sequence[tuple[Buffer, Address]]) -> int: ...
    def send_burst(self, buffers: Sequence[Buffer], segment_bytes: int, remote: Address) -> int: ...
    async def writable(self) -> None: ...
    def join(self, group: str, interface: str | None = None, source: str | None = None) -> None: ...
    def leave(
        self, group: str, interface: str | None = None, source: str | None = None
    ) -> None: ...
    def path_mtu(self, remote: Address) -> int: ...
    def close(self) -> None: ...


class Listener(Protocol):
    """A listening stream socket; `addresses` has one entry for each bound address."""

    @property
    def addresses(self) -> tuple[Address, ...]: ...

    def close(self) -> None: ...


OpenMode: TypeAlias = Literal["read", "write", "create", "exclusive"]
"""`read`: must exist, read only. `write`: must exist, read and write. `create`: made if
missing, never cut. `exclusive`: must not exist."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What the system says of a path.  `kind`: file, folder, link, block, other."""

    kind: Literal["file", "folder", "link", "block", "other"]
    size_bytes: int
    modified_ns: int
    identity: tuple[int, int]


class File(Protocol):
    """An open file, used by offset, from any thread (`Host.work`) or directly.

    F1. `read_into` fills `buffer` from `offset` and returns how many bytes it got: fewer only
    at the end of the file.
    F2. `write` writes all buffers, one after the other, from `offset`, or raises a
    `StorageError`.
    F3. A write beyond the end makes the file longer; the gap reads as zeros.
    F4. `sync` returns when what was written survives a power cut.
    F5. `truncate` cuts or lengthens the file to `size`; `allocate` makes it at least that long
    and reserves the room, where the file system can.
    F6. A full disk raises `DiskFullError`; what was written before stays.
    F7. `close` may be called twice.
    F8. What was written and not synced may be lost, wholly or in part, when the machine stops.
    F9. `read_resident` reads as `read_into` does, but only what the system has in memory, and
    never waits for a disk, so that an event loop may call it; it returns how many bytes it got:
    0 also where the system cannot tell.
    """

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> int: ...
    def read_resident(self, offset: int, buffer: bytearray | memoryview) -> int: ...
    def read(self, offset: int, length: int) -> bytes: ...
    def write(self, offset: int, buffers: Sequence[Buffer]) -> None: ...
    def sync(self) -> None: ...
    def size(self) -> int: ...
    def truncate(self, size: int) -> None: ...
    def allocate(self, size: int) -> None: ...
    def close(self) -> None: ...


class Storage(Protocol):
    """Files and folders.  Every call may block: rooms call it through `Host.work`.

    S1. Paths are text, parts joined by `/`, relative to the working folder unless absolute.
    S2. `open` raises `NotFoundError`, `NotWritableError`, `DiskFullError` or `StorageError`,
    never `OSError`.
    S3. With `beneath`, `path` is relative to that folder and no part of it is followed if it is
    a symbolic link: that raises `UnsafeNameError`, and so does a part that is empty, `.` or `..`.
    S4. `make_folders` makes a folder and those above it; one that exists is no error.
    S5. `rename` replaces an existing file in one step: after a crash there is the old or the
    new one, never neither nor a mixture, once both the file and its folder are synced.
    S6. `remove` deletes a file and `remove_folder` an empty folder; one that does not exist is
    no error, a folder that is not empty raises `StorageError`.
    S7. `info` is None for a path that does not exist; it follows links only with `follow`.
    S8. `list_folder` gives the names in a folder, sorted.
    S9. `free_bytes` tells how much may be written under `path`.
    S10. `sync_folder` makes the names in a folder survive a power cut.
    S11. `lock` takes an exclusive lock on a file, held until it is closed or the program ends;
    one that is held elsewhere raises `StorageError`.
    """

    def open(self, path: str, mode: OpenMode, *, beneath: str | None = None) -> File: ...
    def make_folders(self, path: str, *, beneath: str | None = None) -> None: ...
    def list_folder(self, path: str) -> list[str]: ...
    def info(self, path: str, *, follow: bool = False) -> FileInfo | None: ...
    def rename(self, old: str, new: str) -> None: ...
    def remove(self, path: str) -> None: ...
    def remove_folder(self, path: str) -> None: ...
    def free_bytes(self, path: str) -> int: ...
    def sync_folder(self, path: str) -> None: ...
    def lock(self, path: str) -> File: ...


class Host(Protocol):
    """One machine: streams, datagrams, names, clocks, randomness, processor, storage.

    H1. `connect` gives a transport and a protocol of asyncio, connected, or raises a
    `NetworkError`; it never hangs longer than `timeout_s`.
    H2. `listen` calls the factory once for each connection, and its listener tells the port
    that 0 became.
    H3. A taken port raises `PortTakenError`.
    H4. What one side writes the other receives, whole and in order, until one of them ends.
    H5. `write_eof` ends one direction: the other side's `eof_received` is called and it may
    still write.
    H6. `close` sends what was written before; `abort` does not.
    H7. `pause_writing` is called when more than the high-water mark is buffered, and
    `resume_writing` when it has drained.
    H8. `pause_reading` stops delivery, and in time the sender, without loss.
    H9. A protocol that is an `asyncio.BufferedProtocol` receives into its own buffers.
    H10. `writelines` writes several buffers in order; buffers must not change until written.
    H11. With `local`, a connection leaves from that address and port; with `reuse_port` a
    listener and several connections share one local port.
    H12. Connecting to a port that nobody listens on raises `ConnectError`.
    H13. When the other machine dies without a word, the connection is lost at the latest when
    the system gives up; protocols need time limits of their own.
    H14. `get_extra_info` knows `peername` and `sockname` as numeric (address, port).
    H15. With `tls` a stream is encrypted and the server's certificate and name are checked.
    H16. Streams and datagrams work over IPv4 and IPv6; a socket on `::` takes IPv6 only.
    H17. `open_datagrams` opens a datagram socket (rules of `Datagrams`).
    H18. `interfaces` lists the interfaces with their addresses, MTU and whether they multicast.
    H19. `resolve` gives every numeric address of a name, both families unless one is asked for,
    or raises `ResolveError`; a numeric address resolves to itself.
    H20. `time` is monotonic, in seconds, and is the event loop's `time()`.
    H21. `wall_time` is Unix time in seconds and may step; nothing may measure intervals by it.
    H22. `rng` is for choices and `entropy` for keys, tokens and identifiers.
    H23. `work` runs a function that blocks or computes, away from the event loop, and gives its
    result or raises its exception.
    H24. `storage` is this machine's files (rules of `Storage` and `File`).
    H25. A callback of an `asyncio` timer runs at or after its time, timers due earlier first.
    """

    @property
    def name(self) -> str: ...
    @property
    def rng(self) -> Rng: ...
    @property
    def storage(self) -> Storage: ...

    def time(self) -> float: ...
    def wall_time(self) -> float: ...
    def entropy(self, length: int) -> bytes: ...
    async def work(self, function: Callable[[*Ts], R], *args: *Ts) -> R: ...
    def interfaces(self) -> list[Interface]: ...
    async def resolve(
        self, name: str, port: int, *, family: Literal[0, 4, 6] = 0
    ) -> list[Address]: ...
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
    ) -> tuple[asyncio.Transport, P]: ...
    async def listen(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        local: Address,
        *,
        reuse_port: bool = False,
        backlog: int = 128,
        tls: ssl.SSLContext | None = None,
    ) -> Listener: ...
    async def open_datagrams(
        self,
        receiver: DatagramReceiver,
        local: Address,
        options: DatagramOptions = DatagramOptions(),
    ) -> Datagrams: ...
