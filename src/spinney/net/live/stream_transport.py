"""`StreamTransport`: a plain TCP stream that neither joins nor copies what it sends.

asyncio's own transport joins the buffers of `writelines` before Python 3.12 and keeps what the
system does not take at once in one growing array, from whose front it cuts: several copies of
each byte of a bulk transfer.  This one hands the buffers to `sendmsg` as they lie, and reads a
few times before other callbacks get their turn.  TLS stays with asyncio's.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterable
from itertools import islice

from spinney.net.host import Buffer
from spinney.net.live.sockets import NumericSocket

BUFFERS_AT_ONCE = 1_000
"""`sendmsg` takes at most IOV_MAX = 1,024."""
READS_AT_ONCE = 4
"""Full reads before others get their turn: with the 256 KiB of a BitTorrent read, 1 MiB, about
1 ms."""
PLAIN_READ_BYTES = 1 << 18
"""What a protocol without a buffer of its own gets at most at a time."""
HIGH_WATER_BYTES = 65_536


class StreamTransport(asyncio.Transport):
    """Owns a connected socket from the beginning; `made` is done when the protocol knows it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: NumericSocket,
        protocol: asyncio.BaseProtocol,
        remote: object = None,
    ) -> None:
        try:
            remote = remote or sock.getpeername()
        except OSError:  # gone already; reading will tell
            remote = None
        super().__init__({"peername": remote, "sockname": sock.getsockname(), "socket": sock})
        self._loop = loop
        self._sock = sock
        self._number = sock.fileno()
        self._queue: deque[memoryview] = deque()
        self._queued_bytes = 0
        self._high, self._low = HIGH_WATER_BYTES, HIGH_WATER_BYTES // 4
        self._protocol_paused = False
        self._paused = False
        self._reading = False
        self._ending = False
        """`write_eof` was called."""
        self._closing = False
        self._lost = False
        """`connection_lost` is on its way: nothing is sent any more."""
        self.set_protocol(protocol)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.made: asyncio.Future[None] = loop.create_future()
        loop.call_soon(self._begin)

    def _begin(self) -> None:
        try:
            if not self._lost:
                self._protocol.connection_made(self)
                self._watch()
        finally:
            if not self.made.done():
                self.made.set_result(None)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._buffered = protocol if isinstance(protocol, asyncio.BufferedProtocol) else None

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    # reading

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True
        self._watch()

    def resume_reading(self) -> None:
        self._paused = False
        self._watch()

    def _watch(self) -> None:
        """Watches for bytes as long as somebody wants them."""
        wanted = self.is_reading()
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._loop.add_reader(self._number, self._readable)
            else:
                self._loop.remove_reader(self._number)

    def _readable(self) -> None:
        try:
            for _ in range(READS_AT_ONCE):
                if not self._reading or not self._read():
                    return
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._lose(error)
        except Exception as error:
            self._report(error, "a protocol failed while it received")
            self._lose(error)

    def _read(self) -> bool:
        """One read; False if there is no more for now."""
        buffered = self._buffered
        if buffered is not None:
            room = memoryview(buffered.get_buffer(-1))
            size = len(room)
            if not size:
                raise RuntimeError("a protocol gave an empty buffer")
            got = self._sock.recv_into(room)
            if got:
                buffered.buffer_updated(got)
        else:
            size = PLAIN_READ_BYTES
            data = self._sock.recv(size)
            got = len(data)
            if got:
                assert isinstance(self._protocol, asyncio.Protocol)
                self._protocol.data_received(data)
        if not got:
            self._ended()
        return got == size

    def _ended(self) -> None:
        """The other side sends nothing more."""
        assert isinstance(self._protocol, (asyncio.Protocol, asyncio.BufferedProtocol))
        if self._protocol.eof_received():
            self._paused = True
            self._watch()
        else:
            self.close()

    # writing

    def write(self, data: Buffer) -> None:
        # What must be kept is copied unless it cannot change, as asyncio does.
        self._send([data if isinstance(data, bytes) else bytes(data)])

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """In order, as they lie; they must not change until they are written."""
        self._send(list(list_of_data))

    def _send(self, buffers: list[Buffer]) -> None:
        if self._ending:
            raise RuntimeError("cannot write after write_eof")
        if self._lost:
            return
        taken, idle = 0, not self._queue
        if idle:
            taken = self._hand_over(buffers[:BUFFERS_AT_ONCE])
            if taken < 0:
                return
        for buffer in buffers:
            size = len(buffer)
            if taken >= size:
                taken -= size
                continue
            view = memoryview(buffer)[taken:]
            taken = 0
            self._queue.append(view)
            self._queued_bytes += len(view)
        if self._queue:
            if idle:
                self._loop.add_writer(self._number, self._has_room)
            self._weigh()

    def _hand_over(self, buffers: list[Buffer]) -> int:
        """How much the system took; -1 if the connection broke."""
        try:
            if len(buffers) == 1:
                return self._sock.send(buffers[0])
            return self._sock.sendmsg(buffers)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._lose(error)
            return -1

    def _has_room(self) -> None:
        queue = self._queue
        taken = self._hand_over(list(islice(queue, BUFFERS_AT_ONCE)))
        if taken < 0:
            return
        self._queued_bytes -= taken
        while queue and taken >= len(queue[0]):
            taken -= len(queue.popleft())
        if taken:
            queue[0] = queue[0][taken:]
        if not queue:
            self._loop.remove_writer(self._number)
        self._weigh()  # may write more
        if not self._queue and not self._lost:
            if self._closing:
                self._lose(None)
            elif self._ending:
                self._shut()

    def _weigh(self) -> None:
        """Tells the protocol when too much waits, and when little does again."""
        if self._queued_bytes > self._high and not self._protocol_paused:
            self._protocol_paused = True
            self._tell(self._protocol.pause_writing)
        elif self._protocol_paused and self._queued_bytes <= self._low:
            self._protocol_paused = False
            self._tell(self._protocol.resume_writing)

    def _tell(self, callback: object) -> None:
        assert callable(callback)
        try:
            callback()
        except Exception as error:
            self._report(error, "a protocol failed in its flow control")

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high, self._low = high, low
        self._weigh()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return self._queued_bytes

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._closing or self._ending:
            return
        self._ending = True
        if not self._queue:
            self._shut()

    def _shut(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._lose(error)

    # ending

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Sends what waits first."""
        if self._closing:
            return
        self._closing = True
        self._watch()
        if not self._queue:
            self._lose(None)

    def abort(self) -> None:
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._watch()
        if self._queue:
            self._loop.remove_writer(self._number)
            self._queue.clear()
            self._queued_bytes = 0
        self._loop.call_soon(self._say_lost, error)

    def _say_lost(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()

    def _report(self, error: BaseException, what: str) -> None:
        self._loop.call_exception_handler(
            {"message": what, "exception": error, "transport": self, "protocol": self._protocol}
        )
