"""`Following`: one stream as a receiver hears it.  The hot path: per datagram a header is read, a
symbol copied to its place, a byte set."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from struct import error as StructError
from typing import TYPE_CHECKING

from spinney.errors import WireError
from spinney.groups.group import Group, GroupReceiver, Sent
from spinney.mcftp.blocks import BlockBuffer
from spinney.mcftp.given_rate import BEST
from spinney.mcftp.layout import SENDERS, SYMBOL_BYTES
from spinney.mcftp.needs import Needs, backoff_s
from spinney.mcftp.packets import (
    DATA,
    HEADER,
    HEADER_BYTES,
    MARK,
    MAX_LACKS,
    MAX_RUNS,
    NEED,
    PREFIX_BYTES,
    Mark,
    Need,
    decode_mark,
    decode_need,
    encode_need,
    headers_of,
    order_of,
    prefix_of,
)
from spinney.mcftp.planning import Order
from spinney.mcftp.stream import Stream
from spinney.net.host import Address

if TYPE_CHECKING:
    from spinney.mcftp.receiving import Receiving

FULL_BYTES = HEADER_BYTES + SYMBOL_BYTES
"""A datagram of data, all but the last of a block."""
MAX_ADDRESSES = 4
"""Addresses that one stream's data is taken from: its sender's interfaces."""
FADE = 0.7
"""Of what was measured before, in an average."""
DRIFT = 0.001
"""By so much of the time the least delay rises: clocks drift, ways change."""
EARLY_BYTES = 4 << 20
"""Data kept until the first mark says whether it is the sender's: more than comes meanwhile at 200
Mbit/s.  Who comes in the middle has not missed it."""
LEAST_SENT = 50
"""Datagrams below which a loss is no measure: a slow stream is measured over several marks."""


class Following(GroupReceiver):
    """Hears one stream; asks for what is lacking.  `receiving` keeps the blocks."""

    def __init__(self, receiving: Receiving, stream: Stream) -> None:
        self.stream = stream
        self.group: Group | None = None
        self.order = Order(stream.blocks)
        self.position = 0
        """Blocks of the order that have gone by."""
        self.heard = 0
        """Datagrams of data of this stream."""
        self.duplicates = 0
        self.unwanted = 0
        self.foreign = 0
        self.malformed = 0
        self.marks = 0
        self.reports = 0
        self.loss = 0.0
        self.rate_bytes_per_s = 0.0
        self.heard_at = receiving.host.time()
        self.stalled = False
        self.rejoined_at = 0.0
        self.forsaken = False
        self.dismissed = False
        """The sender says that we lack too much: fetch elsewhere."""
        self.needs = Needs(receiving.settings.hope_s, MAX_LACKS, MAX_RUNS)
        self._receiving = receiving
        self._host = receiving.host
        self._settings = receiving.settings
        self._layout = receiving.layout
        symbols = self._layout.source_symbols(0) if self._layout.block_count else 0
        self._put_off = self._settings.hopeless_share * symbols
        self._prefix = prefix_of(DATA, stream.number, receiving.tag)
        self._kind = int.from_bytes(self._prefix, "big")
        self._mark_prefix = prefix_of(MARK, stream.number, receiving.tag)
        self._need_prefix = prefix_of(NEED, stream.number, receiving.tag)
        self._addresses: dict[Address, int] = {}
        """Where this stream's data comes from, with the number that blame goes by."""
        self._confirmed: dict[Address, None] = {}
        """Where its signed marks came from: data is taken from nowhere else."""
        self._early: list[tuple[bytes, int, Address]] = []
        """What came before the first mark, with the size of its segments."""
        self._early_bytes = 0
        self._sender: Address | None = None
        self._origin = 0
        self._block = -1
        self._buffer: BlockBuffer | None = None
        self._mark: Mark | None = None
        self._mark_at = 0.0
        self._measured = False
        self._fresh = (0.0, 0.0)
        """Loss and rate between the last two marks."""
        self._report_wanted = 0
        """Its sender asks how much comes (`Mark.asks`)."""
        self.queue_s = 0.0
        """By how much the last mark took longer than the quickest."""
        self._measured_from: tuple[int, int, float] | None = None
        """What was sent and heard until then, and when, of the next measure."""
        self._least_taken: float | None = None
        self._longer_before = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        """Until when others' and our own reports are believed, if nothing is heard."""
        self._closed = False
        if not stream.blocks:
            self.position = 0  # nothing in order: whatever is lacking may be asked for

    # -- data ---------------------------------------------------------------------------

    def group_received(self, batch: list[Sent]) -> None:
        unpack, ours = HEADER.unpack_from, self._prefix
        heard, buffer = 0, self._current()
        for data, address in batch:
            try:
                prefix, block, symbol = unpack(data)
            except StructError:
                self.malformed += 1
                continue
            if prefix != ours:
                self._settle(buffer)  # it may be whole: then it is looked at no more
                self._other(data, address)
                buffer = self._current()
                continue
            if address != self._sender and not self._comes_from(address):
                self._keep(data, len(data), address)
                continue
            heard += 1
            if block != self._block:
                self._settle(buffer)
                self._block, self._buffer = block, self._turn(block)
                buffer = self._buffer
            if buffer is None:
                self.unwanted += 1
            elif symbol < buffer.count - 1 and len(data) == FULL_BYTES and not buffer.seen[symbol]:
                at = symbol * SYMBOL_BYTES
                buffer.data[at : at + SYMBOL_BYTES] = data[HEADER_BYTES:]
                buffer.seen[symbol] = 1
                buffer.missing -= 1
                if self._origin:
                    buffer.note_origin(symbol, self._origin)
            else:
                self._take_other(buffer, symbol, data[HEADER_BYTES:])
        self._settle(buffer)
        self._came(heard)

    def _current(self) -> BlockBuffer | None:
        """The block of the last datagram, unless nothing of it may change: it is being solved, or
        whole, and then the transfer may hash and serve it where it lies."""
        buffer = self._buffer
        if buffer is not None and (buffer.busy or not buffer.missing):
            self._buffer = None
        elif buffer is None and 0 <= self._block < self._layout.block_count:
            # It was being solved, or failed its hash: perhaps it takes symbols again.
            self._buffer = self._receiving.buffer_for(self._block)
        return self._buffer

    def _settle(self, buffer: BlockBuffer | None) -> None:
        """Symbols came: there may be enough now."""
        if (
            buffer is not None
            and buffer.missing <= len(buffer.repairs)
            and self._receiving.progressed(buffer)
        ):
            self._buffer = None

    def group_burst(self, data: memoryview, segment_bytes: int, sender: Address) -> None:
        count = len(data) // FULL_BYTES
        if segment_bytes != FULL_BYTES or not count or data[:PREFIX_BYTES] != self._prefix:
            super().group_burst(data, segment_bytes, sender)
            return
        heads = headers_of(count).unpack_from(data)
        if heads[::3].count(self._kind) != count:  # strangers in between
            super().group_burst(data, segment_bytes, sender)
            return
        if sender != self._sender and not self._comes_from(sender):
            self._keep(data, segment_bytes, sender)
            return
        blocks, symbols, at = heads[1::3], heads[2::3], 0
        while at < count:
            block, end = blocks[at], at + 1
            while end < count and blocks[end] == block:
                end += 1
            self._take(block, symbols[at:end], data[at * FULL_BYTES : end * FULL_BYTES])
            at = end
        self._came(count)
        if count * FULL_BYTES < len(data):
            self.group_received([(bytes(data[count * FULL_BYTES :]), sender)])

    def _take(self, block: int, symbols: Sequence[int], data: memoryview) -> None:
        """Datagrams of one block, side by side, all of full size."""
        if block != self._block:
            self._block, self._buffer = block, self._turn(block)
        buffer, origin = self._current(), self._origin
        if buffer is None:
            self.unwanted += len(symbols)
            return
        seen, room, last = buffer.seen, buffer.data, buffer.count - 1
        fresh, start = 0, HEADER_BYTES
        for symbol in symbols:
            if symbol < last and not seen[symbol]:
                at = symbol * SYMBOL_BYTES
                room[at : at + SYMBOL_BYTES] = data[start : start + SYMBOL_BYTES]
                seen[symbol] = 1
                fresh += 1
                if origin:
                    buffer.note_origin(symbol, origin)
            else:
                self._take_other(buffer, symbol, data[start : start + SYMBOL_BYTES])
            start += FULL_BYTES
        buffer.missing -= fresh
        self._settle(buffer)

    def _take_other(self, buffer: BlockBuffer, symbol: int, body: bytes | memoryview) -> None:
        """Repair, and what may be wrong: a second time, the last symbol, another length."""
        if symbol >= buffer.count:
            self._repair(buffer, symbol, body)
        elif buffer.seen[symbol]:
            self.duplicates += 1
        elif not buffer.fits(symbol, len(body)):
            self.malformed += 1
        else:
            buffer.fill(symbol, body)
            if self._origin:
                buffer.note_origin(symbol, self._origin)

    def _came(self, datagrams: int) -> None:
        if datagrams:
            self.heard += datagrams
            self._alive()

    def _alive(self) -> None:
        self.heard_at = self._host.time()
        if self.stalled:
            self.stalled = self.forsaken = False
            self._receiving.resumed(self)

    def forget_buffer(self) -> None:
        """The block of the last datagram may have changed hands."""
        self._block, self._buffer = -1, None

    def _turn(self, block: int) -> BlockBuffer | None:
        """Data of another block than the last: those before it in the order have ended."""
        position = self.order.position(block)
        if position is not None and position > self.position:
            self.position = position
            self.arm()
        if block >= self._layout.block_count:
            self.malformed += 1
            return None
        return self._receiving.buffer_for(block)

    def _repair(self, buffer: BlockBuffer, number: int, body: bytes | memoryview) -> None:
        turn, share = divmod(number - buffer.count, SENDERS)
        if share != self.stream.sender_number or len(body) != SYMBOL_BYTES:
            self.malformed += 1
            return
        if not buffer.add_repair(number, bytes(body), self._origin):
            self.duplicates += 1
        if self.needs.repair_seen(buffer.block, turn):
            self.arm()

    # -- who speaks ---------------------------------------------------------------------

    def _comes_from(self, address: Address) -> bool:
        """Data from another address than the last: is it taken?"""
        origin = self._addresses.get(address)
        if origin is None:
            if address not in self._confirmed:
                self.foreign += 1
                return False
            origin = self._addresses[address] = self._receiving.origin_of(address)
        if self._receiving.is_ignored(origin):
            self.foreign += 1
            return False
        self._sender, self._origin = address, origin
        return True

    def _keep(self, data: bytes | memoryview, segment_bytes: int, sender: Address) -> None:
        """Before the first mark: perhaps it is the sender's."""
        if self._mark is None and self._early_bytes + len(data) <= EARLY_BYTES:
            self._early_bytes += len(data)
            self._early.append((bytes(data), segment_bytes, sender))

    def _take_early(self) -> None:
        """The first mark has come, and says from where data is taken."""
        early, self._early = self._early, []
        for data, segment_bytes, sender in early:
            if sender in self._confirmed:
                self.group_burst(memoryview(data), segment_bytes, sender)

    def takes_from(self, address: Address) -> bool:
        return address in self._addresses

    def _other(self, data: bytes, address: Address) -> None:
        """No data of this stream."""
        try:
            if data.startswith(self._mark_prefix):
                self._marked(data, address)
            elif data.startswith(self._need_prefix):
                need, _ = decode_need(data)
                self.needs.overheard(need, self._host.time(), self._put_off)
                if self._report_wanted and self._says_as_much(need):
                    self._report_wanted = 0
            else:
                self.foreign += 1
        except WireError:
            self.malformed += 1

    def _marked(self, data: bytes, address: Address) -> None:
        mark, signed = decode_mark(data)
        if signed.peer != self.stream.sender:
            self.foreign += 1
            return
        if self._mark is not None and mark.sequence <= self._mark.sequence:
            return  # an old one, perhaps played again by somebody else
        if not signed.verified(self._receiving.keys):
            self.malformed += 1
            return
        self.marks += 1
        now = self._host.time()
        if address not in self._confirmed and len(self._confirmed) < MAX_ADDRESSES:
            self._confirmed[address] = None
        if self._early:
            self._take_early()
        self._measure(mark, now)
        taken = now - mark.time_us / 1e6  # by two clocks: only its growth means something
        if self._least_taken is None or taken < self._least_taken:
            self._least_taken = taken
        else:
            self._least_taken += min(taken - self._least_taken, DRIFT * (now - self._mark_at))
        # Of two marks the quicker one: a single late one waited for a processor, not in a queue.
        longer = taken - self._least_taken
        self.queue_s = min(60.0, longer, self._longer_before)
        self._longer_before = longer
        self._mark, self._mark_at = mark, now
        if mark.order == order_of(self.stream.blocks):
            self.position = max(self.position, min(mark.position, self.order.count))
        self._report_wanted = mark.asks
        self.needs.marked(mark, now)
        self._alive()
        self.dismissed = self._receiving.keys.peer in mark.told
        if self.dismissed:
            self._receiving.dismissed(self)
        self.arm()

    def _measure(self, mark: Mark, now: float) -> None:
        sent, heard, since = self._measured_from or (mark.sent, 0, now)
        if mark.sent <= sent:  # nothing since: a pause is no part of a measure
            self._measured_from = mark.sent, self.heard, now
        if mark.sent - sent < LEAST_SENT or now <= since:
            return
        self._measured_from = mark.sent, self.heard, now
        got = self.heard - heard
        loss = max(0.0, 1.0 - got / (mark.sent - sent))
        rate = got * SYMBOL_BYTES / (now - since)
        fade = FADE if self._measured else 0.0
        self._measured = True
        self._fresh = loss, rate
        self.loss = fade * self.loss + (1 - fade) * loss
        self.rate_bytes_per_s = fade * self.rate_bytes_per_s + (1 - fade) * rate

    # -- asking -------------------------------------------------------------------------

    @property
    def receivers(self) -> int:
        """How many the sender knows of."""
        return self._mark.receivers if self._mark is not None else ALONE_AT_FIRST

    @property
    def round_trip_s(self) -> float:
        return self._mark.round_trip_us / 1e6 if self._mark else self._settings.round_trip_s

    def arm(self) -> None:
        """Something may be lacking: looks after a while, drawn by chance."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self._timer is None and not self._closed:
            few = min(1.0, self.receivers / ENOUGH_TO_WAIT)
            most = self._settings.backoff * self.round_trip_s * few
            delay = self._settings.settle_s + backoff_s(most, self.receivers, self._host.rng)
            self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _says_as_much(self, need: Need) -> bool:
        """Would our report tell the sender no worse?  One who loses most of it speaks for nobody
        else."""
        loss, queue_us = self._fresh[0], self.queue_s * 1e6
        theirs = need.loss_ppm / 1e6
        if self._report_wanted == BEST:
            return theirs <= loss and need.queue_us <= 1.2 * queue_us
        alike = (theirs > self._settings.hopeless_share) == (loss > self._settings.hopeless_share)
        return alike and theirs >= 0.8 * loss and need.queue_us >= 0.8 * queue_us

    def _look(self) -> None:
        self._timer = None
        if self.group is None or self._closed:
            return
        now = self._host.time()
        lacking = self._receiving.asking.begun(self)
        lacks, whole = self.needs.report(lacking, self._receiving.asking.whole(self), now)
        wanted, self._report_wanted = self._report_wanted, 0
        if lacks:
            self._receiving.solving.prepare()
        if (lacks or whole or wanted) and not self.stalled:
            self.reports += 1
            loss, rate = self._fresh if wanted else (self.loss, self.rate_bytes_per_s)
            echo = 0
            if self._mark is not None:
                echo = max(0, self._mark.time_us + int((now - self._mark_at) * 1e6))
            need = Need(
                echo_us=echo,
                loss_ppm=int(loss * 1e6),
                queue_us=int(self.queue_s * 1e6),
                rate_bytes_per_s=int(rate),
                lacks=lacks,
                whole=whole,
            )
            self.group.send(encode_need(self._need_prefix, need, self._receiving.keys))
        if lacking or whole:
            waits = [self.needs.waits_until(block, lack, now) for block, lack in lacking]
            until = min((each for each in waits if each), default=now + self._settings.hope_s)
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(max(0.001, until - now), self.arm)

    # -- life ---------------------------------------------------------------------------

    def changed(self, stream: Stream) -> None:
        """The same stream, with other blocks or another rate."""
        if stream.blocks != self.stream.blocks:
            self.order, self.position = Order(stream.blocks), 0
            self.forget_buffer()
        self.stream = stream

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._patience is not None:
            self._patience.cancel()
        if self.group is not None:
            self.group.close()


ENOUGH_TO_WAIT = 32
"""Among fewer receivers, timers are shorter in proportion: their reports harm nobody."""
ALONE_AT_FIRST = 32
"""Before the first mark: as if there were so many receivers."""
