"""The HTTP server: requests in order, then every way to misbehave, and what it costs."""

from __future__ import annotations

import asyncio

import pytest
from tests.wire.serving import serving
from tests.wire.wires import loopback

from spinney.errors import WireError
from spinney.wire.http import HttpRequest, HttpResponse, HttpServer, ServerLimits


async def talk(server: HttpServer, data: bytes, *, end: bool = True) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    except OSError:
        return b""
    finally:
        writer.close()


GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"


def test_requests_on_one_connection_are_answered_in_order() -> None:
    async def slowly(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0.03 if request.path == "/1" else 0)
        return HttpResponse(body=b"<%b>" % request.path.encode())

    def at_once(request: HttpRequest) -> HttpResponse:
        return HttpResponse(body=b"<%b>" % request.path.encode())

    async def scene() -> None:
        for handler in (slowly, at_once):
            server = await serving(handler)
            last = b"GET /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            said = await talk(server, GET % 1 + GET % 2 + GET % 3 + last, end=False)
            places = [said.index(b"</%d>" % number) for number in (1, 2, 3, 4)]
            assert places == sorted(places)
            assert said.count(b"HTTP/1.1 200 OK") == 4
            server.close()

    asyncio.run(scene())


def test_head_has_headers_and_no_body() -> None:
    async def scene() -> None:
        server = await serving(lambda request: HttpResponse(body=b"hidden"))
        said = await talk(server, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"Content-Length: 6" in said
        assert b"hidden" not in said
        server.close()

    asyncio.run(scene())


def test_a_client_may_end_its_side_and_still_gets_its_answer() -> None:
    async def later(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0.02)
        return HttpResponse(body=b"late")

    async def scene() -> None:
        server = await serving(later)
        assert (await talk(server, GET % 1)).endswith(b"late")
        server.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"y" * 70_000, 413),
        (b"GET /wire HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /bug HTTP/1.1\r\nHost: x\r\n\r\n", 500),
    ],
)
def test_bad_requests_are_answered_and_end(data: bytes, status: int) -> None:
    def handler(request: HttpRequest) -> HttpResponse:
        if request.path == "/wire":
            raise WireError("no infohash")
        raise KeyError(request.path)

    async def scene() -> None:
        said: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        server = await serving(handler)
        assert (await talk(server, data)).startswith(b"HTTP/1.1 %d " % status)
        assert server.failed == 1
        assert len(said) == (status == 500)
        server.close()

    asyncio.run(scene())


def test_slow_idle_and_greedy_clients_lose_their_place() -> None:
    limits = ServerLimits(request_s=0.2, idle_s=0.1, requests_a_connection=2, connections=3)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        server = await serving(lambda request: HttpResponse(body=b"!"), limits)
        began = loop.time()
        assert await talk(server, b"", end=False) == b""
        assert loop.time() - began < 2

        async def trickle() -> int:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            ended = asyncio.ensure_future(reader.read())
            sent = 0
            while not ended.done() and sent < 200:
                writer.write(b"G")
                sent += 1
                await asyncio.wait([ended], timeout=0.02)
            await asyncio.wait([ended])
            ended.exception()
            writer.close()
            return sent

        assert await trickle() < 100
        said = await talk(server, (GET % 1) * 5, end=False)
        assert said.count(b"200 OK") == 2
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        await asyncio.sleep(0.02)
        assert await talk(server, GET % 1) == b""
        assert server.refused == 1
        for _, writer in held:
            writer.close()
        server.close()

    asyncio.run(scene())


def test_a_client_that_takes_no_answers_holds_bounded_memory() -> None:
    made = 0

    def large(request: HttpRequest) -> HttpResponse:
        nonlocal made
        made += 1
        return HttpResponse(body=bytes(1_000_000))

    async def scene() -> None:
        server = await serving(large, ServerLimits(answer_s=0.3))
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1000)
        for _ in range(200):
            writer.write(GET % 1)
        async with asyncio.timeout(5):
            while not server.connections or made == 0:
                await asyncio.sleep(0.01)
            while server.connections:
                await asyncio.sleep(0.02)
        assert made < 20
        writer.close()
        server.close()

    asyncio.run(scene())


def test_connections_an_address_are_bounded_but_not_on_this_network() -> None:
    server = HttpServer(loopback(), lambda request: HttpResponse(), ServerLimits())
    server.by_address["8.8.8.8"] = server.by_address["192.168.0.1"] = 32
    assert not server.admits(("8.8.8.8", 1))
    assert server.admits(("192.168.0.1", 1))
    assert server.admits(("8.8.4.4", 1))
