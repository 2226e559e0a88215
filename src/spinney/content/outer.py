"""What stands beside the info dictionary: trackers, web seeds, nodes, words for people.  Pure.

What is wrong in what the program acts on is refused; what only people read is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from spinney.content.info import broken
from spinney.content.rules import MAX_NODES, MAX_TRACKERS, MAX_URL_BYTES, MAX_WEB_SEEDS
from spinney.net.host import Address
from spinney.wire.bencode import Value

MAX_DATE = 253_402_300_799
"""The last second of the year 9999."""
_NOT_IN_URL = re.compile("[\x00-\x20\x7f-\x9f]")

Tiers = tuple[tuple[str, ...], ...]


def read_url(raw: Value, rule: str) -> str:
    """A URL as text; `""` for an empty string, which several tools write for none."""
    if type(raw) is not bytes:
        raise broken(rule)
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise broken("url", repr(raw[:60])) from None
    if len(raw) > MAX_URL_BYTES or _NOT_IN_URL.search(text):
        raise broken("url", repr(raw[:60]))
    return text


def read_tiers(outer: dict[bytes, Value]) -> Tiers:
    """BEP 12: `announce-list` where there is one, else `announce`.  Each URL once, at most 100."""
    single = read_url(outer.get(b"announce", b""), "announce")
    listed = outer.get(b"announce-list", [])
    if type(listed) is not list:
        raise broken("announce-list")
    tiers: list[tuple[str, ...]] = []
    seen: set[str] = {""}
    for tier in [*listed, [single.encode()]] if not any(listed) else listed:
        urls: list[str] = []
        for raw in tier if type(tier) is list else [tier]:
            url = read_url(raw, "announce-list")
            if url not in seen and len(seen) <= MAX_TRACKERS:
                seen.add(url)
                urls.append(url)
        if urls:
            tiers.append(tuple(urls))
    if not tiers and single:
        tiers.append((single,))
    return tuple(tiers)


def read_web_seeds(outer: dict[bytes, Value]) -> tuple[str, ...]:
    """BEP 19: one URL or a list of them."""
    raw = outer.get(b"url-list", [])
    urls = [read_url(url, "url-list") for url in (raw if type(raw) is list else [raw])]
    return tuple(dict.fromkeys(filter(None, urls)))[:MAX_WEB_SEEDS]


def read_nodes(outer: dict[bytes, Value]) -> tuple[Address, ...]:
    """BEP 5: pairs of a host (a name or an address) and a port."""
    raw = outer.get(b"nodes", [])
    if type(raw) is not list:
        raise broken("nodes")
    nodes: list[Address] = []
    for pair in raw:
        match pair:
            case [bytes(host), int(port)] if host and 0 < port < 65_536:
                nodes.append((read_url(host, "nodes"), port))
            case _:
                raise broken("nodes")
    return tuple(nodes[:MAX_NODES])


def read_text(outer: dict[bytes, Value], key: bytes) -> str | None:
    raw = outer.get(key + b".utf-8", outer.get(key))
    return raw.decode("utf-8", "replace") if type(raw) is bytes else None


def read_date(outer: dict[bytes, Value]) -> int | None:
    raw = outer.get(b"creation date")
    return raw if type(raw) is int and 0 <= raw <= MAX_DATE else None


def write_tiers(outer: dict[bytes, Value], tiers: Sequence[Sequence[str]]) -> None:
    """`announce` is the first; `announce-list` only when there is more than one."""
    outer.pop(b"announce", None)
    outer.pop(b"announce-list", None)
    rows = [[url.encode() for url in tier] for tier in tiers if tier]
    if rows:
        outer[b"announce"] = rows[0][0]
    if len(rows) > 1 or (rows and len(rows[0]) > 1):
        outer[b"announce-list"] = rows


def write_web_seeds(outer: dict[bytes, Value], urls: Sequence[str]) -> None:
    _put(outer, b"url-list", [url.encode() for url in urls] if len(urls) != 1 else urls[0].encode())


def write_nodes(outer: dict[bytes, Value], nodes: Iterable[Address]) -> None:
    _put(outer, b"nodes", [[host.encode(), port] for host, port in nodes])


def write_text(outer: dict[bytes, Value], key: bytes, text: str | None) -> None:
    outer.pop(key + b".utf-8", None)
    _put(outer, key, text.encode() if text else None)


def write_date(outer: dict[bytes, Value], date: int | None) -> None:
    outer.pop(b"creation date", None)
    if date is not None:
        outer[b"creation date"] = date


def write_table(outer: dict[bytes, Value], key: bytes, table: dict[bytes, Value] | None) -> None:
    _put(outer, key, table or b"")


def _put(outer: dict[bytes, Value], key: bytes, value: Value) -> None:
    """Sets a key, or takes it away where there is nothing to say."""
    outer.pop(key, None)
    if value:
        outer[key] = value
