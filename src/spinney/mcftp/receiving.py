"""`Receiving`: fills a transfer from streams.

How a node uses it (all on the event loop):

    receiving = Receiving(host, layout, transfer, tag, keys, settings, watcher=watcher)
    await receiving.follow(stream, groups)   joins the group; the same number again (with other
                                             blocks or another rate) changes what is followed;
                                             raises NetworkError
    receiving.drop(number)                   leaves the group; what came of its blocks stays
    await receiving.close()                  drops all, gives leases back, leaves the transfer

    receiving.useful(stream)                 does it carry anything that is wanted?  Join only
                                             then, and drop when it no longer does
    receiving.streams                        [`StreamProgress`]: loss, rate, counts, silent_s
    receiving.lacking_blocks()               runs (first, count) of blocks that are wanted and
                                             not here: what a status report may say

`watcher` (see `Watcher`) is told when a stream stalls (about a second without a frame; the group
is being joined anew meanwhile), comes back, says that we shall fetch elsewhere, or sends rubbish.
A stream without blocks (`blocks=()`) is on demand: whatever is lacking is asked of its sender;
so may one take over from another that died.  All pieces go to `transfer` by one feed whose way is
`multicast`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from spinney.coding.code import Code
from spinney.coding.fountain import FOUNTAIN
from spinney.content.source import TransferLike
from spinney.errors import NetworkError
from spinney.groups.group import Group, Groups
from spinney.mcftp.blocks import BlockBuffer, BlockBuffers
from spinney.mcftp.datasettings import DATA_SETTINGS, DataSettings
from spinney.mcftp.doubt import Doubt
from spinney.mcftp.filling import Filling
from spinney.mcftp.following import Following
from spinney.mcftp.layout import BlockLayout
from spinney.mcftp.leasing import Claims
from spinney.mcftp.packets import MAX_RUNS, Keys
from spinney.mcftp.solving import Solving
from spinney.mcftp.stream import Stream
from spinney.net.host import Address, Host

TICK_S = 0.25
"""How often silence is noticed and leases are renewed."""
MAX_STREAMS = 64
"""Streams followed at once; a schedule has fewer."""
CONGESTED_WAIT_S = 0.01
REFUSED_WAIT_S = 0.1
MAX_REFUSALS = 50
"""So often a whole block that the transfer has no room for is offered again."""


class Watcher(Protocol):
    """Who is told of what happens to streams: the control plane."""

    def stalled(self, stream: Stream, silent_s: float) -> None:
        """Nothing came for so long; told again whenever the group is joined anew."""

    def resumed(self, stream: Stream) -> None: ...

    def dismissed(self, stream: Stream) -> None:
        """Its sender says that we lack too much: fetch elsewhere."""

    def spoiled(self, stream: Stream, address: Address) -> None:
        """What comes from this address does not verify; it is heard no more."""


class Unwatched:
    """A watcher that does nothing."""

    def stalled(self, stream: Stream, silent_s: float) -> None: ...
    def resumed(self, stream: Stream) -> None: ...
    def dismissed(self, stream: Stream) -> None: ...
    def spoiled(self, stream: Stream, address: Address) -> None: ...


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """What came of one stream; datagrams, but for the rate."""

    number: int
    position: int
    heard: int
    duplicates: int
    unwanted: int
    foreign: int
    malformed: int
    marks: int
    reports: int
    loss: float
    rate_bytes_per_s: float
    silent_s: float


class Receiving:
    """See the module; it is a `Source` of the transfer."""

    way = "multicast"

    def __init__(
        self,
        host: Host,
        layout: BlockLayout,
        transfer: TransferLike,
        tag: bytes,
        keys: Keys,
        settings: DataSettings = DATA_SETTINGS,
        *,
        watcher: Watcher | None = None,
        code: Code = FOUNTAIN,
    ) -> None:
        self.host = host
        self.layout = layout
        self.transfer = transfer
        self.tag = tag
        self.keys = keys
        self.settings = settings
        self.watcher: Watcher = watcher or Unwatched()
        self.label = "multicast group"
        self.peer_key = "multicast:" + keys.peer.hex()
        self.feed = transfer.attach(self)
        self.feed.forgiving = True
        self.buffers = BlockBuffers(layout, settings.buffer_bytes, settings.pool_blocks)
        self.claims = Claims(self.feed, layout, transfer, settings)
        self.doubt = Doubt()
        self.solving = Solving(host, code, layout.symbol_bytes, self._solved)
        self.filling = Filling(transfer, layout, self._filled)
        self.touched = bytearray(layout.block_count)
        """1: in a buffer, or done with; 0: nothing of it is here."""
        self._following: dict[int, Following] = {}
        self._ready: deque[BlockBuffer] = deque()
        self._retry: asyncio.TimerHandle | None = None
        self._refusals: dict[int, int] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._rejoins: dict[int, asyncio.Task[None]] = {}
        self._closed = False
        for block in range(layout.block_count):
            if all(piece in transfer.have for piece in layout.pieces_of(block)):
                self.touched[block] = 1

    # -- streams ------------------------------------------------------------------------

    async def follow(self, stream: Stream, groups: Groups) -> None:
        """Joins a stream, or changes one that is followed.  Raises `NetworkError`."""
        known = self._following.get(stream.number)
        if known is not None and _who(known.stream) == _who(stream):
            known.changed(stream)
            return
        if known is not None:
            self.drop(stream.number)
        if len(self._following) >= MAX_STREAMS:
            raise NetworkError(f"more than {MAX_STREAMS} streams")
        following = self._following[stream.number] = Following(self, stream)
        try:
            group = await groups.join(stream.address, following)
        except BaseException:
            if self._following.get(stream.number) is following:
                del self._following[stream.number]
            raise
        if self._closed or self._following.get(stream.number) is not following:
            group.close()
            return
        following.group = group
        following.heard_at = self.host.time()
        if self._ticker is None:
            loop = asyncio.get_running_loop()
            self._ticker = loop.create_task(self._tick_forever(), name="streams")
        if not stream.blocks:
            following.arm()

    def drop(self, number: int) -> None:
        """Leaves a stream."""
        following = self._following.pop(number, None)
        if following is not None:
            following.close()
            rejoin = self._rejoins.pop(number, None)
            if rejoin is not None:
                rejoin.cancel()
            if not self._following:
                self.feed.steady = False
                self.claims.give_back()
            for other in self._following.values():
                other.arm()

    async def close(self) -> None:
        self._closed = True
        tasks = [*self._rejoins.values(), *([self._ticker] if self._ticker else [])]
        for number in list(self._following):
            self.drop(number)
        if self._retry is not None:
            self._retry.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.solving.close()
        await self.filling.close()
        self.feed.leave()

    @property
    def streams(self) -> list[StreamProgress]:
        now = self.host.time()
        return [
            StreamProgress(
                number,
                each.position,
                each.heard,
                each.duplicates,
                each.unwanted,
                each.foreign,
                each.malformed,
                each.marks,
                each.reports,
                each.loss,
                each.rate_bytes_per_s,
                now - each.heard_at,
            )
            for number, each in self._following.items()
        ]

    def live(self) -> list[Stream]:
        """The streams that come and bring what they carry."""
        return [
            each.stream
            for each in self._following.values()
            if each.group is not None and not each.stalled and not each.dismissed
        ]

    def useful(self, stream: Stream) -> bool:
        """Does it carry a block that is wanted and not here?"""
        runs = stream.blocks or ((0, self.layout.block_count),)
        return any(
            self.claims.wanted(block)
            for first, count in runs
            for block in range(first, min(first + count, self.layout.block_count))
        )

    def lacking_blocks(self) -> list[tuple[int, int]]:
        """Runs (first, count) of blocks that are wanted and not whole."""
        runs: list[tuple[int, int]] = []
        for block in range(self.layout.block_count):
            if not self.claims.wanted(block):
                continue
            if runs and sum(runs[-1]) == block:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((block, 1))
        return runs

    # -- what streams call --------------------------------------------------------------

    def buffer_for(self, block: int) -> BlockBuffer | None:
        """Where symbols of this block go; None if they are not wanted now."""
        buffer = self.buffers.get(block)
        if buffer is not None:
            return None if buffer.busy or buffer.delivered or not buffer.missing else buffer
        if self.touched[block]:
            return None
        if not self.claims.wanted(block):
            return None
        buffer, victim = self.buffers.open(block)
        if victim is not None:
            self._forgotten(victim)
        self.touched[block] = 1
        if self.layout.blocks_per_piece == 1:
            self.filling.fill(buffer)
        return buffer

    def _forgotten(self, victim: BlockBuffer) -> None:
        if not victim.delivered:
            self.touched[victim.block] = 0
        for each in self._following.values():
            each.forget_buffer()

    def progressed(self, buffer: BlockBuffer) -> bool:
        """A symbol came and there may be enough now; True if the block takes no more."""
        if not buffer.missing:
            self._whole(buffer)
            return True
        surplus = len(buffer.repairs) - buffer.missing - buffer.extra
        if surplus >= (0 if buffer.extra else self.settings.decode_early_symbols):
            self.solving.add(buffer)
        return False

    def lacking(self, following: Following) -> list[tuple[int, int]]:
        """(block, symbols) of begun blocks that this stream's sender shall mend."""
        now, rows = self.host.time(), []
        for buffer in self.buffers:
            if buffer.busy or buffer.delivered or not buffer.missing:
                continue
            if not self._asks(following, buffer.block) or not self.claims.claim(buffer.block, now):
                continue
            lack = buffer.lack
            if lack:
                rows.append((buffer.block, lack))
            else:
                self.solving.add(buffer)
        return rows

    def lacking_whole(self, following: Following) -> list[tuple[int, int]]:
        """Runs of blocks that have gone by and of which nothing is here."""
        if following.stream.blocks:
            runs = _gone_by(following)
        else:
            runs = iter(((0, self.layout.block_count),))
        rows: list[tuple[int, int]] = []
        now, find = self.host.time(), self.touched.find
        for first, count in runs:
            at, end = find(0, first, first + count), first + count
            while at >= 0 and len(rows) < MAX_RUNS:
                stop = find(1, at, end)
                stop = end if stop < 0 else stop
                if not following.stream.blocks and not self._asks(following, at):
                    break
                if self.claims.claim(at, now):
                    rows.append((at, stop - at))
                elif not self.claims.wanted(at):
                    stop = at + 1
                at = find(0, stop, end)
        return rows

    def _asks(self, following: Following, block: int) -> bool:
        """Is it this stream that is asked for this block, now?"""
        position = following.order.position(block)
        if position is not None:
            if position >= following.position:
                return False
            rivals = [
                each.stream.number
                for each in self._following.values()
                if not each.stalled and each.order.position(block) is not None
            ]
            return not rivals or following.stream.number == max(rivals)
        if following.stream.blocks:
            return False
        carried = any(
            each.order.position(block) is not None and not each.stalled
            for each in self._following.values()
        )
        free = [n for n, each in self._following.items()
                if not each.stream.blocks and not each.stalled]  # fmt: skip
        return not carried and (not free or following.stream.number == max(free))

    def origin_of(self, address: Address) -> int:
        return self.doubt.origin_of(address)

    def is_ignored(self, origin: int) -> bool:
        return self.doubt.is_ignored(origin)

    def resumed(self, following: Following) -> None:
        self.watcher.resumed(following.stream)

    def dismissed(self, following: Following) -> None:
        self.watcher.dismissed(following.stream)

    # -- whole blocks -------------------------------------------------------------------

    def _whole(self, buffer: BlockBuffer) -> None:
        self._ready.append(buffer)
        if self._retry is None:
            self._flush()

    def _flush(self) -> None:
        """Hands whole blocks to the transfer, as fast as it takes them."""
        self._retry = None
        while self._ready and not self._closed:
            if self.transfer.congested:
                self._later(CONGESTED_WAIT_S)
                return
            buffer = self._ready[0]
            if self.buffers.get(buffer.block) is not buffer or buffer.delivered or buffer.missing:
                self._ready.popleft()
                continue
            self.claims.claim(buffer.block, self.host.time())
            if not self._deliver(buffer):
                self._later(REFUSED_WAIT_S)
                return
            self._ready.popleft()

    def _later(self, seconds: float) -> None:
        self._retry = asyncio.get_running_loop().call_later(seconds, self._flush)

    def _deliver(self, buffer: BlockBuffer) -> bool:
        """False: the transfer has no room, and it may be tried again."""
        before = self.feed.refused_bytes
        buffer.delivered = True
        with memoryview(buffer.data) as view:
            for start, end in self._wanted_ranges(buffer):
                self.feed.deliver(buffer.offset + start, view[start:end])
        block = buffer.block
        for each in self._following.values():
            each.needs.forget(block)
        if self.feed.refused_bytes > before and self.claims.wanted(block):
            tries = self._refusals[block] = self._refusals.get(block, 0) + 1
            if tries < MAX_REFUSALS:
                buffer.delivered = False
                return False
            self.buffers.close(block)
            self.touched[block] = 0
        self._refusals.pop(block, None)
        if not self.claims.wanted(block):
            self.buffers.close(block)
        return True

    def _wanted_ranges(self, buffer: BlockBuffer) -> list[tuple[int, int]]:
        """The parts of a block that were not known beforehand and are not here."""
        ranges = sent_ranges(self.layout, buffer)
        length, needed = self.layout.piece_length, self.transfer.needed
        pieces = self.layout.pieces_of(buffer.block)
        if all(piece in needed for piece in pieces):
            return ranges
        spans = [
            (piece * length - buffer.offset, (piece + 1) * length - buffer.offset)
            for piece in pieces
            if piece in needed
        ]
        return [
            (max(start, begin), min(end, stop))
            for begin, stop in spans
            for start, end in ranges
            if max(start, begin) < min(end, stop)
        ]

    def _solved(self, buffer: BlockBuffer) -> None:
        """A worker is done with a block."""
        if self._closed or self.buffers.get(buffer.block) is not buffer:
            return
        if not buffer.missing:
            self._whole(buffer)
        else:
            for each in self._following.values():
                each.arm()

    def _filled(self, buffer: BlockBuffer) -> None:
        """Pieces that were here already have been copied into a block."""
        if self.buffers.get(buffer.block) is buffer and not buffer.busy:
            self.progressed(buffer)

    # -- what the transfer calls --------------------------------------------------------

    def piece_verified(self, piece: int) -> None:
        self.claims.ended(piece)
        have = self.transfer.have
        for block in self.layout.blocks_of(piece):
            buffer = self.buffers.get(block)
            if all(each in have for each in self.layout.pieces_of(block)):
                self.touched[block] = 1
                if buffer is not None:
                    self.doubt.verified(buffer)
                    self.buffers.close(block)
                    if not buffer.delivered:
                        for following in self._following.values():
                            following.forget_buffer()
            elif buffer is not None and not buffer.busy and not buffer.delivered:
                self.filling.fill(buffer)

    def cancelled(self, offset: int, length: int) -> None: ...

    def wake(self) -> None: ...

    def blamed(self, piece: int, offset: int, length: int) -> None:
        """A piece that we had a part in failed its hash."""
        for block in self.layout.blocks_of(piece):
            buffer = self.buffers.get(block)
            if buffer is not None and self.doubt.again(buffer):
                self.solving.add(buffer)  # from its likeliest sender alone
            else:
                if buffer is not None:
                    self.buffers.close(block)
                self.touched[block] = 0
                if self.doubt.give_up(block):
                    self.claims.give_back(self.layout.pieces_of(block))
        for following in self._following.values():
            following.forget_buffer()
            following.arm()
        for address in self.doubt.newly_ignored():
            for following in self._following.values():
                if following.takes_from(address):
                    self.watcher.spoiled(following.stream, address)

    # -- time ---------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = self.host.time()
            for following in list(self._following.values()):
                self._watch(following, now)
                if not following.stalled and following.heard:
                    self.feed.steady = True
                    self.claims.renew(self._soon(following), now)

    def _soon(self, following: Following) -> Iterator[int]:
        """The blocks that a stream brings within `lease_ahead_s`."""
        stream, order = following.stream, following.order
        ahead = self.settings.lease_ahead_s * stream.rate_bytes_per_s / self.layout.block_bytes
        end = min(order.count, following.position + 1 + int(ahead))
        for position in range(following.position, end):
            yield order.at(position)

    def _watch(self, following: Following, now: float) -> None:
        silent = now - following.heard_at
        if silent < self.settings.stall_s or following.group is None:
            return
        if following.stalled and now - following.rejoined_at < self.settings.rejoin_s:
            pass
        else:
            following.stalled = True
            following.rejoined_at = now
            self._rejoin(following)
            self.watcher.stalled(following.stream, silent)
            for other in self._following.values():
                if not other.stalled:
                    other.arm()
        if silent >= self.settings.forsaken_s and not following.forsaken:
            following.forsaken = True
            if all(each.stalled for each in self._following.values()):
                self.feed.steady = False
                self.claims.give_back()

    def _rejoin(self, following: Following) -> None:
        number, group = following.stream.number, following.group
        task = self._rejoins.get(number)
        if group is not None and (task is None or task.done()):
            self._rejoins[number] = asyncio.get_running_loop().create_task(_rejoined(group))


def _who(stream: Stream) -> tuple[bytes, bytes, int]:
    return stream.address, stream.sender, stream.sender_number


async def _rejoined(group: Group) -> None:
    with suppress(NetworkError):
        await group.rejoin()


def _gone_by(following: Following) -> Iterator[tuple[int, int]]:
    """Runs of the order that have gone by."""
    left = following.position
    for first, count in following.stream.blocks:
        if left <= 0:
            return
        yield first, min(count, left)
        left -= count


def sent_ranges(layout: BlockLayout, buffer: BlockBuffer) -> list[tuple[int, int]]:
    """The parts of a block that were not known beforehand, as (begin, end)."""
    width, rows, begin = layout.symbol_bytes, [], 0
    for symbol in layout.known(buffer.block):
        at = symbol * width
        if at > begin:
            rows.append((begin, at))
        begin = at + width
    if begin < buffer.length:
        rows.append((begin, buffer.length))
    return rows
