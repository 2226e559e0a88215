"""The bytes of a chain of tickets: pages of one message each, since ten levels fill a datagram.

A page: tree, the child, how many levels the chain has, the first of this page, a mark that all
pages of a chain share; then its levels.  Numbers are big-endian.  Any bytes decode, or raise
`WireError`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b

from spinney.errors import WireError
from spinney.p2pcast.place import MOST_STRIPES, Name
from spinney.p2pcast.table import NAME, Reader, checked_name
from spinney.p2pcast.trust.identity import Signer
from spinney.p2pcast.trust.tickets import MOST_LEVELS, Chain, Level

PAGE_BYTES = 900
"""Of a page: 1,200 less the call's frame and its signature."""
MARK_BYTES = 4

_HEAD = struct.Struct(f">BqBB{MARK_BYTES}s")
_LEVEL = struct.Struct(">BII")


@dataclass(frozen=True, slots=True)
class Page:
    tree: int
    child: Name
    count: int
    first: int
    mark: bytes
    levels: Chain


def levels_per_page(signer: Signer) -> int:
    each = signer.public_bytes + signer.signature_bytes + _LEVEL.size
    return (PAGE_BYTES - _HEAD.size) // each


def pack_chain(signer: Signer, tree: int, child: Name, chain: Chain) -> list[bytes]:
    """The pages."""
    rows = [
        level.holder + _LEVEL.pack(level.slot, level.version, level.not_after) + level.signature
        for level in chain
    ]
    mark = blake2b(b"".join(rows), digest_size=MARK_BYTES).digest()
    step = levels_per_page(signer)
    return [
        _HEAD.pack(tree, child, len(rows), first, mark) + b"".join(rows[first : first + step])
        for first in range(0, len(rows), step)
    ]


def read_page(signer: Signer, data: object) -> Page:
    reader = Reader(data)
    tree, child, count, first, mark = _HEAD.unpack(reader.take(_HEAD.size))
    if tree >= MOST_STRIPES or not 0 < count <= MOST_LEVELS or first >= count:
        raise WireError("tickets without sense")
    checked_name(child)
    step = levels_per_page(signer)
    if first % step:
        raise WireError("a page of tickets that begins elsewhere")
    levels = []
    for _ in range(min(step, count - first)):
        holder = reader.take(signer.public_bytes)
        slot, version, not_after = _LEVEL.unpack(reader.take(_LEVEL.size))
        signature = reader.take(signer.signature_bytes)
        levels.append(Level(holder, slot, version, not_after, signature))
    reader.end()
    return Page(tree, child, count, first, mark, tuple(levels))


class Pages:
    """One chain that comes in pages: put together, or begun anew by a page of another."""

    def __init__(self) -> None:
        self._mark = b""
        self._count = 0
        self._pages: dict[int, Chain] = {}

    def add(self, page: Page) -> Chain | None:
        """The whole chain with its last missing page."""
        if (page.mark, page.count) != (self._mark, self._count):
            self._mark, self._count, self._pages = page.mark, page.count, {}
        self._pages[page.first] = page.levels
        if sum(map(len, self._pages.values())) < self._count:
            return None
        chain: Chain = ()
        for first in sorted(self._pages):
            chain += self._pages[first]
        self._mark, self._pages = b"", {}
        return chain


def pack_want(child: Name, tree: int) -> bytes:
    """A child asks its parent for its tickets."""
    return NAME.pack(child) + bytes([tree])


def read_want(data: object) -> tuple[Name, int]:
    reader = Reader(data)
    child = checked_name(NAME.unpack(reader.take(8))[0])
    tree = reader.byte()
    reader.end()
    if tree >= MOST_STRIPES:
        raise WireError("a tree that is not")
    return child, tree
