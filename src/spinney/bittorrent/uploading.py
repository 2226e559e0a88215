"""`Uploader`: what one peer has asked of us, and sending it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from spinney.bittorrent.codec import BLOCK_HEAD, PIECE
from spinney.bittorrent.connection import Connection
from spinney.bittorrent.meter import Meter
from spinney.errors import StorageError
from spinney.net.host import Buffer
from spinney.net.limits import Limit

if TYPE_CHECKING:
    from spinney.bittorrent.turns import Turns
    from spinney.content.transfer import TransferLike

Range = tuple[int, int, int]

BATCH_BLOCKS = 64
"""Heads and blocks in one `writelines`: below every system's limit of 1,024 buffers."""
SPAN_BYTES = 1 << 20
"""The grain in which a transfer reads from disk (of smaller pieces: a piece)."""
READ_AHEAD_SPANS = 4
"""Read before their turn for a peer without a rate limit, once the system has not everything in
memory: the disk works while the line does."""


class Payer(Protocol):
    """The swarm, as far as sending goes."""

    up: Limit
    turns: Turns

    def count_sent(self, length_bytes: int) -> None: ...
    def storage_failed(self, error: StorageError) -> None:
        """The storage cannot be read."""


class Uploader:
    """`swarm.up` pays for each payload byte.  `refuse(ranges)`: what was asked for is gone from
    memory, and the output keeps nothing.
    """

    def __init__(
        self,
        connection: Connection,
        swarm: Payer,
        now: float,
        refuse: Callable[[Sequence[Range]], None],
    ) -> None:
        self.limit = swarm.up
        self.in_turn = False
        self.moved_at = now
        """When a block was last sent."""
        self.pending: deque[Range] = deque()
        """At most `Settings.request_limit` (the peer counts)."""
        self.meter = Meter(now, 5.0)
        self.transfer: TransferLike | None = None
        self._piece_length = 1
        self._connection = connection
        self._turns = swarm.turns
        self._sent = swarm.count_sent
        self._failed = swarm.storage_failed
        self._refuse = refuse
        self._loop = asyncio.get_running_loop()
        self._reading: dict[tuple[int, int], asyncio.Task[None]] = {}
        """Reads under way, by piece and span: at most `READ_AHEAD_SPANS` and one."""
        self._fetched: tuple[Range, memoryview] | None = None
        """What was read last: a range over two spans, or without room in the cache, is nowhere
        else, and would be read for ever."""
        self._on_disk = False
        """What was asked for lately was not in memory."""

    def begin(self, transfer: TransferLike) -> None:
        self.transfer = transfer
        self._piece_length = transfer.descriptor.piece_length

    def ask(self, ranges: Sequence[Range]) -> None:
        """Checked requests, in order."""
        self.pending.extend(ranges)
        self.pump()

    def _read_ahead(self) -> None:
        """Begins to read the next spans from the disk, as long as they come from there."""
        transfer, length, spans = self.transfer, self._piece_length, 0
        assert transfer is not None
        last, self._on_disk = (-1, -1), False
        for piece, begin, size in self.pending:
            offset = piece * length + begin
            span = piece, begin // SPAN_BYTES
            if span == last:
                continue
            last, spans = span, spans + 1
            if spans > READ_AHEAD_SPANS:
                break
            if span in self._reading:
                self._on_disk = True
            elif transfer.readable(piece) and transfer.at_hand(offset, size) is None:
                self._on_disk = True
                self._read(piece, begin, size)

    def cancel(self, row: Range) -> bool:
        """True if it was waiting and now is not."""
        try:
            self.pending.remove(row)
        except ValueError:
            return False
        return True

    def drop(self, keep: Callable[[Range], bool]) -> list[Range]:
        """Forgets what waits, but for what `keep` says; returns the forgotten ones."""
        dropped = [row for row in self.pending if not keep(row)]
        if dropped:
            kept = [row for row in self.pending if keep(row)]
            self.pending.clear()
            self.pending.extend(kept)
        return dropped

    def pump(self) -> None:
        """Sends what may be sent now."""
        if not self.pending or not self._connection.writable:
            return
        if not self.limit.unlimited:
            self._turns.want(self)
            return
        if self._on_disk:
            self._read_ahead()
        while self.pending and self._connection.writable and not self._connection.closed:
            if not self._send(self._connection.batch_bytes):
                break

    def send_turn(self) -> int:
        """One block, for `Turns`."""
        if not self.pending or not self._connection.writable:
            return 0
        return self._send(1)

    def _send(self, limit_bytes: int) -> int:
        """Sends blocks from memory until `limit_bytes`, or starts to read the next one."""
        transfer, pending, length = self.transfer, self.pending, self._piece_length
        assert transfer is not None
        buffers: list[Buffer] = []
        total = 0
        while pending and total < limit_bytes and len(buffers) < 2 * BATCH_BLOCKS:
            piece, begin, _ = pending[0]
            rows, run_bytes = self._run(BATCH_BLOCKS - len(buffers) // 2, limit_bytes - total)
            data = transfer.at_hand(piece * length + begin, run_bytes)
            if data is None and self._fetched is not None and self._fetched[0] == pending[0]:
                data, rows = self._fetched[1], 1
                run_bytes = len(data)
            if data is None:
                if transfer.readable(piece):
                    break
                self._refuse([pending.popleft()])
                continue
            self._pack(rows, data, buffers)
            total += run_bytes
        self._fetched = None
        if total:
            self.moved_at = self._loop.time()
            self.meter.add(self.moved_at, total)
            self._sent(total)
            self._connection.send_blocks(buffers)
        elif pending:
            piece, begin, size = pending[0]
            self._on_disk = True
            self._read(piece, begin, size)
        return total

    def _run(self, most: int, limit_bytes: int) -> tuple[int, int]:
        """(count, bytes) of the next requests that lie one behind the other in one span."""
        piece, begin, size = self.pending[0]
        room = min(limit_bytes, SPAN_BYTES - begin % SPAN_BYTES)
        count, end = 1, begin + size
        stop = begin + room
        for row in islice(self.pending, 1, most):
            if row[0] != piece or row[1] != end or end + row[2] > stop:
                break
            end += row[2]
            count += 1
        return count, end - begin

    def _pack(self, count: int, data: memoryview, buffers: list[Buffer]) -> None:
        """Takes `count` requests off; adds a head and a view for each."""
        take, pack, add, at = self.pending.popleft, BLOCK_HEAD.pack, buffers.append, 0
        for _ in range(count):
            piece, begin, size = take()
            add(pack(9 + size, PIECE, piece, begin))
            add(data[at : at + size])
            at += size

    def _read(self, piece: int, begin: int, size: int) -> None:
        span = piece, begin // SPAN_BYTES
        if span not in self._reading:
            self._reading[span] = self._loop.create_task(self._fetch(span, (piece, begin, size)))

    async def _fetch(self, span: tuple[int, int], row: Range) -> None:
        assert self.transfer is not None
        try:
            view = await self.transfer.read(row[0] * self._piece_length + row[1], row[2])
            self._fetched = row, view
        except StorageError as error:
            self.pending.clear()
            self._failed(error)
        finally:
            self._reading.pop(span, None)
        self.pump()

    def close(self) -> None:
        self.pending.clear()
        self._turns.forget(self)
        for task in self._reading.values():
            task.cancel()
