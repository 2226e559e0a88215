"""`Receiving`: fills a transfer from streams.

How a node uses it (all on the event loop):

    receiving = Receiving(host, layout, transfer, tag, keys, settings, watcher=watcher)
    await receiving.follow(stream, groups)   joins the group; the same number again (with other
                                             blocks or another rate) changes what is followed;
                                             raises NetworkError, or WireError for blocks
                                             beyond the file
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
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from spinney.coding.code import Code
from spinney.coding.fountain import FOUNTAIN
from spinney.content.source import TransferLike
from spinney.errors import NetworkError, WireError
from spinney.groups.group import Group, Groups
from spinney.mcftp.asking import Asking
from spinney.mcftp.blocks import BlockBuffer, BlockBuffers
from spinney.mcftp.datasettings import DATA_SETTINGS, DataSettings
from spinney.mcftp.delivering import Delivering
from spinney.mcftp.doubt import Doubt
from spinney.mcftp.filling import Filling
from spinney.mcftp.following import Following
from spinney.mcftp.layout import BlockLayout
from spinney.mcftp.leasing import Claims
from spinney.mcftp.packets import Keys
from spinney.mcftp.solving import Solving
from spinney.mcftp.stream import Stream
from spinney.net.host import Address, Host

TICK_S = 0.25
"""How often silence is noticed and leases are renewed."""
BEFORE_DATA = 4.0
"""So many times longer a stream may be silent that has not begun."""
MAX_STREAMS = 64
"""Streams followed at once; a schedule has fewer."""


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
        self.buffers = BlockBuffers(
            layout,
            settings.buffer_bytes,
            settings.pool_blocks,
            self.feed.room if layout.blocks_are_pieces else None,
        )
        self.claims = Claims(self.feed, layout, transfer, settings)
        self.doubt = Doubt()
        self.solving = Solving(host, code, layout.symbol_bytes, self._solved)
        self.filling = Filling(transfer, layout, self._filled)
        self.touched = bytearray(layout.block_count)
        """1: in a buffer, or done with; 0: nothing of it is here."""
        self.following: dict[int, Following] = {}
        self.asking = Asking(self)
        self.delivering = Delivering(
            host, layout, transfer, self.feed, self.buffers, self.claims, self._done, self._lost
        )
        self._ticker: asyncio.Task[None] | None = None
        self._rejoins: dict[int, asyncio.Task[None]] = {}
        self._closed = False
        self._helped = False
        for block in range(layout.block_count):
            if all(piece in transfer.have for piece in layout.pieces_of(block)):
                self.touched[block] = 1

    @property
    def helped(self) -> bool:
        """The streams bring little, and others shall fetch what these will not bring soon."""
        return self._helped

    @helped.setter
    def helped(self, helped: bool) -> None:
        self._helped = helped
        self._bound_claims()

    def _bound_claims(self) -> None:
        most = None
        if self._helped:
            rate = sum(
                each.rate_bytes_per_s for each in self.following.values() if not each.stalled
            )
            most = self.settings.lease_ahead_s * rate
            self.feed.steady = False
        self.claims.bound(most)

    # -- streams ------------------------------------------------------------------------

    async def follow(self, stream: Stream, groups: Groups) -> None:
        """Joins a stream, or changes one that is followed.  Raises `NetworkError`, and
        `WireError` for a stream of blocks that this file has not."""
        if any(first + count > self.layout.block_count for first, count in stream.blocks):
            raise WireError(f"stream {stream.number} has blocks beyond the file")
        known = self.following.get(stream.number)
        if known is not None and _who(known.stream) == _who(stream):
            known.changed(stream)
            return
        if known is not None:
            self.drop(stream.number)
        if len(self.following) >= MAX_STREAMS:
            raise NetworkError(f"more than {MAX_STREAMS} streams")
        following = self.following[stream.number] = Following(self, stream)
        try:
            group = await groups.join(stream.address, following)
        except BaseException:
            if self.following.get(stream.number) is following:
                del self.following[stream.number]
            raise
        if self._closed or self.following.get(stream.number) is not following:
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
        following = self.following.pop(number, None)
        if following is not None:
            following.close()
            rejoin = self._rejoins.pop(number, None)
            if rejoin is not None:
                rejoin.cancel()
            if not self.following:
                self.feed.steady = False
                self.claims.give_back()
            for other in self.following.values():
                other.arm()

    async def close(self) -> None:
        self._closed = True
        tasks = [*self._rejoins.values(), *([self._ticker] if self._ticker else [])]
        for number in list(self.following):
            self.drop(number)
        self.delivering.close()
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
            for number, each in self.following.items()
        ]

    def live(self) -> list[Stream]:
        """The streams that come and bring what they carry."""
        return [
            each.stream
            for each in self.following.values()
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
        for each in self.following.values():
            each.forget_buffer()

    def progressed(self, buffer: BlockBuffer) -> bool:
        """A symbol came and there may be enough now; True if the block takes no more."""
        if not buffer.missing:
            self.delivering.add(buffer)
            return True
        surplus = len(buffer.repairs) - buffer.missing - buffer.extra
        if surplus >= (0 if buffer.extra else self.settings.decode_early_symbols):
            self.solving.add(buffer)
        return not buffer.missing

    def origin_of(self, address: Address) -> int:
        return self.doubt.origin_of(address)

    def is_ignored(self, origin: int) -> bool:
        return self.doubt.is_ignored(origin)

    def resumed(self, following: Following) -> None:
        self.watcher.resumed(following.stream)

    def dismissed(self, following: Following) -> None:
        self.watcher.dismissed(following.stream)

    # -- whole blocks -------------------------------------------------------------------

    def _done(self, block: int) -> None:
        """The transfer has taken a block."""
        for each in self.following.values():
            each.needs.forget(block)

    def _lost(self, block: int) -> None:
        """The transfer would not take it."""
        self.touched[block] = 0

    def _solved(self, buffer: BlockBuffer) -> None:
        """A worker is done with a block."""
        if self._closed or self.buffers.get(buffer.block) is not buffer:
            return
        if not buffer.missing:
            self.delivering.add(buffer)
        else:
            for each in self.following.values():
                each.forget_buffer()  # it takes symbols again
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
                    self._tell_spoiled()
                    self.buffers.close(block)
                    if not buffer.delivered:
                        for following in self.following.values():
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
                self.solving.add_later(buffer)  # from its likeliest sender alone
            else:
                if buffer is not None:
                    self.buffers.close(block)
                self.touched[block] = 0
                if self.doubt.give_up(block):
                    self.claims.give_back(self.layout.pieces_of(block))
        for following in self.following.values():
            following.forget_buffer()
            following.arm()
        self._tell_spoiled()

    def _tell_spoiled(self) -> None:
        for address in self.doubt.newly_ignored():
            for following in self.following.values():
                if following.takes_from(address):
                    self.watcher.spoiled(following.stream, address)

    # -- time ---------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if not any(each.heard for each in self.following.values()):
                # Whoever waits has the time; before, a machine has more urgent things to start.
                self.solving.prepare()
            now = self.host.time()
            self._bound_claims()
            for following in list(self.following.values()):
                self._watch(following, now)
                if not following.stalled and following.heard:
                    self.feed.steady = not self._helped
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
        # Before the first data, marks come seldom, and some are lost.
        patience_s = self.settings.stall_s * (1.0 if following.heard else BEFORE_DATA)
        if silent < patience_s or following.group is None:
            return
        if following.stalled and now - following.rejoined_at < self.settings.rejoin_s:
            pass
        else:
            following.stalled = True
            following.rejoined_at = now
            self._rejoin(following)
            self.watcher.stalled(following.stream, silent)
            for other in self.following.values():
                if not other.stalled:
                    other.arm()
        if silent >= self.settings.forsaken_s and not following.forsaken:
            following.forsaken = True
            if all(each.stalled for each in self.following.values()):
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
