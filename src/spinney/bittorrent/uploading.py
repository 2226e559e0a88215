"""`Uploader`: what one peer has asked of us, and sending it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
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
READ_AHEAD_BYTES = 4 << 20
"""Read before its turn for a peer without a rate limit: the disk works while the line does."""
MAX_AHEAD = 64
"""Places noted for reading ahead; requests wait for 16 MiB at most."""


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
        self._reading: dict[int, asyncio.Task[None]] = {}
        """Reads under way, by offset: at most `READ_AHEAD_BYTES` of spans."""
        self._ahead: deque[tuple[int, int]] = deque(maxlen=MAX_AHEAD)
        self._noted_span = -1
        self._ahead_bytes = 0

    def begin(self, transfer: TransferLike) -> None:
        self.transfer = transfer
        self._piece_length = transfer.descriptor.piece_length

    def ask(self, ranges: Sequence[Range]) -> None:
        """Checked requests, in order."""
        self.pending.extend(ranges)
        if self.limit.unlimited:
            self._note(ranges)
        self.pump()

    def _note(self, ranges: Sequence[Range]) -> None:
        """Remembers the first block of each span, for reading ahead."""
        length, noted = self._piece_length, self._noted_span
        for piece, begin, size in ranges:
            offset = piece * length + begin
            if offset // SPAN_BYTES != noted:
                noted = offset // SPAN_BYTES
                self._ahead.append((offset, size))
        self._noted_span = noted

    def _read_ahead(self) -> None:
        assert self.transfer is not None
        while self._ahead and self._ahead_bytes < READ_AHEAD_BYTES:
            offset, size = self._ahead.popleft()
            here = self.transfer.cached(offset, size) is not None
            gone = not self.transfer.readable(offset // self._piece_length)
            if offset not in self._reading and not here and not gone:
                self._ahead_bytes += SPAN_BYTES
                self._read(offset, size)

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
            self._ahead.clear()
            self._noted_span = -1
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
        cached, pack = transfer.cached, BLOCK_HEAD.pack
        buffers: list[Buffer] = []
        total = 0
        while pending and total < limit_bytes and len(buffers) < 2 * BATCH_BLOCKS:
            piece, begin, size = pending[0]
            data = cached(piece * length + begin, size)
            if data is None:
                if transfer.readable(piece):
                    break
                self._refuse([pending.popleft()])
                continue
            pending.popleft()
            buffers.append(pack(9 + size, PIECE, piece, begin))
            buffers.append(data)
            total += size
        if total:
            self.moved_at = self._loop.time()
            self.meter.add(self.moved_at, total)
            self._sent(total)
            self._ahead_bytes = max(0, self._ahead_bytes - total)
            self._connection.send_blocks(buffers)
        elif pending and not self._reading:
            piece, begin, size = pending[0]
            self._read(piece * length + begin, size)
        return total

    def _read(self, offset: int, length: int) -> None:
        self._reading[offset] = self._loop.create_task(self._fetch(offset, length))

    async def _fetch(self, offset: int, length: int) -> None:
        assert self.transfer is not None
        try:
            await self.transfer.read(offset, length)
        except StorageError as error:
            self.pending.clear()
            self._failed(error)
        finally:
            self._reading.pop(offset, None)
        self.pump()

    def close(self) -> None:
        self.pending.clear()
        self._turns.forget(self)
        self._ahead.clear()
        for task in self._reading.values():
            task.cancel()
