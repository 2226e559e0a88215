"""`Probe`: machines that run it at the same time measure how multicast works between them.

Each greets the group twice a second; an answer gives the round trip, and a greeting lists whom
its speaker heard, so that a way that works in one direction only is seen.  The machine with the
lowest name conducts: it gives each in turn, over IPv4 and then IPv6, the word to send a train of
numbered datagrams at a fixed rate (at most `TRAIN_MAX_S` and `TRAIN_MAX_BYTES`), and the others
say how much of it came.  What is said goes to the group and to each known machine by itself, so
that the measurement ends also where multicast does not work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from spinney.errors import NetworkError, WireError
from spinney.groups.group import Group, GroupReceiver, Sent
from spinney.groups.ip import IpGroups
from spinney.groups.probe_wire import (
    HEADER_BYTES,
    IDENT_BYTES,
    MAGIC,
    OTHERS_MAX,
    TRAIN,
    Done,
    Echo,
    End,
    Go,
    Hello,
    Message,
    Result,
    decode,
    encode,
    header,
)
from spinney.net.address import is_local
from spinney.net.host import Address, Datagram, DatagramReceiver, Datagrams, Host

PORT = 6782
"""Where a machine is asked by itself; another port if this one is taken."""
GROUP4, GROUP6 = "239.255.83.81", "ff12::5350:4e5a"
TRAIN_MAX_S = 2.0
TRAIN_MAX_BYTES = 20_000_000
PAYLOAD_BYTES = 1_424
AT_ONCE = 16
HELLO_S = 0.5
SETTLE_S = 1.6
"""After the last new machine: three greetings, so that all know all."""
TURN_S = TRAIN_MAX_S + 2.0
"""A turn that does not end is over after this."""
RESULT_S = 0.4
"""After a train, for what is still on its way."""


@dataclass(slots=True)
class Train:
    """What came of a train.  `merged`: some datagrams came as one (receive offload).
    `overflowed`: dropped by the receiving machine itself, for want of buffer."""

    sent: int
    received: int
    seconds: float
    merged: bool
    overflowed: int

    @property
    def loss(self) -> float:
        return 1 - min(self.received, self.sent) / self.sent if self.sent else 0.0

    @property
    def rate_bytes_per_s(self) -> float:
        return self.received * PAYLOAD_BYTES / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class Link:
    """Another machine, over IPv4 or IPv6.  `heard`: its words to the group came.  `hears_us`:
    ours came to it, as it says (None: nothing was heard of it)."""

    family: int
    name: str
    address: Address
    heard: bool = False
    hears_us: bool | None = None
    round_trip_s: float | None = None
    there: Train | None = None
    back: Train | None = None


@dataclass(slots=True)
class _Counting:
    """A train that comes in."""

    received: int = 0
    first: float = 0.0
    last: float = 0.0
    merged: int = 0
    lost_before: int = 0


@dataclass(slots=True)
class Lane:
    """One family: its group and its socket, and who was met there."""

    family: int
    group: Group
    alone: Datagrams
    links: dict[bytes, Link] = field(default_factory=dict)
    trains: dict[bytes, _Counting] = field(default_factory=dict)
    asked: dict[int, float] = field(default_factory=dict)
    number: int = 0
    sent: int = 0


class Probe:
    """`run` once.  `others`: addresses of machines to ask by themselves too."""

    def __init__(
        self,
        host: Host,
        families: Sequence[IpGroups],
        *,
        others: Sequence[Address] = (),
        rate_bytes_per_s: int = 10_000_000,
        train_s: float = 1.0,
    ) -> None:
        self.host = host
        self.ident = host.entropy(IDENT_BYTES)
        self.lanes: list[Lane] = []
        self.problems: list[str] = []
        self._families = families
        self._others = others
        self._named = {other[0] for other in others}
        self._train_count = _train_count(rate_bytes_per_s, train_s)
        self._rate = rate_bytes_per_s
        self._met = float("-inf")
        self._turn: asyncio.Task[None] | None = None
        self._ended: set[tuple[int, bytes]] = set()
        self._changed = asyncio.Event()
        self._done = False

    async def run(self, wait_s: float) -> list[Link]:
        """Everybody that was met, after at most `wait_s` without anybody, or when all is
        measured."""
        try:
            for groups in self._families:
                await self._open(groups)
            greeting = asyncio.get_running_loop().create_task(self._greet())
            try:
                await self._meet_and_measure(wait_s)
            finally:
                greeting.cancel()
                if self._turn is not None:
                    self._turn.cancel()
        finally:
            for lane in self.lanes:
                lane.group.close()
                lane.alone.close()
        return [link for lane in self.lanes for link in lane.links.values()]

    async def _open(self, groups: IpGroups) -> None:
        ear = _Ear(self)
        try:
            group = await groups.join(groups.address(GROUP6 if groups.six else GROUP4), ear)
        except NetworkError as error:
            self.problems.append(str(error))
            return
        local = group.local_address[0]
        try:
            alone = await self.host.open_datagrams(ear, (local, PORT))
        except NetworkError:
            alone = await self.host.open_datagrams(ear, (local, 0))
        ear.lane = Lane(6 if groups.six else 4, group, alone)
        self.lanes.append(ear.lane)

    # -- the course of things ---------------------------------------------------------------

    async def _greet(self) -> None:
        while True:
            for lane in self.lanes:
                lane.number += 1
                lane.asked = {n: at for n, at in lane.asked.items() if n > lane.number - 16}
                lane.asked[lane.number] = self.host.time()
                heard = tuple(ident for ident, link in lane.links.items() if link.heard)
                port = lane.alone.local_address[1]
                self._say(lane, Hello(lane.number, self.host.name, port, heard))
                for other in self._others:
                    if (":" in other[0]) == (lane.family == 6):
                        lane.alone.send(
                            encode(Hello(lane.number, self.host.name, port, heard), self.ident),
                            other,
                        )
            await asyncio.sleep(HELLO_S)

    async def _meet_and_measure(self, wait_s: float) -> None:
        began = self.host.time()
        while not self._known() and self.host.time() - began < wait_s:
            await self._wait(0.1)
        if not self._known():
            return
        while (rest := self._met + SETTLE_S - self.host.time()) > 0:
            await self._wait(rest)
        known = sorted({self.ident, *self._known()})
        if known[0] == self.ident:
            for lane in self.lanes:
                for ident in known:
                    await self._give_turn(lane, ident)
            for _ in range(3):
                for lane in self.lanes:
                    self._say(lane, Done())
                await asyncio.sleep(0.05)
            return
        ends = self.host.time() + SETTLE_S + len(known) * len(self.lanes) * TURN_S
        while not self._done and self.host.time() < ends:
            await self._wait(0.2)
        await asyncio.sleep(0.1)

    def _known(self) -> list[bytes]:
        return list(dict.fromkeys(ident for lane in self.lanes for ident in lane.links))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    async def _give_turn(self, lane: Lane, ident: bytes) -> None:
        if ident == self.ident:
            await self._send_train(lane)
            return
        if ident not in lane.links:
            return
        ends = self.host.time() + TURN_S
        asked = float("-inf")
        while (lane.family, ident) not in self._ended and self.host.time() < ends:
            counting = lane.trains.get(ident)
            if counting is None and self.host.time() - asked >= 0.3:
                asked = self.host.time()
                self._say(lane, Go(ident))
            await self._wait(0.1)
        if lane.links[ident].back is not None:
            await asyncio.sleep(RESULT_S)

    async def _send_train(self, lane: Lane) -> None:
        """Once; paced in small bursts, as a transfer is.  Nothing if nobody would hear it."""
        if lane.sent:
            return
        if not any(link.hears_us for link in lane.links.values()):
            self._say(lane, End(0))
            return
        lane.sent = count = self._train_count
        began, at = self.host.time(), 0
        head = header(TRAIN, self.ident)
        filling = bytes(PAYLOAD_BYTES - len(head) - 4)
        while at < count and self.host.time() - began < TRAIN_MAX_S:
            numbers = range(at, min(at + AT_ONCE, count))
            buffers = [part for n in numbers for part in (head + n.to_bytes(4, "big"), filling)]
            taken = lane.group.send_burst(buffers, PAYLOAD_BYTES)
            at += taken
            if taken < len(numbers):
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await lane.group.writable()
            ahead_s = began + at * PAYLOAD_BYTES / self._rate - self.host.time()
            await asyncio.sleep(max(0.0, ahead_s))
        lane.sent = at
        await asyncio.sleep(0.05)
        for _ in range(3):
            self._say(lane, End(at))
            await asyncio.sleep(0.02)
        await asyncio.sleep(RESULT_S)

    # -- what is said and heard ---------------------------------------------------------------

    def _say(self, lane: Lane, message: Message) -> None:
        data = encode(message, self.ident)
        lane.group.send(data)
        for link in lane.links.values():
            lane.alone.send(data, link.address)

    def heard(self, lane: Lane, data: bytes, sender: Address, *, to_all: bool) -> None:
        """One datagram, by the group or by itself."""
        try:
            ident, message = decode(data)
        except WireError:
            return
        if ident == self.ident:
            return
        link = lane.links.get(ident)
        if isinstance(message, Hello):
            if link is None:
                if len(lane.links) >= OTHERS_MAX or not message.port:
                    return
                # Multicast comes from this link; anything else might come from anywhere and
                # have us answer somebody else.
                if not to_all and not is_local(sender[0]) and sender[0] not in self._named:
                    return
                link = Link(lane.family, message.name, (sender[0], message.port))
                lane.links[ident] = link
                self._met = self.host.time()
            link.heard |= to_all
            link.hears_us = self.ident in message.heard or bool(link.hears_us)
            if to_all:
                lane.group.send(encode(Echo(ident, message.number), self.ident))
        elif link is not None:
            self._from(lane, link, ident, message, to_all)
        self._changed.set()

    def _from(self, lane: Lane, link: Link, ident: bytes, message: Message, to_all: bool) -> None:
        match message:
            case Echo(to, number) if to == self.ident and to_all and number in lane.asked:
                took = self.host.time() - lane.asked[number]
                link.round_trip_s = min(took, link.round_trip_s or took)
                link.hears_us = link.heard = True
            case Go(to) if to == self.ident and not lane.sent:
                if self._turn is None or self._turn.done():
                    self._turn = asyncio.get_running_loop().create_task(self._send_train(lane))
            case End(count) if (lane.family, ident) not in self._ended:
                self._ended.add((lane.family, ident))
                if not count:
                    return
                found = lane.trains.get(ident) or _Counting(lost_before=lane.group.lost)
                lost = lane.group.lost - found.lost_before
                seconds = found.last - found.first
                link.back = Train(count, found.received, seconds, found.merged > 0, lost)
                ms = int(seconds * 1_000)
                self._say(lane, Result(ident, found.received, ms, found.merged, lost))
            case Result(of, received, milliseconds, merged, lost) if of == self.ident:
                link.there = Train(lane.sent, received, milliseconds / 1_000, merged > 0, lost)
            case Done():
                self._done = True
            case _:
                pass

    def train(self, lane: Lane, ident: bytes, count: int, merged: bool) -> None:
        """Datagrams of somebody's train came."""
        if ident not in lane.links:
            return
        now = self.host.time()
        counting = lane.trains.get(ident)
        if counting is None:
            counting = lane.trains[ident] = _Counting(first=now, lost_before=lane.group.lost)
        counting.received += count
        counting.last = now
        counting.merged += merged


