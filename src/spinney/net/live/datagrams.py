"""Datagrams by a loop that drains the socket: about three times what asyncio's endpoint does."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Iterator, Sequence

from spinney.net.host import Address, Buffer, Datagram, DatagramOptions, DatagramReceiver, Datagrams
from spinney.net.live.batches import MESSAGES, Batches, available
from spinney.net.live.datagram_socket import (
    IP_PKTINFO,
    IPV6_RECVPKTINFO,
    LARGEST_DATAGRAM_BYTES,
    SOL_UDP,
    UDP_GRO,
    UDP_SEGMENT,
    DatagramSocket,
    interface_of_control,
    open_socket,
)
from spinney.net.live.datagrams_plain import open_plain
from spinney.net.live.plain import plain_io
from spinney.net.live.sockets import NumericSocket, SocketMaker, address_of, set_quietly

BATCH = 256
"""Datagrams read in one go before other callbacks of the loop get their turn (about 1 ms)."""

SEGMENTS_AT_ONCE = 64
"""The kernel's limit for one burst (128 since 2024)."""

BUFFERS_AT_ONCE = 1_000
"""`sendmsg` takes at most IOV_MAX = 1,024."""

BUSY_DATAGRAMS = 8
"""So many found at once: more will be there in a moment."""
FIRST_PAUSE_S, LEAST_PAUSE_S, MOST_PAUSE_S = 0.003, 0.001, 0.008
FOUND_DATAGRAMS = 112
"""Pauses are such that about so many are found: waking up costs as much as reading thirty."""
SYSTEM_DATAGRAM_BYTES = 2_304
"""What the system counts against the receive buffer for a datagram of full size; it may be
filled to a quarter in a pause."""

RECEIVE_BYTES = 1 << 16
CONTROL_BYTES = 128
_FULL = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)


async def open_datagrams(
    make: SocketMaker, receiver: DatagramReceiver, local: Address, options: DatagramOptions
) -> Datagrams:
    """Opens, binds and starts to receive; raises `PortTakenError` or `NetworkError`."""
    sock = open_socket(make, local, options)
    if plain_io():
        return await open_plain(make, sock, receiver, options)
    return DrainedDatagrams(make, sock, receiver, options)


