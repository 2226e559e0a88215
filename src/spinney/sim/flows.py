"""How a stream's bytes cross the network: flows that share lines fairly.

A stream is fluid: no packets, but chunks.  Each slow line serves the flows that have
something for it in turns, one chunk each, and a flow has at most a window of bytes under
way.  Turns at every line and a window for every flow bring each flow its max-min fair share
(Hahne, "Round-robin scheduling for max-min fairness in data networks", 1991) without anybody
computing shares, and a flow that comes or goes changes them at once.  On lines without a
rate a chunk is whatever was written.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from spinney.sim.links import Pipe

if TYPE_CHECKING:
    from spinney.sim.segments import Attachment
    from spinney.sim.streams import SimStream
    from spinney.sim.world import World

LARGEST_CHUNK_BYTES = 64 * 1024
SMALLEST_CHUNK_BYTES = 4 * 1024
CHUNK_S = 0.01
"""A chunk keeps a line busy for about so long, within the two bounds."""

FREE_CHUNK_BYTES = 256 * 1024
SEGMENT_BYTES = 1448
FIRST_RETRY_S = 0.2
LARGEST_RETRY_S = 5.0


class Line:
    """One direction of a slow line as streams see it: turns, one chunk each."""

    __slots__ = ("busy", "pipe", "turns", "world")

    def __init__(self, world: World, pipe: Pipe) -> None:
        self.world = world
        self.pipe = pipe
        self.turns: deque[tuple[Flow, int]] = deque()
        self.busy = False

    def enter(self, flow: Flow, stage: int) -> None:
        self.turns.append((flow, stage))
        if not self.busy:
            self._serve()

    def _serve(self) -> None:
        pipe = self.pipe
        quantum = int(pipe.rate_bytes_per_s * CHUNK_S)
        quantum = max(SMALLEST_CHUNK_BYTES, min(LARGEST_CHUNK_BYTES, quantum))
        loop = self.world.loop
        while self.turns:
            flow, stage = self.turns.popleft()
            chunk = flow.take(stage, quantum)
            if chunk:
                self.busy = True
                waits = (len(chunk) + pipe.datagram_bytes) / pipe.rate_bytes_per_s
                pipe.datagram_bytes = 0
                loop.push(loop.now + waits, self._served, (flow, stage, chunk))
                return
            flow.waits_at[stage] = False
        self.busy = False

    def _served(self, flow: Flow, stage: int, chunk: bytes) -> None:
        if flow.has_more(stage):
            self.turns.append((flow, stage))
        else:
            flow.waits_at[stage] = False
        flow.passed(stage, chunk)
        self._serve()


class Flow:
    """One direction of a stream: the sender's buffer, what is under way, and the lines."""

    __slots__ = (
        "blocked",
        "buffer",
        "buffered",
        "in_flight",
        "last_arrival",
        "lines",
        "queues",
        "sent",
        "source",
        "target",
        "ups",
        "waits_at",
        "window",
        "world",
    )

    def __init__(
        self, world: World, source: SimStream, legs: list[tuple[Attachment, Attachment]]
    ) -> None:
        self.world = world
        self.source = source
        self.target: SimStream | None = None
        self.window = world.window_bytes
        self.buffer: deque[bytes] = deque()
        self.buffered = 0
        self.in_flight = 0
        self.sent = 0
        self.last_arrival = 0.0
        self.blocked = False
        ups: list[Pipe] = []
        downs: list[Pipe] = []
        for here, there in legs:
            more_ups, more_downs = world.lines(here, there)
            ups += ([here.up] if here.up is not None else []) + more_ups
            downs += more_downs
        self.lines = [world.line(pipe) for pipe in (*ups, *downs)]
        self.ups = len(ups)
        self.queues: list[deque[bytes]] = [deque() for _ in self.lines]
        self.waits_at = [False] * len(self.lines)

    # --- from the sender's buffer -----------------------------------------------------

    def write(self, data: bytes) -> None:
        self.buffer.append(data)
        self.buffered += len(data)

    def pump(self) -> None:
        """Sends what the window allows."""
        if self.blocked or not self.buffered:
            return
        if self.ups:
            if not self.waits_at[0] and self.in_flight < self.window:
                self.waits_at[0] = True
                self.lines[0].enter(self, 0)
            return
        while self.buffered and self.in_flight < self.window and not self.blocked:
            limit = LARGEST_CHUNK_BYTES if self.lines else FREE_CHUNK_BYTES
            chunk = self._cut(min(limit, self.window - self.in_flight))
            self.in_flight += len(chunk)
            self.sent += len(chunk)
            self._cross(chunk)

    def take(self, stage: int, limit: int) -> bytes:
        """The next chunk for a line: from the buffer at the first, from its queue later."""
        if stage or not self.ups:
            return self._take_queued(self.queues[stage], limit)
        if self.blocked or self.in_flight >= self.window:
            return b""
        chunk = self._cut(min(limit, self.window - self.in_flight))
        self.in_flight += len(chunk)
        self.sent += len(chunk)
        return chunk

    @staticmethod
    def _take_queued(queue: deque[bytes], limit: int) -> bytes:
        if not queue:
            return b""
        head = queue[0]
        if len(head) <= limit:
            return bytes(queue.popleft())
        queue[0] = _later(head, limit)
        return bytes(head[:limit])

    def has_more(self, stage: int) -> bool:
        if stage or not self.ups:
            return bool(self.queues[stage])
        return bool(self.buffered) and self.in_flight < self.window and not self.blocked

    def _cut(self, limit: int) -> bytes:
        buffer = self.buffer
        if not buffer:
            return b""
        if len(buffer[0]) > limit:
            head = buffer[0]
            buffer[0] = head[limit:] if len(head) < 4 * limit else _later(head, limit)
            self.buffered -= limit
            return bytes(head[:limit])
        parts = [buffer.popleft()]
        length = len(parts[0])
        while buffer and length + len(buffer[0]) <= limit:
            parts.append(buffer.popleft())
            length += len(parts[-1])
        self.buffered -= length
        return b"".join(parts) if len(parts) > 1 else bytes(parts[0])

    # --- across the network -----------------------------------------------------------

    def passed(self, stage: int, chunk: bytes) -> None:
        """A chunk has left a line."""
        if stage == 0 and self.ups:
            self.source.drained()
        stage += 1
        if stage == self.ups:
            self._cross(chunk)
        elif stage < len(self.lines):
            self._queue(stage, chunk)
        else:
            self._arrive(chunk)

    def _queue(self, stage: int, chunk: bytes) -> None:
        self.queues[stage].append(chunk)
        if not self.waits_at[stage]:
            self.waits_at[stage] = True
            self.lines[stage].enter(self, stage)

    def _cross(self, chunk: bytes) -> None:
        """The part of the way that is delay: loss of a stream is delay too."""
        delay = self.source.delay_s(len(chunk))
        if delay is None:
            self._block([chunk], self.world.loop.now, FIRST_RETRY_S)
            return
        when = max(self.world.loop.now + delay, self.last_arrival)
        self.last_arrival = when
        self.world.loop.push(when, self._crossed, (chunk,))

    def _crossed(self, chunk: bytes) -> None:
        if self.ups < len(self.lines):
            self._queue(self.ups, chunk)
        else:
            self._arrive(chunk)

    def _arrive(self, chunk: bytes) -> None:
        target = self.target
        if target is None or target.is_gone:
            self.source.nobody_there()
        else:
            target.arrived(chunk)

    def _block(self, chunks: list[bytes], since: float, wait_s: float) -> None:
        """The path is cut: tries again, less and less often, until the system gives up."""
        self.blocked = True
        self.world.loop.push(self.world.loop.now + wait_s, self._retry, (chunks, since, wait_s))

    def _retry(self, chunks: list[bytes], since: float, wait_s: float) -> None:
        if self.source.is_gone:
            return
        now = self.world.loop.now
        if self.source.delay_s(1) is None:
            if now - since >= self.world.give_up_s:
                self.source.give_up()
            else:
                self._block(chunks, since, min(wait_s * 2, LARGEST_RETRY_S))
            return
        self.blocked = False
        for chunk in chunks:
            self._cross(chunk)
        self.pump()

    def consumed(self, length: int) -> None:
        """The receiver has read so much: the window moves on."""
        self.in_flight -= length
        self.pump()
        self.source.drained()


def _later(head: bytes, at: int) -> bytes:
    """The rest of a long buffer without copying it again for every chunk."""
    return memoryview(head)[at:]  # type: ignore[return-value]
