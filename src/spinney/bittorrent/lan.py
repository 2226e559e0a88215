"""LAN discovery (BEP 14): peers on the same link find each other without any server.

One `LanDiscovery` serves every torrent of a program.  It listens on 239.192.152.143 and
ff15::efc0:988f, port 6771, on all interfaces, loopback too, so that two programs on one
computer find each other even without a network.  A private torrent is never named.
"""

from __future__ import annotations

import asyncio
import ipaddress

from spinney.bittorrent import lan_messages as m
from spinney.bittorrent.lan_agenda import Agenda
from spinney.bittorrent.swarm import Announcing
from spinney.errors import NetworkError, WireError
from spinney.net.address import is_local
from spinney.net.host import Datagram, DatagramOptions, DatagramReceiver, Datagrams, Host

INTERFACES_MAX = 16
"""Interfaces announced on; a machine full of container bridges has dozens."""
SWARMS_PER_TORRENT_MAX = 4
LOOK_AGAIN_S = 60.0
"""How often new interfaces are looked for: a laptop that joins a network."""


class _Ear(DatagramReceiver):
    def __init__(self, discovery: LanDiscovery) -> None:
        self._discovery = discovery

    def datagrams_received(self, batch: list[Datagram]) -> None:
        for data, remote, _ in batch:
            self._discovery.heard(data, remote[0])


