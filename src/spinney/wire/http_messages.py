"""HTTP/1.1 as rooms see it: requests, answers, URLs, and the bounds on each.  Pure.

The grammar itself is `h11`'s (RFC 9112); these are the nouns around it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, urlsplit

import h11

from spinney.errors import WireError
from spinney.net.host import Address

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Names in lower case, in the order in which they came."""

MAX_HEADERS = 100
MAX_HEAD_BYTES = 16_384
"""A request or status line with all its headers: announces have some hundred bytes, cookies
and proxies add some thousand."""
REASONS = {
    200: b"OK",
    204: b"No Content",
    206: b"Partial Content",
    301: b"Moved Permanently",
    302: b"Found",
    304: b"Not Modified",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    413: b"Content Too Large",
    416: b"Range Not Satisfiable",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}
"""Words for people; programs read the number."""
_TARGET_SAFE = "/?:@!$&'()*+,;=%-._~[]"


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """An http or https URL taken apart; `host` has no brackets."""

    scheme: str
    host: str
    port: int
    request_target: str


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What a server was asked.  `target`: path and query as they came."""

    method: str
    target: str
    headers: Headers
    body: bytes
    remote: Address

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """Raw: an `info_hash` is bytes, percent-encoded, and no UTF-8."""
        return self.target.partition("?")[2]

    def header(self, name: bytes) -> bytes | None:
        return first_header(self.headers, name)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer, sent or received.  `url`: where it came from, after redirects."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Sequence[tuple[bytes, bytes]] = ()
    url: str = field(default="", compare=False)

    def header(self, name: bytes) -> bytes | None:
        return first_header(self.headers, name)


def first_header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    return next((value for key, value in headers if key == name), None)


def split_url(url: str) -> HttpUrl:
    """Takes an http or https URL apart; `WireError` for anything else, or a user in it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise WireError(f"{url[:80]!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise WireError(f"{url[:80]!r} is not an http or https URL")
    if any(character <= " " or character in "\x7f\\" for character in url):
        raise WireError(f"the URL {url[:80]!r} holds characters that no URL has")
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    if not port:
        raise WireError(f"{url[:80]!r} has port 0")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return HttpUrl(parts.scheme, host, port, target)


def ascii_target(target: str) -> bytes:
    """A request target as the wire wants it: what is not ASCII percent-encoded."""
    return quote(target, safe=_TARGET_SAFE).encode("ascii")


def host_header(scheme: str, host: str, port: int) -> bytes:
    """`example.org`, `example.org:8080`, `[::1]:80`; names as IDNA."""
    try:
        name = host.encode("ascii") if host.isascii() else host.encode("idna")
    except UnicodeError:
        raise WireError(f"{host[:80]!r} is not a host name") from None
    if b":" in name:
        name = b"[%b]" % name.partition(b"%")[0]
    default = 443 if scheme == "https" else 80
    return name if port == default else b"%b:%d" % (name, port)


def query_pairs(query: str) -> list[tuple[str, bytes]]:
    """The pairs of a query with raw values (at most 100); `WireError` for more."""
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, max_num_fields=MAX_HEADERS, encoding="latin-1"
        )
    except ValueError:
        raise WireError(f"a query of more than {MAX_HEADERS} fields") from None
    return [(key, value.encode("latin-1", "replace")) for key, value in pairs]


def reason(status: int) -> bytes:
    return REASONS.get(status, b"")


def read_headers(event: h11.Request | h11.Response) -> Headers:
    """`WireError` if there are more than 100."""
    if len(event.headers) > MAX_HEADERS:
        raise WireError(f"{len(event.headers)} HTTP headers are more than {MAX_HEADERS}")
    return tuple((bytes(name), bytes(value)) for name, value in event.headers)


def gunzip(body: bytes, max_bytes: int) -> bytes:
    """The content of one gzip stream; `WireError` if it is broken or longer than allowed."""
    unpacker = zlib.decompressobj(31)
    try:
        content = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise WireError(f"a broken gzip body: {error}") from None
    if len(content) > max_bytes:
        raise WireError(f"a body of more than {max_bytes} bytes")
    if not unpacker.eof:
        raise WireError("a gzip body that is cut short")
    return content
