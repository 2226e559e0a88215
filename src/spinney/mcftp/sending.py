"""`Sending`: the sender of one stream.

How a node uses it (all on the event loop):

    sending = Sending(host, layout, transfer, tag, stream, keys, settings, rate=None)
    await sending.start(groups)      joins `stream.address`, begins; raises NetworkError
    sending.reschedule(stream)       new blocks or a new rate, same number, address and sender
    sending.dismiss(peer)            this receiver shall go to the swarm or to a slower group:
                                     it is told by the marks, and its requests count no more
    await sending.close()            stops; polite: a last mark goes out

    sending.release()                `held=True`: until now marks were sent, and no data

    sending.expect_receivers(count)  how many the leader knows of (the timers of reports)
    sending.on_need(callback)        callback(peer: bytes, need: Need), after its check: the
                                     leader learns losses, rates and what late ones lack
    sending.progress                 `SendingProgress`: position, datagrams, bytes, repair, asked
    sending.receivers                `[(peer id, Reporter)]`: loss, rate, heard_at, hopeless
    sending.hopeless()               ids that want more than their share
    sending.idle                     True when all that was asked for has been sent
    sending.finished                 …and nobody has asked for a while
    sending.on_failure(callback)     callback(error): the stream ended by an error of ours

`keys` is a `packets.Keys`; `tag` is `packets.tag_of(infohash key, reign)`.  The rate is
`stream.rate_bytes_per_s` unless a `Rate` is given.  Blocks that are not here (`transfer.have`)
are passed over in the first pass: give a sender what it has.  Needs for any block that is here
are served, also for those outside of `stream.blocks`: who takes over for a dead sender may have
a stream without blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from spinney.coding.code import Code
from spinney.coding.fountain import FOUNTAIN
from spinney.content.source import TransferLike
from spinney.errors import NetworkError, WireError
from spinney.groups.group import Group, GroupReceiver, Groups, Sent
from spinney.mcftp.datasettings import DATA_SETTINGS, DataSettings
from spinney.mcftp.given_rate import GivenRate
from spinney.mcftp.layout import BlockLayout
from spinney.mcftp.marking import FIRST_MARKS, Marking
from spinney.mcftp.pacing import Pacer
from spinney.mcftp.packets import (
    DATA,
    HEADER,
    HEADER_BYTES,
    NEED,
    Keys,
    Need,
    decode_need,
    prefix_of,
)
from spinney.mcftp.planning import Burst, Plan
from spinney.mcftp.rate import Rate
from spinney.mcftp.reporters import Reporter
from spinney.mcftp.stream import Stream
from spinney.mcftp.supply import Supply
from spinney.net.host import Buffer, Host

LARGEST_BURST = 44
"""Datagrams of our size that one call takes (65,507 bytes)."""
BURST_S = 0.0005
"""At high rates a burst is what goes in half a millisecond: fewer calls, and the queue of a
switch that carries such rates holds it."""
FULL_WAIT_S = 0.05
"""How long the system's send buffer may stay full before we try again anyway."""
FOUND_PART = 0.5
"""Of what a fixed rate makes up for: our own volleys must not look like a queue."""
HEARD_OFTEN_S = 1.0
"""Who has reported a loss so lately need not say it again."""
MAX_DISMISSED = 1_024
FINISHED_S = 0.5
"""Without a request for so long, nobody lacks anything: three times what a receiver believes a
report to be on its way."""


@dataclass(frozen=True, slots=True)
class SendingProgress:
    """Counts of one stream; bytes are payload of data, headers included."""

    position: int
    blocks: int
    source_symbols: int
    repair_symbols: int
    sent_bytes: int
    marks: int
    needs: int
    asked_again: int
    missing_blocks: int
    rate_bytes_per_s: float


