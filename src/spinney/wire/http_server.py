"""`serve`: HTTP/1.1 requests in, answers out, over a host's streams; bounds on everything.

    server = await serve(host, ("0.0.0.0", 6969), handler)
    def handler(request: HttpRequest) -> HttpResponse: ...      # or `async def`

A handler that raises `WireError` answers 400, another error 500 (and is reported as ours).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

import h11

from spinney.errors import WireError
from spinney.net.address import is_local
from spinney.net.host import Address, Host, Listener
from spinney.wire.http_messages import (
    MAX_HEAD_BYTES,
    HttpRequest,
    HttpResponse,
    read_headers,
    reason,
)

Handler: TypeAlias = Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What one client, and all of them, may cost."""

    head_bytes: int = MAX_HEAD_BYTES
    body_bytes: int = 65_536
    """Of a request: announces have none."""
    connections: int = 1_000
    connections_an_address: int = 32
    """Not for loopback and private addresses: a school is one address range."""
    requests_a_connection: int = 1_000
    request_s: float = 15.0
    """From the first byte of a request to its last: a trickle holds a place no longer."""
    idle_s: float = 60.0
    answer_s: float = 30.0
    """For the handler, and again for the client to take the answer."""


class HttpServer:
    """A listening server.  `refused`: connections beyond the limits, `failed`: bad requests."""

    def __init__(self, host: Host, handler: Handler, limits: ServerLimits) -> None:
        self.host = host
        self.handler = handler
        self.limits = limits
        self.refused = 0
        self.failed = 0
        self.connections: dict[_Connection, None] = {}
        self.by_address: Counter[str] = Counter()
        self.listener: Listener | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        return self.listener.addresses if self.listener is not None else ()

    @property
    def port(self) -> int:
        return self.addresses[0][1]

    def close(self) -> None:
        """Stops listening and ends every connection."""
        if self.listener is not None:
            self.listener.close()
        for connection in list(self.connections):
            connection.end()

    def admits(self, remote: Address) -> bool:
        if len(self.connections) >= self.limits.connections:
            return False
        taken = self.by_address[remote[0]]
        return taken < self.limits.connections_an_address or is_local(remote[0])


async def serve(
    host: Host,
    local: Address,
    handler: Handler,
    *,
    limits: ServerLimits | None = None,
    reuse_port: bool = False,
    tls: ssl.SSLContext | None = None,
) -> HttpServer:
    """Listens until `close`.  Raises `PortTakenError` or another `NetworkError`."""
    server = HttpServer(host, handler, limits or ServerLimits())
    server.listener = await host.listen(
        lambda: _Connection(server), local, reuse_port=reuse_port, tls=tls
    )
    return server


