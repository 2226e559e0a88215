"""The bytes of a forest's messages: one packed string each, in a KRPC query or answer.

A message that names peers begins with a table of them (`table.py`); the rest names them by their
number in it, so that a place at f = 8 takes some 350 bytes with all addresses.  Nothing is larger
than `ROOM_BYTES`: addresses for which there is no room are left out (IPv6 above f = 8).  Numbers
are big-endian.  Any bytes decode, or raise `WireError`.
"""

from __future__ import annotations

import struct
from math import isfinite

from spinney.errors import WireError
from spinney.p2pcast import messages as m
from spinney.p2pcast.place import LEAST_STRIPES, MOST_STRIPES, SPECIAL, Name, Sight
from spinney.p2pcast.place_codec import pack_place, read_place
from spinney.p2pcast.table import NAME, Reader, Table, checked_name
from spinney.p2pcast.transactions import TRANSACTION_BYTES, Lock, Outcome, Vote

ROOM_BYTES = 1_080
"""Of one packed string: 1,200 less what KRPC and the stream's name add."""
MOST_SLOTS = 2 * MOST_STRIPES
SIGNED_ROOM_BYTES = ROOM_BYTES - 140
"""Less a key, a number and a signature."""

_BEAT = struct.Struct(">BBIqhb")
_HERE = struct.Struct(">qqHbb")
_TAKE_ON = struct.Struct(">qqBIbqB")
_TAKEN = struct.Struct(">BIhb")
_JOINED = struct.Struct(">BBI")
_PLACE_ME = struct.Struct(">qbdB")
_LATE = struct.Struct(">qqBH")
_LOCK = struct.Struct(f">q{TRANSACTION_BYTES}sIqB")
_DECISION = struct.Struct(f">q{TRANSACTION_BYTES}s")

# -- places and sights --------------------------------------------------------------------------


def pack_search(search: m.Search, stripes: int) -> bytes:
    """Padded, so that an answer is at most three times as long."""
    return NAME.pack(search.name) + bytes(24 * stripes)


def read_search(data: object) -> m.Search:
    reader = Reader(data)
    return m.Search(checked_name(NAME.unpack(reader.take(8))[0]))


def pack_seen(seen: m.Seen, room_bytes: int = ROOM_BYTES) -> bytes:
    sight, table = seen.sight, Table(seen.known, min(room_bytes, ROOM_BYTES))
    stripes = len(sight.depths)
    body = pack_place(table, sight.place) + bytes(map(table.at, sight.slots))
    body += struct.pack(
        f">B{stripes}h{stripes}b{stripes}I",
        sight.alive | seen.reachable << 1,
        *sight.depths,
        *sight.above,
        *seen.sequences,
    )
    return table.packed(len(body)) + body


def read_seen(data: object) -> m.Seen:
    reader = Reader(data)
    reader.table()
    place = read_place(reader)
    stripes = len(place.parents)
    slots = tuple(reader.name() for _ in range(stripes))
    flags = reader.byte()
    depths = struct.unpack(f">{stripes}h", reader.take(2 * stripes))
    above = struct.unpack(f">{stripes}b", reader.take(stripes))
    sequences = struct.unpack(f">{stripes}I", reader.take(4 * stripes))
    reader.end()
    if flags > 3:
        raise WireError("a sight with unknown flags")
    sight = Sight(place, depths, above, slots, bool(flags & 1))
    return m.Seen(sight, sequences, reader.known, bool(flags & 2))


# -- transactions -------------------------------------------------------------------------------


def pack_lock(call: m.LockCall) -> bytes:
    lock, table = call.lock, Table(call.known, SIGNED_ROOM_BYTES)
    has_place = lock.place is not None
    body = _LOCK.pack(
        call.target, lock.transaction, lock.version, lock.coordinator, has_place
    ) + table.row(lock.witnesses)
    if lock.place is not None:
        body += pack_place(table, lock.place)
    return table.packed(len(body)) + body


