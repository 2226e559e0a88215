"""`get`: one HTTP/1.1 request over a host's stream, with redirects and bounds on everything.

Where a stranger's URL may lead is the caller's to judge: `check` takes a URL apart, resolves
it once, judges the addresses and gives those that may be dialled; only these are dialled.  It
is asked again for each redirect, with the address of the server that sent us on.  `net/guard`
makes such a `check`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Protocol, TypeAlias, cast
from urllib.parse import urljoin

import h11

from spinney.errors import ConnectError, NetworkError, NoAnswerError, WireError
from spinney.net.host import Address, Host
from spinney.wire.http_messages import (
    MAX_HEAD_BYTES,
    Headers,
    HttpResponse,
    ascii_target,
    first_header,
    gunzip,
    host_header,
    read_headers,
    split_url,
)

MAX_REDIRECTS = 5
MAX_TRIED_ADDRESSES = 4
"""Of one name, one after the other."""
MAX_BODY_BYTES = 2_000_000
"""By default; a tracker's answer has some kilobytes, a torrent up to 10 MB."""
MAX_PARTS = 10_000
"""Chunks and interim answers (1xx) of one answer.  Each costs time, however small it is: an
answer in chunks of some bytes, or a flood of `100 Continue`, would stop the program."""
REDIRECTS = (301, 302, 303, 307, 308)


class Place(Protocol):
    """A URL taken apart, as `check` gives it."""

    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def request_target(self) -> str: ...


Check: TypeAlias = Callable[[str, Address | None], Awaitable[tuple[Place, Sequence[Address]]]]
"""(URL, address of the server that redirected there) to the place and its allowed addresses.
Raises `ForbiddenAddressError`, `ResolveError` or `WireError`."""


def unguarded(host: Host) -> Check:
    """A check that lets everything pass: for URLs that the user typed, never a stranger's."""

    async def check(url: str, sender: Address | None) -> tuple[Place, Sequence[Address]]:
        place = split_url(url)
        return place, await host.resolve(place.host, place.port)

    return check


async def get(
    host: Host,
    url: str,
    *,
    check: Check,
    timeout_s: float = 30.0,
    max_body_bytes: int = MAX_BODY_BYTES,
    headers: Sequence[tuple[bytes, bytes]] = (),
    user_agent: str = "Spinney",
    gzip: bool = True,
    local: Address | None = None,
    tls: ssl.SSLContext | None = None,
) -> HttpResponse:
    """The answer to `GET url`, whatever its status, after at most five redirects.

    Raises `NoAnswerError` after `timeout_s` for all of it, another `NetworkError` when nobody
    could be reached, and `WireError` when what came back is not HTTP, too large or a circle.
    """
    try:
        async with asyncio.timeout(timeout_s):
            sender: Address | None = None
            for _ in range(MAX_REDIRECTS + 1):
                place, addresses = await check(url, sender)
                request = _request(place, headers, user_agent, gzip)
                context = (tls or _default_tls()) if place.scheme == "https" else None
                exchange, sender = await _exchange(
                    host, place, addresses, request, max_body_bytes, local, context, timeout_s
                )
                location = first_header(exchange.headers, b"location")
                if exchange.status in REDIRECTS and location is not None:
                    url = urljoin(url, location.decode("latin-1"))
                    continue
                body = bytes(exchange.body)
                if first_header(exchange.headers, b"content-encoding") in (b"gzip", b"x-gzip"):
                    body = gunzip(body, max_body_bytes)
                kind = first_header(exchange.headers, b"content-type") or b""
                return HttpResponse(
                    exchange.status, body, kind.decode("latin-1"), exchange.headers, url
                )
    except TimeoutError:
        raise NoAnswerError(f"no answer from {url[:200]} within {timeout_s:g} s") from None
    except ValueError as error:
        raise WireError(f"a redirect to what is no URL: {error}") from None
    raise WireError(f"more than {MAX_REDIRECTS} redirects, the last to {url[:200]}")


