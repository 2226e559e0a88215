"""`Tracker`: the server behind `spinney tracker`.  HTTP announces, scrapes and a page, one port.

tracker = Tracker(host, TrackerSettings(port=6969, state_path="tracker.state"))
await tracker.start()        # tracker.port, tracker.addresses, tracker.announce_urls()
await tracker.close()        # the state is written a last time
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from spinney.bittorrent.tracker.desk import Desk
from spinney.bittorrent.tracker.keeper import Keeper, log, read_allowed
from spinney.bittorrent.tracker.page import Counts
from spinney.bittorrent.tracker.settings import TrackerSettings
from spinney.bittorrent.tracker.state import TrackerState
from spinney.errors import NetworkError, PortTakenError
from spinney.net.address import format_address
from spinney.net.host import Address, Host
from spinney.wire.http import HttpRequest, HttpResponse, HttpServer, ServerLimits, serve

SWEEP_S = 30.0
LAST_SAVE_S = 10.0
"""For writing the state at the end; a disk that hangs does not keep the program."""


class Tracker:
    """One tracker on one host."""

    def __init__(self, host: Host, settings: TrackerSettings | None = None) -> None:
        self._host = host
        self.settings = settings or TrackerSettings()
        expiry_s = self.settings.interval_s * self.settings.expiry_intervals
        self.state = TrackerState(replace(self.settings.limits, expiry_s=expiry_s))
        self.desk: Desk | None = None
        self._servers: list[HttpServer] = []
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._keeper: Keeper | None = None

    async def start(self) -> None:
        """Reads what it kept, and listens.

        Raises `PortTakenError` or another `NetworkError` if no address could be listened on,
        `StorageError` or `InputError` for the list of allowed torrents, `StorageError` for a state
        that another tracker keeps.
        """
        settings, host = self.settings, self._host
        allowed = None
        if settings.allowed_path is not None:
            allowed = await read_allowed(host, settings.allowed_path)
        keeper = None
        if settings.state_path is not None:
            keeper = Keeper(host, settings.state_path, self.state)
            self._keeper = keeper
        try:
            if keeper is not None:
                await keeper.load()
                await keeper.lock()  # not before: no lock beside a film named by mistake
                await keeper.save()  # a place that cannot be written is told now, not in a minute
            self.desk = Desk(settings, self.state, host.rng, host.time(), allowed)
            await self._listen()
        except BaseException:
            self._unlock()
            raise
        self.desk.announce_url = self.announce_urls()[0]
        self._task = asyncio.create_task(self._care(keeper), name="tracker")

    async def close(self) -> None:
        """Stops listening, and writes the state."""
        for server in self._servers:
            server.close()
        self._closing.set()
        if self._task is None:
            self._unlock()
            return
        try:
            await asyncio.wait_for(asyncio.shield(self._task), LAST_SAVE_S)
        except TimeoutError:
            log.warning("the tracker's state could not be written in %s s", LAST_SAVE_S)
            self._task.cancel()
        self._unlock()

    def _unlock(self) -> None:
        if self._keeper is not None:
            self._keeper.unlock()

    @property
    def port(self) -> int:
        return self._servers[0].port

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(address for server in self._servers for address in server.addresses)

    @property
    def counts(self) -> Counts:
        return self.desk.counts if self.desk is not None else Counts()

    def announce_urls(self) -> tuple[str, ...]:
        """Where clients may announce: this machine's addresses, those of the network first."""
        urls: dict[str, None] = {}
        last: dict[str, None] = {}
        for bound, port in self.addresses:
            if bound not in ("0.0.0.0", "::"):
                urls[f"http://{format_address((bound, port))}/announce"] = None
                continue
            for interface in self._host.interfaces():
                for address, _ in interface.addresses:
                    if (":" in address) == (":" in bound) and "%" not in address:
                        url = f"http://{format_address((address, port))}/announce"
                        (last if interface.loopback else urls)[url] = None
        return (*urls, *last) or (f"http://127.0.0.1:{self.port}/announce",)

    # Within

    async def _listen(self) -> None:
        limits = ServerLimits(connections=self.settings.connections_max)
        error: NetworkError | None = None
        port = self.settings.port
        for address in self.settings.addresses:
            try:
                server = await serve(self._host, (address, port), self._answer, limits=limits)
            except PortTakenError:
                for open_one in self._servers:
                    open_one.close()
                self._servers.clear()
                raise
            except NetworkError as problem:
                error = error or problem  # such as no IPv6 on this machine
                continue
            self._servers.append(server)
            port = server.port  # 0 became one port: the same for the other family
        if not self._servers:
            raise error or NetworkError("the tracker was given no address to listen on")

    def _answer(self, request: HttpRequest) -> HttpResponse:
        assert self.desk is not None
        return self.desk.answer(
            request.method, request.target, request.remote[0], self._host.time()
        )

    async def _care(self, keeper: Keeper | None) -> None:
        """Forgets the silent, keeps the state; ends with a last save."""
        save_at = self._host.time() + self.settings.state_every_s
        while not self._closing.is_set():
            now = self._host.time()
            self.state.sweep(now)
            if keeper is not None and now >= save_at:
                await keeper.save()
                save_at = self._host.time() + self.settings.state_every_s
            try:
                async with asyncio.timeout(min(SWEEP_S, self.settings.state_every_s)):
                    await self._closing.wait()
            except TimeoutError:
                continue
        if keeper is not None:
            self.state.sweep(self._host.time())
            await keeper.save()
