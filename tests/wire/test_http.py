"""HTTP: URLs, one request and its answer, redirects, bounds; then the server and its bounds."""

from __future__ import annotations

import asyncio
import gc
import gzip
from collections.abc import Callable, Sequence

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.wire.serving import HERE, ask, serving
from tests.wire.wires import loopback

from spinney.errors import (
    ConnectError,
    ForbiddenAddressError,
    NetworkError,
    NoAnswerError,
    WireError,
)
from spinney.net.host import Address, Host
from spinney.wire import http_client
from spinney.wire.http import (
    HttpRequest,
    HttpResponse,
    HttpUrl,
    Place,
    get,
    query_pairs,
    split_url,
    unguarded,
)
from spinney.wire.http_messages import ascii_target, host_header


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://a.example/announce", ("http", "a.example", 80, "/announce")),
        ("https://a.example", ("https", "a.example", 443, "/")),
        ("http://[::1]:6969/a?b=c&d", ("http", "::1", 6969, "/a?b=c&d")),
        ("http://1.2.3.4:1/x#fragment", ("http", "1.2.3.4", 1, "/x")),
    ],
)
def test_urls_are_taken_apart(url: str, parts: tuple[str, str, int, str]) -> None:
    assert split_url(url) == HttpUrl(*parts)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example/announce",
        "ftp://a.example/",
        "http:///announce",
        "http://user@a.example/",
        "http://a.example:99999/",
        "http://a.example:0/",
        "http://a.example:x/",
        "http://[::1/",
        "http://a.example/a b",
        "http://a.example/\r\nX: y",
        "http://a.example\\@b.example/",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(WireError):
        split_url(url)


def test_parts_of_a_request() -> None:
    assert ascii_target("/ä?x=%01&y=[z]") == b"/%C3%A4?x=%01&y=[z]"
    assert host_header("http", "a.example", 80) == b"a.example"
    assert host_header("https", "a.example", 80) == b"a.example:80"
    assert host_header("http", "fe80::1%eth0", 1) == b"[fe80::1]:1"
    assert host_header("http", "bücher.example", 80) == b"xn--bcher-kva.example"
    with pytest.raises(WireError):
        host_header("http", "ü" * 100, 80)
    assert query_pairs("info_hash=%00%ff%41&x=&y=a+b") == [
        ("info_hash", b"\x00\xffA"),
        ("x", b""),
        ("y", b"a b"),
    ]
    with pytest.raises(WireError):
        query_pairs("a=b&" * 200)


def test_a_request_and_its_answer() -> None:
    asked: list[HttpRequest] = []

    def handler(request: HttpRequest) -> HttpResponse:
        asked.append(request)
        return HttpResponse(404, b"no", "text/x-no", ((b"X-Why", b"because"),))

    async def scene() -> None:
        server = await serving(handler)
        answer = await ask(server, "/announce?info_hash=%ff", headers=[(b"X-Me", b"you")])
        server.close()
        assert (answer.status, answer.body, answer.content_type) == (404, b"no", "text/x-no")
        assert answer.header(b"x-why") == b"because"
        assert answer.url == f"http://127.0.0.1:{server.port}/announce?info_hash=%ff"
        (request,) = asked
        assert (request.method, request.path, request.query) == (
            "GET",
            "/announce",
            "info_hash=%ff",
        )
        assert request.header(b"x-me") == b"you"
        assert request.header(b"host") == b"127.0.0.1:%d" % server.port
        assert request.remote[0] == "127.0.0.1"

    asyncio.run(scene())


def test_large_bodies_pass_whole_and_larger_ones_are_refused() -> None:
    async def scene() -> None:
        body = bytes(range(256)) * 4_000
        server = await serving(lambda request: HttpResponse(body=body))
        assert (await ask(server)).body == body
        with pytest.raises(WireError, match="more than"):
            await ask(server, max_body_bytes=len(body) - 1)
        server.close()

    asyncio.run(scene())


def test_gzip_is_unpacked_within_the_bound() -> None:
    async def scene() -> None:
        packed = gzip.compress(bytes(1_000_000))
        bodies = {"/right": packed, "/cut": packed[:-1], "/none": b"x"}
        encoding = ((b"Content-Encoding", b"gzip"),)
        server = await serving(
            lambda asked: HttpResponse(body=bodies[asked.path], headers=encoding)
        )
        assert (await ask(server, "/right")).body == bytes(1_000_000)
        for path, bound in (("/right", 999_999), ("/cut", 2_000_000), ("/none", 2_000_000)):
            with pytest.raises(WireError):
                await ask(server, path, max_body_bytes=bound)
        server.close()

    asyncio.run(scene())


def test_redirects_are_followed_each_past_the_check() -> None:
    places: list[tuple[str, Address | None]] = []

    def handler(request: HttpRequest) -> HttpResponse:
        number = int(request.path[1:])
        if number == 0:
            return HttpResponse(body=b"here")
        return HttpResponse(302, headers=((b"Location", b"/%d" % (number - 1)),))

    async def scene() -> None:
        host = loopback()
        free = unguarded(host)

        async def check(url: str, sender: Address | None) -> tuple[Place, Sequence[Address]]:
            places.append((url.rpartition("/")[2], sender))
            if url.endswith("/3") and sender is not None:
                raise ForbiddenAddressError("not there")
            return await free(url, sender)

        server = await serving(handler)
        here = f"http://127.0.0.1:{server.port}"
        answer = await get(host, f"{here}/2", check=check)
        assert (answer.body, answer.url) == (b"here", f"{here}/0")
        at = ("127.0.0.1", server.port)
        assert places == [("2", None), ("1", at), ("0", at)]
        with pytest.raises(ForbiddenAddressError):
            await get(host, f"{here}/4", check=check)
        with pytest.raises(WireError, match="redirects"):
            await get(host, f"{here}/9", check=free)
        server.close()

    asyncio.run(scene())


