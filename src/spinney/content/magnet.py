"""Magnet links (BEP 9, 52, 53): a torrent by its hash, and where to begin looking.  Pure.

    magnet:?xt=urn:btih:<40 hex | 32 base 32>   the infohash, version 1
           &xt=urn:btmh:1220<64 hex>            the infohash, version 2 (a SHA-256 multihash)
           &dn=NAME &xl=BYTES                   what people see meanwhile
           &tr=URL &ws=URL                      trackers, web seeds
           &x.pe=HOST:PORT                      peers
           &x.pub=<64 hex | 52 base 32>         the publisher's Ed25519 key (MC-FTP)
           &so=0,2,4-6                          only these files (BEP 53)

What the program acts on is checked (`DescriptorError`, `rule` as in `rules.RULES`); unknown
parameters are left out.
"""

from __future__ import annotations

import re
from base64 import b32decode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, quote

from spinney.content.info import broken
from spinney.content.outer import read_url
from spinney.content.rules import MAX_TRACKERS, MAX_WEB_SEEDS
from spinney.errors import WireError
from spinney.net.address import format_address, parse_address
from spinney.net.host import Address

MAX_LINK_CHARACTERS = 65_536
MAX_PARAMETERS = 1_000
MAX_PEERS = 100
MAX_SELECTED_FILES = 100_000
MAX_FILE_NUMBER = 10_000_000
"""A torrent of 10 MB cannot name more files."""
MAX_LENGTH_DIGITS = 18

_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,255}")
_NUMBERED = re.compile(r"\.[0-9]{1,4}$")
_SELECT = re.compile(r"[0-9]{1,8}(-[0-9]{1,8})?(,[0-9]{1,8}(-[0-9]{1,8})?)*")


