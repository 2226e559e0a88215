"""`SimHost`: a simulated machine behind the `Host` contract, that can crash and come back."""

from __future__ import annotations

import asyncio
import contextvars
import ipaddress
import ssl
from collections.abc import Callable, Coroutine, Sequence
from functools import cached_property
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple

from spinney.errors import NetworkError, PortTakenError, ResolveError
from spinney.net.host import Address, DatagramOptions, DatagramReceiver, Interface
from spinney.sim import connecting, multicast
from spinney.sim.datagrams import SimDatagrams
from spinney.sim.handles import current_host
from spinney.sim.links import LOOPBACK, Link
from spinney.sim.nat import Nat
from spinney.sim.segments import Attachment, Packet, Segment
from spinney.sim.storage import Disk, SimStorage
from spinney.sim.streams import SimListener, SimStream

if TYPE_CHECKING:
    from spinney.sim.world import World

R = TypeVar("R")
Ts = TypeVarTuple("Ts")
P = TypeVar("P", bound=asyncio.BaseProtocol)

FIRST_EPHEMERAL_PORT = 32_768
LAST_EPHEMERAL_PORT = 60_999
CANCELS_BEFORE_ABANDONED = 8
"""A task of a crashed machine that swallows so many cancellations is left where it stands."""

WILD = ("0.0.0.0", "::")


