"""DELETE (paper, section 7) and who is believed; parents that cheat; time until they are out."""

from __future__ import annotations

import pytest
from tests.p2pcast.registries import PORT, SOURCE, STREAM, AtDesk, far, keys_of

from spinney.errors import CallError, WireError
from spinney.p2pcast.registry import codec
from spinney.p2pcast.registry import messages as m
from spinney.p2pcast.registry import witnesses as registry_witnesses
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.trust import envelope
from spinney.trust.envelope import file_tag

SETTINGS = RegistrySettings(calls_per_minute=None, told_per_network=None)
PEERS = [keys_of(f"peer {n}") for n in range(12)]
DEAD = PEERS[9]


def crowd(settings: RegistrySettings = SETTINGS) -> AtDesk:
    at = AtDesk(settings)
    at.open()
    for n, keys in enumerate(PEERS):
        at.join(keys, far(n))
    return at


def is_in(at: AtDesk, peer: bytes = DEAD.peer) -> bool:
    return at.desk.registry.member(STREAM, peer) is not None


def silent(at: AtDesk) -> None:
    at.desk.probed(at.probes[-1], None, at.now)


def lives(at: AtDesk) -> None:
    ask = at.probes[-1].ask
    at.desk.probed(at.probes[-1], codec.answer_alive(DEAD, STREAM, codec.encode_ask(ask)), at.now)


# DELETE


def test_one_neighbour_is_not_believed_even_when_the_accused_is_silent() -> None:
    at = crowd()
    for _ in range(5):
        assert at.delete(PEERS[0], far(0), DEAD.peer, 1) == m.HEARD
    assert len(at.probes) == 1
    assert at.probes[0].address == far(9)
    silent(at)
    assert is_in(at)
    assert DEAD.peer not in at.told(PEERS[1], far(1)), "but nobody is sent to it meanwhile"


def test_two_neighbours_in_one_stripe_are_not_believed() -> None:
    at = crowd()
    for n in range(4):
        at.delete(PEERS[n], far(n), DEAD.peer, 1)
    silent(at)
    assert is_in(at)


def test_two_stripes_are_not_believed_before_the_accused_was_asked() -> None:
    at = crowd()
    at.delete(PEERS[0], far(0), DEAD.peer, 1)
    assert at.delete(PEERS[1], far(1), DEAD.peer, 2) == m.HEARD
    assert len(at.probes) == 1
    assert is_in(at)
    silent(at)
    assert not is_in(at)
    assert at.delete(PEERS[2], far(2), DEAD.peer, 2) == m.GONE


def test_the_second_stripe_after_the_silence_is_believed_at_once() -> None:
    at = crowd()
    at.delete(PEERS[0], far(0), DEAD.peer, 1)
    silent(at)
    at.now += 5
    assert at.delete(PEERS[1], far(1), DEAD.peer, 2) == m.GONE
    assert not is_in(at)
    assert len(at.probes) == 1


def test_a_silence_of_long_ago_is_no_silence_now() -> None:
    at = crowd()
    at.delete(PEERS[0], far(0), DEAD.peer, 1)
    silent(at)
    at.now += 21
    assert at.delete(PEERS[1], far(1), DEAD.peer, 2) == m.HEARD
    assert len(at.probes) == 2
    lives(at)
    assert is_in(at)


def test_two_names_of_one_network_are_one_neighbour() -> None:
    at = AtDesk(SETTINGS)
    at.open()
    at.join(DEAD, far(9))
    for n in range(2):
        at.join(PEERS[n], (f"30.1.1.{n}", PORT))
        at.delete(PEERS[n], (f"30.1.1.{n}", PORT), DEAD.peer, n)
    silent(at)
    assert is_in(at)
    at.join(PEERS[3], far(3))
    at.delete(PEERS[3], far(3), DEAD.peer, 5)
    assert not is_in(at)


def test_who_renews_is_not_dead() -> None:
    at = crowd()
    at.delete(PEERS[0], far(0), DEAD.peer, 1)
    silent(at)
    at.say(DEAD, far(9), lambda token: m.Renew(STREAM, token))
    assert DEAD.peer in at.told(PEERS[1], far(1))
    assert at.delete(PEERS[1], far(1), DEAD.peer, 2) == m.HEARD
    assert is_in(at)
    assert len(at.probes) == 2


