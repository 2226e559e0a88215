"""What the tests of the simulated world share: ears, stream ends, small worlds."""

from __future__ import annotations

import asyncio

from spinney.net.host import Address, Datagram, DatagramReceiver
from spinney.sim import SimHost


class Ear(DatagramReceiver):
    """Keeps what it hears, with the time."""

    def __init__(self, host: SimHost | None = None, *, echo: bool = False) -> None:
        self.heard: list[tuple[float, bytes, Address]] = []
        self.queue: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()
        self.errors: list[OSError] = []
        self.echo = echo

    def datagrams_received(self, batch: list[Datagram]) -> None:
        for data, remote, _ in batch:
            self.heard.append((asyncio.get_running_loop().time(), data, remote))
            self.queue.put_nowait((data, remote))
            if self.echo and not data.startswith(b"re: "):
                self.socket.send(b"re: " + data, remote)

    def error_received(self, error: OSError) -> None:
        self.errors.append(error)

    @property
    def payloads(self) -> list[bytes]:
        return [data for _, data, _ in self.heard]

    async def open(self, host: SimHost, port: int = 0, local: str = "0.0.0.0") -> Ear:
        self.socket = await host.open_datagrams(self, (local, port))
        return self


class End(asyncio.Protocol):
    """One end of a stream: counts, and remembers how it ended."""

    def __init__(self) -> None:
        self.size = 0
        self.done = asyncio.get_running_loop().create_future()
        self.calls: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.size += len(data)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result((asyncio.get_running_loop().time(), error))


async def serve(host: SimHost, port: int = 80) -> list[End]:
    """Listens; the list grows with the ends of accepted streams."""
    ends: list[End] = []

    def factory() -> End:
        ends.append(End())
        return ends[-1]

    await host.listen(factory, ("0.0.0.0", port))
    return ends


async def push(source: SimHost, target: SimHost, size: int, port: int = 80) -> End:
    """Connects, writes so many bytes and closes; the future `done` of the other end tells when."""
    transport, end = await source.connect(End, (target.address, port))
    transport.write(bytes(size))
    transport.close()
    return end
