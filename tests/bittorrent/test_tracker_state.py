"""Who is where: the tracker's memory, its choice of peers, its bounds and its snapshot."""

from __future__ import annotations

import contextlib
import hashlib
import random
import tracemalloc
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from spinney.bittorrent.tracker import snapshot
from spinney.bittorrent.tracker.messages import AnnounceRequest, Event
from spinney.bittorrent.tracker.page import Counts, page, stats
from spinney.bittorrent.tracker.state import (
    StateLimits,
    Torrent,
    TrackerState,
    choose_peers,
    owner_of,
)
from spinney.errors import TrackerError, WireError
from spinney.net.address import pack_compact

HASH = b"\x01" * 20


def four(n: int, port: int = 6881) -> bytes:
    return pack_compact((f"198.51.{n >> 8}.{n & 255}", port))


def six(n: int, port: int = 6881) -> bytes:
    return pack_compact((f"2001:db8::{n:x}", port))


def request(n: int, *, left: int = 1, event: Event = "", infohash: bytes = HASH, key: bytes = b"k"):
    return AnnounceRequest(
        infohash, b"-SP0001-%012d" % n, 6881, left_bytes=left, event=event, key=key
    )


def state(**limits: float) -> TrackerState:
    return TrackerState(StateLimits(**limits))  # type: ignore[arg-type]


def join(tracker: TrackerState, n: int, *, left: int = 1, now: float = 0.0) -> Torrent:
    return tracker.announce(request(n, left=left), (four(n),), b"%d" % n, now)


def test_seeds_and_leechers_are_counted_and_change_sides() -> None:
    tracker = state()
    torrent = join(tracker, 1, left=0)
    for n in range(2, 6):
        join(tracker, n)
    assert (torrent.seed_count, len(torrent.peers)) == (1, 5)
    tracker.announce(request(2, left=0, event="completed"), (four(2),), b"2", 1.0)
    assert (torrent.seed_count, torrent.downloaded) == (2, 1)
    assert len(torrent.seeds4) == 2
    # "completed" with bytes left is a lie, or a mistake.
    tracker.announce(request(3, left=5, event="completed"), (four(3),), b"3", 1.0)
    assert torrent.downloaded == 1


def test_one_client_on_two_families_is_one_peer() -> None:
    tracker = state()
    torrent = tracker.announce(request(1), (four(1),), b"a", 0.0)
    tracker.announce(request(1), (six(1),), b"b", 0.0)
    assert len(torrent.peers) == 1
    assert (len(torrent.leechers4), len(torrent.leechers6)) == (1, 1)
    tracker.announce(request(1, event="stopped"), (six(1),), b"b", 0.0)
    assert (len(torrent.peers), len(torrent.leechers4), len(torrent.leechers6)) == (0, 0, 0)


def test_nobody_without_the_key_speaks_for_a_peer() -> None:
    tracker = state()
    torrent = join(tracker, 1)
    tracker.announce(request(1, event="stopped", key=b"guess"), (four(9),), b"9", 0.0)
    assert len(torrent.peers) == 1
    tracker.announce(request(1, left=0, key=b"guess"), (four(9),), b"9", 0.0)
    assert len(torrent.leechers4) == 1


def test_who_restarts_on_the_same_endpoint_replaces_itself() -> None:
    tracker = state()
    torrent = join(tracker, 1)
    tracker.announce(request(77), (four(1),), b"1", 1.0)
    assert len(torrent.peers) == 1
    assert torrent.leechers4.endpoints == [four(1)]
    assert tracker.peer_count == 1


def test_silence_is_forgotten_and_empty_torrents_too() -> None:
    tracker = state(expiry_s=100.0)
    join(tracker, 1, now=0.0)
    torrent = join(tracker, 2, now=60.0)
    join(tracker, 3, now=101.0)
    assert [peer.heard_at for peer in torrent.peers.values()] == [60.0, 101.0]
    tracker.sweep(170.0)
    assert tracker.peer_count == 1
    tracker.sweep(300.0)
    assert (tracker.peer_count, tracker.torrents) == (0, {})


