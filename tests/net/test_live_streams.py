"""Our own stream transport, where it differs from asyncio's."""

from __future__ import annotations

import asyncio
import errno
import functools
from typing import Any

import pytest

from spinney.net.live import LiveHost, accepting
from spinney.net.live.plain import plain_io
from spinney.net.live.sockets import NumericSocket
from spinney.net.live.stream_transport import BUFFERS_AT_ONCE, StreamTransport


def on_a_loop(test: Any) -> Any:
    """Runs a test that is a coroutine, within 20 s."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(asyncio.wait_for(test(**fixtures), 20))

    return run


pytestmark = pytest.mark.skipif(plain_io(), reason="plain I/O has asyncio's transports")


MOST_BYTES = 64 << 20


class Taker(asyncio.Protocol):
    """Keeps what comes; `ended` is done when the connection is gone."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.made: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, StreamTransport)
        self.made.set_result(transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > MOST_BYTES:  # more than any test writes: it would never end
            self.made.result().abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


async def joined(host: LiveHost) -> tuple[asyncio.Transport, Taker, Any]:
    """A transport, the taker at its other end, and the listener."""
    takers: list[Taker] = []

    def taker() -> Taker:
        takers.append(Taker())
        return takers[-1]

    listener = await host.listen(taker, ("127.0.0.1", 0))
    transport, _ = await host.connect(Taker, listener.addresses[0])
    while not takers:
        await asyncio.sleep(0.001)
    await takers[0].made
    return transport, takers[0], listener


@on_a_loop
async def test_more_buffers_than_one_call_takes_arrive_in_order() -> None:
    host = LiveHost()
    transport, taker, listener = await joined(host)
    (await taker.made).pause_reading()
    rows = [bytes([n % 251]) * (n % 7 * 600) for n in range(5 * BUFFERS_AT_ONCE)]
    rows[0] = b"z" * (16 << 20)  # the system takes a part of it
    for at in range(0, len(rows), 2_500):
        transport.writelines(rows[at : at + 2_500])
    assert transport.get_write_buffer_size() > 0, "the other side does not read"
    (await taker.made).resume_reading()
    transport.close()
    await taker.ended
    arrived_as_written = taker.data == b"".join(rows)  # pytest would compare 18 MB for people
    assert arrived_as_written
    listener.close()
    host.close()


@on_a_loop
async def test_what_was_written_may_change_afterwards() -> None:
    host = LiveHost()
    transport, taker, listener = await joined(host)
    (await taker.made).pause_reading()
    data = bytearray(b"x" * (8 << 20))
    transport.write(data)
    assert transport.get_write_buffer_size() > 0
    data[:] = b"y" * len(data)
    (await taker.made).resume_reading()
    transport.close()
    await taker.ended
    assert taker.data == b"x" * len(data)
    listener.close()
    host.close()


@on_a_loop
async def test_without_descriptors_accepting_rests_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = 0
    whole = NumericSocket.accept

    def accept(self: NumericSocket) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 2:
            raise OSError(errno.EMFILE, "too many open files")
        return whole(self)

    monkeypatch.setattr(NumericSocket, "accept", accept)
    monkeypatch.setattr(accepting, "REST_S", 0.1)
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, row: told.append(row))
    host = LiveHost()
    began = loop.time()
    transport, _, listener = await joined(host)
    assert loop.time() - began >= 0.2
    assert len(told) == 2
    transport.close()
    listener.close()
    host.close()
