"""A registry's state on disk: what comes back, and what is refused."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.p2pcast.registries import PORT, SOURCE, STREAM, AtDesk, far, keys_of

from spinney.errors import WireError
from spinney.p2pcast.registry import snapshot
from spinney.p2pcast.registry.settings import RegistryLimits, RegistrySettings
from spinney.p2pcast.registry.streams import Registry

PEERS = [keys_of(f"peer {n}") for n in range(6)]


def filled() -> AtDesk:
    at = AtDesk(RegistrySettings(calls_per_minute=None))
    at.open()
    at.now += 30
    at.join(PEERS[0], far(0), depth=4)
    at.join(PEERS[1], ("2a00::1", PORT), is_open=False)
    at.join(PEERS[2], far(2))
    at.now += 20
    at.desk.registry.mark_bad(STREAM, PEERS[2].peer, at.now + 100)
    at.desk.registry.mark_bad(STREAM, PEERS[5].peer, at.now + 50)
    return at


def packed(registry: Registry, now: float) -> bytes:
    rows = [snapshot.pack_stream(name, stream, now) for name, stream in registry.streams.items()]
    return b"".join(snapshot.SEAL.parts(rows))


def test_what_was_known_comes_back_and_nobody_is_older_for_the_time_away() -> None:
    at = filled()
    data = packed(at.desk.registry, at.now)
    fresh = Registry(at.desk.registry.limits, expiry_s=120.0)
    snapshot.restore(data, fresh, 5_000.0)
    assert fresh.member_count == 4
    stream = fresh.streams[STREAM]
    assert list(stream.members) == [SOURCE.peer, *(k.peer for k in PEERS[:3])]
    assert stream.source is stream.members[SOURCE.peer]
    first, second, third = (stream.members[keys.peer] for keys in PEERS[:3])
    assert (first.address, first.depth, first.is_open) == (far(0), 4, True)
    assert (first.joined_at, first.heard_at) == (4_980.0, 4_980.0)
    assert stream.source.heard_at == 4_950.0
    assert (second.address, second.depth, second.is_open) == (("2a00::1", PORT), None, False)
    assert (third.bad_until, third.pool) == (5_100.0, None)
    assert stream.bad == {PEERS[2].peer: 5_100.0, PEERS[5].peer: 5_050.0}
    assert [one.peer for pool in stream.pools.values() for one in pool] == [PEERS[0].peer]
    assert packed(fresh, 5_000.0) == data
    fresh.sweep(5_000.0 + 71)
    assert SOURCE.peer not in fresh.streams[STREAM].members, "it was silent for longest"


def test_limits_hold_for_what_is_read_too() -> None:
    at = filled()
    data = packed(at.desk.registry, at.now)
    small = Registry(RegistryLimits(peers=2, peers_per_stream=3, bad=1))
    snapshot.restore(data, small, 1.0)
    assert small.member_count == 2
    assert len(small.streams[STREAM].bad) == 1
    other = Registry(allowed=frozenset({bytes(32)}))
    snapshot.restore(data, other, 1.0)
    assert not other.streams


@given(some.integers(0, 500), some.binary(max_size=3), some.integers(0, 3))
def test_any_other_bytes_are_refused(at: int, new: bytes, cut: int) -> None:
    desk = filled()
    data = packed(desk.desk.registry, desk.now)
    changed = data[:at] + new + data[at + cut :]
    for candidate in (changed, data[:at], new):
        if candidate != data:
            with pytest.raises(WireError):
                snapshot.restore(candidate, Registry(), 1.0)


ROWS = some.lists(
    some.lists(
        some.binary(max_size=40) | some.binary(min_size=100, max_size=104), min_size=3, max_size=5
    )
    | some.integers(),
    max_size=3,
)


@given(ROWS, some.binary(min_size=52, max_size=52))
def test_a_sealed_file_of_other_shape_is_refused_or_read(rows: list[object], row: bytes) -> None:
    """The checksum tells accidents, not intent: what is inside is checked too."""
    from spinney.wire import bencode

    for entries in (rows, [[STREAM, b"", row, b""]]):
        with contextlib.suppress(WireError):
            data = b"".join(snapshot.SEAL.parts([bencode.encode(entry) for entry in entries]))
            snapshot.restore(data, Registry(), 1.0)


@pytest.mark.parametrize("inside", [b"i5e", b"3:abc", b"de"])
def test_a_file_made_by_hand_that_is_no_list_is_refused(inside: bytes) -> None:
    digest = hashlib.sha256(inside).hexdigest().encode()
    with pytest.raises(WireError, match="no list"):
        snapshot.restore(snapshot.SEAL.magic + digest + b"\n" + inside, Registry(), 1.0)