def _train_count(rate_bytes_per_s: int, train_s: float) -> int:
    """Datagrams of a train, within the bounds."""
    size = min(rate_bytes_per_s * min(train_s, TRAIN_MAX_S), TRAIN_MAX_BYTES)
    return max(1, int(size) // PAYLOAD_BYTES)


class _Ear(GroupReceiver, DatagramReceiver):
    """Hears for one lane, from the group and from its own socket."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self.lane: Lane | None = None

    def group_received(self, batch: list[Sent]) -> None:
        for data, sender in batch:
            self._one(data, sender, to_all=True)

    def group_burst(self, data: memoryview, segment_bytes: int, sender: Address) -> None:
        head = bytes(data[:HEADER_BYTES])
        if self.lane is not None and head[:2] == MAGIC and head[2:3] == bytes([TRAIN]):
            count = -(-len(data) // segment_bytes)
            self._probe.train(self.lane, head[3:], count, merged=True)
        else:
            super().group_burst(data, segment_bytes, sender)

    def datagrams_received(self, batch: list[Datagram]) -> None:
        for data, sender, _ in batch:
            self._one(data, sender, to_all=False)

    def _one(self, data: bytes, sender: Address, *, to_all: bool) -> None:
        if self.lane is None:
            return
        if len(data) == PAYLOAD_BYTES and data[:2] == MAGIC and data[2] == TRAIN:
            if to_all:
                self._probe.train(self.lane, data[3:HEADER_BYTES], 1, merged=False)
        else:
            self._probe.heard(self.lane, data, sender, to_all=to_all)