class SimHost:
    """One simulated machine.  Made by `World.host`."""

    def __init__(
        self, world: World, name: str, *, wall_skew_s: float, disk_bytes: int | None
    ) -> None:
        self.world = world
        self.name = name
        self.wall_skew_s = wall_skew_s
        self.is_up = True
        self.lives = 1
        self.attachments: list[Attachment] = []
        self.sockets: dict[tuple[str, int], list[SimDatagrams]] = {}
        self.listeners: dict[tuple[str, int], list[SimListener]] = {}
        self.streams: dict[int, SimStream] = {}
        self.attempts: dict[tuple[Address, Address], connecting.Attempt] = {}
        self.disk = Disk(world, name, disk_bytes)
        self.storage = SimStorage(self, self.disk)
        self._loopback: Attachment | None = None
        self._next_port = FIRST_EPHEMERAL_PORT
        self._bound: dict[tuple[str, int], list[tuple[str, bool]]] = {}
        self._secrets = 0

    def __repr__(self) -> str:
        return f"<SimHost {self.name}{'' if self.is_up else ' (down)'}>"

    # --- where it is ------------------------------------------------------------------

    def attach(
        self,
        on: Segment | Nat,
        addresses: Sequence[str] | None = None,
        *,
        name: str | None = None,
        link: Link | None = None,
    ) -> Attachment:
        """Adds an interface on a network; its name is `eth0`, `eth1`, … if none is given."""
        segment = on.inside if isinstance(on, Nat) else on
        if addresses is None:
            addresses = [segment.next_address(False)] if segment.network4 else []
            addresses += [segment.next_address(True)] if segment.network6 else []
        with_prefix = tuple((host, _prefix(segment, host)) for host in addresses)
        index = len(self.attachments) + 2
        attachment = Attachment(self, segment, name or f"eth{index - 2}", index, with_prefix, link)
        segment.attach(attachment)
        self.attachments.append(attachment)
        if self._loopback is not None:
            for host in addresses:
                self._loopback.segment.owners[host] = self._loopback
        self.settle()
        return attachment

    @property
    def loopback(self) -> Attachment:
        """The interface `lo`: 127.0.0.1, ::1 and, inside, every own address."""
        if self._loopback is None:
            segment = Segment(self.world, f"lo of {self.name}", LOOPBACK, multicast=False)
            addresses = (("127.0.0.1", 8), ("::1", 128))
            self._loopback = Attachment(self, segment, "lo", 1, addresses, None)
            segment.attach(self._loopback)
            for attachment in self.attachments:
                for host, _ in attachment.addresses:
                    segment.owners[host] = self._loopback
        return self._loopback

    @property
    def address(self) -> str:
        """The first address of the first interface."""
        return self.attachments[0].addresses[0][0]

    def owns(self, address: str) -> bool:
        """Is this one of the machine's addresses (loopback included)?"""
        if address.startswith("127.") or address == "::1":
            return True
        return any(address == host for each in self.attachments for host, _ in each.addresses)

    def attachments_for(self, local: str) -> list[Attachment]:
        """The interfaces that an address stands for; a wildcard for all but loopback."""
        local = local.partition("%")[0]
        if local in WILD:
            six = local == "::"
            return [each for each in self.attachments if each.address_of(six)]
        if local in ("127.0.0.1", "::1"):
            return [self.loopback]
        return [e for e in self.attachments if any(local == host for host, _ in e.addresses)]

    def way_out(self, local: str, remote: str) -> tuple[Attachment | None, str | None]:
        """The interface that a packet leaves by, and the address that it carries."""
        remote = remote.partition("%")[0]
        wild = local in WILD
        if self.owns(remote):
            return self.loopback, remote if wild else local
        candidates = self.attachments_for(local)
        if len(candidates) > 1:
            number = ipaddress.ip_address(remote)
            near = [each for each in candidates if _covers(each.segment, number)]
            routed = [each for each in candidates if each.segment.find(remote) is not None]
            candidates = near or routed or candidates
        if not candidates or candidates[0] is self._loopback:
            return None, None
        chosen = candidates[0]
        return chosen, chosen.address_of(":" in remote) if wild else local

    def settle(self) -> None:
        """The network changed: every socket looks again whether its way is a quick one."""
        for bound in self.sockets.values():
            for socket in bound:
                socket.settle()

    def set_link(self, link: Link, interface: str = "eth0") -> None:
        """Puts an interface behind another line, now."""
        for attachment in self.attachments:
            if attachment.name == interface:
                attachment.set_link(link)
        self.settle()

    # --- clocks, chance, processor ----------------------------------------------------

    @cached_property
    def rng(self) -> Random:
        return self.world.rng_for(f"host {self.name}")

    def time(self) -> float:
        return self.world.loop.now

    def wall_time(self) -> float:
        return self.world.wall_start_s + self.world.loop.now + self.wall_skew_s

    def step_wall_time(self, seconds: float) -> None:
        """The wall clock jumps, as it does when somebody sets it."""
        self.wall_skew_s += seconds

    def entropy(self, length: int) -> bytes:
        """Bytes for keys: seeded here, and never the same twice."""
        rows = []
        for _ in range(-(-length // 64)):
            self._secrets += 1
            purpose = f"entropy {self.name} {self._secrets}"
            rows.append(blake2b(self.world.seed_bytes(purpose)).digest())
        return b"".join(rows)[:length]

    async def work(self, function: Callable[[*Ts], R], *args: *Ts) -> R:
        """Runs `function` in line, after everything that is ready now had its turn."""
        await asyncio.sleep(0)
        return function(*args)

    def context(self) -> contextvars.Context:
        """A context of its own in which this machine's code runs."""
        context = contextvars.copy_context()
        context.run(current_host.set, self)
        return context

    # --- network ----------------------------------------------------------------------

    def interfaces(self) -> list[Interface]:
        rows = []
        for each in [self.loopback, *self.attachments]:
            loopback = each is self._loopback
            mtu = min(each.link.mtu, each.segment.link.mtu)
            if loopback:
                mtu = LOOPBACK.mtu
            rows.append(
                Interface(
                    each.name,
                    each.index,
                    each.addresses,
                    mtu,
                    each.segment.multicast,
                    loopback,
                    each.is_up and self.is_up,
                )
            )
        return rows

    async def resolve(self, name: str, port: int, *, family: Literal[0, 4, 6] = 0) -> list[Address]:
        try:
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            await self.world.sleep(self.world.resolve_s)
            found = self.world.names.get(name.lower().rstrip("."))
            if found is None and name == "localhost":
                found = ["127.0.0.1", "::1"]
            host = self.world.hosts.get(name)
            if found is None and host is not None:
                found = [each for a in host.attachments for each, _ in a.addresses]
        else:
            found = [name]
        rows = [
            (each, port) for each in found or () if not family or (":" in each) is (family == 6)
        ]
        if not rows:
            raise ResolveError(f"the name {name!r} does not resolve")
        return rows

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
        self.must_be_up()
        return await connecting.connect(
            self, factory, remote, local, reuse_port, tls, server_name, timeout_s
        )

    async def listen(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        local: Address,
        *,
        reuse_port: bool = False,
        backlog: int = 128,
        tls: ssl.SSLContext | None = None,
    ) -> SimListener:
        self.must_be_up()
        address = self.bind("tcp", local, reuse_port)
        listener = SimListener(self, factory, address, reuse_port, tls)
        self.listeners.setdefault(address, []).append(listener)
        return listener

    async def open_datagrams(
        self,
        receiver: DatagramReceiver,
        local: Address,
        options: DatagramOptions = DatagramOptions(),  # noqa: B008 (frozen)
    ) -> SimDatagrams:
        self.must_be_up()
        multicast.check_options(self, options)
        address = self.bind("udp", local, options.reuse_address or options.reuse_port)
        socket = SimDatagrams(self, receiver, address, options)
        self.sockets.setdefault(address, []).append(socket)
        return socket

    # --- ports ------------------------------------------------------------------------

    def bind(self, transport: str, local: Address, reuse: bool) -> Address:
        """Takes a port (0: a free one); raises `PortTakenError` if somebody else has it."""
        host, port = local[0].partition("%")[0], local[1]
        group = _is_multicast(host)
        if not (group or host in WILD or self.owns(host)):
            raise NetworkError(f"{host} is no address of {self.name}")
        if not port:
            port = self._free_port(transport)
        held = self._bound.setdefault((transport, port), [])
        for other, other_reuse in held:
            same_family = (":" in other) is (":" in host)
            overlap = same_family and (other == host or other in WILD or host in WILD)
            if overlap and not (reuse and other_reuse):
                raise PortTakenError(f"{host} port {port} of {self.name} is taken")
        held.append((host, reuse))
        return local[0], port

    def release(self, transport: str, local: Address, reuse: bool) -> None:
        held = self._bound.get((transport, local[1]), [])
        if (local[0].partition("%")[0], reuse) in held:
            held.remove((local[0].partition("%")[0], reuse))
        if not held:
            self._bound.pop((transport, local[1]), None)

    def _free_port(self, transport: str) -> int:
        for _ in range(LAST_EPHEMERAL_PORT - FIRST_EPHEMERAL_PORT):
            port = self._next_port
            self._next_port = port + 1 if port < LAST_EPHEMERAL_PORT else FIRST_EPHEMERAL_PORT
            if (transport, port) not in self._bound:
                return port
        raise PortTakenError(f"{self.name} has no free port")

    def unbind(self, socket: SimDatagrams) -> None:
        """A datagram socket was closed."""
        held = self.sockets.get(socket.local_address, [])
        if socket in held:
            held.remove(socket)
            options = socket.options
            reuse = options.reuse_address or options.reuse_port
            self.release("udp", socket.local_address, reuse)
        if not held:
            self.sockets.pop(socket.local_address, None)

    def packet_arrived(self, at: Attachment, packet: Packet) -> None:
        """A datagram for one of this machine's addresses came by an interface."""
        data, source, remote = packet
        found = self.sockets.get(remote)
        if not found:
            wild = "::" if ":" in remote[0] else "0.0.0.0"
            found = self.sockets.get((wild, remote[1]))
        if found and self.is_up:
            found[0].deliver(data, source, at.index)
        else:
            self.world.lost.append(len(data))

    def redeliver(self, packet: Packet) -> None:
        """A datagram for a socket that was closed while it was under way: who has it now?"""
        attachments = self.attachments_for(packet[2][0])
        if attachments:
            self.packet_arrived(attachments[0], packet)

    def listener_for(self, local: Address) -> SimListener | None:
        """Who accepts a connection to this address; several with one port take turns."""
        for host in (local[0], "::" if ":" in local[0] else "0.0.0.0"):
            held = self.listeners.get((host, local[1]))
            if held:
                held.append(held.pop(0))
                return held[-1]
        return None

    # --- life and death ---------------------------------------------------------------

    def must_be_up(self) -> None:
        if not self.is_up:
            raise NetworkError(f"{self.name} is down")

    def start(self, main: Coroutine[Any, Any, R], name: str | None = None) -> asyncio.Task[R]:
        """Runs a program on this machine: it, and all that it starts, dies with it."""
        self.must_be_up()
        label = f"{self.name}: {name or getattr(main, '__name__', 'main')}"
        return self.world.loop.create_task(main, name=label, context=self.context())

    def crash(self) -> None:
        """The machine loses power: no goodbye, and what was not synced may be lost.

        Code of this machine gets a cancellation, so that it ends, but nothing that it does
        then has an effect: its sockets are gone and its disk does not answer.
        """
        if not self.is_up:
            return
        self._go_down()
        for stream in list(self.streams.values()):
            stream.vanish()
        self._kill()
        self.disk.lose_power()

    def stop(self) -> None:
        """The machine is shut down: its connections are closed, its disk is synced."""
        if not self.is_up:
            return
        for stream in list(self.streams.values()):
            stream.abort()
        self._go_down()
        self._kill()
        self.disk.sync_all()

    def restart(self) -> None:
        """The machine comes up again, with its addresses and what its disk held."""
        assert not self.is_up, f"{self.name} is up"
        self.is_up = True
        self.lives += 1
        self.storage = SimStorage(self, self.disk)
        for attachment in self.attachments:
            attachment.is_up = True

    def _go_down(self) -> None:
        self.is_up = False
        self.storage.power_off()
        for attachment in self.attachments:
            attachment.is_up = False
        for bound in list(self.sockets.values()):
            for socket in list(bound):
                socket.close()
        for listeners in list(self.listeners.values()):
            for listener in list(listeners):
                listener.close()
        self._bound.clear()

    def _kill(self) -> None:
        loop = self.world.loop
        loop.drop_entries_of(self)
        mine = [task for task in asyncio.all_tasks(loop) if getattr(task, "host", None) is self]
        mine.sort(key=lambda task: getattr(task, "number", 0))
        self._cancel(mine, CANCELS_BEFORE_ABANDONED)

    def _cancel(self, tasks: list[asyncio.Task[Any]], times: int) -> None:
        running = asyncio.current_task(self.world.loop) if self.world.loop.is_running() else None
        alive = [task for task in tasks if not task.done()]
        for task in alive:
            if task is not running or times == CANCELS_BEFORE_ABANDONED:
                task.cancel("the machine is down")
        if alive and times:
            loop = self.world.loop
            loop.push(loop.now, self._cancel, (alive, times - 1))


def _prefix(segment: Segment, host: str) -> int:
    network = segment.network6 if ":" in host else segment.network4
    if network is not None and ipaddress.ip_address(host) in network:
        return network.prefixlen
    return 64 if ":" in host else 24


def _covers(segment: Segment, number: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    network = segment.network6 if number.version == 6 else segment.network4
    return network is not None and number in network


def _is_multicast(host: str) -> bool:
    return ipaddress.ip_address(host).is_multicast