class _Connection(asyncio.Protocol):
    """One client: its requests one after the other, its answers in the same order.

    While an answer is being made or waits to be taken, nothing more is read.
    """

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.head_bytes)
        self._transport: asyncio.Transport | None = None
        self._remote: Address = ("", 0)
        self._timer: asyncio.TimerHandle | None = None
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._requests = 0
        self._task: asyncio.Task[None] | None = None
        self._writable = True
        self._closing = False
        self._receiving = False
        self._their_side_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peername = transport.get_extra_info("peername")
        self._remote = (peername[0], peername[1])
        if not self._server.admits(self._remote):
            self._server.refused += 1
            self._transport.abort()
            return
        self._server.connections[self] = None
        self._server.by_address[self._remote[0]] += 1
        self._end_in(self._limits.idle_s)

    def connection_lost(self, error: Exception | None) -> None:
        if self._server.connections.pop(self, self) is None:
            address = self._remote[0]
            self._server.by_address[address] -= 1
            if not self._server.by_address[address]:
                del self._server.by_address[address]
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._transport = None

    def end(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _end_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self.end)

    # Reading.

    def data_received(self, data: bytes) -> None:
        if self._closing or self._transport is None:
            return
        if not self._receiving:
            self._receiving = True
            self._end_in(self._limits.request_s)
        try:
            self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))
            return
        self._read()

    def eof_received(self) -> bool:
        # A client may end its side and still wait for the answer.
        self._their_side_ended = True
        return self._task is not None

    def _read(self) -> None:
        try:
            while self._task is None and self._writable and not self._closing:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    return
                if isinstance(event, h11.Request):
                    read_headers(event)
                    self._request = event
                    self._body.clear()
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > self._limits.body_bytes:
                        self._refuse(413, "the body is too large")
                elif isinstance(event, h11.EndOfMessage):
                    self._answer()
                else:
                    self._close()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))
        except WireError as error:
            self._refuse(431, str(error))

    # Answering.

    def _answer(self) -> None:
        asked, self._request = self._request, None
        assert asked is not None
        self._requests += 1
        self._receiving = False
        self._end_in(self._limits.answer_s)
        request = HttpRequest(
            asked.method.decode("ascii"),
            asked.target.decode("ascii"),
            read_headers(asked),
            bytes(self._body),
            self._remote,
        )
        try:
            answer = self._server.handler(request)
        except Exception as error:
            self._send(self._of_error(error), request.method)
            return
        if isinstance(answer, HttpResponse):
            self._send(answer, request.method)
            return
        assert self._transport is not None
        self._transport.pause_reading()
        self._task = self._loop.create_task(self._answer_later(answer, request.method))

    async def _answer_later(self, answer: Awaitable[HttpResponse], method: str) -> None:
        try:
            response = await answer
        except Exception as error:
            response = self._of_error(error)
        self._task = None
        if self._transport is not None:
            self._send(response, method)
        if self._transport is not None and self._writable:
            self._transport.resume_reading()
            self._read()

    def _of_error(self, error: Exception) -> HttpResponse:
        self._server.failed += 1
        if isinstance(error, WireError):
            return HttpResponse(400, str(error).encode())
        self._loop.call_exception_handler({"message": "an HTTP handler failed", "exception": error})
        return HttpResponse(500, b"internal error")

    def _send(self, response: HttpResponse, method: str) -> None:
        keep = self._requests < self._limits.requests_a_connection and not self._their_side_ended
        headers = list(response.headers)
        if response.status not in (204, 304):
            headers.append((b"Content-Type", response.content_type.encode("latin-1")))
            headers.append((b"Content-Length", b"%d" % len(response.body)))
        if not keep:
            headers.append((b"Connection", b"close"))
        head = self._http.send(
            h11.Response(
                status_code=response.status, headers=headers, reason=reason(response.status)
            )
        )
        parts = [head or b""]
        if response.body and method != "HEAD" and response.status not in (204, 304):
            parts.append(self._http.send(h11.Data(data=response.body)) or b"")
        self._http.send(h11.EndOfMessage())
        if self._transport is None:
            return
        self._transport.write(b"".join(parts))
        if self._http.our_state is h11.MUST_CLOSE or self._http.their_state is h11.MUST_CLOSE:
            self._close()
        else:
            self._http.start_next_cycle()
            if self._writable:
                self._end_in(self._limits.idle_s)

    def _refuse(self, status: int, why: str) -> None:
        """Answers an error where that is still possible, and ends the connection."""
        self._server.failed += 1
        self._closing = True
        if self._transport is not None and self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = why.encode("latin-1", "replace")[:200]
            head = b"HTTP/1.1 %d %b\r\nContent-Type: text/plain\r\n" % (status, reason(status))
            rest = b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
            self._transport.write(head + rest)
        self._close()

    def _close(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._end_in(self._limits.answer_s)
            self._transport.close()

    # Back-pressure.

    def pause_writing(self) -> None:
        self._writable = False
        if self._transport is not None:
            self._transport.pause_reading()
            self._end_in(self._limits.answer_s)

    def resume_writing(self) -> None:
        self._writable = True
        if self._transport is not None and not self._closing:
            if self._task is None:
                self._transport.resume_reading()
            self._end_in(self._limits.idle_s)
            self._loop.call_soon(self._read)