class LanDiscovery:
    """A `PeerSource` for all torrents of one program; `start` it first.

    `hops`: TTL of what is sent; 1 stays on the link.  `interface`: only that one, by its name or
    by one of its addresses, which is then also where others see us.
    """

    name = "lan"

    def __init__(self, host: Host, *, hops: int = 1, interface: str | None = None) -> None:
        self._host = host
        self._hops = hops
        self._only = interface
        self._agenda = Agenda(host.rng)
        self._cookie = host.entropy(8).hex()
        self._swarms: dict[bytes, list[Announcing]] = {}
        self._ears: dict[bool, Datagrams] = {}
        self._mouths: dict[tuple[str, bool], Datagrams] = {}
        self._links: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._wake = asyncio.Event()
        self._speaker: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        self._closed = False
        self._found = 0
        self.sent = 0
        self.received = 0
        self.malformed = 0
        self.foreign = 0
        """Datagrams from addresses that are not on a link of ours."""

    async def start(self) -> None:
        """Opens the sockets that can be opened; raises `NetworkError` if there is none."""
        error: NetworkError | None = None
        for six in (False, True):
            try:
                self._ears[six] = await self._host.open_datagrams(
                    _Ear(self),
                    ("::" if six else "0.0.0.0", m.PORT),
                    DatagramOptions(
                        reuse_address=True, receive_buffer_bytes=256 << 10, packet_info=False
                    ),
                )
            except NetworkError as problem:
                error = error or problem
        if not self._ears and error is not None:
            raise error
        await self._look()
        self._speaker = asyncio.create_task(self._speak(), name="LAN discovery")

    async def close(self) -> None:
        self._closed = True
        if self._speaker is not None:
            self._speaker.cancel()
            await asyncio.gather(self._speaker, return_exceptions=True)
        for socket in [*self._ears.values(), *self._mouths.values()]:
            socket.close()
        self._ears.clear()
        self._mouths.clear()

    # For one torrent

    async def run(self, swarm: Announcing) -> None:
        """Announces the swarm's torrent and reports peers until cancelled (BEP 14 has no bye).

        A hybrid has two infohashes, and those who know only one of them must hear theirs.
        """
        if swarm.private or self._closed:
            return
        named = [infohash for infohash in swarm.infohashes if self._add(infohash, swarm)]
        if not named:
            swarm.warn("LAN discovery has as many torrents as it can announce")
            return
        self._wake.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for infohash in named:
                self._remove(infohash, swarm)

    def _add(self, infohash: bytes, swarm: Announcing) -> bool:
        rows = self._swarms.setdefault(infohash, [])
        full = len(rows) >= SWARMS_PER_TORRENT_MAX
        if full or not self._agenda.add(infohash, self._host.time()):
            if not rows:
                del self._swarms[infohash]
            return False
        rows.append(swarm)
        return True

    def _remove(self, infohash: bytes, swarm: Announcing) -> None:
        rows = self._swarms[infohash]
        rows.remove(swarm)
        if not rows:
            del self._swarms[infohash]
            self._agenda.remove(infohash)

    def tried(self) -> str:
        if not self._ears:
            return "LAN discovery (no socket could be opened)"
        links = len({name for name, _ in self._mouths})
        return (
            f"LAN discovery on {links} interface{'' if links == 1 else 's'} "
            f"({self._found} peer{'' if self._found == 1 else 's'})"
        )

    # The sockets

    async def _look(self) -> None:
        """Joins the groups on interfaces that are new, and opens a socket to speak on each.

        The system chooses one interface for a multicast datagram unless a socket names it;
        hence one socket for each.  What fails on one interface must not silence the others.
        """
        self._looked_at = self._host.time()
        self._links = []
        present: dict[tuple[str, bool], str] = {}
        for interface in self._host.interfaces():
            if not interface.up or not (interface.multicast or interface.loopback):
                continue
            for address, bits in interface.addresses:
                bare = address.partition("%")[0]
                if self._only not in (None, interface.name, address, bare):
                    continue
                self._links.append(ipaddress.ip_network(f"{bare}/{bits}", strict=False))
                present.setdefault((interface.name, ":" in bare), address)
        for key in [key for key in self._mouths if key not in present]:
            self._mouths.pop(key).close()
        for (name, six), address in present.items():
            if (name, six) not in self._mouths and len(self._mouths) < 2 * INTERFACES_MAX:
                await self._open(name, six, address)

    async def _open(self, interface: str, six: bool, address: str) -> None:
        """Binds to an address of the interface: the peers dial where our words come from."""
        ear = self._ears.get(six)
        if ear is None:
            return
        try:
            mouth = await self._host.open_datagrams(
                DatagramReceiver(),
                (address, 0),
                DatagramOptions(
                    multicast_interface=interface,
                    multicast_hops=self._hops,
                    receive_buffer_bytes=4096,
                    send_buffer_bytes=64 << 10,
                ),
            )
        except NetworkError:
            return
        try:
            ear.join(m.GROUP6 if six else m.GROUP4, interface)
        except NetworkError:
            mouth.close()
            return
        self._mouths[(interface, six)] = mouth

    # Speaking

    async def _speak(self) -> None:
        while True:
            now = self._host.time()
            if now - self._looked_at >= LOOK_AGAIN_S:
                await self._look()
            self._announce(self._agenda.due(now))
            at = self._agenda.next_at()
            self._wake.clear()
            try:
                async with asyncio.timeout_at(
                    None if at is None else min(at, self._looked_at + LOOK_AGAIN_S)
                ):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _announce(self, infohashes: list[bytes]) -> None:
        by_port: dict[int, list[bytes]] = {}
        for infohash in infohashes:
            for swarm in self._swarms.get(infohash, ()):
                if swarm.port:
                    by_port.setdefault(swarm.port, []).append(infohash)
        for port, row in by_port.items():
            for group in m.split(row):
                said = m.LanAnnounce(port, group, self._cookie)
                for (_, six), mouth in self._mouths.items():
                    mouth.send(m.encode(said, six), (m.GROUP6 if six else m.GROUP4, m.PORT))
                    self.sent += 1

    # Hearing

    def heard(self, data: bytes, sender: str) -> None:
        """One datagram from the group, or from anybody who found the port."""
        self.received += 1
        try:
            said = m.decode(data)
        except WireError:
            self.malformed += 1
            return
        if said.cookie == self._cookie:
            return
        if not self._is_on_link(sender):
            self.foreign += 1
            return
        peer = (sender, said.port)
        now = self._host.time()
        for infohash in said.infohashes:
            if self._agenda.heard(infohash, peer, said.cookie, now):
                self._found += 1
                for swarm in self._swarms.get(infohash, ()):
                    swarm.found([peer], f"{self.name}:{sender}")
                self._wake.set()

    def _is_on_link(self, sender: str) -> bool:
        """Only neighbours: the port is open to all, and what is found here may be dialled even
        where addresses are private."""
        if is_local(sender):
            return True
        address = ipaddress.ip_address(sender.partition("%")[0])
        return any(address in link for link in self._links if link.version == address.version)
