"""`SpanCache`: verified bytes kept in memory to be served, and piece buffers used again.

A span is a piece, or 1 MiB of a larger piece.  Those that somebody is in the middle of are kept
up to `limit_bytes`, the least recently served go first.  Those that nobody has begun to fetch,
or that were served to their end, are kept for a moment only (`idle_bytes`): the system's own
cache has them too, and few buffers used again and again stay in the processor's cache.  A view
that was handed out stays valid: a buffer is used again only when nobody looks at it any more.
"""

from __future__ import annotations

from collections import OrderedDict

SPAN_BYTES = 1 << 20
POOL_BUFFERS = 16
POOL_BYTES = 16 << 20
"""Buffers kept for the next pieces or spans, of each of the two sizes; at least two."""


class SpanCache:
    """Spans by number, at most `limit_bytes` of them; a pool of buffers of one piece each."""

    def __init__(self, piece_length: int, limit_bytes: int, idle_bytes: int | None = None) -> None:
        self.piece_length = piece_length
        self.limit_bytes = limit_bytes
        self.idle_bytes = limit_bytes if idle_bytes is None else min(idle_bytes, limit_bytes)
        self.spans_per_piece = max(1, -(-piece_length // SPAN_BYTES))
        self.held_bytes = 0
        self._idle_held_bytes = 0
        self._serving: OrderedDict[int, tuple[memoryview, bytearray]] = OrderedDict()
        self._idle: OrderedDict[int, tuple[memoryview, bytearray]] = OrderedDict()
        self._pools: dict[int, list[bytearray]] = {piece_length: [], SPAN_BYTES: []}

    def get(self, piece: int, begin: int, length: int) -> memoryview | None:
        """A read-only view of the range if one span in memory covers it."""
        number = piece * self.spans_per_piece
        if self.spans_per_piece > 1:
            at = begin // SPAN_BYTES
            number += at
            begin -= at * SPAN_BYTES
        serving = self._serving
        entry = serving.get(number)
        idle = entry is None
        if entry is None:
            entry = self._idle.get(number)
            if entry is None:
                return None
        span = entry[0]
        size, end = len(span), begin + length
        if end > size:
            return None
        view = span[begin:end]
        if end < size:
            if idle:
                serving[number] = self._idle.pop(number)
                self._idle_held_bytes -= size
            else:
                serving.move_to_end(number)
        elif idle:
            self._idle.move_to_end(number)
        else:
            self._idle[number] = serving.pop(number)
            self._idle_held_bytes += size
            self._shrink()
        return view

    def span_of(self, piece: int, begin: int, piece_bytes: int) -> tuple[int, int]:
        """(begin, length) of the span that holds this byte of a piece."""
        start = begin // SPAN_BYTES * SPAN_BYTES if self.spans_per_piece > 1 else 0
        size = SPAN_BYTES if self.spans_per_piece > 1 else self.piece_length
        return start, min(size, piece_bytes - start)

    def put(self, piece: int, begin: int, buffer: bytearray, length: int) -> None:
        """Takes over `buffer`: `length` bytes of a piece from `begin`, a span's start."""
        view = memoryview(buffer).toreadonly()
        number = piece * self.spans_per_piece + begin // SPAN_BYTES * (self.spans_per_piece > 1)
        for at in range(0, length, SPAN_BYTES if self.spans_per_piece > 1 else length):
            size = min(SPAN_BYTES, length - at) if self.spans_per_piece > 1 else length
            for spans in (self._serving, self._idle):
                if number in spans:
                    self._drop(spans, number)
            self._idle[number] = (view[at : at + size], buffer)
            self._idle_held_bytes += size
            self.held_bytes += size
            number += 1
        view.release()
        self._shrink()

    def _shrink(self) -> None:
        while self._idle_held_bytes > self.idle_bytes:
            self._drop(self._idle, next(iter(self._idle)))
        while self.held_bytes > self.limit_bytes:
            # The newest has its chance, whoever left others half fetched.
            spans = self._idle if len(self._idle) > 1 or not self._serving else self._serving
            self._drop(spans, next(iter(spans)))

    def _drop(self, spans: OrderedDict[int, tuple[memoryview, bytearray]], number: int) -> None:
        view, buffer = spans.pop(number)
        self.held_bytes -= len(view)
        if spans is self._idle:
            self._idle_held_bytes -= len(view)
        view.release()
        self.recycle(buffer)

    def take_buffer(self, size: int | None = None) -> bytearray:
        """A buffer of one piece, or of `size`; its content is left over from before."""
        size = self.piece_length if size is None else size
        pool = self._pools.get(size, ())
        for at in range(len(pool) - 1, -1, -1):
            buffer = pool[at]
            try:
                buffer.append(0)  # a bytearray refuses to change its size while it is exported
            except BufferError:
                continue
            del buffer[-1]
            del self._pools[size][at]
            return buffer
        buffer = bytearray(size + 1)  # room for the test above
        del buffer[-1]
        return buffer

    def recycle(self, buffer: bytearray) -> None:
        """Keeps a buffer for later, when no view of it is out there any more."""
        size = len(buffer)
        pool = self._pools.get(size)
        if pool is None or any(buffer is each for each in pool):
            return
        if len(pool) >= max(2, min(POOL_BUFFERS, POOL_BYTES // size)):
            del pool[0]
        pool.append(buffer)