class DrainedDatagrams(DatagramSocket):
    """`Datagrams` over `add_reader`, with segmentation offload where the system has it."""

    def __init__(
        self,
        make: SocketMaker,
        sock: NumericSocket,
        receiver: DatagramReceiver,
        options: DatagramOptions,
    ) -> None:
        super().__init__(make, sock, receiver, options)
        self._sendto = sock.sendto
        self._recvfrom = sock.recvfrom
        self._six = sock.family == socket.AF_INET6
        self._offload = sys.platform == "linux"
        self._buffer = bytearray(0)
        self._room: asyncio.Future[None] | None = None
        bursts = options.bursts and set_quietly(sock, SOL_UDP, UDP_GRO, 1)
        if options.packet_info:
            level, option = (
                (socket.IPPROTO_IPV6, IPV6_RECVPKTINFO)
                if self._six
                else (socket.IPPROTO_IP, IP_PKTINFO)
            )
            set_quietly(sock, level, option, 1)
        self._batches: Batches | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._pause_s = FIRST_PAUSE_S
        room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // SYSTEM_DATAGRAM_BYTES
        self._aim = max(BUSY_DATAGRAMS, min(FOUND_DATAGRAMS, room // 4))
        if options.bursts and not options.packet_info and available():
            self._batches = Batches()
            self._loop.add_reader(sock.fileno(), self._drain_batches)
        elif bursts or options.packet_info:
            self._buffer = bytearray(RECEIVE_BYTES)
            self._loop.add_reader(sock.fileno(), self._drain_with_control)
        else:
            self._loop.add_reader(sock.fileno(), self._drain)

    # Receiving

    def _drain(self) -> None:
        batch: list[Datagram] = []
        append, receive, six = batch.append, self._recvfrom, self._six
        try:
            for _ in range(BATCH):
                data, name = receive(RECEIVE_BYTES)
                append((data, address_of(name) if six else name, 0))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._tell(error)
        if batch:
            self._receiver.datagrams_received(batch)

    def _drain_batches(self) -> None:
        """While much comes, the socket is looked at every few milliseconds: waking up for each
        few datagrams costs as much as reading them."""
        if self._drain_once() >= BUSY_DATAGRAMS and not self._closed:
            self._loop.remove_reader(self._sock.fileno())
            self._pause_s = FIRST_PAUSE_S
            self._pause = self._loop.call_later(self._pause_s, self._after_pause)

    def _after_pause(self) -> None:
        if self._closed:
            return
        found = self._drain_once()
        if self._closed:
            return
        if found >= BUSY_DATAGRAMS:
            wanted = self._pause_s * self._aim / found
            self._pause_s = min(MOST_PAUSE_S, max(LEAST_PAUSE_S, wanted))
            self._pause = self._loop.call_later(self._pause_s, self._after_pause)
        else:
            self._pause = None
            self._loop.add_reader(self._sock.fileno(), self._drain_batches)

    def _drain_once(self) -> int:
        """Reads what is there; returns how many datagrams there were."""
        batches, receiver, total = self._batches, self._receiver, 0
        assert batches is not None
        try:
            for _ in range(BATCH // MESSAGES):
                lengths = batches.receive(self._sock.fileno())
                total += len(lengths)
                single: list[Datagram] = []
                for data, segment, remote in batches.runs(lengths):
                    if not segment:
                        single.append((bytes(data), remote, 0))
                        continue
                    if single:
                        ready, single = single, []
                        receiver.datagrams_received(ready)
                    if not self._closed:
                        receiver.burst_received(data, segment, remote, 0)
                    if self._closed:
                        return total
                if single:
                    receiver.datagrams_received(single)
                if self._closed or len(lengths) < MESSAGES:
                    break
        except OSError as error:
            self._tell(error)
        return total

    def _drain_with_control(self) -> None:
        batch: list[Datagram] = []
        view = memoryview(self._buffer)
        receiver, target = self._receiver, [view]
        try:
            for _ in range(BATCH):
                size, control, _, name = self._sock.recvmsg_into(target, CONTROL_BYTES)
                remote = address_of(name)
                interface = segment = 0
                if control:
                    interface = interface_of_control(control)
                    segment = _segment_of_control(control)
                if not 0 < segment < size:
                    batch.append((bytes(view[:size]), remote, interface))
                    continue
                if batch:
                    ready, batch = batch, []
                    receiver.datagrams_received(ready)
                    if self._closed:
                        return
                receiver.burst_received(view[:size], segment, remote, interface)
                if self._closed:
                    return
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._tell(error)
        if batch:
            receiver.datagrams_received(batch)

    # Sending

    def send(self, data: Buffer, remote: Address) -> None:
        if self._send(data, remote) is False:
            self.dropped += 1

    def _send(self, data: Buffer, remote: Address) -> bool:
        """False: no room.  Any other failure is told to the receiver."""
        if self._closed:
            return True
        target = self._targets.get(remote) or self._target(remote)
        if target is None:
            return True
        try:
            self._sendto(data, target)
        except OSError as error:
            if error.errno in _FULL:
                return False
            self._tell(error)
        return True

    def send_many(self, batch: Sequence[tuple[Buffer, Address]]) -> int:
        send, taken = self._send, 0
        for data, remote in batch:
            if not send(data, remote):
                return taken
            taken += 1
        return taken

    def send_burst(self, buffers: Sequence[Buffer], segment_bytes: int, remote: Address) -> int:
        assert 0 < segment_bytes <= LARGEST_DATAGRAM_BYTES
        if self._closed:
            return 0
        total = sum(len(buffer) for buffer in buffers)
        at_once = max(1, min(SEGMENTS_AT_ONCE, LARGEST_DATAGRAM_BYTES // segment_bytes))
        if total <= at_once * segment_bytes and len(buffers) <= BUFFERS_AT_ONCE:
            return self._burst(buffers, total, segment_bytes, remote)
        taken = 0
        for part, size in _parts(buffers, at_once * segment_bytes):
            sent = self._burst(part, size, segment_bytes, remote)
            taken += sent
            if sent * segment_bytes < size:
                break
        return taken

    def _burst(
        self, buffers: Sequence[Buffer], total: int, segment_bytes: int, remote: Address
    ) -> int:
        """One call's worth; returns the segments taken: all, or with a plain loop fewer."""
        if total == 0:
            return 0
        segments = -(-total // segment_bytes)
        target = self._targets.get(remote) or self._target(remote)
        if target is None:
            return segments
        if self._offload or segments == 1:
            control = [(SOL_UDP, UDP_SEGMENT, struct.pack("@H", segment_bytes))]
            try:
                self._sock.sendmsg(buffers, control if segments > 1 else [], 0, target)
                return segments
            except OSError as error:
                if error.errno in _FULL:
                    return 0
                # Setting the option proves nothing: a device without checksum offload says
                # EIO, an old kernel EINVAL, and a segment over the path's MTU EMSGSIZE.
                if error.errno in (errno.EIO, errno.EINVAL, errno.ENOPROTOOPT) and segments > 1:
                    self._offload = False
                elif error.errno != errno.EMSGSIZE or segments == 1:
                    self._tell(error)
                    return segments
        whole = memoryview(b"".join(buffers))
        return self.send_many(
            [(whole[at : at + segment_bytes], remote) for at in range(0, total, segment_bytes)]
        )

    async def writable(self) -> None:
        if self._closed:
            return
        if self._room is None or self._room.done():
            self._room = self._loop.create_future()
            self._loop.add_writer(self._sock.fileno(), self._has_room)
        await asyncio.shield(self._room)

    def _has_room(self) -> None:
        self._loop.remove_writer(self._sock.fileno())
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def close(self) -> None:
        if self._closed:
            return
        _ = self.overflowed  # its last value
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._has_room()
        self._sock.close()


def _segment_of_control(control: list[tuple[int, int, bytes]]) -> int:
    """The segments' size that the system tells when it merged some, else 0."""
    for level, kind, data in control:
        if level == SOL_UDP and kind == UDP_GRO:
            return int.from_bytes(data[:4], sys.byteorder)
    return 0


def _parts(buffers: Sequence[Buffer], part_bytes: int) -> Iterator[tuple[list[Buffer], int]]:
    """(buffers, bytes) of each call: cut every `part_bytes`, joined only if they are crumbs."""
    part: list[Buffer] = []
    size = 0
    for buffer in buffers:
        at, length = 0, len(buffer)
        while at < length:
            take = min(length - at, part_bytes - size)
            part.append(buffer if take == length else memoryview(buffer)[at : at + take])
            at, size = at + take, size + take
            if len(part) >= BUFFERS_AT_ONCE:
                part = [b"".join(part)]
            if size == part_bytes:
                yield part, size
                part, size = [], 0
    if size:
        yield part, size
