"""The bytes of a place: its holder, parents, children and cohort, by their numbers in a table."""

from __future__ import annotations

import struct
from math import isfinite

from spinney.errors import WireError
from spinney.p2pcast.place import LEAST_STRIPES, MOST_STRIPES, NOBODY, Place
from spinney.p2pcast.table import Reader, Table

MOST_CHILDREN = 2 * MOST_STRIPES

_PLACE = struct.Struct(">BbBbdI")


def pack_place(table: Table, place: Place) -> bytes:
    head = _PLACE.pack(
        table.at(place.name),
        place.stripe,
        len(place.parents),
        place.spare,
        place.since,
        place.version,
    )
    parents = bytes(map(table.at, place.parents))
    rows = b"".join(map(table.row, place.children))
    cohort = bytes([len(place.cohort)]) + b"".join(
        bytes([stripe, table.at(name)]) for stripe, name in place.cohort
    )
    return b"".join((head, parents, rows, cohort))


def read_place(reader: Reader) -> Place:
    at, stripe, stripes, spare, since, version = _PLACE.unpack(reader.take(_PLACE.size))
    if not LEAST_STRIPES <= stripes <= MOST_STRIPES or not -1 <= stripe < stripes:
        raise WireError(f"a place for stripe {stripe} of {stripes}")
    if abs(spare) > stripes or not isfinite(since):
        raise WireError("a place without sense")
    holder = reader.named(at)
    parents = tuple(reader.name() for _ in range(stripes))
    children = tuple(reader.names(MOST_CHILDREN) for _ in range(stripes))
    if sum(map(len, children)) > MOST_CHILDREN:
        raise WireError("a place with too many children")
    members = []
    count = reader.byte()
    if count >= stripes:
        raise WireError(f"a cohort of {count} among {stripes} stripes")
    for _ in range(count):
        owned, name = reader.byte(), reader.name()
        if owned >= stripes or name == NOBODY:
            raise WireError("a cohort without sense")
        members.append((owned, name))
    return Place(holder, stripe, parents, children, tuple(members), spare, since, version)
