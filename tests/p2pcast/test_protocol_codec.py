"""The forest's messages: what is packed is read again; any bytes decode or raise `WireError`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinney.errors import WireError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.place import NOBODY, SOURCE, SPECIAL, Place, Sight
from spinney.p2pcast.transactions import Lock, Outcome, Vote

NAMES = st.integers(0, (1 << 63) - 1)
ANYBODY = NAMES | st.sampled_from([SOURCE, SPECIAL])
ADDRESSES = st.tuples(
    st.ip_addresses().map(str),
    st.integers(0, 65535),
)


@st.composite
def places(draw: Callable[..., Any], name: int | None = None) -> Place:
    stripes = draw(st.integers(2, 16))
    spare = draw(st.integers(0, stripes))
    pool = draw(st.lists(ANYBODY, min_size=1, max_size=40, unique=True))
    anyone = st.sampled_from(pool)
    children: list[list[int]] = [[] for _ in range(stripes)]
    for _ in range(draw(st.integers(0, stripes + spare))):
        children[draw(st.integers(0, stripes - 1))].append(draw(anyone))
    owned = draw(st.lists(st.integers(0, stripes - 1), max_size=stripes - 1, unique=True))
    return Place(
        draw(ANYBODY) if name is None else name,
        draw(st.integers(-1, stripes - 1)),
        tuple(draw(anyone | st.just(NOBODY)) for _ in range(stripes)),
        tuple(map(tuple, children)),
        tuple((stripe, draw(anyone)) for stripe in sorted(owned)),
        spare,
        draw(st.floats(0, 1e9)),
        draw(st.integers(0, (1 << 32) - 1)),
    )


def known_of(place: Place) -> dict[int, tuple[str, int]]:
    names = {*place.parents, *(child for _, child in place.edges())}
    return {name: ("20.0.0.1", 7) for name in sorted(names) if name >= 0}


@given(places(), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_sight_is_read_as_it_was_written_with_every_address(
    place: Place, alive: bool, reachable: bool
) -> None:
    stripes = len(place.parents)
    sight = Sight(place, tuple(range(stripes)), (-1,) * stripes, place.parents, alive)
    seen = m.Seen(sight, tuple(range(stripes)), known_of(place), reachable)
    packed = codec.pack_seen(seen)
    assert codec.read_seen(packed) == seen
    assert len(packed) <= codec.ROOM_BYTES


@given(places(name=5), st.binary(min_size=8, max_size=8), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_lock_is_read_as_it_was_written(place: Place, transaction: bytes, changes: bool) -> None:
    lock = Lock(transaction, place.version, place if changes else None, 9, (1, 2))
    call = m.LockCall(5, lock, {1: ("2600::1", 8)})
    assert codec.read_lock(codec.pack_lock(call)) == call


ROUND_TRIPS = [
    (codec.pack_told, codec.read_told, m.Told(Outcome.APPLIED)),
    (codec.pack_voted, codec.read_voted, m.Voted(Vote.BUSY, 200)),
    (codec.pack_decision, codec.read_decision, m.Decision(SPECIAL, b"12345678")),
    (codec.pack_here, codec.read_here, m.Here(3, SOURCE, 0x8001, -1, -1)),
    (
        codec.pack_beat,
        codec.read_beat,
        m.Beat(3, 9, 4, -1, 2, True, False, 8, (1,), (2, 3), {8: ("20.0.0.9", 1)}),
    ),
    (codec.pack_taken, codec.read_taken, m.Taken(m.Taking.FULL, 1, 2, 3, (4, 5), {4: ("::1", 2)})),
    (codec.pack_joined, codec.read_joined, m.Joined(4, 1, 70_000, (7,), {7: ("20.0.0.1", 2)})),
    (codec.pack_place_me, codec.read_place_me, m.PlaceMe(7, 3, 1.5, True)),
    (codec.pack_delete, codec.read_delete, m.Delete(7, 8)),
    (codec.pack_join, codec.read_join, m.Join(7, 4, True)),
    (
        codec.pack_take_on,
        codec.read_take_on,
        m.TakeOn(SOURCE, SPECIAL, 3, 77, 2, 12, True, {12: ("1.2.3.4", 5)}),
    ),
]


@pytest.mark.parametrize(("pack", "read", "message"), ROUND_TRIPS)
def test_a_message_is_read_as_it_was_written(pack: Any, read: Any, message: Any) -> None:
    # Addresses are of peers that the message names; the orphan's names its dead parent only.
    packed = pack(message)
    found = read(packed)
    if isinstance(message, m.TakeOn):
        found = m.TakeOn(
            *[getattr(found, each) for each in ("target", "child", "tree")],
            found.sequence,
            found.stripe,
            found.dead,
            found.inner,
            message.known,
        )
    assert found == message
    for cut in range(len(packed)):
        if pack not in (codec.pack_join, codec.pack_take_on):
            with pytest.raises(WireError):
                read(packed[:cut])


READERS = [
    codec.read_search,
    codec.read_seen,
    codec.read_lock,
    codec.read_voted,
    codec.read_decision,
    codec.read_told,
    codec.read_beat,
    codec.read_beat_head,
    codec.read_here,
    codec.read_take_on,
    codec.read_taken,
    codec.read_join,
    codec.read_joined,
    codec.read_place_me,
    codec.read_delete,
]


@given(st.binary(max_size=300) | st.integers() | st.none())
@settings(max_examples=300, deadline=None)
def test_any_bytes_decode_or_raise_the_one_error(data: object) -> None:
    for read in READERS:
        with contextlib.suppress(WireError):
            read(data)


@given(places(name=5), st.data())
@settings(max_examples=150, deadline=None)
def test_a_message_with_a_byte_changed_decodes_or_raises_the_one_error(
    place: Place, data: st.DataObject
) -> None:
    lock = Lock(b"12345678", place.version, place, 9, (1, 2))
    packed = bytearray(codec.pack_lock(m.LockCall(5, lock, known_of(place))))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = codec.read_lock(bytes(packed))
    except WireError:
        return
    assert read.lock.place is None or read.lock.place.name == read.target


def test_a_beat_keeps_all_but_its_number() -> None:
    beat = m.Beat(3, 9, 4, 2, 1, False, False, 8, (1,), (2, 3), {8: ("20.0.0.9", 1)})
    changed = codec.read_beat(codec.with_sequence(codec.pack_beat(beat), 70_000, idle=True))
    assert (changed.sequence, changed.idle, changed.up, changed.known) == (
        70_000,
        True,
        beat.up,
        beat.known,
    )


def test_too_many_addresses_are_left_out_not_the_message() -> None:
    names = tuple(range(100, 163))
    known = dict.fromkeys(names, ("2600:20::1", 9))
    packed = codec.pack_joined(m.Joined(16, 16, 63, names, known))
    assert len(packed) <= codec.ROOM_BYTES
    read = codec.read_joined(packed)
    assert read.names == names
    assert 10 < len(read.known) < len(names)
