"""`Reader`: a stream of bytes cut into messages, many at a time.  Pure; keeps no bytes.

The cost of a data path in Python is per call, not per byte: blocks are handed on as views
into the receive buffer, runs of requests are unpacked in one go, and only rare messages
become objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from spinney.bittorrent.codec import (
    BITFIELD,
    BLOCK_HEAD,
    HAVE,
    KNOWN,
    LENGTH,
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    PIECE,
    RANGE,
    REQUEST,
    check_length,
    decode,
)
from spinney.bittorrent.messages import Message
from spinney.errors import WireError

MAX_PARTIAL_BYTES = 4 + 1 + 48 + 32 * (8_192 + 64)
"""The longest message that is ever kept until it is whole (a full answer of v2 hashes)."""


class Handler(Protocol):
    """What a reader calls, in the order of the bytes."""

    def block(self, piece: int, begin: int, data: memoryview) -> None:
        """A block; `data` is valid during the call only."""

    def requests(self, ranges: Sequence[tuple[int, int, int]]) -> None:
        """A run of requests: (piece, begin, length)."""

    def have(self, piece: int) -> None: ...

    def message(self, message: Message) -> None:
        """Any other known message."""

    def chatter(self) -> None:
        """A keep-alive or a message of an unknown kind went by."""


class Reader:
    """Cuts the stream after the handshake.  `consume` raises `WireError` for what no peer says.

    `bitfield_bytes`: the only right length of a bitfield, once the number of pieces is known.
    """

    __slots__ = ("_handler", "_skip_bytes", "bitfield_bytes")

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._skip_bytes = 0
        self.bitfield_bytes: int | None = None

    @property
    def skipping(self) -> bool:
        """In the middle of a message of an unknown kind."""
        return self._skip_bytes > 0

    def consume(self, view: memoryview) -> int:
        """Handles every whole message in `view`; returns how many bytes are done with.

        What is left (less than `MAX_PARTIAL_BYTES`) must be at the front of the next call.
        """
        handler = self._handler
        end = len(view)
        at = min(self._skip_bytes, end)
        self._skip_bytes -= at
        unpack = BLOCK_HEAD.unpack_from
        while end - at >= 13:
            length, kind, piece, begin = unpack(view, at)
            if kind == PIECE and length >= 9:
                if length > MAX_REQUEST_BYTES + 9:
                    raise WireError(f"a block of {length - 9} bytes")
                stop = at + 4 + length
                if stop > end:
                    return at
                handler.block(piece, begin, view[at + 13 : stop])
                at = stop
            elif length == 13 and kind == REQUEST and end - at >= 17:
                at = self._run_of_requests(view, at, end)
            elif length == 5 and kind == HAVE:
                handler.have(piece)
                at += 9
            else:
                done = self._other(view, at, end)
                if done == at:
                    return at
                at = done
        while end - at >= 4:
            done = self._other(view, at, end)
            if done == at:
                break
            at = done
        return at

    def _run_of_requests(self, view: memoryview, at: int, end: int) -> int:
        count = (end - at) // RANGE.size
        run: list[tuple[int, int, int]] = []
        append = run.append
        for length, kind, piece, begin, size in RANGE.iter_unpack(
            view[at : at + count * RANGE.size]
        ):
            if length != 13 or kind != REQUEST:
                break
            append((piece, begin, size))
        self._handler.requests(run)
        return at + len(run) * RANGE.size

    def _other(self, view: memoryview, at: int, end: int) -> int:
        """One message of any kind; returns `at` itself if it is not whole yet."""
        length: int = LENGTH.unpack_from(view, at)[0]
        if length == 0:
            self._handler.chatter()
            return at + 4
        if length > MAX_MESSAGE_BYTES:
            raise WireError(f"a message of {length} bytes")
        if end - at < 5:
            return at
        kind = view[at + 4]
        stop = at + 4 + length
        if kind not in KNOWN:
            self._handler.chatter()
            self._skip_bytes = max(0, stop - end)
            return min(stop, end)
        check_length(kind, length - 1)
        if kind == BITFIELD and self.bitfield_bytes not in (None, length - 1):
            raise WireError(f"a bitfield of {length - 1} bytes, not {self.bitfield_bytes}")
        if stop > end:
            return at
        if kind == PIECE:
            raise WireError("a block without its place")
        if kind == REQUEST:
            piece, begin, size = RANGE.unpack_from(view, at)[2:]
            self._handler.requests([(piece, begin, size)])
        elif kind == HAVE:
            self._handler.have(int.from_bytes(view[at + 5 : stop], "big"))
        else:
            message = decode(kind, view[at + 5 : stop])
            if message is not None:
                self._handler.message(message)
        return stop