@pytest.mark.parametrize("location", [b"ftp://a.example/", b"http://[", b"http://u@h/", b"\\\\x"])
def test_redirects_to_what_is_no_url(location: bytes) -> None:
    async def scene() -> None:
        server = await serving(lambda asked: HttpResponse(301, headers=((b"Location", location),)))
        with pytest.raises(WireError):
            await ask(server)
        server.close()

    asyncio.run(scene())


def test_nobody_there_and_nobody_answers() -> None:
    async def scene() -> None:
        host = loopback()
        server = await serving(lambda request: HttpResponse())
        server.close()
        await asyncio.sleep(0)
        with pytest.raises(ConnectError):
            await ask(server)
        with pytest.raises(NetworkError):
            await get(host, "http://nowhere.invalid/", check=unguarded(host))

        async def never(request: HttpRequest) -> HttpResponse:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

        silent = await serving(never)
        with pytest.raises(NoAnswerError):
            await ask(silent, timeout_s=0.2)
        silent.close()

    asyncio.run(scene())


async def replying(data: bytes) -> tuple[Host, str, Callable[[], None]]:
    """A server that answers anything with these bytes and ends."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        writer.close()

    server = await asyncio.start_server(reply, *HERE)
    port = server.sockets[0].getsockname()[1]
    return loopback(), f"http://127.0.0.1:{port}/", server.close


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
        b"SSH-2.0-x\r\n\r\n",
        b"\xff" * 100,
    ],
)
def test_answers_that_are_not_http(data: bytes) -> None:
    async def scene() -> None:
        host, url, close = await replying(data)
        with pytest.raises(WireError):
            await get(host, url, check=unguarded(host), timeout_s=5)
        close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.0 200 OK\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_every_framing_of_a_body(data: bytes) -> None:
    async def scene() -> None:
        host, url, close = await replying(data)
        assert (await get(host, url, check=unguarded(host), timeout_s=5)).body == b"abc"
        close()

    asyncio.run(scene())


@pytest.mark.parametrize("framing", [b"HTTP/1.0 200 OK\r\n\r\n", b"chunked"])
def test_a_body_of_unknown_length_ends_at_the_bound(framing: bytes) -> None:
    async def scene() -> None:
        data = framing + b"x" * 300
        if framing == b"chunked":
            data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n12c\r\n" + b"x" * 300
            data += b"\r\n0\r\n\r\n"
        host, url, close = await replying(data)
        assert len((await get(host, url, check=unguarded(host))).body) == 300
        with pytest.raises(WireError, match="more than"):
            await get(host, url, check=unguarded(host), max_body_bytes=299)
        close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_001,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 10_001,
    ],
    ids=["interim", "chunks"],
)
def test_a_flood_of_small_parts_ends_at_the_bound(data: bytes) -> None:
    """Each is cheap to send, and some 50 microseconds of ours to take in."""

    async def scene() -> None:
        host, url, close = await replying(data)
        with pytest.raises(WireError, match="parts"):
            await get(host, url, check=unguarded(host), timeout_s=20)
        close()

    asyncio.run(scene())


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n", b"\xff\xfe\r\n\r\n"])
def test_the_sentence_is_for_people(data: bytes) -> None:
    async def scene() -> None:
        host, url, close = await replying(data)
        ends = "the connection ended" if not data.endswith(b"\r\n\r\n") else "illegal status line$"
        with pytest.raises(WireError, match=ends):
            await get(host, url, check=unguarded(host), timeout_s=5)
        close()

    asyncio.run(scene())


def test_nobody_hears_of_the_failure_of_an_answer_that_nobody_awaits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The program ended while a tracker was asked: asyncio told the terminal."""

    async def scene() -> None:
        exchange = http_client._Exchange(
            h11.Request(method="GET", target="/", headers=[("Host", "x")]), 1
        )
        exchange.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(scene())
    gc.collect()
    assert not caplog.records


@settings(max_examples=200, deadline=None)
@given(
    some.lists(
        some.binary(max_size=30)
        | some.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n",
                b"\r\n",
                b"Content-Length: 4\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"4\r\nabcd\r\n",
                b"0\r\n\r\n",
                b"HTTP/1.1 101 x\r\n",
                b"HTTP/1.1 304 x\r\n",
            ]
        ),
        max_size=8,
    )
)
def test_any_answer_parses_or_raises_the_one_error(chunks: list[bytes]) -> None:
    async def scene() -> None:
        request = http_client._request(split_url("http://a/"), (), "x", True)
        exchange = http_client._Exchange(request, 100)
        exchange._http.send(request)
        exchange._http.send(http_client.h11.EndOfMessage())
        for chunk in chunks:
            exchange.data_received(chunk)
        exchange.eof_received()
        exchange.connection_lost(None)
        error = exchange.done.exception()
        assert error is None or isinstance(error, WireError)
        assert len(exchange.body) <= 100

    asyncio.run(scene())
