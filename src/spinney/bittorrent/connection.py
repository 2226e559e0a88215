"""`Connection`: one TCP connection to a peer: handshake, receive buffer, outbox.

    opening --20 bytes are not ours--> closed           (encryption is not spoken yet)
       | 48 bytes: the infohash         --unknown--> closed
       | 68 bytes: the peer id          --refused--> closed
       v
    open: the bytes go through `Reader` to the `Peer`, one `batch_ended` for each read

It knows nothing of pieces or choking.  All connections of a node share one large receive
buffer, because a read and its handling are one step of the event loop: what is left of a
message is kept aside until the next read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from spinney.bittorrent.codec import decode_handshake, encode_handshake
from spinney.bittorrent.messages import HANDSHAKE_BYTES, PROTOCOL, Handshake
from spinney.bittorrent.reader import MAX_PARTIAL_BYTES, Handler, Reader
from spinney.errors import PeerError, WireError
from spinney.net.host import Address, Buffer

if TYPE_CHECKING:
    from spinney.bittorrent.swarm import Swarm

RECEIVE_BUFFER_BYTES = 1 << 18
"""One read of the kernel's buffer: 64 blocks.  Larger ones fall out of the processor's cache."""
PRIVATE_BUFFER_BYTES = 65_536
"""Where the shared buffer is in use (event loops that read ahead of the callback)."""
MIN_HIGH_WATER_BYTES = 65_536
FIRST_HIGH_WATER_BYTES = 262_144
MAX_HIGH_WATER_BYTES = 2 << 20
"""What may wait in a transport: little on a slow line, so that choking and cancels count."""
QUICK_S = 0.05
SLOW_S = 0.5
MAX_BACKLOG_BYTES = 2 << 20
"""Beyond the high-water mark, where blocks stop: only answers to floods get here."""
OUTBOX_BYTES = 262_144
"""Control messages gathered in one step before they are handed on: one read can ask for more
metadata than memory holds."""
LINGER_S = 10.0
"""A closed connection sends what waits for so long; a peer that does not read cannot keep it."""


class ReceiveBuffer:
    """The large buffer of a node and who is reading into it."""

    def __init__(self, size_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        self.view = memoryview(bytearray(size_bytes + MAX_PARTIAL_BYTES))
        self.holder: Connection | None = None


class Conversation(Handler, Protocol):
    """What a connection needs of the peer behind it."""

    def batch_ended(self) -> None:
        """All whole messages of one read were handed over."""

    def writable(self) -> None:
        """The transport drained; blocks may be sent again."""

    def ended(self, reason: str) -> None:
        """The connection is gone.  Called once."""


class Gate(Protocol):
    """What a connection needs of the node that owns it."""

    buffer: ReceiveBuffer

    def opened(self, connection: Connection) -> None:
        """The transport is there.  May close it (too many)."""

    def answer(self, connection: Connection, infohash: bytes) -> Handshake | None:
        """Our handshake for an accepted connection, or None: not served here."""

    def greeted(self, connection: Connection, handshake: Handshake) -> Conversation | None:
        """The other's handshake is whole.  None: refused (a duplicate, ourselves, too many)."""

    def read_room_bytes(self, connection: Connection) -> int:
        """The most to read at once (less under a download limit)."""

    def closed(self, connection: Connection) -> None:
        """The transport is gone."""


