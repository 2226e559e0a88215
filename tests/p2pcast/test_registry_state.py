"""The registry at its desk, without a network: JOIN, renewals, leaving, limits and bounds.

In the order of the paper's section 7; DELETE has `test_registry_witnesses.py`.
"""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections import Counter

import pytest
from tests.p2pcast.registries import (
    PORT,
    REGISTRY,
    SOURCE,
    STREAM,
    UNIX_S,
    AtDesk,
    far,
    keys_of,
)

from spinney.errors import CallError, WireError
from spinney.p2pcast.registry import codec
from spinney.p2pcast.registry import messages as m
from spinney.p2pcast.registry.settings import RegistryLimits, RegistrySettings
from spinney.p2pcast.registry.streams import Newcomer, Registry

FREE = RegistrySettings(peers_per_network=None, calls_per_minute=None, told_per_network=None)
PEERS = [keys_of(f"peer {n}") for n in range(40)]


def crowd(at: AtDesk, count: int) -> None:
    at.open()
    for n in range(count):
        at.join(PEERS[n], far(n))


# JOIN


def test_a_stream_is_opened_by_who_can_sign_with_the_key_that_names_it() -> None:
    at = AtDesk()
    assert at.refused(lambda: at.join(PEERS[0], far(0))) == m.NO_STREAM
    assert at.open().contacts == ()
    first = at.join(PEERS[0], far(0))
    assert [contact.peer for contact in first.contacts] == [SOURCE.peer]
    assert first.members == 2
    assert first.seen == far(0)