# The choice


def test_the_choice_is_fair_and_without_repeats() -> None:
    tracker = state()
    for n in range(400):
        torrent = join(tracker, n)
    rng = random.Random(7)
    seen: Counter[bytes] = Counter()
    for _ in range(4000):
        row, none = choose_peers(torrent, (), False, 50, rng)
        assert (len(row), len(set(row)), none) == (50, 50, [])
        seen.update(row)
    # Each expects 500 of 4,000; a window of contiguous places would still pass this, a bias not.
    assert len(seen) == 400
    assert min(seen.values()) > 380
    assert max(seen.values()) < 620


def test_a_seed_gets_no_seeds_and_nobody_gets_himself() -> None:
    tracker = state()
    for n in range(10):
        torrent = join(tracker, n, left=n % 2)
    rng = random.Random(1)
    row, _ = choose_peers(torrent, (four(0),), True, 50, rng)
    assert sorted(row) == [four(n) for n in (1, 3, 5, 7, 9)]
    row, _ = choose_peers(torrent, (four(1),), False, 50, rng)
    assert sorted(row) == sorted(four(n) for n in range(10) if n != 1)
    for _ in range(200):
        row, _ = choose_peers(torrent, (four(1),), False, 3, rng)
        assert len(row) == 3
        assert four(1) not in row
    assert choose_peers(torrent, (), False, 0, rng) == ([], [])


def test_both_families_come_by_their_share() -> None:
    tracker = state()
    for n in range(300):
        endpoint = six(n + 1) if n % 3 == 0 else four(n)
        torrent = tracker.announce(request(n), (endpoint,), b"%d" % n, 0.0)
    rng = random.Random(1)
    for _ in range(50):
        row4, row6 = choose_peers(torrent, (), False, 60, rng)
        assert len(row4) + len(row6) == 60
        assert 15 <= len(row6) <= 25


# Bounds


def test_an_address_may_add_so_many_entries_over_all_torrents() -> None:
    tracker = state(entries_per_address=10)
    for n in range(1000):
        infohash = hashlib.sha1(b"%d" % n).digest()
        ask = request(n, infohash=infohash)
        if n < 10:
            tracker.announce(ask, (four(1),), b"flooder", 0.0)
        else:
            with pytest.raises(TrackerError, match="this address"):
                tracker.announce(ask, (four(1),), b"flooder", 0.0)
    assert len(tracker.torrents) == 10
    tracker.announce(request(5000), (four(2),), b"other", 0.0)
    tracker.sweep(10_000.0)
    tracker.announce(request(5001), (four(1),), b"flooder", 10_000.0)


def test_torrents_and_peers_are_bounded() -> None:
    tracker = state(torrents=3, peers=5, peers_per_torrent=4)
    for n in range(3):
        tracker.announce(request(n, infohash=bytes([n]) * 20), (four(n),), b"", 0.0)
    with pytest.raises(TrackerError, match="torrents"):
        tracker.announce(request(9, infohash=b"\x09" * 20), (four(9),), b"", 0.0)
    for n in (10, 11):
        tracker.announce(request(n, infohash=bytes(20)), (four(n),), b"", 0.0)
    with pytest.raises(TrackerError, match="peers"):
        tracker.announce(request(12, infohash=bytes(20)), (four(12),), b"", 0.0)
    full = state(peers=0)
    with pytest.raises(TrackerError, match="peers"):
        join(full, 1)
    assert full.torrents == {}
    crowd = state(peers_per_torrent=4)
    for n in range(10):
        torrent = join(crowd, n, now=float(n))
    assert [peer.heard_at for peer in torrent.peers.values()] == [6.0, 7.0, 8.0, 9.0]


