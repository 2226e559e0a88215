"""`FanGroup`: one membership in a fan-out, as its hub or as one of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from spinney.errors import NetworkError
from spinney.groups.fan_hub import Hub, Out
from spinney.groups.fan_member import Member
from spinney.groups.fan_wire import (
    DATA,
    HEADER_BYTES,
    TOKEN_BYTES,
    Cookie,
    decode,
    encode,
    header,
)
from spinney.groups.group import GroupReceiver, Sent
from spinney.net.address import format_address
from spinney.net.host import Address, Buffer

if TYPE_CHECKING:
    from spinney.groups.fanout import FanoutGroups

TICK_S = 0.25


class FanGroup:
    """See `Group`."""

    def __init__(
        self,
        groups: FanoutGroups,
        hub: Address,
        token: bytes,
        receiver: GroupReceiver,
        *,
        send_only: bool,
    ) -> None:
        assert len(token) == TOKEN_BYTES
        self.dropped = 0
        self._groups = groups
        self._datagrams = groups.datagrams
        self._host = groups.host
        self._token = token
        self._receiver = receiver
        self._send_only = send_only
        self._lost_before = groups.datagrams.overflowed
        self._open = True
        self._hub: Hub | None = None
        self._member: Member | None = None
        self._turn = 0
        self._in = asyncio.Event()
        if hub == self.local_address:
            self._hub = Hub(token, groups.secret, members_max=groups.members_max)
            self._in.set()
        else:
            self._member = Member(hub, send_only=send_only, now=self._host.time())
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self._say(self._member.tick(self._host.time()) if self._member else [])

    async def welcomed(self) -> None:
        """Returns when we belong to the group.  Raises `NetworkError` if the hub says no."""
        await self._in.wait()
        if self._member is not None and self._member.refused:
            raise NetworkError("the hub takes no more members")

    # -- who and where --------------------------------------------------------------------

    @property
    def hub(self) -> Address:
        """Where the hub is now, as far as we know."""
        return self._member.hub if self._member is not None else self.local_address

    @property
    def listeners(self) -> int:
        """To how many addresses our words go."""
        return len(self._hub.listeners) if self._hub is not None else 1

    @property
    def is_hub(self) -> bool:
        return self._hub is not None

    @property
    def address(self) -> bytes:
        """Names the present hub: it changes when another succeeds it."""
        return f"fan:{format_address(self.hub)}:{self._token.hex()}".encode("ascii")

    @property
    def local_address(self) -> Address:
        return self._datagrams.local_address

    @property
    def lost(self) -> int:
        """Of all groups of this socket since we joined: the system does not tell them apart."""
        return self._datagrams.overflowed - self._lost_before

    # -- sending --------------------------------------------------------------------------

    def _targets(self) -> tuple[list[Address], int]:
        """Where our words go, and our number; nowhere while we look for a hub."""
        if self._hub is not None:
            return self._hub.listeners, 0
        if self._member is not None and self._member.number is not None:
            return [self._member.hub], self._member.number
        return [], -1

    def send(self, payload: Buffer) -> None:
        if not self._open:
            return
        targets, number = self._targets()
        if number < 0:
            self.dropped += 1
            return
        self._pass_on(header(DATA, self._token, number) + bytes(payload), targets)

    def _pass_on(self, data: Buffer, targets: list[Address]) -> None:
        taken = 0
        while taken < len(targets):
            more = self._datagrams.send_many([(data, each) for each in targets[taken:]])
            taken += more
            if taken < len(targets):
                self.dropped += 1  # no room for this one; the next ones may be luckier
                taken += 1

    def send_burst(self, buffers: Sequence[Buffer], segment_bytes: int) -> int:
        if not self._open:
            return 0
        cut = segments(buffers, segment_bytes)
        targets, number = self._targets()
        if number < 0:
            self.dropped += len(cut)
            return len(cut)
        head = header(DATA, self._token, number)
        framed: list[Buffer] = []
        for each in cut:
            framed += (head, each)
        return self._burst(framed, segment_bytes + HEADER_BYTES, len(cut), targets)

    def _burst(
        self, framed: list[Buffer], segment_bytes: int, count: int, targets: list[Address]
    ) -> int:
        """What the first took; what another has less is dropped.  Each is first in its turn."""
        if not targets:
            return count
        self._turn = (self._turn + 1) % len(targets)
        taken = count
        for at, target in enumerate(targets[self._turn :] + targets[: self._turn]):
            sent = self._datagrams.send_burst(framed, segment_bytes, target)
            if at == 0:
                taken = sent
                if taken < count:
                    framed = _front(framed, taken * segment_bytes)
            elif sent < taken:
                self.dropped += taken - sent
        return taken

    async def writable(self) -> None:
        if self._open:
            await self._datagrams.writable()

    # -- receiving ------------------------------------------------------------------------

    def _speaker(self, number: int, remote: Address) -> Address | None:
        """Who says this; None if it is not for us to hear."""
        if self._hub is not None:
            return remote if self._hub.is_from(number, remote) else None
        member = self._member
        if member is None or remote != member.hub or member.number is None:
            return None
        member.hub_spoke(self._host.time())
        return member.names.get(number, remote)

    def data(self, rows: list[tuple[bytes, Address]]) -> None:
        """Datagrams of kind DATA with our token."""
        heard: list[Sent] = []
        for datagram, remote in rows:
            speaker = self._speaker(int.from_bytes(datagram[10:12], "big"), remote)
            if speaker is None:
                continue
            if self._hub is not None:
                self._pass_on(datagram, [each for each in self._hub.listeners if each != remote])
            heard.append((datagram[HEADER_BYTES:], speaker))
        if heard and self._open and not self._send_only:
            self._receiver.group_received(heard)

    def data_burst(self, data: memoryview, segment_bytes: int, remote: Address) -> None:
        """Equal DATA datagrams with one and the same header."""
        speaker = self._speaker(int.from_bytes(data[10:12], "big"), remote)
        if speaker is None:
            return
        if self._hub is not None:
            others = [each for each in self._hub.listeners if each != remote]
            count = -(-len(data) // segment_bytes)
            if others:
                self.dropped += count - self._burst([data], segment_bytes, count, others)
        if not self._send_only:
            self._receiver.group_received(
                [
                    (bytes(data[at + HEADER_BYTES : at + segment_bytes]), speaker)
                    for at in range(0, len(data), segment_bytes)
                ]
            )

    def control(self, data: bytes, remote: Address) -> None:
        """Any other datagram with our token.  Raises `WireError`."""
        message, now = decode(data), self._host.time()
        if self._hub is not None:
            if isinstance(message, Cookie) and remote in self._hub.elders:
                self._give_way(remote)
            else:
                self._say(self._hub.heard(message, remote, now))
        elif self._member is not None:
            self._say(self._member.heard(message, remote, now))
            self._look()

    def error(self, error: OSError) -> None:
        if self._open:
            self._receiver.group_error(error)

    # -- life -----------------------------------------------------------------------------

    def _say(self, out: list[Out]) -> None:
        for message, address in out:
            self._datagrams.send(encode(message, self._token), address)

    def _tick(self) -> None:
        if not self._open:
            return
        now = self._host.time()
        role = self._hub or self._member
        assert role is not None
        self._say(role.tick(now))
        self._look()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _look(self) -> None:
        """Did what we heard change what we are?"""
        member = self._member
        if member is None:
            return
        if member.lead:
            self._member = None
            self._hub = Hub(
                self._token,
                self._groups.secret,
                elders=member.elders,
                members_max=self._groups.members_max,
            )
        if member.lead or member.refused or member.number is not None:
            self._in.set()

    def _give_way(self, elder: Address) -> None:
        """A hub before us is back: our members and we go there."""
        assert self._hub is not None
        self._say(self._hub.farewell(elder))
        self._hub = None
        self._member = Member(elder, send_only=self._send_only, now=self._host.time())
        self._say(self._member.tick(self._host.time()))

    async def rejoin(self) -> None:
        """Tells the hub that we are here."""
        if self._open and self._member is not None:
            self._say(self._member.ask(self._host.time()))

    def close(self) -> None:
        """Says good-bye; a hub names its successor."""
        if not self._open:
            return
        if self._hub is not None:
            self._say(self._hub.farewell(self._hub.successor()))
        elif self._member is not None:
            self._say(self._member.farewell())
        self._open = False
        self._timer.cancel()
        self._in.set()
        self._groups.left(self._token)


def segments(buffers: Sequence[Buffer], size: int) -> list[memoryview]:
    """The concatenation of `buffers`, cut every `size` bytes; copied only if a cut needs it."""
    if len(buffers) > 1 and any(len(each) % size for each in buffers[:-1]):
        buffers = [b"".join(buffers)]
    return [
        memoryview(each)[at : at + size] for each in buffers for at in range(0, len(each), size)
    ]


def _front(buffers: list[Buffer], size: int) -> list[Buffer]:
    """The first `size` bytes."""
    return [memoryview(b"".join(buffers))[:size]]
