"""`Flows`: the streams of a schedule at work: ours are sent, those with what we lack received."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from spinney.content.source import TransferLike
from spinney.errors import NetworkError, WireError
from spinney.groups.group import Groups
from spinney.mcftp.datasettings import DataSettings
from spinney.mcftp.layout import BlockLayout
from spinney.mcftp.rate import Rate
from spinney.mcftp.receiving import Receiving
from spinney.mcftp.sending import Sending
from spinney.mcftp.stream import Stream
from spinney.net.host import Address, Host
from spinney.trust.keys import Keys

JOIN_S = 0.1
"""From a schedule to the first symbol, where none was told before the start: receivers hear of it
and join (12 to 17 ms each by IGMP)."""
FIRST_TURNS = 1 << 22
"""A sender begins its repair symbols anywhere among these: who takes over a sender number, and
who restarts, seldom sends again what was sent."""
LOOK_AGAIN_S = 0.5
"""How often it is looked whether a followed stream still carries what we lack."""
FAILURES_MOST = 3
"""Streams that end by errors of ours, after which we send no more."""
RETRY_S = 2.0
"""After a group could not be joined."""


class Flows:
    """Keeps what runs equal to what `set` was last told.  It is a `Watcher` of the receiver."""

    def __init__(
        self,
        host: Host,
        layout: BlockLayout,
        transfer: TransferLike,
        groups: Groups,
        keys: Keys,
        settings: DataSettings,
        *,
        sends: bool,
        receives: bool,
        most_bytes_per_s: float = float("inf"),
        rate: Callable[[Stream], Rate] | None,
        warn: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.host = host
        self.layout = layout
        self.transfer = transfer
        self.groups = groups
        self.keys = keys
        self.settings = settings
        self.sends = sends
        self.receives = receives
        self.most_bytes_per_s = most_bytes_per_s
        """Streams that are faster together are not received: a group waits for nobody."""
        self.sending: dict[int, Sending] = {}
        self.receiving: Receiving | None = None
        self.followed: dict[int, Stream] = {}
        self.streams: tuple[Stream, ...] = ()
        self.started = False
        self.tag = b""
        self.left_sent_bytes = 0
        """Sent on streams that have ended."""
        self.failed: dict[int, bytes] = {}
        """Streams that we were to send and that ended by an error, with their addresses: the
        leader gives their blocks to another stream."""
        self.failures = 0
        self._tags: dict[int, bytes] = {}
        self._told_at: dict[int, float] = {}
        """When each stream of the schedule was told of first."""
        self._rate = rate
        self._warn = warn
        self._changed = changed
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._warned: dict[str, None] = {}
        self._failed_at: dict[int, float] = {}
        self.leaves = False
        """Leave a stream whose sender says so: there is another way to fetch."""
        self._left: dict[int, bytes] = {}
        """Streams that were left so, with their addresses."""

    def _is_sound(self, stream: Stream) -> bool:
        """Is it a group of ours, and does it name each block once, none beyond the file's end?"""
        end = 0
        for first, count in sorted(stream.blocks):
            if first < end:
                return False
            end = first + count
        return end <= self.layout.block_count and self.groups.valid(stream.address)

    def set(self, tag: bytes, streams: tuple[Stream, ...], *, started: bool = True) -> None:
        """What ought to run from now on.  Streams that make no sense came from a liar.  Before
        the start, groups are joined and senders mark them, and no data is sent."""
        streams = tuple(stream for stream in streams if self._is_sound(stream))
        if (tag, streams, started) == (self.tag, self.streams, self.started):
            return
        self.tag, self.streams, self.started = tag, streams, started
        numbers = {stream.number for stream in streams}
        now = self.host.time()
        self._told_at = {number: self._told_at.get(number, now) for number in numbers}
        self.failed = {number: row for number, row in self.failed.items() if number in numbers}
        self._left = {number: row for number, row in self._left.items() if number in numbers}
        self._wake.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="streams")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for sending in self.sending.values():
            await sending.close()
        self.sending.clear()
        if self.receiving is not None:
            await self.receiving.close()
            self.receiving = None
        self.followed.clear()

    # -- the work -----------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            tag, streams = self.tag, self.streams
            await self._send(tag, streams, self.started)
            await self._receive(tag, streams)
            self._changed()
            try:
                async with asyncio.timeout(LOOK_AGAIN_S if self._has_more_to_do() else None):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _has_more_to_do(self) -> bool:
        """Is something followed, or could it not be joined or sent yet?"""
        if self.receives and not self.transfer.complete and self.streams:
            return True
        return bool(self._to_send(self.streams).keys() - self.sending.keys())

    def _is_mine(self, stream: Stream) -> bool:
        return self.sends and stream.sender == self.keys.peer

    def _to_send(self, streams: tuple[Stream, ...]) -> dict[int, Stream]:
        return {
            stream.number: stream
            for stream in streams
            if self._is_mine(stream) and self.failed.get(stream.number) != stream.address
        }

    def _sending_failed(self, number: int, error: Exception) -> None:
        """A mistake of ours: the user hears of it, the leader gives the rest to a new stream."""
        sending = self.sending.get(number)
        if sending is None:
            return
        self.failed[number] = sending.stream.address
        self.failures += 1
        if self.failures >= FAILURES_MOST:
            self.sends = False
        name = type(error).__name__
        self.warn_once(f"sending by multicast failed and is begun anew: {name}: {error}")
        self._wake.set()

    async def _send(self, tag: bytes, streams: tuple[Stream, ...], started: bool) -> None:
        mine = self._to_send(streams)
        for number, sending in list(self.sending.items()):
            stream = mine.get(number)
            same = stream is not None and stream.address == sending.stream.address
            if not same or self._tags.get(number) != tag:
                del self.sending[number]
                self.left_sent_bytes += sending.sent_bytes
                await sending.close()
        if started:
            await self._until_joined([n for n in mine if n not in self.sending or self._held(n)])
        for number, stream in mine.items():
            running = self.sending.get(number)
            if running is not None:
                if running.stream != stream:
                    slower = running.stream.rate_bytes_per_s != stream.rate_bytes_per_s
                    running.reschedule(
                        stream, self._rate(stream) if slower and self._rate else None
                    )
                if started:
                    running.release()
                continue
            sending = Sending(
                self.host,
                self.layout,
                self.transfer,
                tag,
                stream,
                self.keys,
                self.settings,
                rate=self._rate(stream) if self._rate is not None else None,
                first_turn=self.host.rng.randrange(FIRST_TURNS),
                held=not started,
            )
            sending.on_failure(partial(self._sending_failed, number))
            try:
                await sending.start(self.groups)
            except NetworkError as error:
                self.warn_once(f"cannot send by multicast: {error}")
                await sending.close()
                continue
            self.sending[number] = sending
            self._tags[number] = tag

    def _held(self, number: int) -> bool:
        return self.sending[number].held

    async def _until_joined(self, numbers: list[int]) -> None:
        told_at = max((self._told_at[number] for number in numbers), default=float("-inf"))
        await asyncio.sleep(max(0.0, told_at + JOIN_S - self.host.time()))

    async def _receive(self, tag: bytes, streams: tuple[Stream, ...]) -> None:
        wanted = {} if not self.receives or self.transfer.complete else {
            stream.number: stream
            for stream in streams
            if not self._is_mine(stream) and self._left.get(stream.number) != stream.address
        }  # fmt: skip
        if not wanted and self.receiving is None:
            return
        if self.transfer.complete and self.receiving is not None:
            receiving, self.receiving = self.receiving, None  # its buffers go
            self.followed.clear()
            await receiving.close()
            return
        if self.receiving is None:
            self.receiving = Receiving(
                self.host,
                self.layout,
                self.transfer,
                tag,
                self.keys,
                self.settings,
                watcher=self,
            )
        receiving = self.receiving
        if receiving.tag != tag:
            for number in list(self.followed):
                self._drop(number)
            receiving.tag = tag
        for number in list(self.followed):
            stream = wanted.get(number)
            if stream is None or not receiving.useful(stream):
                self._drop(number)
        for number, stream in wanted.items():
            if self.followed.get(number) == stream or not receiving.useful(stream):
                continue
            if not self._fits(stream):
                continue
            if self.host.time() - self._failed_at.get(number, float("-inf")) < RETRY_S:
                continue
            try:
                await receiving.follow(stream, self.groups)
            except (NetworkError, WireError) as error:
                self._failed_at[number] = self.host.time()
                self.warn_once(f"cannot receive by multicast: {error}")
            else:
                self.followed[number] = stream

    def _fits(self, stream: Stream) -> bool:
        """Is there room for it beside those that are followed?"""
        others = sum(
            each.rate_bytes_per_s for each in self.followed.values() if each.number != stream.number
        )
        if others + stream.rate_bytes_per_s <= self.most_bytes_per_s:
            return True
        self.warn_once("the group sends faster than --down allows: the swarm brings what it can")
        return False

    def _drop(self, number: int) -> None:
        del self.followed[number]
        if self.receiving is not None:
            self.receiving.drop(number)

    @property
    def sent_bytes(self) -> int:
        running = sum(sending.sent_bytes for sending in self.sending.values())
        return self.left_sent_bytes + running

    def loss(self) -> float:
        """Of what is sent to us, the greatest of the streams."""
        rows = [] if self.receiving is None else self.receiving.streams
        return max((row.loss for row in rows), default=0.0)

    def rate_bytes_per_s(self) -> float:
        """What comes, all streams together."""
        rows = [] if self.receiving is None else self.receiving.streams
        return sum(row.rate_bytes_per_s for row in rows if row.silent_s < 1.0)

    # -- what the receiver tells --------------------------------------------------------

    def warn_once(self, line: str) -> None:
        """One line for the user, not one for each time."""
        if line not in self._warned:
            self._warned[line] = None
            self._warn(line)

    def stalled(self, stream: Stream, silent_s: float) -> None:
        rest = ", the swarm goes on meanwhile" if self.leaves else ""
        self.warn_once(f"multicast has stopped coming: joining the group again{rest}")

    def resumed(self, stream: Stream) -> None:
        self._warned.clear()

    def dismissed(self, stream: Stream) -> None:
        if self.leaves:
            self._left[stream.number] = stream.address
            self._wake.set()
            self.warn_once("too much is lost by multicast here: the rest comes by the swarm")
        else:
            self.warn_once("too much is lost by multicast here: the rest comes after the others'")

    def spoiled(self, stream: Stream, address: Address) -> None:
        self.warn_once(f"{address[0]} sends wrong data by multicast: it is heard no more")
