"""A live tracker, a bad one, and a host whose names lie: for the tests of trackers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bittorrent.swarms import RememberingSwarm
from spinney.bittorrent.tracker.client import TrackerSource
from spinney.bittorrent.tracker.server import Tracker
from spinney.bittorrent.tracker.settings import TrackerSettings
from spinney.net.host import Address
from spinney.net.live import LiveHost
from spinney.wire import http

ONE, TWO = b"\x01" * 20, b"\x02" * 20
Scenario = Callable[[LiveHost], Awaitable[None]]


def live(scenario: Scenario) -> None:
    async def main() -> None:
        host = LiveHost(seed=1)
        try:
            await scenario(host)
        finally:
            host.close()

    asyncio.run(main())


async def open_tracker(host: LiveHost, **settings: object) -> Tracker:
    chosen = {"port": 0, "addresses": ("127.0.0.1",), **settings}
    tracker = Tracker(host, TrackerSettings(**chosen))  # type: ignore[arg-type]
    await tracker.start()
    return tracker


def url_of(tracker: Tracker) -> str:
    return f"http://127.0.0.1:{tracker.port}/announce"


async def ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def page(host: LiveHost, tracker: Tracker, path: str) -> http.HttpResponse:
    url = f"http://127.0.0.1:{tracker.port}{path}"
    return await http.get(host, url, check=http.unguarded(host))


class Elsewhere(LiveHost):
    """A host on which names lead where a test says, and which notes whom it would dial."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        super().__init__(seed=1)
        self.names = names
        self.dialled: list[Address] = []

    async def resolve(self, name, port, *, family=0):  # type: ignore[no-untyped-def]
        return [(address, port) for address in self.names.get(name, [name])]

    async def connect(self, factory, remote, **options):  # type: ignore[no-untyped-def]
        self.dialled.append(remote)
        return await super().connect(factory, remote, **options)


class BadTracker:
    """Answers every connection with the same bytes; remembers what it was asked."""

    def __init__(self, answer: bytes, *, trickle: bool = False, endless: bool = False) -> None:
        self.answer = answer
        self.trickle = trickle
        self.endless = endless
        self.asked: list[bytes] = []
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            while self.trickle or self.endless:
                part = b"1" if self.trickle else bytes(65536)
                writer.write(part)
                self.sent += len(part)
                await writer.drain()
                await asyncio.sleep(0.05 if self.trickle else 0)
            writer.close()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass


async def failure_of(bad: BadTracker, host: LiveHost, timeout_s: float = 5.0) -> str:
    """What the user is told when this is the only tracker."""
    server = await asyncio.start_server(bad.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/announce"
    swarm = RememberingSwarm(ONE, 1001)
    source = TrackerSource(host, [[url]], timeout_s=timeout_s)
    task = asyncio.create_task(source.run(swarm))
    message = await swarm.warned(10)
    bad.answer, bad.endless, bad.trickle = b"", False, False
    await ended(task)
    assert swarm.peers == []
    server.close()
    return message.partition(" failed: ")[2]


def ok(body: bytes, *more: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *more]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
