"""Simulated streams: asyncio's transports over flows, and the listeners that accept them."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from spinney.net.host import Address
from spinney.sim.flows import SEGMENT_BYTES, Flow

if TYPE_CHECKING:
    from spinney.sim.host import SimHost
    from spinney.sim.segments import Attachment

HIGH_WATER_BYTES = 64 * 1024
RETRANSMIT_LEAST_S = 0.2
MOST_RETRANSMISSIONS = 8


class SimStream(asyncio.Transport):
    """One end of a stream.  Callbacks run in the context of the host's code."""

    def __init__(
        self,
        host: SimHost,
        local: Address,
        remote: Address,
        legs: list[tuple[Attachment, Attachment]],
        protocol: asyncio.BaseProtocol,
        on_close: Callable[[], object],
    ) -> None:
        super().__init__()
        self.host = host
        self.world = host.world
        self.is_gone = False
        self.is_secret = False
        self.number = self.world.log.number()
        self.legs = legs
        self.out = Flow(self.world, self, legs)
        self.peer: SimStream | None = None
        self._loop = self.world.loop
        self._run = host.context().run
        self._names = {"peername": remote, "sockname": local}
        self._inbox: deque[bytes] = deque()
        self._received = 0
        self._consumed = 0
        self._ends_at: int | None = None
        self._eof_told = False
        self._reading = True
        self._closing = False
        self._eof_asked = False
        self._eof_sent = False
        self._paused = False
        self._lost_told = False
        self._doomed = False
        self._high = HIGH_WATER_BYTES
        self._low = HIGH_WATER_BYTES // 4
        self._on_close = on_close
        self.set_protocol(protocol)
        host.streams[self.number] = self

    def __repr__(self) -> str:
        return f"<SimStream {self._names['sockname']} -> {self._names['peername']}>"

    # --- the protocol -----------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._buffered_protocol = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._names.get(name, default)

    def begin(self) -> None:
        """Tells the protocol that it is connected."""
        self._call(self._protocol.connection_made, self)

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return self._run(function, *args)
        except Exception as error:
            self._loop.call_exception_handler(
                {
                    "message": f"a protocol of {self.host.name} raised in {function.__name__}",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
            self._end(error)
            return None

    # --- writing ----------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
        if self._eof_asked:
            raise RuntimeError("cannot write after write_eof")
        if self._closing or self.is_gone or not data:
            return
        self.out.write(bytes(data))
        self.out.pump()
        self._consider_pause()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        if self._eof_asked:
            raise RuntimeError("cannot write after write_eof")
        if self._closing or self.is_gone:
            return
        data = b"".join(list_of_data)
        if data:
            self.out.write(data)
            self.out.pump()
            self._consider_pause()

    def _consider_pause(self) -> None:
        if self.out.buffered > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def drained(self) -> None:
        """The flow took from the buffer: lets the protocol write on, ends what was to end."""
        if self.is_gone:
            return
        if self._paused and self.out.buffered <= self._low:
            self._paused = False
            if not self._lost_told:
                self._call(self._protocol.resume_writing)
        if not self.out.buffered and (self._eof_asked or self._closing) and not self._eof_sent:
            self._send_eof()

    def write_eof(self) -> None:
        if self._eof_asked or self._closing:
            return
        self._eof_asked = True
        if not self.out.buffered:
            self._send_eof()

    def can_write_eof(self) -> bool:
        return True

    def _send_eof(self) -> None:
        self._eof_sent = True
        flow = self.out
        delay = self.delay_s(0)
        when = max(self._loop.now + (delay or 0.0), flow.last_arrival)
        flow.last_arrival = when
        if self.peer is not None:
            self._tell_eof(when, self._sent_bytes())
        if self._closing:
            self._loop.push(self._loop.now, self._end, (None,))

    def _tell_eof(self, when: float, total: int) -> None:
        assert self.peer is not None
        self._loop.push(when, self._eof_arrived, (total, when))

    def _eof_arrived(self, total: int, since: float) -> None:
        """The end of the stream at the other side, unless the path is cut just now."""
        if self.delay_s(0) is None:
            if self._loop.now - since < self.world.give_up_s:
                self._loop.push(self._loop.now + 1.0, self._eof_arrived, (total, since))
            return
        if self.peer is not None:
            self.peer.other_side_ended(total)

    def _sent_bytes(self) -> int:
        return self.out.sent

    def get_write_buffer_size(self) -> int:
        return self.out.buffered

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be at least low ({low}), low at least 0")
        self._high, self._low = high, low
        self._consider_pause()

    # --- the path ---------------------------------------------------------------------

    def delay_s(self, length: int) -> float | None:
        """Seconds that a chunk needs now, retransmissions included; None if the path is cut."""
        total = 0.0
        kept = 1.0
        for here, there in self.legs:
            way = here.ways[there.profile]
            if not way.open or not here.is_up:
                return None
            total += way.delay_s()
            kept *= 1.0 - way.loss
        target = self.peer
        if target is not None and not target.host.is_up:
            return None
        if kept < 1.0:
            random = self.legs[0][0].ways[self.legs[0][1].profile].rng.random
            survives = kept ** max(1, -(-length // SEGMENT_BYTES))
            for _ in range(MOST_RETRANSMISSIONS):
                if random() < survives:
                    break
                total += max(RETRANSMIT_LEAST_S, total)
                survives = kept
        return total

    # --- reading ----------------------------------------------------------------------

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if self._reading or self._closing:
            return
        self._reading = True
        self._loop.push(self._loop.now, self._deliver, ())

    def arrived(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._closing:
            self._refuse(chunk)
            return
        self._inbox.append(chunk)
        self._deliver()

    def _refuse(self, chunk: bytes) -> None:
        """Data for a side that has closed: it is told to stop, as TCP does."""
        if self.peer is not None and self._lost_told:
            self.nobody_told(self.peer)
        elif self.peer is not None:
            self.peer.out.consumed(len(chunk))

    def _deliver(self) -> None:
        while self._inbox and self._reading and not self._closing and not self.is_gone:
            chunk = self._inbox.popleft()
            self.world.log.stream(self._loop.now, self.number, chunk, secret=self.is_secret)
            if self.world.trace is not None:
                self.world.trace.event(
                    self._loop.now, "stream", host=self.host.name, bytes=len(chunk), **self._names
                )
            if self._buffered_protocol:
                self._call(_into_buffers, self._protocol, chunk)
            else:
                self._call(self._protocol.data_received, chunk)  # type: ignore[attr-defined]
            self._consumed += len(chunk)
            if self.peer is not None:
                self.peer.out.consumed(len(chunk))
        self._consider_end()

    def other_side_ended(self, total: int) -> None:
        self._ends_at = total
        self._consider_end()

    def _consider_end(self) -> None:
        if self._ends_at is None or self._consumed < self._ends_at or self._eof_told:
            return
        if not self._reading or self.is_gone or self._closing:
            return
        self._eof_told = True
        keep_open = self._call(self._protocol.eof_received)  # type: ignore[attr-defined]
        if not keep_open:
            self.close()

    # --- ending -----------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if self._closing or self.is_gone:
            return
        self._closing = True
        self._reading = False
        if self._eof_sent:
            self._loop.push(self._loop.now, self._end, (None,))
        elif not self.out.buffered:
            self._send_eof()

    def abort(self) -> None:
        self._force_close(None)

    def _force_close(self, error: Exception | None) -> None:
        """Ends at once; asyncio's TLS calls it by this name."""
        if self.is_gone or self._lost_told:
            return
        self._closing = True
        self.out.buffer.clear()
        self.out.buffered = 0
        if self.peer is not None:
            self.nobody_told(self.peer)
        self._loop.push(self._loop.now, self._end, (error,))

    def nobody_told(self, peer: SimStream) -> None:
        """A reset goes to the other side."""
        delay = self.delay_s(0)
        if delay is not None:
            self._loop.push(
                self._loop.now + delay, peer._end, (ConnectionResetError("reset by the peer"),)
            )

    def nobody_there(self) -> None:
        """What was sent found nobody: the machine is down, or knows nothing of this stream."""
        if not self._doomed and not self.is_gone:
            self._doomed = True
            self._doom(self._loop.now, FIRST_DOOM_S)

    def _doom(self, since: float, wait_s: float) -> None:
        if self.is_gone or self._lost_told:
            return
        now = self._loop.now
        delay = self.delay_s(0)
        if delay is not None:
            self._loop.push(now + delay, self._end, (ConnectionResetError("reset by the peer"),))
        elif now - since >= self.world.give_up_s:
            self.give_up()
        else:
            self._loop.push(now + wait_s, self._doom, (since, min(wait_s * 2, 5.0)))

    def give_up(self) -> None:
        self._end(TimeoutError("the other side does not answer"))

    def vanish(self) -> None:
        """The machine lost power: nobody is told anything."""
        self.is_gone = True
        self._forget()

    def _end(self, error: Exception | None) -> None:
        if self._lost_told or self.is_gone:
            return
        self._lost_told = True
        self._closing = True
        self.out.buffer.clear()
        self.out.buffered = 0
        self._forget()
        self._call(self._protocol.connection_lost, error)

    def _forget(self) -> None:
        self.host.streams.pop(self.number, None)
        self._inbox.clear()
        self._on_close()


FIRST_DOOM_S = 0.2


def _into_buffers(protocol: asyncio.BufferedProtocol, chunk: bytes) -> None:
    """Gives a chunk to a protocol that has buffers of its own."""
    view = memoryview(chunk)
    while view:
        buffer = memoryview(protocol.get_buffer(len(view))).cast("B")
        if not len(buffer):
            raise RuntimeError("get_buffer() returned an empty buffer")
        some = min(len(buffer), len(view))
        buffer[:some] = view[:some]
        del buffer
        protocol.buffer_updated(some)
        view = view[some:]


class SimListener:
    """A listening stream socket of a simulated host."""

    def __init__(
        self,
        host: SimHost,
        factory: Callable[[], asyncio.BaseProtocol],
        local: Address,
        reuse_port: bool,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.host = host
        self.factory = factory
        self.addresses: tuple[Address, ...] = (local,)
        self.tls = tls
        self.is_open = True
        self.reuse_port = reuse_port
        self.run = host.context().run

    def close(self) -> None:
        if not self.is_open:
            return
        self.is_open = False
        local = self.addresses[0]
        held = self.host.listeners.get(local, [])
        if self in held:
            held.remove(self)
        if not held:
            self.host.listeners.pop(local, None)
        self.host.release("tcp", local, self.reuse_port)
