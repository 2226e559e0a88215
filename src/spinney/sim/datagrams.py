"""Simulated datagram sockets: each datagram is a packet with its own fate.

`SimDatagrams.send` is the hottest code of the simulator: between hosts without rates, NATs
or partitions in their way it draws a fate, pushes one entry on the loop's heap and is done.
Everything else goes by `transmit`.
"""

from __future__ import annotations

import errno
import ipaddress
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spinney.net.host import Address, Buffer, Datagram, DatagramOptions, DatagramReceiver
from spinney.sim import multicast
from spinney.sim.links import LOST, TWICE, Pipe
from spinney.sim.loop import BUCKETS_PER_S, truncated
from spinney.sim.segments import Attachment, Packet, Segment

if TYPE_CHECKING:
    from spinney.sim.host import SimHost
    from spinney.sim.world import World

HEADERS4_BYTES = 28
HEADERS6_BYTES = 48
LARGEST_DATAGRAM_BYTES = 65_507
QUICK_BYTES = 1200
"""Longer datagrams take the careful way, where the MTU is looked at."""


def headers_bytes(host: str) -> int:
    """IP and UDP headers in front of a datagram to this address."""
    return HEADERS6_BYTES if ":" in host else HEADERS4_BYTES


class SimDatagrams:
    """An open datagram socket of a simulated host (rules of `Datagrams`)."""

    # What each datagram touches comes first, so that it lies in few lines of the cache.
    __slots__ = (  # noqa: RUF023
        "host",
        "profile",
        "arrive",
        "is_open",
        "number",
        "_run",
        "_received",
        "_record",
        "_loop",
        "_near",
        "_fates",
        "_buckets",
        "_source",
        "_lost",
        "_receiver",
        "_six",
        "_tied",
        "_world",
        "dropped",
        "index",
        "joined",
        "local_address",
        "options",
        "overflowed",
    )

    def __init__(
        self, host: SimHost, receiver: DatagramReceiver, local: Address, options: DatagramOptions
    ) -> None:
        self.host = host
        self.local_address = local
        self.dropped = 0
        self.overflowed = 0
        """Always: a simulated socket hands over at once and has no queue that could be full."""
        self.options = options
        self.is_open = True
        self.joined: list[multicast.Membership] = []
        world = host.world
        self._world = world
        self._loop = world.loop
        self._buckets = world.loop.buckets
        self._receiver: DatagramReceiver | None = receiver
        self._received = receiver.datagrams_received
        self._run = host.context().run
        self._six = ":" in local[0]
        self._lost = world.lost
        self._record = world.log.rows.extend
        self.number = world.log.number()
        self._near: dict[Address, SimDatagrams] = {}
        self._tied: list[dict[Address, SimDatagrams]] = []
        self.profile = -1
        self._fates: Any = None
        self.arrive = self.arrived
        self._source: Address = local
        self.index = 0
        self.settle()

    def settle(self) -> None:
        """Decides whether this socket may use the quick way; again after the host changed."""
        self._unsettle()
        attachments = self.host.attachments_for(self.local_address[0])
        if len(attachments) != 1 or not attachments[0].is_plain or not self.is_open:
            return
        attachment = attachments[0]
        own = attachment.address_of(self._six)
        if own is None or self._world.trace is not None or self.options.packet_info:
            return
        wild = self.local_address[0] in ("0.0.0.0", "::")
        self._source = (own, self.local_address[1]) if wild else self.local_address
        self.profile = attachment.profile
        self._fates = attachment.ways.fates
        self._near = attachment.segment.quick6 if self._six else attachment.segment.quick4
        place: Segment | None = attachment.segment
        while place is not None:
            quick = place.quick6 if self._six else place.quick4
            if quick.setdefault(self._source, self) is self:
                self._tied.append(quick)
            place = place.parent if place.nat is None else None

    def _unsettle(self) -> None:
        for quick in self._tied:
            quick.pop(self._source, None)
        self._tied = []
        self._near = {}

    # --- sending ----------------------------------------------------------------------

    def send(self, data: Buffer, remote: Address) -> None:
        target = self._near.get(remote)
        if target is None or len(data) > QUICK_BYTES or target.host is self.host:
            self._send_carefully(bytes(data), remote)
            return
        fate = next(self._fates[target.profile])
        if data.__class__ is not bytes:
            data = bytes(data)
        if fate >= 0.0:
            when = self._loop.now + fate
            entry = (when, target.arrive, [(data, self._source, 0)])
            bucket = self._buckets.get(truncated(when * BUCKETS_PER_S))
            if bucket is None:
                self._loop.place(entry)
            else:
                bucket.append(entry)
        elif fate == TWICE:
            fates = self._fates[target.profile]
            for _ in range(2):
                batch = [(data, self._source, 0)]
                self._loop.place((self._loop.now + next(fates), target.arrive, batch))
        else:
            self._lost.append(len(data))

    def send_many(self, batch: Sequence[tuple[Buffer, Address]]) -> int:
        for taken, (data, remote) in enumerate(batch):
            if not self._has_room(len(data), remote):
                return taken
            self.send(data, remote)
        return len(batch)

    def send_burst(self, buffers: Sequence[Buffer], segment_bytes: int, remote: Address) -> int:
        data = b"".join(buffers)
        taken = 0
        for at in range(0, len(data), segment_bytes):
            segment = data[at : at + segment_bytes]
            if not self._has_room(len(segment), remote):
                break
            self.send(segment, remote)
            taken += 1
        return taken

    def _has_room(self, length: int, remote: Address) -> bool:
        line = self._line(remote)
        if line is None:
            return True
        size = length + headers_bytes(remote[0])
        return line.waiting_bytes(self._loop.now) + size <= line.queue_bytes

    def _line(self, remote: Address) -> Pipe | None:
        if not self.is_open:
            return None
        attachment, _ = self.host.way_out(self.local_address[0], remote[0])
        return attachment.up if attachment is not None else None

    async def writable(self) -> None:
        """Waits until at most half of the slowest own line's queue is taken."""
        for attachment in self.host.attachments_for(self.local_address[0]):
            line = attachment.up
            while self.is_open and line is not None:
                more = line.waiting_bytes(self._loop.now) - line.queue_bytes / 2
                if more < 1:  # less than a byte is less than the clock may show
                    break
                await self._world.sleep(more / line.rate_bytes_per_s)

    def _send_carefully(self, data: bytes, remote: Address) -> None:
        if not self.is_open:
            return
        error = _wrong(data, remote, self._six)
        if error is not None:
            self.dropped += 1
            self._loop.call_soon(self._report, error)
            return
        if multicast.is_group(remote[0].partition("%")[0]):
            multicast.send(self, data, remote)
            return
        attachment, own = self.host.way_out(self.local_address[0], remote[0])
        if attachment is None or own is None:
            self._loop.call_soon(self._report, OSError(errno.ENETUNREACH, "network is unreachable"))
            return
        if not transmit(self._world, attachment, (data, (own, self.local_address[1]), remote)):
            self.dropped += 1

    def _report(self, error: OSError) -> None:
        if self.is_open and self._receiver is not None:
            self._run(self._receiver.error_received, error)

    # --- receiving --------------------------------------------------------------------

    def arrived(self, batch: list[Datagram]) -> None:
        """A datagram is here: by the quick way, so this socket may have been closed since."""
        if self.is_open:
            self._record((self._loop.now, self.number, batch[0][0]))
            self._run(self._received, batch)
        else:
            data, source, _ = batch[0]
            self.host.redeliver((data, source, self._source))

    def deliver(self, data: bytes, source: Address, index: int) -> None:
        """A datagram is here, by the careful way."""
        if not self.is_open or self._receiver is None:
            return
        self._world.log.arrival(self._loop.now, self.number, data)
        if self._world.trace is not None:
            self._world.trace.datagram(self._loop.now, source, self, data)
        shown: Datagram = (data, source, index if self.options.packet_info else 0)
        self._run(self._received, [shown])

    # --- the rest ---------------------------------------------------------------------

    def join(self, group: str, interface: str | None = None, source: str | None = None) -> None:
        multicast.join(self, group, interface, source)

    def leave(self, group: str, interface: str | None = None, source: str | None = None) -> None:
        multicast.leave(self, group, interface, source)

    def path_mtu(self, remote: Address) -> int:
        headers = headers_bytes(remote[0])
        attachment, _ = self.host.way_out(self.local_address[0], remote[0])
        if attachment is None:
            return 1500 - headers
        owner = attachment.segment.find(remote[0])
        if owner is None:
            return attachment.link.mtu - headers
        return attachment.ways[owner.profile].mtu - headers

    def close(self) -> None:
        if not self.is_open:
            return
        self._unsettle()
        self.is_open = False
        multicast.leave_all(self)
        self.host.unbind(self)
        self._receiver = None