def test_an_answer_that_somebody_else_gives_is_none() -> None:
    at = crowd()
    at.delete(PEERS[0], far(0), DEAD.peer, 1)
    at.delete(PEERS[1], far(1), DEAD.peer, 2)
    at.desk.probed(at.probes[0], {b"k": PEERS[3].public, b"z": bytes(64)}, at.now)
    assert not is_in(at)


def test_a_probe_that_could_not_be_sent_has_found_nothing_out() -> None:
    at = crowd()
    at.delete(PEERS[0], far(0), DEAD.peer, 1)
    at.delete(PEERS[1], far(1), DEAD.peer, 2)
    at.desk.unprobed(at.probes[0])
    assert is_in(at)
    at.delete(PEERS[2], far(2), DEAD.peer, 2)
    assert len(at.probes) == 2


def test_probes_are_bounded() -> None:
    at = crowd(RegistrySettings(calls_per_minute=None, probes_max=2))
    for n in range(5):
        at.delete(PEERS[10], far(10), PEERS[n].peer, 1)
    assert len(at.probes) == 2


# False accusers


def test_a_false_accuser_is_not_listened_to_any_more() -> None:
    at = crowd()
    liar, other = PEERS[0], PEERS[1]
    for turn in range(3):
        at.delete(liar, far(0), DEAD.peer, 1)
        assert len(at.probes) == turn + 1
        lives(at)
    assert is_in(at)
    at.delete(liar, far(0), DEAD.peer, 1)
    assert len(at.probes) == 3, "nobody is asked at its word"
    at.delete(other, far(1), DEAD.peer, 2)
    silent(at)
    assert is_in(at), "its word does not count as the second stripe's"
    at.now += 601
    at.open()
    for n, keys in ((0, liar), (1, other), (9, DEAD)):
        at.join(keys, far(n))
    at.delete(liar, far(0), DEAD.peer, 1)
    at.delete(other, far(1), DEAD.peer, 2)
    silent(at)
    assert not is_in(at), "ten minutes later it is heard again"


def test_one_who_accuses_more_than_it_has_neighbours_is_deaf_to_us() -> None:
    at = crowd(RegistrySettings(calls_per_minute=None, accused_most=4, probes_max=99))
    for n in range(1, 9):
        at.delete(PEERS[0], far(0), PEERS[n].peer, 1)
    assert len(at.probes) == 4


def test_only_peers_of_the_stream_are_heard_from_where_they_are() -> None:
    at = crowd()
    stranger = keys_of("stranger")
    assert at.refused(lambda: at.delete(stranger, far(50), DEAD.peer, 1)) == m.NO_MEMBER
    assert at.refused(lambda: at.delete(PEERS[0], far(50), DEAD.peer, 1)) == m.NO_MEMBER
    assert at.refused(lambda: at.accuse(stranger, far(50), DEAD.peer)) == m.NO_MEMBER
    with pytest.raises(WireError, match="itself"):
        at.delete(DEAD, far(9), DEAD.peer, 1)
    assert not at.probes


def test_a_replayed_accusation_is_no_second_one() -> None:
    at = crowd()
    said = codec.sign(PEERS[0], 500, m.Delete(STREAM, at.token(far(0)), DEAD.peer, 1))
    for turn in range(4):
        at.ask(m.Delete.method, said, far(0))
        if not turn:
            lives(at)
    assert len(at.probes) == 1
    old = codec.sign(PEERS[0], 499, m.Delete(STREAM, at.token(far(0)), DEAD.peer, 2))
    assert at.refused(lambda: at.ask(m.Delete.method, old, far(0))) == m.OVERTAKEN
    assert not at.desk.witnesses.is_deaf(STREAM, PEERS[0].peer, at.now), "it accused once"


# Parents that cheat


def proof() -> tuple[bytes, bytes]:
    tag = file_tag(STREAM)
    return envelope.make(DEAD, tag, 9, {b"d": 2}), envelope.make(DEAD, tag, 9, {b"d": 7})