class Connection(asyncio.BufferedProtocol):
    """`greeting`: our handshake, for a connection that we made; None for an accepted one."""

    def __init__(
        self, gate: Gate, now: float, greeting: bytes | None = None, swarm: Swarm | None = None
    ) -> None:
        self.remote: Address = ("", 0)
        self.outgoing = greeting is not None
        self.swarm = swarm
        self.opened_at = now
        self.last_message_at = now
        self.last_sent_at = now
        self.writable = True
        self.closed = False
        self.why = ""
        self.conversation: Conversation | None = None
        self.reader: Reader | None = None
        self._gate = gate
        self._greeting = greeting
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._opening = bytearray(HANDSHAKE_BYTES)
        self._opening_bytes = 0
        self._infohash_seen = False
        self._view = gate.buffer.view
        self._tail = b""
        self._outbox: list[bytes] = []
        self._outbox_bytes = 0
        self._lingering: asyncio.TimerHandle | None = None
        self._flush_due = False
        self._high_water_bytes = FIRST_HIGH_WATER_BYTES
        self._paused_at = 0.0
        self._reading = True

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peername = transport.get_extra_info("peername")
        if not peername:
            self.close("gone before it began")
            return
        self.remote = (str(peername[0]), int(peername[1]))
        transport.set_write_buffer_limits(high=self._high_water_bytes)
        self._gate.opened(self)
        if self._greeting is not None and not self.closed:
            transport.write(self._greeting)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self.closed:
            return self._gate.buffer.view  # what still comes is not looked at
        if self.conversation is None:
            return memoryview(self._opening)[self._opening_bytes :]
        shared, kept = self._gate.buffer, len(self._tail)
        if shared.holder is None or shared.holder is self:
            shared.holder = self
            self._view = shared.view
        else:
            self._view = memoryview(bytearray(kept + PRIVATE_BUFFER_BYTES))
        self._view[:kept] = self._tail
        room = self._gate.read_room_bytes(self)
        return self._view[kept : min(kept + room, len(self._view))]

    def buffer_updated(self, nbytes: int) -> None:
        if self.closed:
            return
        if self.conversation is None:
            self._opening_bytes += nbytes
            self._open()
            return
        end = len(self._tail) + nbytes
        reader = self.reader
        assert reader is not None
        try:
            done = reader.consume(self._view[:end])
            self._tail = bytes(self._view[done:end])
            if done or reader.skipping:
                self.last_message_at = self._loop.time()
            self.conversation.batch_ended()
        except (WireError, PeerError) as error:
            self.close(str(error), abort=True)
        finally:
            if self._gate.buffer.holder is self:
                self._gate.buffer.holder = None

    def _open(self) -> None:
        """The handshake so far: close as early as it is clear that there is nothing for us."""
        got, opening = self._opening_bytes, self._opening
        if opening[: min(got, 20)] != PROTOCOL[: min(got, 20)]:
            self.close("does not speak plain BitTorrent", abort=False)
            return
        if got >= 48 and not self._infohash_seen:
            self._infohash_seen = True
            if self._greeting is None and not self._answer(bytes(opening[28:48])):
                return
        if got < HANDSHAKE_BYTES:
            return
        conversation = self._gate.greeted(self, decode_handshake(opening))
        if conversation is None:
            self.close(self.why or "refused")
            return
        self.last_message_at = self._loop.time()

    def _answer(self, infohash: bytes) -> bool:
        handshake = self._gate.answer(self, infohash)
        if handshake is None:
            self.close("asks for a torrent that is not here")
            return False
        self.send(encode_handshake(handshake))
        return True

    def begin(self, conversation: Conversation) -> None:
        """From now on messages go to `conversation` (called within `Gate.greeted`)."""
        self.conversation = conversation
        self.reader = Reader(conversation)

    def pause_writing(self) -> None:
        self.writable = False
        self._paused_at = self._loop.time()

    def resume_writing(self) -> None:
        took_s = self._loop.time() - self._paused_at
        if took_s < QUICK_S:
            self._set_high_water(min(self._high_water_bytes * 2, MAX_HIGH_WATER_BYTES))
        elif took_s > SLOW_S:
            self._set_high_water(max(self._high_water_bytes // 2, MIN_HIGH_WATER_BYTES))
        self.writable = True
        if self.conversation is not None and not self.closed:
            self.conversation.writable()

    def _set_high_water(self, high_bytes: int) -> None:
        if high_bytes != self._high_water_bytes and self._transport is not None:
            self._high_water_bytes = high_bytes
            self._transport.set_write_buffer_limits(high=high_bytes)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self._gate.buffer.holder is self:
            self._gate.buffer.holder = None
        self.closed = True
        if not self.why:
            self.why = "lost" if error is None else f"lost: {error}"
        self._outbox.clear()
        self._tail = b""
        if self._lingering is not None:
            self._lingering.cancel()
        conversation, self.conversation = self.conversation, None
        if conversation is not None:
            conversation.ended(self.why)
        self._gate.closed(self)

    # the peer's side

    def send(self, data: bytes) -> None:
        """Control messages; they leave together at the end of this step of the event loop."""
        if self.closed:
            return
        self._outbox.append(data)
        self._outbox_bytes += len(data)
        if self._outbox_bytes >= OUTBOX_BYTES:
            self.flush()
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flush_due = False
        self.flush()

    def flush(self) -> None:
        if not self._outbox or self.closed or self._transport is None:
            return
        self._transport.write(b"".join(self._outbox))
        self._outbox.clear()
        self._outbox_bytes = 0
        self.last_sent_at = self._loop.time()
        if self._transport.get_write_buffer_size() > self._high_water_bytes + MAX_BACKLOG_BYTES:
            self.close("does not read what it asks for", abort=True)

    @property
    def backlogged(self) -> bool:
        """So much waits already that large answers should be refused."""
        waiting = self._outbox_bytes
        if self._transport is not None:
            waiting += self._transport.get_write_buffer_size()
        return waiting > self._high_water_bytes + MAX_BACKLOG_BYTES // 2

    def send_blocks(self, buffers: Sequence[Buffer]) -> None:
        """Heads and views in order, after whatever control messages wait.  Views must keep."""
        if self.closed or self._transport is None:
            return
        if self._outbox:
            self.flush()
            if self.closed:
                return
        self._transport.writelines(buffers)
        self.last_sent_at = self._loop.time()

    @property
    def batch_bytes(self) -> int:
        """How much to write in one go: what the line takes in a moment."""
        return self._high_water_bytes // 2

    def pause_reading(self) -> None:
        if self._reading and not self.closed and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and not self.closed and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def close(self, why: str, *, abort: bool = False) -> None:
        """Ends it; `why` is for people.  What waits is sent unless `abort`."""
        if self.closed:
            return
        if not self.why:
            self.why = why
        if self._transport is None:
            self.closed = True
            return
        if abort:
            self.closed = True
            self._transport.abort()
            return
        self.flush()
        if self.closed:
            return
        self.closed = True
        self._transport.close()
        self._lingering = self._loop.call_later(LINGER_S, self._transport.abort)

    def abort(self) -> None:
        """The last word, for a close whose bytes nobody takes."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
