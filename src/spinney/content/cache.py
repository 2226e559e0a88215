"""`SpanCache`: verified bytes kept in memory to be served, and piece buffers used again.

A span is a piece, or 1 MiB of a larger piece.  The least recently served go first.  A view
that was handed out stays valid: a buffer is used again only when nobody looks at it any more.
"""

from __future__ import annotations

from collections import OrderedDict

SPAN_BYTES = 1 << 20
POOL_BUFFERS = 16
"""Idle piece buffers kept for the next pieces."""


class SpanCache:
    """Spans by number, at most `limit_bytes` of them; a pool of buffers of one piece each."""

    def __init__(self, piece_length: int, limit_bytes: int) -> None:
        self.piece_length = piece_length
        self.limit_bytes = limit_bytes
        self.spans_per_piece = max(1, -(-piece_length // SPAN_BYTES))
        self.held_bytes = 0
        self._spans: OrderedDict[int, tuple[memoryview, bytearray]] = OrderedDict()
        self._pool: list[bytearray] = []

    def get(self, piece: int, begin: int, length: int) -> memoryview | None:
        """A read-only view of the range if one span in memory covers it."""
        number = piece * self.spans_per_piece
        if self.spans_per_piece > 1:
            at = begin // SPAN_BYTES
            number += at
            begin -= at * SPAN_BYTES
        entry = self._spans.get(number)
        if entry is None or begin + length > len(entry[0]):
            return None
        self._spans.move_to_end(number)
        return entry[0][begin : begin + length]

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
            self._drop(number)
            self._spans[number] = (view[at : at + size], buffer)
            self.held_bytes += size
            number += 1
        view.release()
        while self.held_bytes > self.limit_bytes:
            self._drop(next(iter(self._spans)))

    def _drop(self, number: int) -> None:
        entry = self._spans.pop(number, None)
        if entry is not None:
            view, buffer = entry
            self.held_bytes -= len(view)
            view.release()
            self.recycle(buffer)

    def take_buffer(self) -> bytearray:
        """A buffer of one piece; its content is left over from before."""
        if self._pool:
            return self._pool.pop()
        buffer = bytearray(self.piece_length + 1)  # room for the test in `recycle`
        del buffer[-1]
        return buffer

    def recycle(self, buffer: bytearray) -> None:
        """Keeps a buffer for the next piece, unless a view of it is still out there."""
        if len(buffer) != self.piece_length or len(self._pool) >= POOL_BUFFERS:
            return
        try:
            buffer.append(0)  # a bytearray refuses to change its size while it is exported
        except BufferError:
            return
        del buffer[-1]
        self._pool.append(buffer)
