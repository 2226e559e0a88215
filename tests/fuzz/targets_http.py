"""HTTP both ways: whole and byte by byte must come to the same, or to the one error."""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast

from tests.fuzz.targets import Target

from spinney.errors import WireError
from spinney.net.host import Host
from spinney.wire import http_client
from spinney.wire.http_messages import HttpRequest, HttpResponse, query_pairs, split_url
from spinney.wire.http_server import HttpServer, ServerLimits, _Connection

MOST_BODY = 200


def _answer(chunks: list[bytes]) -> tuple[int, bytes] | str:
    exchange = http_client._Exchange(_REQUEST, MOST_BODY)
    exchange.connection_made(cast(Any, Sink()))
    for chunk in chunks:
        exchange.data_received(chunk)
        assert len(exchange.body) <= MOST_BODY
    exchange.eof_received()
    exchange.connection_lost(None)
    error = exchange.done.exception()
    if error is None:
        return exchange.status, bytes(exchange.body)
    assert isinstance(error, WireError)
    return "refused"


def answer(data: bytes) -> None:
    async def scene() -> None:
        assert _answer([data]) == _answer([data[at : at + 1] for at in range(len(data))])

    _LOOP.run_until_complete(scene())


class Sink:
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return ("198.18.0.1", 5)

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def _handler(request: HttpRequest) -> HttpResponse:
    body = b"".join(value for _, value in query_pairs(request.query))[:50]
    return HttpResponse(body=body + request.body)


def _served(chunks: list[bytes]) -> list[bytes]:
    """The statuses that were answered; h11 words an error by how much it has seen."""
    server = HttpServer(cast(Host, None), _handler, ServerLimits())
    connection, sink = _Connection(server), Sink()
    connection.connection_made(cast(Any, sink))
    for chunk in chunks:
        if not sink.closed:
            connection.data_received(chunk)
    connection.connection_lost(None)
    assert not server.connections
    assert not server.by_address
    return re.findall(rb"HTTP/1.1 (\d+) ", sink.written)


def request(data: bytes) -> None:
    async def scene() -> None:
        assert _served([data]) == _served([data[at : at + 1] for at in range(len(data))])

    _LOOP.run_until_complete(scene())


_LOOP = asyncio.new_event_loop()
_REQUEST = http_client._request(split_url("http://a/"), (), "x", True)

_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

TARGETS = {
    "http-answer": Target(
        answer,
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            b"HTTP/1.0 404 no\r\nContent-Type: x\r\n\r\nabc",
        ),
        ("spinney.wire.http_client", "spinney.wire.http_messages", "h11"),
    ),
    "http-request": Target(
        request,
        (
            b"GET /announce?info_hash=%ff HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + _GET,
            b"HEAD / HTTP/1.0\r\n\r\n",
        ),
        ("spinney.wire.http_server", "spinney.wire.http_messages", "h11"),
    ),
}