def test_quotas_count_a_64_of_ipv6_and_no_local_address() -> None:
    assert owner_of("2a00:1450::1") == owner_of("2a00:1450::ffff:1") != owner_of("2a00:1451::1")
    assert owner_of("8.8.8.8") == bytes([8, 8, 8, 8])
    for local in ("127.0.0.1", "192.168.1.1", "fe80::1", "::1", "fd00::1"):
        assert owner_of(local) == b""


def test_memory_is_what_the_limits_say() -> None:
    def bytes_for(torrents: int, peers: int) -> int:
        tracemalloc.start()
        tracker = state(peers=10**9)
        for torrent in range(torrents):
            for peer in range(peers):
                n = torrent * peers + peer
                ask = request(n, infohash=torrent.to_bytes(20, "big"), key=b"%08d" % n)
                tracker.announce(ask, (n.to_bytes(4, "big") + b"\x00\x01",), b"%04d" % n, 0.0)
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return used

    assert bytes_for(1, 5000) / 5000 < 600
    assert bytes_for(2000, 1) / 2000 < 2000 + 600


class Churn(RuleBasedStateMachine):
    """Any order of announces keeps the four pools, the counts and the quotas consistent."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.tracker = state(expiry_s=50.0, peers_per_torrent=6, peers=10, torrents=2)

    @rule(
        n=st.integers(0, 9),
        left=st.integers(0, 1),
        event=st.sampled_from(["", "started", "stopped", "completed"]),
        torrent=st.integers(0, 2),
        ends=st.sets(st.integers(0, 5), max_size=2),
        elapsed=st.integers(0, 30),
    )
    def announce(self, n, left, event, torrent, ends, elapsed) -> None:
        self.now += elapsed
        endpoints = tuple((four, six)[at % 2](at) for at in sorted(ends))
        if len({len(endpoint) for endpoint in endpoints}) < len(endpoints):
            endpoints = endpoints[:1]
        ask = request(n, left=left, event=event, infohash=bytes([torrent]) * 20)
        with contextlib.suppress(TrackerError):
            self.tracker.announce(ask, endpoints, b"%d" % (n % 3), self.now)

    @rule()
    def sweep(self) -> None:
        self.tracker.sweep(self.now)

    @rule()
    def restart(self) -> None:
        again = TrackerState(self.tracker.limits)
        snapshot.restore(save(self.tracker, self.now), again, self.now)
        assert {h: list(t.peers) for h, t in again.torrents.items()} == {
            h: list(t.peers) for h, t in self.tracker.torrents.items()
        }
        self.tracker = again

    @invariant()
    def consistent(self) -> None:
        total = 0
        for torrent in self.tracker.torrents.values():
            total += len(torrent.peers)
            assert torrent.seed_count == sum(peer.seed for peer in torrent.peers.values())
            held = 0
            for seed in (False, True):
                for family in (False, True):
                    pool = torrent.pool(seed, family)
                    assert len(pool.places) == len(pool.endpoints)
                    for at, endpoint in enumerate(pool.endpoints):
                        place, peer = pool.places[endpoint]
                        assert place == at
                        assert peer.seed == seed
                        assert torrent.peers[peer.identity] is peer
                        assert endpoint in (peer.endpoint4, peer.endpoint6)
                        held += 1
            assert held == sum(
                (peer.endpoint4 is not None) + (peer.endpoint6 is not None)
                for peer in torrent.peers.values()
            )
        assert total == self.tracker.peer_count <= 10
        assert sum(self.tracker._owned.values()) == sum(
            bool(peer.owner) for t in self.tracker.torrents.values() for peer in t.peers.values()
        )


TestChurn = Churn.TestCase
TestChurn.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# The snapshot


def save(tracker: TrackerState, now: float) -> bytes:
    return b"".join(
        snapshot.SEAL.parts(
            [snapshot.pack_torrent(h, t, now) for h, t in sorted(tracker.torrents.items())]
        )
    )


def test_a_restart_forgets_nobody_and_does_not_count_the_time_away() -> None:
    tracker = state(expiry_s=100.0)
    tracker.announce(request(1, left=0, event="completed"), (four(1), six(1)), b"", 950.0)
    join(tracker, 2, now=1000.0)
    again = state(expiry_s=100.0)
    snapshot.restore(save(tracker, 1000.0), again, 5.0)
    torrent = again.torrents[HASH]
    assert (torrent.seed_count, len(torrent.peers), torrent.downloaded) == (1, 2, 1)
    again.sweep(54.0)
    assert len(torrent.peers) == 2
    again.sweep(56.0)
    assert [peer.endpoint4 for peer in torrent.peers.values()] == [four(2)]
    # The key came back too: the peer can still speak for itself.
    again.announce(request(2, event="stopped"), (), b"", 57.0)
    assert again.peer_count == 0


def test_a_broken_snapshot_is_one_error_wherever_it_breaks() -> None:
    tracker = state()
    for n in range(5):
        join(tracker, n)
    whole = save(tracker, 1.0)
    snapshot.restore(whole, state(), 1.0)
    for at in range(len(whole)):
        with pytest.raises(WireError):
            snapshot.restore(whole[:at], state(), 1.0)
        broken = bytearray(whole)
        broken[at] ^= 1
        with pytest.raises(WireError):
            snapshot.restore(bytes(broken), state(), 1.0)


def test_a_snapshot_with_a_right_checksum_and_wrong_rows_is_refused() -> None:
    for inner in (b"i1e", b"l2:ab2:cde", b"l20:" + HASH + b"i0e3:abce"):
        with pytest.raises(WireError):
            snapshot.restore(b"".join(snapshot.SEAL.parts([inner])), state(), 1.0)
    row = b"l20:" + HASH + b"i0e66:" + b"\xff" * 66 + b"e"
    with pytest.raises(WireError, match="impossible flags"):
        snapshot.restore(b"".join(snapshot.SEAL.parts([row])), state(), 1.0)


def test_a_snapshot_larger_than_the_limits_fills_them_and_no_more() -> None:
    tracker = state()
    for n in range(50):
        join(tracker, n)
    small = state(peers=10)
    snapshot.restore(save(tracker, 1.0), small, 1.0)
    assert small.peer_count == 10


# The page


def test_the_page_escapes_names_and_shows_counts() -> None:
    tracker = state()
    for n in range(3):
        join(tracker, n, left=n)
    names = {HASH: "<script>alert(1)</script>\"'&"}
    text = page(tracker, Counts(announces=3), 3700.0, "http://x/<b>", names, True).decode()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<b>" not in text
    assert HASH.hex() in text
    assert "<td>1</td><td>2</td><td>0</td>" in text
    assert "1 h 1 min" in text
    hidden = page(tracker, Counts(), 1.0, "", names, False).decode()
    assert HASH.hex() not in hidden
    assert stats(tracker, Counts(), 9.9) == {
        "uptime_s": 9,
        "torrents": 1,
        "peers": 3,
        "seeds": 1,
        "leechers": 2,
        "announces": 0,
        "scrapes": 0,
        "refused": 0,
        "limited": 0,
    }


def test_the_page_lists_the_largest_swarms_first_and_not_all_of_many() -> None:
    tracker = state()
    for n in range(300):
        infohash = hashlib.sha1(b"%d" % n).digest()
        for k in range(1 + (n == 7)):
            ask = request(n * 10 + k, infohash=infohash)
            tracker.announce(ask, (four(n, 1 + k),), b"", 0.0)
    text = page(tracker, Counts(), 1.0, "", {}, True).decode()
    assert text.count("<tr><td>") == 200
    assert "and 100 more" in text
    assert text.index(hashlib.sha1(b"7").hexdigest()) < text.index("</tr>", text.index("<tbody>"))
