"""`RequestQueue`: how many bytes to keep asked of one peer.  Pure; `now` is an argument.

A queue shorter than bandwidth x delay leaves the line idle between blocks; a longer one
commits to this peer what another could bring sooner, and doubles what is lost when it chokes
or goes.  So the queue holds rate x (delay + cushion): the delay is the shortest time seen
between asking an idle peer and its first block, the cushion covers the grain in which
senders with a rate limit answer.  It begins small and at most doubles per round trip, like
TCP: on loopback it is at its ceiling within milliseconds, on a line of 100 kB/s it stays at
its floor.
"""

from __future__ import annotations

from spinney.bittorrent.messages import BLOCK_BYTES
from spinney.bittorrent.meter import Meter

CUSHION_S = 0.3
FLOOR_BYTES = 2 * BLOCK_BYTES
"""Never fewer than two blocks: one on its way while the next is asked for."""
FIRST_BYTES = 4 * BLOCK_BYTES
CEILING_BYTES = 8 << 20
"""At 1 GB/s this is 8 ms of data: more only fills socket buffers."""
DEFAULT_PEER_LIMIT = 250
"""Requests that a peer takes if it does not tell (`reqq` of BEP 10)."""
RATE_MEMORY_S = 0.5
FORGET_DELAY_S = 30.0

MIN_TIMEOUT_S = 10.0
MAX_TIMEOUT_S = 60.0
"""Bounds of the time without a single block after which a peer is snubbing us."""


class RequestQueue:
    """Sizes one peer's queue.  `peer_limit`: how many requests the peer takes at a time."""

    __slots__ = (
        "_asked_idle_at",
        "_delay_at",
        "_last_block_at",
        "_meter",
        "_probe_at",
        "_probe_left_bytes",
        "delay_s",
        "peer_limit",
        "starting",
        "target_bytes",
    )

    def __init__(self, now: float) -> None:
        self.peer_limit = DEFAULT_PEER_LIMIT
        self.target_bytes = FIRST_BYTES
        self.delay_s = 0.0
        self._delay_at: float | None = None
        self._asked_idle_at: float | None = None
        self._last_block_at = now
        self._meter = Meter(now, RATE_MEMORY_S)
        self._probe_at: float | None = None
        self._probe_left_bytes = 0
        self.starting = True
        """Doubling, until a request waits longer than delay and cushion for its block."""

    def asked(self, now: float, pending_before_bytes: int) -> None:
        """Requests were sent while `pending_before_bytes` were still to come."""
        if pending_before_bytes == 0:
            self._asked_idle_at = now
            self._last_block_at = now
            self._meter.restart(now)
        if self._probe_at is None:
            self._probe_at = now
            self._probe_left_bytes = pending_before_bytes + 1

    def received(self, now: float, length_bytes: int) -> None:
        """Blocks came (once for a batch)."""
        self._last_block_at = now
        if self._asked_idle_at is not None:
            self._sample(now, now - self._asked_idle_at)
            self._asked_idle_at = None
        self._meter.add(now, length_bytes)
        self._probe(now, length_bytes)
        wanted = self._meter.rate_bytes_per_s(now) * (self.delay_s + CUSHION_S)
        if self.starting or wanted > self.target_bytes:
            grown = self.target_bytes + length_bytes
            self.target_bytes = grown if self.starting else int(min(wanted, grown))
        else:
            self.target_bytes = int(max(wanted, self.target_bytes - length_bytes))
        ceiling = min(CEILING_BYTES, self.peer_limit * BLOCK_BYTES)
        self.target_bytes = max(FLOOR_BYTES, min(self.target_bytes, ceiling))

    def _probe(self, now: float, length_bytes: int) -> None:
        """Follows one request to its block: how long does a full queue take?"""
        if self._probe_at is None:
            return
        self._probe_left_bytes -= length_bytes
        if now - self._probe_at > self.delay_s + CUSHION_S:
            self.starting = False
        if self._probe_left_bytes <= 0:
            self._probe_at = None

    def _sample(self, now: float, delay_s: float) -> None:
        old = self._delay_at is None or now - self._delay_at > FORGET_DELAY_S
        if old or delay_s <= self.delay_s:
            self.delay_s = min(delay_s, 2.0)
            self._delay_at = now

    def room_bytes(self, pending_bytes: int) -> int:
        """How much to ask for now: 0 until a quarter of the queue is free, so that requests
        go out several at a time."""
        room = self.target_bytes - pending_bytes
        if room <= 0 or (room * 4 < self.target_bytes and pending_bytes > 0):
            return 0
        return room

    def timeout_s(self, pending_bytes: int) -> float:
        """How long without any block is too long, with so much asked for."""
        rate = self._meter.rate_bytes_per_s(self._last_block_at)
        expected = self.delay_s + (min(pending_bytes, BLOCK_BYTES * 4) / rate if rate else 5.0)
        return max(MIN_TIMEOUT_S, min(4 * expected, MAX_TIMEOUT_S))

    def overdue(self, now: float, pending_bytes: int) -> bool:
        """Something is asked for, and nothing has come for longer than the time limit."""
        return pending_bytes > 0 and now - self._last_block_at > self.timeout_s(pending_bytes)

    def silent_s(self, now: float) -> float:
        """Since the last block, or since an idle peer was asked."""
        return now - self._last_block_at

    def shrink(self) -> None:
        """After a time limit: ask for little until the peer answers again."""
        self.starting = False
        self._probe_at = None
        self.target_bytes = FLOOR_BYTES