@cache
def _default_tls() -> ssl.SSLContext:
    """Certificates and names are checked; there is no switch.  Made when first needed: it reads
    every authority's certificate."""
    return ssl.create_default_context()


def _request(
    place: Place, headers: Sequence[tuple[bytes, bytes]], user_agent: str, gzip: bool
) -> h11.Request:
    rows = [
        (b"Host", host_header(place.scheme, place.host, place.port)),
        (b"User-Agent", user_agent.encode()),
        (b"Accept-Encoding", b"gzip" if gzip else b"identity"),
        (b"Connection", b"close"),
        *headers,
    ]
    try:
        return h11.Request(method=b"GET", target=ascii_target(place.request_target), headers=rows)
    except h11.LocalProtocolError as error:
        raise WireError(f"no request can be made of this URL: {error}") from None


async def _exchange(
    host: Host,
    place: Place,
    addresses: Sequence[Address],
    request: h11.Request,
    max_body_bytes: int,
    local: Address | None,
    context: ssl.SSLContext | None,
    timeout_s: float,
) -> tuple[_Exchange, Address]:
    """One request to the first of the addresses that takes a connection."""
    failure: NetworkError = ConnectError(f"{place.host} has no address")
    tried = list(addresses)[:MAX_TRIED_ADDRESSES]
    for address in tried:
        try:
            transport, exchange = await host.connect(
                lambda: _Exchange(request, max_body_bytes),
                address,
                local=local,
                tls=context,
                server_name=place.host if context is not None else None,
                # One address that swallows everything must not use up the time of all.
                timeout_s=timeout_s / len(tried),
            )
        except NetworkError as error:
            failure = error
            continue
        try:
            await exchange.done
        finally:
            transport.abort()
        return exchange, address
    raise failure


class _Exchange(asyncio.Protocol):
    """Sends one request when connected and collects the answer; `done` tells the end."""

    def __init__(self, request: h11.Request, max_body_bytes: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Seen even if the caller is cancelled meanwhile: else asyncio complains at the end.
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.status = 0
        self.headers: Headers = ()
        self.body = bytearray()
        self._parts = 0
        self._request = request
        self._max_body_bytes = max_body_bytes
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        head = self._http.send(self._request) or b""
        self._http.send(h11.EndOfMessage())
        cast(asyncio.Transport, transport).write(head)

    def data_received(self, data: bytes) -> None:
        if not self.done.done():
            self._take(data)

    def eof_received(self) -> bool:
        if not self.done.done():
            self._take(b"")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._fail(WireError("the connection ended before the HTTP answer did"))

    def _take(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._parts += 1
                if self._parts > MAX_PARTS:
                    raise WireError(f"an answer in more than {MAX_PARTS} parts")
                if isinstance(event, h11.Response):
                    self.status, self.headers = event.status_code, read_headers(event)
                    length = first_header(self.headers, b"content-length")
                    if length is not None and int(length) > self._max_body_bytes:
                        raise WireError(f"a body of more than {self._max_body_bytes} bytes")
                elif isinstance(event, h11.Data):
                    if len(self.body) + len(event.data) > self._max_body_bytes:
                        raise WireError(f"a body of more than {self._max_body_bytes} bytes")
                    self.body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self.done.set_result(None)
                    return
                elif isinstance(event, h11.ConnectionClosed):
                    raise WireError("the connection ended before the HTTP answer did")
        except (h11.RemoteProtocolError, ValueError) as error:
            if not data:
                self._fail(WireError("the connection ended before the HTTP answer did"))
                return
            what = str(error).partition(": bytearray(")[0]  # what came is for no person's eyes
            self._fail(WireError(f"not HTTP: {what}"))
        except WireError as error:
            self._fail(error)

    def _fail(self, error: WireError) -> None:
        self.done.set_exception(error)
