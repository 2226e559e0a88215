"""A server on this machine and a question to it, for the tests of HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.wire.wires import loopback

from spinney.wire.http import (
    HttpRequest,
    HttpResponse,
    HttpServer,
    ServerLimits,
    get,
    serve,
    unguarded,
)

HERE = ("127.0.0.1", 0)
Answering = Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]


async def serving(handler: Answering, limits: ServerLimits | None = None) -> HttpServer:
    return await serve(loopback(), HERE, handler, limits=limits)


async def ask(server: HttpServer, path: str = "/", **options: object) -> HttpResponse:
    host = loopback()
    url = f"http://127.0.0.1:{server.port}{path}"
    return await get(host, url, check=unguarded(host), **options)  # type: ignore[arg-type]