@pytest.mark.parametrize("wanted", [4, 16])
def test_join_gives_random_live_peers_and_never_the_asker(wanted: int) -> None:
    at = AtDesk(FREE)
    crowd(at, 40)
    told: Counter[bytes] = Counter()
    for _ in range(1_600 // wanted):
        contacts = at.join(PEERS[0], far(0), wanted=wanted).contacts
        assert len({contact.peer for contact in contacts}) == wanted
        told.update(contact.peer for contact in contacts)
    assert PEERS[0].peer not in told
    assert SOURCE.peer not in told, "the source is spared while there are others"
    assert len(told) == 39
    assert min(told.values()) > 15, "41 each, give or take six"
    assert max(told.values()) < 70


@pytest.mark.parametrize("wanted", [0, 1, 16, 32])
def test_as_many_as_were_asked_for_and_an_answer_has_room_for(wanted: int) -> None:
    at = AtDesk(FREE)
    crowd(at, 40)
    told = len(at.join(PEERS[0], far(0), wanted=wanted).contacts)
    assert min(wanted, 20) <= told <= wanted
    for n in range(40):
        at.join(PEERS[n], (f"2a00:{n:x}::1", PORT))
    told = len(at.join(PEERS[0], ("2a00:0::1", PORT), wanted=wanted).contacts)
    assert min(wanted, 14) <= told <= wanted, "addresses of IPv6 take more room"
    assert at.largest <= 3.0


def test_the_operator_bounds_how_many_are_told() -> None:
    at = AtDesk(RegistrySettings(contacts_max=5))
    crowd(at, 40)
    assert len(at.join(PEERS[0], far(0), wanted=32).contacts) == 5


def test_the_shallow_are_told_more_often_but_a_liar_only_so_many_times() -> None:
    counts = {}
    for drawn in (1, 4):
        at = AtDesk(RegistrySettings(drawn_per_contact=drawn, calls_per_minute=None))
        at.open()
        for n in range(40):
            at.join(PEERS[n], far(n), depth=n if n % 2 else None)
        told: Counter[int] = Counter()
        for _ in range(300):
            told.update(
                255 if one.depth is None else one.depth
                for one in at.join(PEERS[39], far(39), wanted=2, depth=39).contacts
            )
        counts[drawn] = told
    assert counts[4][1] > 2 * counts[1][1], "the shallowest is preferred"
    assert counts[4][1] <= 300 * 2 * 4 / 39 * 1.5, "and bounded"
    assert counts[4][255] < counts[1][255], "who does not say comes last"


def test_who_cannot_be_reached_is_told_of_others_and_not_handed_out() -> None:
    at = AtDesk(FREE)
    at.open()
    at.join(PEERS[0], far(0), is_open=False)
    at.join(PEERS[1], far(1))
    assert at.told(PEERS[1], far(1)) == {SOURCE.peer}
    assert PEERS[1].peer in at.told(PEERS[0], far(0))
    at.join(PEERS[0], far(0), is_open=True)
    assert PEERS[0].peer in at.told(PEERS[1], far(1))


def test_families_and_reach() -> None:
    """A loopback address is told on this machine only, a private one to the private, and each
    family to who can dial it."""
    at = AtDesk(FREE)
    at.open()
    places = [far(1), ("2a00::1", PORT), ("192.168.1.2", PORT), ("127.0.0.1", 7000)]
    for keys, address in zip(PEERS, places, strict=False):
        at.join(keys, address)
    public, six, private, loopback = (keys.peer for keys in PEERS[:4])
    assert at.told(PEERS[9], far(9)) == {public, SOURCE.peer}
    assert at.told(PEERS[9], ("2a01::9", PORT)) == {six}
    both = at.join(PEERS[9], far(9), both_families=True).contacts
    assert {contact.peer for contact in both} == {public, six, SOURCE.peer}
    assert at.told(PEERS[9], ("192.168.1.9", PORT)) == {public, private, SOURCE.peer}
    assert at.told(PEERS[9], ("127.0.0.1", 9)) == {public, private, loopback, SOURCE.peer}


# Tokens: no place, and no large answer, in somebody else's name


def test_without_the_token_of_its_address_nobody_gets_in() -> None:
    at = AtDesk()
    at.open()
    token = at.token(far(0))

    def with_token(remote: tuple[str, int], said: bytes) -> int:
        arguments = codec.sign(PEERS[0], 7, m.Join(STREAM, said))
        return at.refused(lambda: at.ask(m.Join.method, arguments, remote))

    assert with_token(far(1), token) == m.TOKEN_OLD
    assert with_token(far(0), bytes(8)) == m.TOKEN_OLD
    at.now += 121
    assert with_token(far(0), token) == m.TOKEN_OLD
    assert at.desk.registry.member_count == 1


def test_no_answer_is_three_times_its_question() -> None:
    at = AtDesk(FREE)
    crowd(at, 40)
    for n in range(40):
        at.join(PEERS[n], far(n), wanted=32)
        at.delete(PEERS[n], far(n), PEERS[(n + 1) % 40].peer, 1)
    assert at.largest <= 3.0


def test_a_forged_signature_is_refused() -> None:
    at = AtDesk()
    at.open()
    arguments = codec.sign(PEERS[0], 7, m.Join(STREAM, at.token(far(0))))
    broken = arguments[b"e"][:-10] + b"forgedsigne"[:9] + b"e"
    with pytest.raises(CallError, match="signature"):
        at.ask(m.Join.method, {b"e": broken}, far(0))
    with pytest.raises(WireError):
        at.ask(m.Join.method, {b"e": b"rubbish"}, far(0))
    assert at.desk.registry.member_count == 1


# Twice, late, and out of order


def test_said_twice_it_changes_nothing() -> None:
    at = AtDesk()
    at.open()
    arguments = codec.sign(PEERS[0], 7, m.Join(STREAM, at.token(far(0))))
    for _ in range(3):
        at.ask(m.Join.method, arguments, far(0))
    assert at.desk.registry.member_count == 2


def test_a_replayed_join_does_not_bring_back_who_left() -> None:
    at = AtDesk()
    at.open()
    join = codec.sign(PEERS[0], 7, m.Join(STREAM, at.token(far(0))))
    at.ask(m.Join.method, join, far(0))
    at.say(PEERS[0], far(0), lambda token: m.Leave(STREAM, token), 8)
    assert at.refused(lambda: at.ask(m.Join.method, join, far(0))) == m.OVERTAKEN
    at.desk.sweep(at.now)
    assert at.refused(lambda: at.ask(m.Join.method, join, far(0))) == m.OVERTAKEN
    at.say(PEERS[0], far(0), lambda token: m.Join(STREAM, token), 9)
    assert at.desk.registry.member_count == 2
    at.now += 200  # its tokens are worth nothing any more, and its numbers may begin anew
    at.desk.sweep(at.now)
    at.open()
    at.say(PEERS[0], far(0), lambda token: m.Join(STREAM, token), 1)
    assert at.desk.registry.member_count == 2


def test_a_leave_that_was_overtaken_by_a_join_does_nothing() -> None:
    at = AtDesk()
    at.open()
    leave = codec.sign(PEERS[0], 7, m.Leave(STREAM, at.token(far(0))))
    at.say(PEERS[0], far(0), lambda token: m.Join(STREAM, token), 8)
    assert at.refused(lambda: at.ask(m.Leave.method, leave, far(0))) == m.OVERTAKEN
    assert at.desk.registry.member_count == 2


def test_a_peer_that_comes_back_elsewhere_under_its_old_name_is_one() -> None:
    at = AtDesk()
    at.open()
    at.join(PEERS[0], far(0))
    at.join(PEERS[0], far(1))
    assert at.desk.registry.member_count == 2
    (contact,) = (c for c in at.join(PEERS[1], far(2)).contacts if c.peer == PEERS[0].peer)
    assert contact.address == far(1)


# Staying and going


def test_who_does_not_renew_is_forgotten() -> None:
    at = AtDesk()
    crowd(at, 3)
    for _ in range(4):
        at.now += 45
        at.open()
        at.say(PEERS[0], far(0), lambda token: m.Renew(STREAM, token))
    at.desk.sweep(at.now)
    assert set(at.desk.registry.streams[STREAM].members) == {SOURCE.peer, PEERS[0].peer}
    at.now += 121
    at.desk.sweep(at.now)
    assert not at.desk.registry.streams
    assert at.desk.registry.member_count == 0


def test_a_renewal_brings_no_contacts_and_a_ticket_only_at_its_half() -> None:
    at = AtDesk()
    crowd(at, 3)
    first = at.join(PEERS[0], far(0)).ticket
    assert first is not None
    assert first.is_valid(REGISTRY.public, UNIX_S + at.now, 600)
    assert first.peer == PEERS[0].peer

    def renewed() -> m.Joined:
        values = at.say(PEERS[0], far(0), lambda token: m.Renew(STREAM, token, depth=3))
        return codec.decode_joined(values, STREAM, PEERS[0].peer)

    assert renewed().contacts == ()
    assert renewed().ticket is None
    for _ in range(3):
        at.now += 110
        at.open()
        last = renewed()
    assert last.ticket is not None
    assert last.ticket.issued_at > first.issued_at


def test_a_stand_in_signs_no_tickets() -> None:
    at = AtDesk(signs=False)
    assert at.open().ticket is None


def test_who_left_is_not_told() -> None:
    at = AtDesk(FREE)
    crowd(at, 3)
    at.say(PEERS[0], far(0), lambda token: m.Leave(STREAM, token))
    assert at.told(PEERS[1], far(1)) == {PEERS[2].peer, SOURCE.peer}
    at.say(PEERS[0], far(0), lambda token: m.Leave(STREAM, token))  # twice is no error


# Limits: of networks, of calls, of memory


def test_a_network_has_so_many_peers_and_one_place_in_an_answer() -> None:
    at = AtDesk(RegistrySettings(peers_per_network=8, told_per_network=1))
    crowd(at, 3)
    sybils = [keys_of(f"sybil {n}") for n in range(20)]
    codes = []
    for n, keys in enumerate(sybils):
        try:
            at.join(keys, (f"30.1.1.{n}", PORT))
        except CallError as error:
            codes.append(error.code)
    assert codes == [m.FULL] * 12
    for _ in range(30):
        told = at.join(PEERS[0], far(0)).contacts
        assert sum(one.address[0].startswith("30.1.1.") for one in told) == 1
    for n in range(9):
        at.now += 1
        if n < 8:
            at.join(sybils[n], (f"2a00:1:2:3::{n + 1:x}", PORT))  # all of one /64
    assert at.refused(lambda: at.join(sybils[10], ("2a00:1:2:3::ff", PORT))) == m.FULL


def test_eight_names_in_one_network_are_told_as_often_as_one() -> None:
    at = AtDesk(RegistrySettings(calls_per_minute=None, told_per_network=1))
    crowd(at, 24)
    for n in range(8):
        at.join(keys_of(f"sybil {n}"), (f"30.1.1.{n + 1}", PORT))
    told = [one for _ in range(300) for one in at.join(PEERS[0], far(0), wanted=4).contacts]
    false = sum(one.address[0].startswith("30.1.1.") for one in told)
    assert len(told) == 1_200
    assert 25 < false < 85, "one of 24 networks: 50, and not 300"


@pytest.mark.parametrize("address", ["192.168.1.{}", "10.0.0.{}", "127.0.0.{}", "fd00::{}"])
def test_a_school_is_one_network_and_has_no_limits(address: str) -> None:
    at = AtDesk(RegistrySettings(peers_per_network=2, told_per_network=1, calls_per_minute=3))
    at.open()
    for n in range(1, 31):
        at.join(PEERS[n], (address.format(n), PORT))
    told = at.join(PEERS[0], (address.format(99), PORT), wanted=10).contacts
    assert len(told) == 10


def test_an_address_that_calls_too_often_waits_a_minute() -> None:
    at = AtDesk(RegistrySettings(calls_per_minute=5))
    at.open()
    for _ in range(5):
        at.join(PEERS[0], far(0))
    assert at.refused(lambda: at.join(PEERS[0], far(0))) == m.TOO_OFTEN
    at.join(PEERS[1], ("21.0.0.8", PORT))  # an address of the same /24 is another's
    for n in range(2, 7):
        at.join(PEERS[n], (f"2a00::{n}", PORT))
    assert at.refused(lambda: at.join(PEERS[7], ("2a00::7", PORT))) == m.TOO_OFTEN, "a /64 is one"
    at.now += 60
    at.join(PEERS[0], far(0))


def test_a_forged_sender_uses_up_nobodys_calls() -> None:
    at = AtDesk(RegistrySettings(calls_per_minute=5))
    at.open()
    for n in range(50):
        at.token(far(0))
        forged = codec.sign(PEERS[1], n, m.Join(STREAM, bytes(8)))
        assert (
            at.refused(lambda forged=forged: at.ask(m.Join.method, forged, far(0))) == m.TOKEN_OLD
        )  # type: ignore[misc]
    at.join(PEERS[0], far(0))
    assert at.largest <= 3.0


def test_one_who_opens_streams_without_end_fills_no_registry() -> None:
    at = AtDesk(RegistrySettings(streams_per_network=3, calls_per_minute=None))
    for n in range(3):
        keys = keys_of(f"source {n}")
        at.join(keys, ("30.1.1.1", PORT), stream=m.stream_of(keys.public))
    keys = keys_of("source 3")
    stream = m.stream_of(keys.public)
    assert at.refused(lambda: at.join(keys, ("30.1.1.2", PORT), stream=stream)) == m.FULL
    at.join(keys, ("30.1.2.2", PORT), stream=stream)


def test_streams_that_the_operator_named_and_no_others() -> None:
    at = AtDesk(RegistrySettings(streams=frozenset({STREAM})))
    at.join(PEERS[0], far(0))  # its source need not be here
    other = m.stream_of(PEERS[1].public)
    assert at.refused(lambda: at.join(PEERS[1], far(1), stream=other)) == m.NO_STREAM


def test_everything_that_peers_can_fill_is_bounded() -> None:
    limits = RegistryLimits(streams=2, peers=12, peers_per_stream=8, bad=2, gone=4, askers=9)
    at = AtDesk(RegistrySettings(limits=limits, bad_witnesses=1))
    sources = [keys_of(f"source {n}") for n in range(3)]
    codes: Counter[int] = Counter()
    for source in sources:
        stream = m.stream_of(source.public)
        for n, keys in enumerate([source, *PEERS[:20]]):
            try:
                at.join(keys, far(n), stream=stream)
            except CallError as error:
                codes[error.code] += 1
    registry = at.desk.registry
    assert codes[m.FULL] >= 20
    assert [len(stream.members) for stream in registry.streams.values()] == [8, 4]
    assert registry.member_count == 12
    stream = m.stream_of(sources[0].public)
    for n in range(7):
        registry.mark_bad(stream, PEERS[n].peer, at.now + 10 + n)
    assert len(registry.streams[stream].bad) == 2
    for n in range(7):
        registry.leave(stream, PEERS[n].peer, (99, n))
    assert len(registry._gone) <= 4
    assert 0 < len(at.desk._calls) <= 9


def test_a_peer_costs_less_than_its_bound() -> None:
    gc.collect()
    tracemalloc.start()
    registry = Registry()
    rng = random.Random(1)
    source = Newcomer(rng.randbytes(20), ("20.0.0.1", 1), (0, 1), is_source=True)
    registry.join(STREAM, source, 1.0)
    for n in range(4_000):
        address = (f"22.{n >> 8}.{n & 255}.1", 6970)
        registry.join(STREAM, Newcomer(rng.randbytes(20), address, (0, n), depth=3), 1.0)
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / 4_000 < 900
    registry.sweep(1_000.0)
    assert not registry.streams
    assert registry.member_count == 0


def test_every_choice_of_ten_thousand_steps_leaves_the_pools_whole() -> None:
    """Joins, leaves, deaths, marks and silence at random: who is told is who may be told."""
    rng = random.Random(3)
    registry = Registry(expiry_s=50.0)
    peers = [rng.randbytes(20) for _ in range(60)]
    now, number = 0.0, 0
    source = Newcomer(b"s" * 20, ("20.0.0.1", 1), (0, 0), is_source=True)
    for _ in range(10_000):
        now, number = now + rng.random(), number + 1
        peer = rng.choice(peers)
        at = f"22.0.{rng.randrange(9)}.{rng.randrange(1, 9)}" if rng.random() < 0.9 else "2a00::7"
        registry.join(STREAM, Newcomer(b"s" * 20, source.address, (number, 0), is_source=True), now)
        step = rng.random()
        if step < 0.6:
            registry.join(STREAM, Newcomer(peer, (at, 5), (number, 1), rng.random() < 0.8), now)
        elif step < 0.7:
            registry.leave(STREAM, peer, (number, 1))
        elif step < 0.8:
            registry.suspect(STREAM, peer)
        elif step < 0.9:
            registry.mark_bad(STREAM, peer, now + 20)
        else:
            registry.delete(STREAM, peer)
        if rng.random() < 0.05:
            registry.sweep(now, number - 100)
        stream = registry.streams[STREAM]
        members = stream.members.values()
        told = {
            one.peer
            for one in members
            if one.is_open and not one.is_suspect and not one.is_source and not one.bad_until
        }
        pooled = [one.peer for pool in stream.pools.values() for one in pool]
        assert len(pooled) == len(told)
        assert set(pooled) == told
        assert registry.member_count == len(members)
        assert sum(stream.networks.values()) == len(members)
        heard = [one.heard_at for one in members]
        assert heard == sorted(heard)


def test_counts_name_no_address() -> None:
    at = AtDesk()
    crowd(at, 3)
    assert set(at.desk.counts) == {"tokens", "joins"}