def read_lock(data: object) -> m.LockCall:
    reader = Reader(data)
    reader.table()
    target, transaction, version, coordinator, has_place = _LOCK.unpack(reader.take(_LOCK.size))
    witnesses = reader.names(m.WITNESSES)
    place = read_place(reader) if has_place == 1 else None
    reader.end()
    if has_place > 1 or (place is not None and place.name != target):
        raise WireError("a lock for somebody else's place")
    lock = Lock(transaction, version, place, checked_name(coordinator), witnesses)
    return m.LockCall(checked_name(target), lock, reader.known)


def pack_voted(voted: m.Voted) -> bytes:
    return struct.pack(">BH", voted.vote, voted.wait_ms)


def read_voted(data: object) -> m.Voted:
    reader = Reader(data)
    vote, wait_ms = struct.unpack(">BH", reader.take(3))
    reader.end()
    if vote >= len(Vote):
        raise WireError(f"{vote} is no vote")
    return m.Voted(Vote(vote), wait_ms)


def pack_decision(decision: m.Decision) -> bytes:
    return _DECISION.pack(decision.target, decision.transaction)


def read_decision(data: object) -> m.Decision:
    reader = Reader(data)
    target, transaction = _DECISION.unpack(reader.take(_DECISION.size))
    reader.end()
    return m.Decision(checked_name(target), transaction)


def pack_told(told: m.Told) -> bytes:
    return bytes([told.outcome])


def read_told(data: object) -> m.Told:
    reader = Reader(data)
    outcome = reader.byte()
    reader.end()
    if outcome >= len(Outcome):
        raise WireError(f"{outcome} is no outcome")
    return m.Told(Outcome(outcome))


# -- beats, and a child's word ------------------------------------------------------------------


def pack_beat(beat: m.Beat) -> bytes:
    table = Table(beat.known, ROOM_BYTES)
    head = _BEAT.pack(
        beat.tree,
        beat.idle | beat.gone << 1,
        beat.sequence,
        beat.sender,
        beat.depth,
        beat.room,
    )
    rows = bytes([table.at(beat.up)]) + table.row(beat.aunts) + table.row(beat.nieces)
    return head + table.packed(len(rows)) + rows


SEQUENCE_AT = 2
"""Where the number stands in a packed beat: the rest of it changes seldom."""


def with_sequence(packed: bytes, sequence: int, *, idle: bool) -> bytes:
    """The same beat with another number."""
    return b"%c%c%b%b" % (packed[0], idle, sequence.to_bytes(4, "big"), packed[6:])


BEAT_HEAD_BYTES = _BEAT.size


def read_beat_head(data: object) -> tuple[int, int, int, Name, int, int]:
    """(tree, flags, sequence, sender, depth, room): all that most beats are read for."""
    if type(data) is not bytes or len(data) < _BEAT.size:
        raise WireError("a beat is cut short")
    head: tuple[int, int, int, Name, int, int] = _BEAT.unpack_from(data)
    return head


def read_beat(data: object) -> m.Beat:
    reader = Reader(data)
    tree, flags, sequence, sender, depth, room = _BEAT.unpack(reader.take(_BEAT.size))
    reader.table()
    up = reader.name()
    aunts, nieces = reader.names(m.ALTERNATIVES), reader.names(m.ALTERNATIVES)
    reader.end()
    if tree >= MOST_STRIPES or flags > 3 or depth < -1:
        raise WireError("a beat without sense")
    return m.Beat(
        tree,
        sequence,
        checked_name(sender),
        depth,
        room,
        bool(flags & 1),
        bool(flags & 2),
        up,
        aunts,
        nieces,
        reader.known,
    )


def pack_here(here: m.Here) -> bytes:
    return _HERE.pack(here.sender, here.target, here.trees, here.stripe, here.room)


def read_here(data: object) -> m.Here:
    if type(data) is not bytes or len(data) != _HERE.size:
        raise WireError("a child's word has 20 bytes")
    sender, target, trees, stripe, room = _HERE.unpack(data)
    return m.Here(checked_name(sender), checked_name(target), trees, stripe, room)


# -- orphans ------------------------------------------------------------------------------------


def pack_take_on(call: m.TakeOn) -> bytes:
    table = Table(call.known, SIGNED_ROOM_BYTES)
    body = _TAKE_ON.pack(
        call.target,
        call.child,
        call.tree,
        call.sequence,
        call.stripe,
        call.dead,
        call.inner | call.urgent << 1 | call.slots << 2,
    )
    # 96: so that an answer with some alternatives is at most three times as long.
    return table.packed(len(body)) + body + bytes(96)