def _wrong(data: bytes, remote: Address, six: bool) -> OSError | None:
    """What the system would say of a datagram that cannot be sent at all."""
    code = 0
    try:
        family = ipaddress.ip_address(remote[0].partition("%")[0]).version
    except ValueError:
        code = errno.EINVAL
    else:
        if (family == 6) is not six:
            code = errno.EAFNOSUPPORT
        elif not 0 < remote[1] < 65_536:
            code = errno.EINVAL
        elif len(data) > LARGEST_DATAGRAM_BYTES:
            code = errno.EMSGSIZE
    return OSError(code, os.strerror(code)) if code else None


def transmit(world: World, origin: Attachment, packet: Packet) -> bool:
    """Sends a packet from an attachment towards its destination, one network further.

    False if the sender's own line had no room for it.
    """
    loop = world.loop
    data, source, remote = packet
    owner = origin.segment.find(remote[0])
    size = len(data) + headers_bytes(remote[0])
    line = origin.up
    when = loop.now
    if line is not None:
        passed = line.passes_at(when, size)
        if passed is None:
            world.lost.append(len(data))
            return False
        when = passed
    if owner is None or not origin.is_up:
        world.lost.append(len(data))
        return True
    way = origin.ways[owner.profile]
    ups, downs = world.lines(origin, owner)
    fate = next(way.fates)
    copies = 1
    if fate == TWICE:
        copies, fate = 2, next(way.fates)
    for copy in range(copies):
        if copy:
            fate = next(way.fates)
        if fate == LOST or _fragment_lost(way.loss, way.rng.random, size, way.mtu):
            world.lost.append(len(data))
            world.note_loss(source, remote, len(data))
        elif when == loop.now and not ups:
            loop.push(when + fate, _came_down, (world, owner, packet, size, downs, 0))
        else:
            loop.push(when, _went_up, (world, owner, packet, size, ups, downs, fate))
    return True


