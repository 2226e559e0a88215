"""Small answers on a kept connection must not wait for an acknowledgement (Nagle's delay)."""

from __future__ import annotations

import asyncio
import socket

from spinney.net.live import LiveHost


class _Kept(asyncio.Protocol):
    def __init__(self, delays: list[int]) -> None:
        self._delays = delays

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sock = transport.get_extra_info("socket")
        self._delays.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


def test_streams_send_at_once_on_both_sides() -> None:
    async def scenario() -> None:
        host = LiveHost()
        delays: list[int] = []
        listener = await host.listen(lambda: _Kept(delays), ("127.0.0.1", 0))
        transport, _ = await host.connect(lambda: _Kept(delays), listener.addresses[0])
        async with asyncio.timeout(5):
            while len(delays) < 2:
                await asyncio.sleep(0.005)
        assert delays == [1, 1]
        transport.close()
        listener.close()
        host.close()

    asyncio.run(scenario())