def read_take_on(data: object) -> m.TakeOn:
    reader = Reader(data)
    reader.table()
    target, child, tree, sequence, stripe, dead, bits = _TAKE_ON.unpack(reader.take(_TAKE_ON.size))
    if tree >= MOST_STRIPES or bits >> 2 > MOST_SLOTS or (child < 0 and child != SPECIAL):
        raise WireError("an orphan's call without sense")
    return m.TakeOn(
        checked_name(target),
        child,
        tree,
        sequence,
        stripe,
        checked_name(dead),
        bool(bits & 1),
        reader.known,
        bool(bits & 2),
        bits >> 2,
    )


def pack_taken(taken: m.Taken) -> bytes:
    table = Table(taken.known, ROOM_BYTES)
    body = _TAKEN.pack(taken.taking, taken.sequence, taken.depth, taken.room)
    body += table.row(taken.others)
    return table.packed(len(body)) + body


MOST_OTHERS = 8


def read_taken(data: object) -> m.Taken:
    reader = Reader(data)
    reader.table()
    taking, sequence, depth, room = _TAKEN.unpack(reader.take(_TAKEN.size))
    others = reader.names(MOST_OTHERS)
    reader.end()
    if taking >= len(m.Taking):
        raise WireError(f"{taking} answers no orphan")
    return m.Taken(m.Taking(taking), sequence, depth, room, others, reader.known)


# -- the source and its registry ----------------------------------------------------------------


def pack_join(join: m.Join) -> bytes:
    return struct.pack(">qBB", join.name, join.count, join.staying) + bytes(64)


def read_join(data: object) -> m.Join:
    reader = Reader(data)
    name, count, staying = struct.unpack(">qBB", reader.take(10))
    if name < 0 or staying > 1:
        raise WireError("a newcomer without a name")
    return m.Join(name, count, bool(staying))


def pack_joined(joined: m.Joined, room_bytes: int = ROOM_BYTES) -> bytes:
    table = Table(joined.known, min(room_bytes, ROOM_BYTES))
    body = _JOINED.pack(joined.stripes, joined.spare, joined.peers) + table.row(joined.names)
    return table.packed(len(body)) + body


def read_joined(data: object) -> m.Joined:
    reader = Reader(data)
    reader.table()
    stripes, spare, peers = _JOINED.unpack(reader.take(_JOINED.size))
    names = reader.names(m.MAX_NAMED)
    reader.end()
    if not LEAST_STRIPES <= stripes <= MOST_STRIPES or spare > stripes:
        raise WireError(f"a forest of {stripes} stripes with {spare} spare slots")
    return m.Joined(stripes, spare, peers, names, reader.known)


def pack_place_me(call: m.PlaceMe) -> bytes:
    return _PLACE_ME.pack(call.name, call.spare, call.since, call.leaving)


def read_place_me(data: object) -> m.PlaceMe:
    reader = Reader(data)
    name, spare, since, leaving = _PLACE_ME.unpack(reader.take(_PLACE_ME.size))
    reader.end()
    if name < 0 or abs(spare) > MOST_STRIPES or not isfinite(since) or leaving > 1:
        raise WireError("a newcomer without sense")
    return m.PlaceMe(name, spare, since, bool(leaving))


def pack_late(late: m.Late) -> bytes:
    return _LATE.pack(late.sender, late.target, late.tree, late.behind_ms)


def read_late(data: object) -> m.Late:
    reader = Reader(data)
    sender, target, tree, behind_ms = _LATE.unpack(reader.take(_LATE.size))
    reader.end()
    if tree >= MOST_STRIPES:
        raise WireError("a late tree that is not")
    return m.Late(checked_name(sender), checked_name(target), tree, behind_ms)


def pack_delete(delete: m.Delete) -> bytes:
    return struct.pack(">qq", delete.sender, delete.accused)


def read_delete(data: object) -> m.Delete:
    reader = Reader(data)
    sender, accused = struct.unpack(">qq", reader.take(16))
    reader.end()
    return m.Delete(checked_name(sender), checked_name(accused))