def _fragment_lost(loss: float, random: Any, size: int, mtu: int) -> bool:
    """An IP packet longer than the MTU goes in fragments, and one lost loses all."""
    if size <= mtu or not loss:
        return False
    fragments = -(-(size - 20) // ((mtu - 20) // 8 * 8))
    return any(random() < loss for _ in range(fragments - 1))


def _went_up(
    world: World,
    owner: Attachment,
    packet: Packet,
    size: int,
    ups: list[Pipe],
    downs: list[Pipe],
    fate: float,
) -> None:
    loop = world.loop
    if not ups:
        loop.push(loop.now + fate, _came_down, (world, owner, packet, size, downs, 0))
        return
    passed = ups[0].passes_at(loop.now, size)
    if passed is None:
        world.lost.append(len(packet[0]))
        return
    loop.push(passed, _went_up, (world, owner, packet, size, ups[1:], downs, fate))


def _came_down(
    world: World, owner: Attachment, packet: Packet, size: int, downs: list[Pipe], step: int
) -> None:
    if step == len(downs):
        if owner.is_up:
            owner.device.packet_arrived(owner, packet)
        return
    passed = downs[step].passes_at(world.loop.now, size)
    if passed is None:
        world.lost.append(len(packet[0]))
        return
    world.loop.push(passed, _came_down, (world, owner, packet, size, downs, step + 1))
