"""`BitTorrent`: one listening port, many swarms.  The only file here that touches the `Host`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from spinney.bittorrent.announcing import PeerSource
from spinney.bittorrent.codec import encode_handshake
from spinney.bittorrent.connection import RECEIVE_BUFFER_BYTES, Connection, ReceiveBuffer
from spinney.bittorrent.messages import RESERVED_EXTENDED, RESERVED_FAST, RESERVED_V2, Handshake
from spinney.bittorrent.peer import Peer
from spinney.bittorrent.settings import Settings
from spinney.bittorrent.swarm import Swarm
from spinney.bittorrent.turns import Pauses, Turns
from spinney.errors import NetworkError, PortTakenError, UsageError
from spinney.net.address import is_local, network_of
from spinney.net.guard import may_dial
from spinney.net.host import Address, Host, Listener, Rng
from spinney.net.limits import Bucket, Limit

if TYPE_CHECKING:
    from spinney.content.transfer import TransferLike

TICK_S = 1.0
DEFAULT_SETTINGS = Settings()
PORT_ATTEMPTS = 5
"""For a port that is free in both families."""
PEER_ID_PREFIX = b"-SY0100-"


class BitTorrent:
    """`up`, `down`: the program's own buckets, which every transfer shares."""

    def __init__(
        self,
        host: Host,
        settings: Settings = DEFAULT_SETTINGS,
        *,
        up: Bucket | None = None,
        down: Bucket | None = None,
    ) -> None:
        self.settings = settings
        self.port = 0
        self.buffer = ReceiveBuffer()
        self._host = host
        self._up = up or Bucket(None)
        self._down = down or Bucket(None)
        self._loop = asyncio.get_running_loop()
        self.turns = Turns(self._loop)
        self._pauses = Pauses(self._loop)
        self._listeners: list[Listener] = []
        self._swarms: dict[bytes, Swarm] = {}
        self._opening: dict[Connection, None] = {}
        """Connections whose handshake is not through; `Settings.handshakes` of accepted ones."""
        self._per_host: dict[str, int] = {}
        """By address and by IPv6 network: bounded by the connections."""
        self._open_connections = 0
        self._dials: dict[int, asyncio.Task[None]] = {}
        self._last_key = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def rng(self) -> Rng:
        return self._host.rng

    async def start(self) -> None:
        """Listens on one port, IPv4 and IPv6.  Raises `PortTakenError`."""
        for attempt in range(PORT_ATTEMPTS):
            try:
                await self._listen()
                break
            except PortTakenError:
                self._close_listeners()
                if self.settings.port or attempt == PORT_ATTEMPTS - 1:
                    raise
        self._timer = self._loop.call_later(TICK_S, self._tick)

    async def _listen(self) -> None:
        port = self.settings.port
        for at, address in enumerate(self.settings.addresses):
            try:
                listener = await self._host.listen(self._accepted, (address, port))
            except PortTakenError:
                raise
            except NetworkError:
                if at == 0:
                    raise
                continue  # a machine without IPv6
            self._listeners.append(listener)
            port = listener.addresses[0][1]
        self.port = port

    def _accepted(self) -> Connection:
        return Connection(self, self._loop.time())

    def add(
        self,
        infohashes: tuple[bytes, ...],
        *,
        transfer: TransferLike | None = None,
        info_bytes: bytes | None = None,
        sources: Sequence[PeerSource] = (),
        private: bool = False,
        up: Bucket | None = None,
        down: Bucket | None = None,
        connections: int | None = None,
    ) -> Swarm:
        """Joins the swarm of `infohashes` (20 bytes each: v1, v2 cut short, or both).

        With `transfer` and `info_bytes` it begins at once; else wait for `Swarm.metadata`,
        make a transfer, and call `Swarm.begin`.  Raises `UsageError` if it is here already.
        """
        cut = tuple(infohash[:20] for infohash in infohashes)
        if not cut or any(len(infohash) != 20 for infohash in cut):
            raise UsageError("a swarm needs an infohash of 20 bytes")
        if any(infohash in self._swarms for infohash in cut):
            raise UsageError("this torrent is being moved already")
        swarm = Swarm(
            self,
            cut,
            PEER_ID_PREFIX + self._host.entropy(12),
            sources=sources,
            private=private,
            up=_limit(self._up, up),
            down=_limit(self._down, down),
            connections=connections or self.settings.connections_per_swarm,
            may_dial=may_dial,
            reserved=_reserved(hybrid=len(cut) > 1),
        )
        for infohash in cut:
            self._swarms[infohash] = swarm
        if transfer is not None and info_bytes is not None:
            swarm.begin(transfer, info_bytes)
        swarm.start()
        return swarm

    async def close(self) -> None:
        """Leaves every swarm and frees the port."""
        if self._closed:
            return
        self._closed = True
        self._close_listeners()
        if self._timer is not None:
            self._timer.cancel()
        swarms = list(dict.fromkeys(self._swarms.values()))
        await asyncio.gather(*(swarm.close() for swarm in swarms))
        dials = list(self._dials.values())
        for task in dials:
            task.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        for connection in list(self._opening):
            connection.close("the program ends", abort=True)
        self.turns.close()
        self._pauses.close()

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        now = self._loop.time()
        for connection in list(self._opening):
            if now - connection.opened_at > self.settings.handshake_timeout_s:
                connection.close("no handshake in time", abort=True)
        for swarm in list(dict.fromkeys(self._swarms.values())):
            swarm.tick(now)

    # for connections (`Gate`)

    def opened(self, connection: Connection) -> None:
        host = connection.remote[0]
        self._open_connections += 1
        for key in _places(host):
            self._per_host[key] = self._per_host.get(key, 0) + 1
        waiting = [other for other in self._opening if not other.outgoing and not other.closed]
        self._opening[connection] = None
        if self._closed:
            connection.close("the program ends", abort=True)
        elif not connection.outgoing and (
            self._open_connections > self.settings.connections + self.settings.handshakes
            or self.crowded(host)
        ):
            connection.close("too many connections", abort=True)
        elif not connection.outgoing and len(waiting) >= self.settings.handshakes:
            # An honest one says what it wants within a round trip: the oldest is the likeliest
            # to have come only to take a place.
            waiting[0].close("too many wait to say what they want", abort=True)

    def crowded(self, host: str) -> bool:
        if is_local(host):
            return False
        limits = (self.settings.connections_per_address, self.settings.connections_per_network)
        counts = [self._per_host.get(key, 0) for key in _places(host)]
        return any(count > limit for count, limit in zip(counts, limits, strict=False))

    def answer(self, connection: Connection, infohash: bytes) -> Handshake | None:
        swarm = self._swarms.get(infohash)
        return None if swarm is None else swarm.handshake(infohash)

    def greeted(self, connection: Connection, handshake: Handshake) -> Peer | None:
        self._opening.pop(connection, None)
        swarm = self._swarms.get(handshake.infohash)
        if swarm is None or (connection.outgoing and swarm is not connection.swarm):
            connection.why = "answers for another torrent"
            return None
        connection.swarm = swarm
        peer = swarm.admit(connection, handshake)
        if peer is None and connection.outgoing:
            swarm.dial_ended(connection.remote)
        return peer

    def read_room_bytes(self, connection: Connection) -> int:
        swarm = connection.swarm
        if swarm is None or swarm.down.unlimited:
            return RECEIVE_BUFFER_BYTES
        return self._pauses.room_bytes(swarm.down, RECEIVE_BUFFER_BYTES)

    def closed(self, connection: Connection) -> None:
        host = connection.remote[0]
        if host in self._per_host:
            self._open_connections -= 1
            for key in _places(host):
                self._per_host[key] -= 1
                if not self._per_host[key]:
                    del self._per_host[key]
        self._opening.pop(connection, None)
        self._pauses.forget(connection)
        if connection.outgoing and connection.swarm is not None:
            connection.swarm.dial_ended(connection.remote)

    # for swarms (`SwarmNode`)

    def next_key(self) -> int:
        self._last_key += 1
        return self._last_key

    def dial(self, swarm: Swarm, address: Address) -> None:
        key = self.next_key()
        task = self._loop.create_task(self._dial(swarm, address))
        self._dials[key] = task
        task.add_done_callback(lambda _: self._dials.pop(key, None))

    async def _dial(self, swarm: Swarm, address: Address) -> None:
        greeting = encode_handshake(swarm.handshake())
        now = self._loop.time()
        try:
            await self._host.connect(
                lambda: Connection(self, now, greeting, swarm),
                address,
                timeout_s=self.settings.connect_timeout_s,
            )
        except NetworkError:
            swarm.dial_ended(address)

    def count_received(self, connection: Connection, swarm: Swarm, length_bytes: int) -> None:
        if not swarm.down.unlimited:
            self._pauses.read(connection, swarm.down, length_bytes)

    def full(self, *, outgoing: bool) -> bool:
        share = 1.0 if outgoing else 1.0 - self.settings.outgoing_share
        return self._open_connections >= self.settings.connections * share

    def own_addresses(self) -> list[Address]:
        """One of each family that others may see us by, for BEP 40."""
        rows: dict[bool, Address] = {}
        for interface in self._host.interfaces():
            if interface.up and not interface.loopback:
                for host, _ in interface.addresses:
                    rows.setdefault(":" in host, (host, self.port))
        return list(rows.values())

    def removed(self, swarm: Swarm) -> None:
        for infohash in swarm.infohashes:
            self._swarms.pop(infohash, None)


def _places(host: str) -> tuple[str, ...]:
    """What connections are counted by: the address, and of IPv6 the /64 that holds it."""
    network = network_of(host)
    return (host,) if network is None else (host, network)


def _limit(program: Bucket, transfer: Bucket | None) -> Limit:
    return Limit((program,) if transfer is None else (program, transfer))


def _reserved(*, hybrid: bool) -> bytes:
    reserved = bytearray(8)
    for at, bit in (RESERVED_EXTENDED, RESERVED_FAST):
        reserved[at] |= bit
    if hybrid:
        reserved[RESERVED_V2[0]] |= RESERVED_V2[1]
    return bytes(reserved)