class Sending(GroupReceiver):
    """See the module."""

    def __init__(
        self,
        host: Host,
        layout: BlockLayout,
        transfer: TransferLike,
        tag: bytes,
        stream: Stream,
        keys: Keys,
        settings: DataSettings = DATA_SETTINGS,
        *,
        rate: Rate | None = None,
        code: Code = FOUNTAIN,
        first_turn: int = 0,
        held: bool = False,
    ) -> None:
        self.stream = stream
        self.needs = 0
        self.sent_bytes = 0
        self.missing_blocks = 0
        self.foreign = 0
        self.malformed = 0
        self.unread = 0
        """Reports that ask for nothing new."""
        self._host = host
        self._layout = layout
        self._keys = keys
        self._settings = settings
        self._tag = tag
        self._given_rate = rate
        self._rate: Rate = rate or GivenRate(stream.rate_bytes_per_s)
        self._supply = Supply(layout, transfer, code, settings)
        self._plan = Plan(layout, stream.blocks, stream.sender_number, settings,
                          first_turn=first_turn)  # fmt: skip
        self._plan.held = held
        self._prefix = prefix_of(DATA, stream.number, tag)
        self._need_prefix = prefix_of(NEED, stream.number, tag)
        self._marking = Marking(host, stream.number, tag, keys, settings, self._plan)
        self._group: Group | None = None
        self._heard_any_at = self._rejoined_at = host.time()
        self._task: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._listeners: list[Callable[[bytes, Need], None]] = []
        self._on_failure: Callable[[Exception], None] = lambda error: None
        self._asked_at = host.time()
        self._dismissed: dict[bytes, None] = {}
        self._checks = float(settings.needs_per_s)
        self._checks_at = 0.0
        self._read_ahead_of = -1

    # -- life ---------------------------------------------------------------------------

    async def start(self, groups: Groups) -> None:
        """Joins the group and begins to send.  Raises `NetworkError`."""
        self._group = await groups.join(self.stream.address, self)
        self._checks_at = self._host.time()
        loop = asyncio.get_running_loop()
        self._preparing = loop.create_task(self._supply.prepare(self._host))
        self._task = loop.create_task(
            self._guarded(self._group), name=f"sending {self.stream.number}"
        )

    async def close(self) -> None:
        """Ends.  A last mark tells where."""
        tasks = [task for task in (self._task, self._preparing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._group is not None:
            self._marking.send(self._group)
            self._group.close()
        await self._supply.close()

    def reschedule(self, stream: Stream, rate: Rate | None = None) -> None:
        """What and how fast from now on; number, address and sender stay.  `rate`: in the place
        of the one that was given."""
        assert (stream.number, stream.address) == (self.stream.number, self.stream.address)
        if stream.blocks != self.stream.blocks:
            self._plan.reorder(stream.blocks)
        changed = stream.rate_bytes_per_s != self.stream.rate_bytes_per_s
        self.stream = stream
        if rate is not None:
            self._given_rate = self._rate = rate
        elif self._given_rate is None and changed:
            self._rate = GivenRate(stream.rate_bytes_per_s)
        self._wake.set()

    def release(self) -> None:
        """What was held begins."""
        if self._plan.held:
            self._plan.held = False
            self._wake.set()

    # -- what is known ------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Does it wait for `release`?"""
        return self._plan.held

    def on_need(self, callback: Callable[[bytes, Need], None]) -> None:
        self._listeners.append(callback)

    @property
    def receivers(self) -> list[tuple[bytes, Reporter]]:
        return self._plan.reporters.rows()

    def on_failure(self, callback: Callable[[Exception], None]) -> None:
        """Whom to tell when the stream has ended by an error of ours."""
        self._on_failure = callback

    def expect_receivers(self, count: int) -> None:
        """So many are in the group, as the leader knows: their timers follow from it."""
        self._marking.expected = count

    def hopeless(self) -> list[bytes]:
        return self._plan.reporters.hopeless()

    def skip(self, blocks: int) -> None:
        """Nobody lacks these blocks, given as bits: they are not sent unless asked for."""
        self._plan.skip = blocks

    def leave(self, blocks: int) -> None:
        """These blocks, given as bits, will be sent by others: they are not sent again here."""
        if blocks != self._plan.left:
            self._plan.left = blocks
            self._wake.set()

    def losing(self, seconds: float) -> list[bytes]:
        """Who has lost most of what is sent for so long, and is not dismissed."""
        rows = self._plan.reporters.losing(seconds, self._host.time())
        return [peer for peer in rows if peer not in self._dismissed]

    @property
    def dismissed(self) -> int:
        """How many are."""
        return len(self._dismissed)

    def readmit(self) -> None:
        """Nobody else lacks anything: those who were dismissed are served again."""
        self._dismissed.clear()
        self._marking.tell_nobody()

    def dismiss(self, peer: bytes) -> None:
        """This receiver is served no more here, and told so."""
        self._dismissed[peer] = None
        if len(self._dismissed) > MAX_DISMISSED:
            del self._dismissed[next(iter(self._dismissed))]
        self._marking.tell(peer)

    @property
    def idle(self) -> bool:
        return self._plan.idle

    @property
    def finished(self) -> bool:
        """All is sent, and nobody has asked for more for a while."""
        quiet = self._host.time() - self._asked_at >= FINISHED_S
        return self._plan.idle and not self._plan.held and quiet

    @property
    def progress(self) -> SendingProgress:
        plan = self._plan
        return SendingProgress(
            position=plan.position,
            blocks=plan.order.count,
            source_symbols=plan.source_symbols,
            repair_symbols=plan.repair_symbols,
            sent_bytes=self.sent_bytes,
            marks=self._marking.sequence,
            needs=self.needs,
            asked_again=plan.asked_again,
            missing_blocks=self.missing_blocks,
            rate_bytes_per_s=self._rate.bytes_per_s,
        )

    # -- hearing ------------------------------------------------------------------------

    def group_received(self, batch: list[Sent]) -> None:
        self._heard_any_at = self._host.time()
        for data, _ in batch:
            if data.startswith(self._need_prefix):
                self._heard(data)
            else:
                self.foreign += 1

    def _heard(self, data: bytes) -> None:
        now = self._host.time()
        most = float(self._settings.needs_per_s)
        self._checks = min(most, self._checks + (now - self._checks_at) * most)
        self._checks_at = now
        if self._checks < 1.0:
            return
        try:
            need, signed = decode_need(data)
        except WireError:
            self.malformed += 1
            return
        if not self._matters(need, signed.peer, now):
            self.unread += 1
            return
        self._checks -= 1.0
        if not signed.verified(self._keys):
            self.malformed += 1
            return
        self.needs += 1
        peer, plan = signed.peer, self._plan
        loss = need.loss_ppm / 1e6
        plan.reporters.heard(peer, loss, need.rate_bytes_per_s, plan.sent, now)
        self._marking.echoed(need.echo_us, now)
        if peer not in self._dismissed:
            hopeless = loss > self._settings.hopeless_share
            if not (self._rate.is_found and hopeless and plan.reporters.any_better(now)):
                self._rate.heard(loss, need.queue_us / 1e6, now, need.rate_bytes_per_s)
            if need.lacks or need.whole:
                self._asked_at = now
            for lack in need.lacks:
                plan.ask(lack, peer, now)
            for first, count in need.whole:
                plan.ask_whole(first, count)
            self._marking.wanted = self._marking.wanted or bool(need.lacks or need.whole)
            self._wake.set()
        for callback in self._listeners:
            callback(peer, need)

    def _matters(self, need: Need, peer: bytes, now: float) -> bool:
        """Does it ask for more than is planned, or say what we have not heard for a while?  A
        signature costs more to check than all the rest of a report."""
        plan = self._plan
        return (
            bool(need.whole)
            or bool(self._rate.asks)
            or now - plan.reporters.heard_at(peer) > HEARD_OFTEN_S
            or any(plan.asks_more(lack, peer) for lack in need.lacks)
        )

    # -- sending ------------------------------------------------------------------------

    async def _guarded(self, group: Group) -> None:
        """Sends; a mistake of ours ends the stream, and never silently."""
        try:
            await self._run(group)
        except Exception as error:
            self._on_failure(error)

    async def _run(self, group: Group) -> None:
        host, settings, marking = self._host, self._settings, self._marking
        part = FOUND_PART if self._rate.is_found else 1.0
        pacer = Pacer(
            self._rate.bytes_per_s,
            host.time(),
            burst_bytes=settings.burst_datagrams * self._layout.symbol_bytes,
            late_s=settings.late_s * part,
            volley_s=settings.volley_s * part,
            catch_up=settings.catch_up,
        )
        marking.send(group)
        while self._plan.held:
            await self._rest(marking.delay_s(host.time()))
            if marking.due(host.time()):
                marking.send(group)
        for _ in range(FIRST_MARKS):
            marking.send(group)
        pacer.rested(host.time())
        while True:
            now = host.time()
            if self._rate.bytes_per_s != pacer.rate_bytes_per_s:
                pacer.set_rate(self._rate.bytes_per_s, now)
            allowed = pacer.allowance(now)
            while allowed > 0:
                most = min(self._burst_datagrams(), max(1, allowed // self._layout.symbol_bytes))
                burst = self._plan.next_burst(most, now)
                if burst is None:
                    break
                size = await self._send(group, burst)
                pacer.spent(size)
                self._rate.sent(size, now)
                allowed -= size
            now = host.time()
            marking.asks = self._rate.asks
            if marking.due(now):
                marking.send(group)
            if now >= max(self._heard_any_at, self._rejoined_at) + settings.rejoin_s:
                self._rejoined_at = now  # a switch may have forgotten that we listen
                await group.rejoin()
            if self._plan.idle:
                await self._rest(marking.delay_s(now))
                pacer.rested(host.time())
            else:
                await asyncio.sleep(pacer.delay_s(now))

    def _burst_datagrams(self) -> int:
        fast = int(self._rate.bytes_per_s * BURST_S / self._layout.symbol_bytes)
        return max(self._settings.burst_datagrams, min(LARGEST_BURST, fast))

    async def _rest(self, seconds: float) -> None:
        """Nothing to send: until somebody asks, or a mark is due."""
        self._wake.clear()
        try:
            async with asyncio.timeout(max(0.001, seconds)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _send(self, group: Group, burst: Burst) -> int:
        """Sends the symbols of a burst; returns the bytes of payload."""
        view = self._supply.held(burst.block)
        if view is None:
            view = await self._supply.get(burst.block)
            if view is None:
                self.missing_blocks += 1
                return 0
        prefix, block, pack = self._prefix, burst.block, HEADER.pack
        width = self._layout.symbol_bytes
        buffers: list[Buffer] = []
        if burst.repair:
            repair = self._supply.encoder(block, view).repair
            for number in burst.numbers:
                buffers += (pack(prefix, block, number), repair(number))
        else:
            if block != self._read_ahead_of:
                self._read_ahead_of = block
                self._supply.ahead(self._plan.upcoming(self._settings.read_ahead_blocks))
            for number in burst.numbers:
                at = number * width
                buffers += (pack(prefix, block, number), view[at : at + width])
        size = len(burst.numbers) * width
        await self._hand_over(group, buffers, width + HEADER_BYTES)
        self.sent_bytes += size
        return size

    async def _hand_over(self, group: Group, buffers: list[Buffer], segment_bytes: int) -> None:
        while buffers:
            taken = group.send_burst(buffers, segment_bytes)
            if 2 * taken >= len(buffers):
                return
            del buffers[: 2 * taken]
            try:
                async with asyncio.timeout(FULL_WAIT_S):
                    await group.writable()
                if not taken:  # writable, and yet no room (ENOBUFS): let the queue drain
                    await asyncio.sleep(0.001)
            except TimeoutError:
                pass
            except NetworkError:
                return