def test_a_proven_cheat_is_not_handed_out_any_more_whatever_it_does() -> None:
    at = crowd()
    assert DEAD.peer in at.told(PEERS[0], far(0))
    assert at.accuse(PEERS[0], far(0), DEAD.peer, proof=proof()) == m.GONE
    assert DEAD.peer not in at.told(PEERS[0], far(0))
    at.say(DEAD, far(9), lambda token: m.Renew(STREAM, token))
    assert DEAD.peer not in at.told(PEERS[0], far(0))
    at.say(DEAD, far(9), lambda token: m.Leave(STREAM, token))
    at.join(DEAD, far(20))
    assert DEAD.peer not in at.told(PEERS[0], far(0)), "nor under its old name elsewhere"


def test_a_proof_that_is_none_is_refused_and_costs_the_accused_nothing() -> None:
    at = crowd()
    one, _ = proof()
    with pytest.raises(WireError, match="prove nothing"):
        at.accuse(PEERS[0], far(0), DEAD.peer, proof=(one, one))
    assert DEAD.peer in at.told(PEERS[0], far(0))


def test_several_children_of_different_networks_are_believed_for_a_while() -> None:
    at = crowd()
    assert at.accuse(PEERS[0], far(0), DEAD.peer, 3) == m.HEARD
    assert at.accuse(PEERS[0], far(0), DEAD.peer, 3) == m.HEARD
    at.join(keys_of("a"), ("21.0.0.55", PORT))  # in the first one's network
    assert at.accuse(keys_of("a"), ("21.0.0.55", PORT), DEAD.peer, 3) == m.HEARD
    assert at.accuse(PEERS[1], far(1), DEAD.peer, 3) == m.HEARD
    assert DEAD.peer in at.told(PEERS[0], far(0))
    assert at.accuse(PEERS[2], far(2), DEAD.peer, 3) == m.GONE
    assert DEAD.peer not in at.told(PEERS[0], far(0))
    assert is_in(at), "it keeps its place: blame is local"
    for _ in range(7):
        at.now += 100
        at.open()
        for n in (0, 9):
            at.join(PEERS[n], far(n))
        at.desk.sweep(at.now)
    assert DEAD.peer in at.told(PEERS[0], far(0)), "and is forgiven"


def test_testimonies_of_long_ago_do_not_add_up() -> None:
    at = crowd()
    for n in range(4):
        at.open()
        at.join(DEAD, far(9))
        at.join(PEERS[n], far(n))
        assert at.accuse(PEERS[n], far(n), DEAD.peer, 3) == m.HEARD
        at.now += 301
    at.desk.sweep(at.now + 700)
    assert not at.desk.witnesses.cases


def test_the_source_is_never_marked() -> None:
    at = crowd()
    for n in range(6):
        at.accuse(PEERS[n], far(n), SOURCE.peer)
    alone = keys_of("alone")
    for keys in PEERS:
        at.desk.registry.delete(STREAM, keys.peer)
    assert at.told(alone, far(40)) == {SOURCE.peer}


def test_what_is_said_against_one_peer_is_bounded() -> None:
    at = crowd()
    for n in range(40):
        keys = keys_of(f"child {n}")
        at.join(keys, far(100 + n))
        at.delete(keys, far(100 + n), DEAD.peer, 1)
    (case,) = at.desk.witnesses.cases.values()
    assert len(case.dead) == 16
    at.delete(PEERS[0], far(0), DEAD.peer, 2)  # a crowd in one stripe does not drown the other
    silent(at)
    assert not is_in(at)


def test_cases_and_accusers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_witnesses, "ACCUSERS_MOST", 5)
    book = registry_witnesses.Witnesses(cases_max=3)
    for n in range(20):
        one = registry_witnesses.Testimony(b"%d" % n, b"", 0, 1.0)
        book.says_dead(STREAM, b"accused %d" % n, one)
        book.says_bad(STREAM, b"other %d" % n, one)
    assert len(book.cases) == 3
    assert len(book._counts) == 5
    book.sweep(2_000.0)
    assert not book.cases
    assert not book._counts


def test_an_unknown_call_is_refused() -> None:
    at = crowd()
    with pytest.raises(CallError, match="unknown"):
        at.ask(b"p2pcast.takeon", {}, far(0))
