"""Rate limits over many peers: `Turns` for what we send, `Pauses` for what we read.

Senders under a limit take turns of one block, round and round, so that a limit is shared
fairly whatever each of them asks for.  Reading is limited by not reading: the system's flow
control slows the sender.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from spinney.net.limits import Limit

STEP_S = 0.005
"""Timers are set no closer than this: at 100 MB/s it is 32 blocks in a go."""


class Sender(Protocol):
    """One peer with blocks to send."""

    in_turn: bool
    limit: Limit

    def send_turn(self) -> int:
        """Sends one block; the bytes of its payload, or 0 if it cannot now."""


class Turns:
    """Everybody who has something to send, in a ring."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ring: deque[Sender] = deque()
        self._timer: asyncio.Handle | None = None

    def want(self, sender: Sender) -> None:
        """Asks for turns until `send_turn` says 0."""
        if not sender.in_turn:
            sender.in_turn = True
            self._ring.append(sender)
            if self._timer is None:
                self._timer = self._loop.call_soon(self._run)

    def forget(self, sender: Sender) -> None:
        if sender.in_turn:
            sender.in_turn = False
            self._ring.remove(sender)

    def _run(self) -> None:
        self._timer = None
        now = self._loop.time()
        ring, blocked, wait_s = self._ring, 0, 1.0
        while blocked < len(ring):
            sender = ring.popleft()
            must_wait_s = sender.limit.wait_s(now)
            if must_wait_s > 0:
                wait_s = min(wait_s, must_wait_s)
                ring.append(sender)
                blocked += 1
                continue
            blocked = 0
            sent = sender.send_turn()
            if sent:
                sender.limit.take(now, sent)
                ring.append(sender)
            else:
                sender.in_turn = False
        if ring:
            self._timer = self._loop.call_later(max(wait_s, STEP_S), self._run)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._ring.clear()


class Readable(Protocol):
    """One connection that can be told to stop reading for a while."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Pauses:
    """Connections that read more than the limit allows, until it is paid for."""

    GRAIN_BYTES = 16_384

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._resting: deque[tuple[Readable, Limit]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def read(self, connection: Readable, limit: Limit, length_bytes: int) -> None:
        """Pays for what was read, and rests the connection if that was too much."""
        now = self._loop.time()
        limit.take(now, length_bytes)
        wait_s = limit.wait_s(now)
        if wait_s > 0:
            connection.pause_reading()
            self._resting.append((connection, limit))
            if self._timer is None:
                self._timer = self._loop.call_later(max(wait_s, STEP_S), self._run)

    def room_bytes(self, limit: Limit, most_bytes: int) -> int:
        """The most to read at once: 20 ms of the rate, at least one block."""
        rates = [bucket.rate_bytes_per_s for bucket in limit.buckets]
        lowest = min((rate for rate in rates if rate is not None), default=None)
        if lowest is None:
            return most_bytes
        return max(self.GRAIN_BYTES, min(most_bytes, int(lowest * 0.02)))

    def _run(self) -> None:
        self._timer = None
        now = self._loop.time()
        wait_s = 1.0
        for _ in range(len(self._resting)):
            connection, limit = self._resting.popleft()
            must_wait_s = limit.wait_s(now)
            if must_wait_s > 0:
                wait_s = min(wait_s, must_wait_s)
                self._resting.append((connection, limit))
            else:
                connection.resume_reading()
                wait_s = min(wait_s, STEP_S)
                break  # one at a time: it may read now and pay, before the next may
        if self._resting:
            self._timer = self._loop.call_later(max(wait_s, STEP_S), self._run)

    def forget(self, connection: Readable) -> None:
        for row in [row for row in self._resting if row[0] is connection]:
            self._resting.remove(row)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._resting.clear()
