"""`RegistryNode`: a registry on a host (paper, section 7), live and simulated alike.

    node = RegistryNode(host, RegistrySettings(port=6970, state_folder="registry"), keys)
    await node.start()       # node.port, node.addresses
    await node.close()       # the state is written a last time

A source carries one by default, on its own port:

    node = RegistryNode(host, settings, keys)
    await node.share(krpc)   # and where p2pcast.* is served: if query.method in METHODS:
                             #     return node.answer(query)
    node.carry(stream, keys.peer, (address, port))

Any peer can stand in for it in the same way, with `keys` None: it signs no tickets.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial

from spinney.errors import CallError, NetworkError, NoAnswerError, PortTakenError
from spinney.net.host import Address, Datagrams, Host
from spinney.p2pcast.registry import codec
from spinney.p2pcast.registry.desk import METHODS, Desk, Probe
from spinney.p2pcast.registry.keeper import Keeper
from spinney.p2pcast.registry.messages import Alive
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.p2pcast.registry.streams import Newcomer
from spinney.trust.keys import Keys
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import METHOD_UNKNOWN, Arguments, Query

log = logging.getLogger("spinney.registry")

SWEEP_S = 10.0
_OWN = (0, 0)
"""The order of what nobody said: anything that the peer itself says is later."""
LAST_SAVE_S = 10.0
"""For writing the state at the end; a disk that hangs does not keep the program."""

__all__ = ["METHODS", "RegistryNode"]


class RegistryNode:
    """One registry on one host."""

    def __init__(
        self,
        host: Host,
        settings: RegistrySettings | None = None,
        keys: Keys | None = None,
    ) -> None:
        self._host = host
        self.settings = settings or RegistrySettings()
        self.desk = Desk(self.settings, keys, host.rng, host.entropy)
        self._krpcs: list[tuple[Krpc, Datagrams]] = []
        self._shared: Krpc | None = None
        self._keeper: Keeper | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._carried: dict[bytes, Newcomer] = {}
        """Our own streams: as many as we are the source of."""

    async def start(self) -> None:
        """Reads what it kept, and listens.

        Raises `PortTakenError` or another `NetworkError` if no address could be listened on,
        `StorageError` for a state folder that cannot be used.
        """
        await self._open_state()
        try:
            await self._listen()
        except BaseException:
            self._close_state()
            raise
        self._task = asyncio.create_task(self._care(), name="registry")

    async def share(self, krpc: Krpc) -> None:
        """Answers through a port that is open already; whoever serves `p2pcast.*` there gives
        us the calls that are ours (`METHODS`).  `close` leaves the port open."""
        await self._open_state()
        self._shared = krpc
        self._task = asyncio.create_task(self._care(), name="registry")

    async def close(self) -> None:
        """Stops answering, and writes the state."""
        self._closing.set()
        for krpc, datagrams in self._krpcs:
            krpc.close()
            datagrams.close()
        if self._task is not None:
            try:
                await asyncio.wait_for(asyncio.shield(self._task), LAST_SAVE_S)
            except TimeoutError:
                log.warning("the registry's state could not be written in %s s", LAST_SAVE_S)
                self._task.cancel()
        self._close_state()

    @property
    def port(self) -> int:
        return self.addresses[0][1]

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(datagrams.local_address for _, datagrams in self._krpcs)

    def answer(self, query: Query) -> Arguments:
        """The answer to one of `METHODS`; raises `CallError` or `WireError`, for the asker."""
        return self._answer(self._shared, query)

    def carry(self, stream: bytes, source: bytes, address: Address) -> None:
        """Opens a stream for the source that carries this registry, and keeps it open.

        `source`: its peer id; `address`: where peers reach it.  It need not call its own port.
        """
        self._carried[stream] = Newcomer(source, address, _OWN, is_source=True)
        self.enter(stream, self._carried[stream])

    def enter(self, stream: bytes, known: Newcomer) -> None:
        """Books a peer that the owner of this registry knows itself: a stand-in's neighbours.

        It is told to others until it expires; `known.order` is of no matter.
        """
        registry = self.desk.registry
        member = registry.member(stream, known.peer)
        order = member.order if member is not None else _OWN
        registry.join(stream, replace(known, order=order), self._host.time())

    # Within

    async def _open_state(self) -> None:
        if self.settings.state_folder is not None:
            keeper = Keeper(self._host, self.settings.state_folder, self.desk.registry)
            await keeper.open()
            self._keeper = keeper

    def _close_state(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    async def _listen(self) -> None:
        error: NetworkError | None = None
        port = self.settings.port
        for address in self.settings.addresses:
            krpc = Krpc(self._host)
            krpc.serve(b"p2pcast", partial(self._served, krpc))
            try:
                datagrams = await self._host.open_datagrams(krpc, (address, port))
            except PortTakenError:
                self._unlisten()
                raise
            except NetworkError as problem:
                error = error or problem  # such as no IPv6 on this machine
                continue
            krpc.use(datagrams)
            self._krpcs.append((krpc, datagrams))
            port = datagrams.local_address[1]  # 0 became one port: the same for the other family
        if not self._krpcs:
            raise error or NetworkError("the registry was given no address to listen on")

    def _unlisten(self) -> None:
        for _, datagrams in self._krpcs:
            datagrams.close()
        self._krpcs.clear()

    def _served(self, krpc: Krpc, query: Query) -> Arguments:
        if query.method == Alive.method:
            raise CallError("a registry is no peer", METHOD_UNKNOWN)
        return self._answer(krpc, query)

    def _answer(self, krpc: Krpc | None, query: Query) -> Arguments:
        reply = self.desk.answer(query, self._host.time(), self._host.wall_time())
        if reply.probe is not None:
            assert krpc is not None, "share() comes first"
            self._ask(krpc, reply.probe, self.settings.alive_attempts)
        return reply.values

    def _ask(self, krpc: Krpc, probe: Probe, attempts: int) -> None:
        """Asks the accused, `attempts` times at most; the desk hears what became of it."""

        def told(values: Arguments | None, error: CallError | NoAnswerError | None) -> None:
            if isinstance(error, NoAnswerError) and attempts > 1 and not self._closing.is_set():
                self._ask(krpc, probe, attempts - 1)
                return
            self.desk.probed(probe, values, self._host.time())

        timeout_s = self.settings.alive_timeout_s
        try:
            arguments = codec.encode_ask(probe.ask)
            krpc.request(probe.address, Alive.method, arguments, told, timeout_s)
        except NoAnswerError:  # too many calls are outstanding: nothing was found out
            self.desk.unprobed(probe)

    async def _care(self) -> None:
        """Forgets the silent, keeps the state; ends with a last save."""
        every_s = min(SWEEP_S, self.settings.state_every_s)
        save_at = self._host.time() + self.settings.state_every_s
        while not self._closing.is_set():
            now = self._host.time()
            for stream, newcomer in self._carried.items():
                self.enter(stream, newcomer)
            self.desk.sweep(now)
            if self._keeper is not None and now >= save_at:
                await self._keeper.save()
                save_at = self._host.time() + self.settings.state_every_s
            try:
                async with asyncio.timeout(every_s):
                    await self._closing.wait()
            except TimeoutError:
                continue
        if self._keeper is not None:
            await self._keeper.save()
