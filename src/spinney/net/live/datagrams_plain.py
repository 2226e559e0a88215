"""Datagrams by asyncio's own endpoint: for systems without `add_reader` or `recvmsg`."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import cast

from spinney.net.host import Address, Buffer, DatagramOptions, DatagramReceiver
from spinney.net.live.datagram_socket import LARGEST_DATAGRAM_BYTES, DatagramSocket
from spinney.net.live.interfaces import list_interfaces
from spinney.net.live.sockets import NumericSocket, SocketMaker, address_of

FULL_BYTES = 256 << 10
"""asyncio keeps what the system does not take; beyond this much we drop, as a socket does."""


async def open_plain(
    make: SocketMaker, sock: NumericSocket, receiver: DatagramReceiver, options: DatagramOptions
) -> PlainDatagrams:
    """Gives a bound socket to asyncio's endpoint."""
    loop = asyncio.get_running_loop()
    opened = PlainDatagrams(make, sock, receiver, options)
    await loop.create_datagram_endpoint(lambda: opened, sock=sock)
    return opened


class PlainDatagrams(DatagramSocket, asyncio.DatagramProtocol):
    """`Datagrams` that uses nothing but `sendto` and asyncio."""

    def __init__(
        self,
        make: SocketMaker,
        sock: NumericSocket,
        receiver: DatagramReceiver,
        options: DatagramOptions,
    ) -> None:
        super().__init__(make, sock, receiver, options)
        self._transport: asyncio.DatagramTransport | None = None
        self._paused = False
        self._room: asyncio.Future[None] | None = None
        self._interface = self._interface_bound() if options.packet_info else 0

    def _interface_bound(self) -> int:
        """Without packet information only the bound address tells the interface."""
        host = ipaddress.ip_address(self.local_address[0].partition("%")[0])
        for interface in list_interfaces():
            for text, prefix in interface.addresses:
                bare = text.partition("%")[0]
                if bare == str(host):
                    return interface.index
                if interface.loopback and host in ipaddress.ip_network(
                    f"{bare}/{prefix}", strict=False
                ):
                    return interface.index
        return 0

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's class of datagram transports does not say so, but it is one.
        self._transport = cast(asyncio.DatagramTransport, transport)
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(high=FULL_BYTES)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self._closed:
            self._receiver.datagrams_received([(data, address_of(addr), self._interface)])

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            self._tell(exc)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._has_room()

    # Our side

    def send(self, data: Buffer, remote: Address) -> None:
        if not self._send(data, remote):
            self.dropped += 1

    def _send(self, data: Buffer, remote: Address) -> bool:
        if self._closed or self._transport is None:
            return True
        target = self._targets.get(remote) or self._target(remote)
        if target is None:
            return True
        if self._paused:
            return False
        if len(data):
            self._transport.sendto(data, target)
            return True
        try:
            self._sock.sendto(data, target)  # asyncio before 3.12 swallows empty datagrams
        except BlockingIOError:
            return False
        except OSError as error:
            self._tell(error)
        return True

    def send_many(self, batch: Sequence[tuple[Buffer, Address]]) -> int:
        taken = 0
        for data, remote in batch:
            if not self._send(data, remote):
                return taken
            taken += 1
        return taken

    def send_burst(self, buffers: Sequence[Buffer], segment_bytes: int, remote: Address) -> int:
        assert 0 < segment_bytes <= LARGEST_DATAGRAM_BYTES
        if self._closed:
            return 0
        whole = memoryview(b"".join(buffers))
        return self.send_many(
            [(whole[at : at + segment_bytes], remote) for at in range(0, len(whole), segment_bytes)]
        )

    async def writable(self) -> None:
        if self._closed or not self._paused:
            return
        if self._room is None or self._room.done():
            self._room = self._loop.create_future()
        await asyncio.shield(self._room)

    def _has_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def close(self) -> None:
        if self._closed:
            return
        _ = self.overflowed  # its last value
        self._closed = True
        self._has_room()
        if self._transport is not None:
            self._transport.abort()