class Linked(Protocol):
    """The part of a `Descriptor` that a link is made of."""

    name: str
    infohash_v1: bytes | None
    infohash_v2: bytes | None
    trackers: tuple[tuple[str, ...], ...]
    web_seeds: tuple[str, ...]

    @property
    def publisher(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Magnet:
    """A link.  `infohash_v1` has 20 bytes and `infohash_v2` 32; one of them at least is there.

    `select`: file numbers, sorted; None selects all.  Each tracker is a tier of its own.
    `publisher`: 32 bytes, the key that must have signed what the MC-FTP paper adds.
    """

    infohash_v1: bytes | None = None
    infohash_v2: bytes | None = None
    name: str | None = None
    length: int | None = None
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    peers: tuple[Address, ...] = ()
    select: tuple[int, ...] | None = None
    publisher: bytes | None = None

    @classmethod
    def of(cls, descriptor: Linked, peers: Iterable[Address] = ()) -> Magnet:
        """The link to a descriptor, with peers who have it."""
        return cls(
            infohash_v1=descriptor.infohash_v1,
            infohash_v2=descriptor.infohash_v2,
            name=descriptor.name,
            trackers=tuple(url for tier in descriptor.trackers for url in tier),
            web_seeds=descriptor.web_seeds,
            peers=tuple(peers),
            publisher=descriptor.publisher,
        )

    @property
    def infohash(self) -> str:
        """As `Descriptor.infohash`: v1 where there is one, else v2, in hex."""
        return (self.infohash_v1 or self.infohash_v2 or b"").hex()

    @property
    def swarm_hashes(self) -> tuple[bytes, ...]:
        """20 bytes each: v1, and v2 cut to 20 bytes."""
        return tuple(digest[:20] for digest in (self.infohash_v1, self.infohash_v2) if digest)

    def __str__(self) -> str:
        """The link; `parse_magnet` reads it back."""
        parts: list[str] = []
        if self.infohash_v1:
            parts.append(f"xt=urn:btih:{self.infohash_v1.hex()}")
        if self.infohash_v2:
            parts.append(f"xt=urn:btmh:1220{self.infohash_v2.hex()}")
        if self.name:
            parts.append(f"dn={quote(self.name, safe='', errors='replace')}")
        if self.length is not None:
            parts.append(f"xl={self.length}")
        parts += [f"tr={quote(url, safe='')}" for url in self.trackers]
        parts += [f"ws={quote(url, safe='')}" for url in self.web_seeds]
        parts += [f"x.pe={quote(format_address(peer), safe=':[]')}" for peer in self.peers]
        if self.publisher is not None:
            parts.append(f"x.pub={self.publisher.hex()}")
        if self.select is not None:
            parts.append(f"so={_format_select(self.select)}")
        return "magnet:?" + "&".join(parts)


def is_magnet(text: str) -> bool:
    return text[:8].lower() == "magnet:?"


def parse_magnet(link: str) -> Magnet:
    """Reads a link; raises `DescriptorError`."""
    link = link.strip()
    if not is_magnet(link) or len(link) > MAX_LINK_CHARACTERS:
        raise broken("magnet")
    try:
        pairs = parse_qsl(link[8:], max_num_fields=MAX_PARAMETERS, errors="replace")
    except ValueError:
        raise broken("magnet", "too many parameters") from None
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        # `xt.1=...&xt.2=...` numbers what is there more than once.
        values.setdefault(_NUMBERED.sub("", key.lower()), []).append(value)
    one, two = _topics(values.get("xt", []))
    length = values.get("xl", [""])[0]
    readable = length.isascii() and length.isdigit() and len(length) <= MAX_LENGTH_DIGITS
    return Magnet(
        infohash_v1=one,
        infohash_v2=two,
        name=values.get("dn", [None])[0],
        length=int(length) if readable else None,
        trackers=_urls(values.get("tr", []), "announce")[:MAX_TRACKERS],
        web_seeds=_urls(values.get("ws", []), "url-list")[:MAX_WEB_SEEDS],
        peers=tuple(dict.fromkeys(map(_peer, values.get("x.pe", []))))[:MAX_PEERS],
        select=_parse_select(values["so"]) if "so" in values else None,
        publisher=_publisher(values.get("x.pub", [])),
    )


def _topics(topics: list[str]) -> tuple[bytes | None, bytes | None]:
    """(v1, v2); topics of other systems are left out."""
    one: set[bytes] = set()
    two: set[bytes] = set()
    for topic in topics:
        scheme, digest = topic[:9].lower(), topic[9:]
        if scheme == "urn:btih:":
            one.add(_btih(digest))
        elif scheme == "urn:btmh:":
            if not digest.startswith("1220") or not re.fullmatch("[0-9A-Fa-f]{68}", digest):
                raise broken("magnet-btmh", digest[:80])
            two.add(bytes.fromhex(digest[4:]))
    if not one and not two:
        raise broken("magnet-topic")
    if len(one) > 1 or len(two) > 1:
        raise broken("magnet-topics")
    return next(iter(one), None), next(iter(two), None)


def _btih(digest: str) -> bytes:
    if re.fullmatch("[0-9A-Fa-f]{40}", digest):
        return bytes.fromhex(digest)
    if re.fullmatch("[A-Za-z2-7]{32}", digest):
        return b32decode(digest.upper())
    raise broken("magnet-btih", digest[:80])


def _publisher(texts: list[str]) -> bytes | None:
    keys = {parse_key(text) for text in texts}
    if len(keys) > 1:
        raise broken("magnet-publisher", "several keys")
    return keys.pop() if keys else None


def parse_key(text: str) -> bytes:
    """A publisher's key as `x.pub` has it; raises `DescriptorError`."""
    if re.fullmatch("[0-9A-Fa-f]{64}", text):
        return bytes.fromhex(text)
    if re.fullmatch("[A-Za-z2-7]{51}[AaQq]", text):  # 256 bits: the last digit has one
        return b32decode(f"{text.upper()}====")
    raise broken("magnet-publisher", text[:80])


def _urls(texts: list[str], rule: str) -> tuple[str, ...]:
    urls = (read_url(text.encode("utf-8", "replace"), rule) for text in texts)
    return tuple(dict.fromkeys(filter(None, urls)))


def _peer(text: str) -> Address:
    try:
        host, port = parse_address(text)
    except WireError as error:
        raise broken("magnet-peer", str(error)) from None
    if not port or not _HOST.fullmatch(host):
        raise broken("magnet-peer", text[:80])
    return host, port


def _parse_select(texts: list[str]) -> tuple[int, ...]:
    chosen: set[int] = set()
    for text in texts:
        if not _SELECT.fullmatch(text):
            raise broken("magnet-select", text[:80])
        for part in text.split(","):
            first, _, last = part.partition("-")
            low, high = int(first), int(last or first)
            if low > high or high > MAX_FILE_NUMBER or high - low >= MAX_SELECTED_FILES:
                raise broken("magnet-select", part)
            chosen.update(range(low, high + 1))
            if len(chosen) > MAX_SELECTED_FILES:
                raise broken("magnet-select", "too many files")
    return tuple(sorted(chosen))


def _format_select(numbers: Iterable[int]) -> str:
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
