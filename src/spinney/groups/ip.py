"""`IpGroups`: groups by IP multicast, IPv4 or IPv6, on chosen interfaces.

Each membership has one ear, a socket that joined the group on every interface, and a mouth for
each interface: the system sends a multicast datagram by one interface only.  What a mouth of
ours said is recognised by where it came from, on whatever interface it is heard.

Interfaces come and go: while there are memberships, `IpGroups` looks every minute, and soon
after any error, which ones there are.  No error of the network is fatal; a group without any
interface drops what it is to send and hears nothing until one is back.

With several interfaces, single payloads (control) go by all of them, bursts (data) only where
somebody was heard lately in any group of these `IpGroups`, or by all if nobody was anywhere: a
bridge for containers or a tunnel without members is not filled at the rate of a transfer.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from contextlib import suppress

from spinney.errors import NetworkError
from spinney.groups.group import GroupReceiver
from spinney.groups.ip_scope import PORT, Place, candidate, group_text, parsed, places
from spinney.net.host import (
    Address,
    Buffer,
    Datagram,
    DatagramOptions,
    DatagramReceiver,
    Datagrams,
    Host,
    Rng,
)

LOOK_S = 60.0
"""How often the interfaces are looked at when nothing is wrong."""
LOOK_SOON_S = 1.0
"""How long after an error they are looked at; twice as long after each further one."""
QUIET_S = 60.0
"""Where nobody spoke for so long, in any group, bursts are not sent while others are heard."""
CHOOSE_S = 1.0
"""How often it is decided where bursts go."""
MOUTH_RECEIVE_BYTES = 4_096
"""A mouth hears nothing but errors."""


class IpGroups:
    """See `Groups`.  `interfaces`: names or addresses; without, all that multicast.

    `hops`: 0 stays on this machine, 1 on the link.  `receive_buffer_bytes`: for each group, where
    the system gives it; at a gigabit 16 MiB last for 0.1 s.
    """

    def __init__(
        self,
        host: Host,
        *,
        interfaces: Sequence[str] = (),
        six: bool = False,
        hops: int = 1,
        port: int = PORT,
        receive_buffer_bytes: int = 16 << 20,
    ) -> None:
        self.host = host
        self.six = six
        self.scheme = b"ip6" if six else b"ip4"
        self.hops = hops
        self.port = port
        self.receive_buffer_bytes = receive_buffer_bytes
        self._only = tuple(interfaces)
        self._members: dict[int, IpGroup] = {}
        self._joined = 0
        self._watch: asyncio.Task[None] | None = None
        self._wrong = asyncio.Event()
        self.heard_s: dict[int, float] = {}
        """When somebody was heard last on the interface of this index."""

    def candidate(self, rng: Rng) -> bytes:
        return group_text(candidate(rng, self.six, self.hops), self.port)

    def address(self, group: str, port: int | None = None) -> bytes:
        """The opaque address of a group that is given in numbers."""
        return group_text(group, port or self.port)

    def valid(self, address: bytes) -> bool:
        return parsed(address, self.six, self.hops) is not None

    def used(self) -> list[Place]:
        """The interfaces that groups use now.  Raises `NetworkError` when there is none."""
        rows = places(self.host.interfaces(), self._only, self.six, self.hops)
        if not rows:
            wanted = " and ".join(self._only) or "any interface"
            family = "IPv6" if self.six else "IPv4"
            raise NetworkError(f"no {family} multicast on {wanted}")
        return rows

    async def join(
        self, address: bytes, receiver: GroupReceiver, *, send_only: bool = False
    ) -> IpGroup:
        remote = parsed(address, self.six, self.hops)
        if remote is None:
            raise NetworkError(f"{address!r} is no group of this scope")
        self._joined += 1
        group = IpGroup(self, self._joined, address, remote, receiver, send_only=send_only)
        try:
            await group.settle(self.used())
        except BaseException:
            group.close()
            raise
        self._members[group.number] = group
        if self._watch is None or self._watch.done():
            self._watch = asyncio.get_running_loop().create_task(self._look_again_and_again())
        return group

    def left(self, number: int) -> None:
        """A membership was closed."""
        self._members.pop(number, None)
        if not self._members and self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def wrong(self) -> None:
        """An error that another interface, or the same one anew, may mend."""
        self._wrong.set()

    async def _look_again_and_again(self) -> None:
        pause_s = LOOK_SOON_S
        while self._members:
            failed = False
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wrong.wait()
                failed = True
            if failed:
                await asyncio.sleep(pause_s)
                self._wrong.clear()  # this look is for all that went wrong meanwhile
            pause_s = min(2 * pause_s, LOOK_S) if failed else LOOK_SOON_S
            await self._look()

    async def _look(self) -> None:
        try:
            used = places(self.host.interfaces(), self._only, self.six, self.hops)
        except NetworkError:  # the system would not even list them: later
            return
        for group in list(self._members.values()):
            try:
                await group.settle(used)
            except NetworkError as error:
                group.error_received(OSError(errno.ENETDOWN, str(error)))


class IpGroup(DatagramReceiver):
    """See `Group`."""

    def __init__(
        self,
        groups: IpGroups,
        number: int,
        address: bytes,
        remote: Address,
        receiver: GroupReceiver,
        *,
        send_only: bool,
    ) -> None:
        self.address = address
        self.number = number
        self.local_address: Address = ("::" if groups.six else "0.0.0.0", 0)
        self._groups = groups
        self._host = groups.host
        self._remote = remote
        self._receiver = receiver
        self._send_only = send_only
        self._ear: Datagrams | None = None
        self._heard_at: list[Place] = []
        self._mouths: dict[Place, Datagrams] = {}
        self._bulk: list[Datagrams] = []
        self._chosen_s = float("-inf")
        self._own: dict[Address, None] = {}
        self._own_ports: frozenset[int] = frozenset()
        self._dropped = 0
        self._lost = 0
        self._open = True
        self._settling = asyncio.Lock()

    # -- interfaces -----------------------------------------------------------------------

    @property
    def interfaces(self) -> list[str]:
        """The names of those that it speaks by now."""
        return [place.name for place in self._mouths]

    async def settle(self, used: Sequence[Place]) -> None:
        """Joins on these interfaces and leaves the others.  Raises `NetworkError` if it may
        speak by none of them."""
        async with self._settling:
            error: NetworkError | None = None
            for place in [each for each in self._mouths if each not in used]:
                self._close_mouth(place)
            if not self._send_only and self._open:
                error = await self._listen(used)
            for place in used:
                if self._open and place not in self._mouths:
                    try:
                        await self._open_mouth(place)
                    except NetworkError as problem:
                        error = error or problem
            if self._open and not self._mouths:
                raise error or NetworkError("no interface for multicast")

    async def _listen(self, used: Sequence[Place]) -> NetworkError | None:
        """Makes the ear's memberships those; the first error of those that failed.

        An interface that went away is still joined as far as its socket knows, and would count
        against the system's limit: such an ear is replaced by a new one."""
        ear = self._ear
        if ear is None or any(place not in used for place in self._heard_at):
            ear = await self._host.open_datagrams(
                self,
                ("::" if self._groups.six else "0.0.0.0", self._remote[1]),
                DatagramOptions(
                    reuse_address=True,
                    bursts=True,
                    packet_info=len(used) > 1,  # costs a little, so only where it decides
                    receive_buffer_bytes=self._groups.receive_buffer_bytes,
                ),
            )
            if not self._open:
                ear.close()
                return None
            self._close_ear()
            self._ear = ear
        error: NetworkError | None = None
        for place in used:
            if place in self._heard_at:
                continue
            try:
                ear.join(self._remote[0], place.name)
            except NetworkError as problem:
                error = error or problem
                continue
            self._heard_at.append(place)
        return error

    async def _open_mouth(self, place: Place) -> None:
        if not self._send_only and place not in self._heard_at:
            return  # who is deaf there would flood those whom it cannot hear
        mouth = await self._host.open_datagrams(
            _Mouth(self),
            (place.local, 0),
            DatagramOptions(
                multicast_interface=place.name,
                multicast_hops=self._groups.hops,
                receive_buffer_bytes=MOUTH_RECEIVE_BYTES,
                send_buffer_bytes=1 << 20,
            ),
        )
        if not self._open:
            mouth.close()
            return
        self._mouths[place] = mouth
        self._note_mouths()

    def _close_mouth(self, place: Place) -> None:
        mouth = self._mouths.pop(place)
        self._dropped += mouth.dropped
        mouth.close()
        self._note_mouths()

    def _close_ear(self) -> None:
        if self._ear is not None:
            self._ear.close()
            self._lost += self._ear.overflowed
        self._ear = None
        self._heard_at.clear()

    def _note_mouths(self) -> None:
        """Where our own words come from: addresses with and without a zone."""
        rows = [mouth.local_address for mouth in self._mouths.values()]
        bare = [(host.partition("%")[0], port) for host, port in rows]
        self._own = dict.fromkeys(bare)
        self._own_ports = frozenset(port for _, port in rows)
        self._bulk = list(self._mouths.values())
        self._chosen_s = float("-inf")
        if rows:
            self.local_address = rows[0]

    @property
    def dropped(self) -> int:
        return self._dropped + sum(mouth.dropped for mouth in self._mouths.values())

    @property
    def lost(self) -> int:
        return self._lost + (self._ear.overflowed if self._ear is not None else 0)

    # -- sending --------------------------------------------------------------------------

    def send(self, payload: Buffer) -> None:
        if not self._mouths and self._open:
            self._dropped += 1
        for mouth in self._mouths.values():
            mouth.send(payload, self._remote)

    def send_burst(self, buffers: Sequence[Buffer], segment_bytes: int) -> int:
        """What the first interface took; where another takes less, it is lost there."""
        if len(self._mouths) > 1:
            self._choose_bulk()
        taken = -1
        for mouth in self._bulk:
            sent = mouth.send_burst(buffers, segment_bytes, self._remote)
            if taken < 0:
                taken = sent
            elif sent < taken:
                self._dropped += taken - sent
        if taken < 0:
            # Nobody hears it: taken and dropped, so that no sender turns in circles.
            taken = -(-sum(map(len, buffers)) // segment_bytes) if self._open else 0
            self._dropped += taken
        return taken

    def _choose_bulk(self) -> None:
        now = self._host.time()
        if now - self._chosen_s < CHOOSE_S:
            return
        self._chosen_s = now
        heard = self._groups.heard_s
        self._bulk = [
            mouth
            for place, mouth in self._mouths.items()
            if now - heard.get(place.index, float("-inf")) <= QUIET_S
        ] or list(self._mouths.values())

    async def writable(self) -> None:
        for mouth in list(self._bulk):
            await mouth.writable()

    # -- receiving: for each datagram of a transfer, so it does little ----------------------

    def _is_own(self, remote: Address) -> bool:
        return remote[1] in self._own_ports and (
            (remote[0].partition("%")[0], remote[1]) in self._own
        )

    def datagrams_received(self, batch: list[Datagram]) -> None:
        if self._open:
            ports = self._own_ports
            heard = [
                (data, remote)
                for data, remote, _ in batch
                if remote[1] not in ports or not self._is_own(remote)
            ]
            if heard:
                for _, remote, interface in batch if batch[0][2] else ():
                    if not self._is_own(remote):
                        self._groups.heard_s[interface] = self._host.time()
                self._receiver.group_received(heard)

    def burst_received(
        self, data: memoryview, segment_bytes: int, remote: Address, interface: int
    ) -> None:
        if self._open and (remote[1] not in self._own_ports or not self._is_own(remote)):
            if interface:
                self._groups.heard_s[interface] = self._host.time()
            self._receiver.group_burst(data, segment_bytes, remote)

    def error_received(self, error: OSError) -> None:
        if self._open:
            self._groups.wrong()
            self._receiver.group_error(error)

    # -- life -----------------------------------------------------------------------------

    async def rejoin(self) -> None:
        """Leaves and joins where it is a member, and looks for interfaces that are new."""
        if self._ear is not None and self._open:
            for place in list(self._heard_at):
                with suppress(NetworkError):  # it was gone already
                    self._ear.leave(self._remote[0], place.name)
                try:
                    self._ear.join(self._remote[0], place.name)
                except NetworkError as error:
                    self._heard_at.remove(place)
                    self.error_received(OSError(errno.ENETDOWN, str(error)))
        if self._open:
            with suppress(NetworkError):  # none now: whoever watches will find one
                await self.settle(self._groups.used())

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        for place in list(self._mouths):
            self._close_mouth(place)
        self._close_ear()
        self._groups.left(self.number)


class _Mouth(DatagramReceiver):
    """Tells what the system says of datagrams that were sent; hears nothing."""

    def __init__(self, group: IpGroup) -> None:
        self._group = group

    def error_received(self, error: OSError) -> None:
        self._group.error_received(error)
