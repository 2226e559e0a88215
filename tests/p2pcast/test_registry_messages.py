"""The registry's messages, in the order of the paper's section 7, then tokens, tickets, links."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.p2pcast.registries import REGISTRY, SOURCE, STREAM, keys_of

from spinney.errors import InputError, WireError
from spinney.p2pcast.registry import codec
from spinney.p2pcast.registry import messages as m
from spinney.p2pcast.registry.link import (
    LINK_CHARACTERS_MAX,
    REGISTRIES_MAX,
    RegistryPlace,
    StreamLink,
    parse_link,
    parse_place,
)
from spinney.p2pcast.registry.tokens import Tokens
from spinney.trust import envelope
from spinney.trust.envelope import file_tag
from spinney.wire import bencode
from spinney.wire.krpc_messages import MAX_SENT_BYTES, encode_answer, encode_query

PEER = keys_of("peer")
TOKEN = b"tokenooo"
IDS = some.binary(min_size=20, max_size=20)
STREAMS = some.binary(min_size=32, max_size=32)
TOKENS = some.binary(min_size=8, max_size=8)
DEPTHS = some.none() | some.integers(0, m.DEPTH_MAX)
STRIPES = some.integers(0, m.STRIPES_MAX - 1)
PROOFS = some.none() | some.tuples(some.binary(max_size=420), some.binary(max_size=420))
SAID = some.one_of(
    some.builds(
        m.Join, STREAMS, TOKENS, some.integers(0, 32), some.booleans(), some.booleans(), DEPTHS
    ),
    some.builds(m.Renew, STREAMS, TOKENS, some.booleans(), DEPTHS),
    some.builds(m.Leave, STREAMS, TOKENS),
    some.builds(m.Delete, STREAMS, TOKENS, IDS, STRIPES),
    some.builds(m.Accuse, STREAMS, TOKENS, IDS, STRIPES, PROOFS),
)
PORTS = some.integers(1, 65_535)
ADDRESSES = some.tuples(some.ip_addresses(v=4).map(str) | some.ip_addresses(v=6).map(str), PORTS)
CONTACTS = some.lists(some.builds(m.Contact, IDS, ADDRESSES, DEPTHS), max_size=m.CONTACTS_MAX)


@settings(max_examples=50, deadline=None)
@given(SAID, some.integers(0, 1 << 62))
def test_what_a_peer_says_comes_back_as_it_was_said_and_fits_a_datagram(
    said: m.Said, sequence: int
) -> None:
    arguments = codec.sign(PEER, sequence, said)
    assert len(encode_query(b"tttt", said.method, arguments)) <= MAX_SENT_BYTES
    read, sealed = codec.read_said(said.method, arguments)
    assert read == said
    assert (sealed.peer_id, sealed.sequence) == (PEER.peer, sequence)
    assert sealed.verified()


@settings(max_examples=50, deadline=None)
@given(TOKENS, some.integers(1, m.RENEW_S_MAX), some.integers(0, 1 << 30), ADDRESSES, CONTACTS)
def test_what_a_registry_answers_comes_back_as_it_was_said(
    token: bytes, renew_s: int, members: int, seen: tuple[str, int], contacts: list[m.Contact]
) -> None:
    ticket = m.Ticket.issue(REGISTRY, STREAM, PEER.peer, 1_800_000_000)
    said = m.Joined(token, renew_s, members, seen, tuple(contacts), ticket)
    read = codec.decode_joined(codec.encode_joined(said), STREAM, PEER.peer)
    assert sorted(read.contacts, key=repr) == sorted(said.contacts, key=repr)
    assert (read.token, read.renew_s, read.members, read.seen) == (token, renew_s, members, seen)
    assert read.ticket == ticket
    assert codec.decode_token(codec.encode_token(m.Token(token))).token == token
    for state in m.VERDICTS:
        verdict = m.Verdict(token, state)
        assert codec.decode_verdict(codec.encode_verdict(verdict)) == verdict


VALUES = some.recursive(
    some.integers(-5, 70_000) | some.binary(max_size=70),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.binary(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = some.sampled_from(
    [b"e", b"i", b"o", b"t", b"n", b"u", b"b", b"d", b"p", b"s", b"x", b"c", b"k", b"r", b"y", b"v"]
)
TABLES = some.dictionaries(KEYS, VALUES, max_size=8)
METHODS = some.sampled_from([*sorted(codec.SAID), b"p2pcast.other"])


@settings(max_examples=150, deadline=None)
@given(TABLES, METHODS)
def test_any_table_is_read_or_raises_the_one_error(
    table: dict[bytes, object], method: bytes
) -> None:
    """As arguments, as the message inside a good envelope, and as the values of an answer."""
    inside = envelope.make(
        PEER, file_tag(STREAM), 1, {**table, b"i": STREAM, b"o": TOKEN, b"t": method[8:]}
    )
    for arguments in (table, {b"e": inside}, {b"e": bencode.encode(table)}):
        with contextlib.suppress(WireError):
            said, sealed = codec.read_said(method, arguments)
            assert codec.read_said(method, codec.sign(PEER, sealed.sequence, said))[0] == said
        with contextlib.suppress(WireError):
            codec.read_ask_token(arguments)
        with contextlib.suppress(WireError):
            codec.answer_alive(PEER, STREAM, arguments)
        with contextlib.suppress(WireError):
            assert len(codec.decode_joined(arguments, STREAM, PEER.peer).contacts) <= m.CONTACTS_MAX
        for decode in (codec.decode_token, codec.decode_verdict):
            with contextlib.suppress(WireError):
                decode(arguments)
        codec.proves_alive(m.Alive(STREAM, PEER.peer, bytes(16)), arguments)


@settings(max_examples=120, deadline=None)
@given(SAID, some.integers(0, 400), some.integers(0, 3), some.binary(max_size=3))
def test_a_changed_envelope_is_refused_or_not_verified(
    said: m.Said, at: int, cut: int, new: bytes
) -> None:
    whole = codec.sign(PEER, 5, said)[b"e"]
    data = whole[:at] + new + whole[at + cut :]
    if data == whole:
        return
    try:
        _, sealed = codec.read_said(said.method, {b"e": data})
    except WireError:
        return
    assert not sealed.verified()


def test_an_envelope_of_one_call_is_no_other_and_of_one_stream_no_other() -> None:
    arguments = codec.sign(PEER, 1, m.Leave(STREAM, TOKEN))
    with pytest.raises(WireError, match="another call"):
        codec.read_said(m.Join.method, arguments)
    row = {b"t": b"leave", b"i": bytes(32), b"o": TOKEN}
    with pytest.raises(WireError, match="another stream"):
        codec.read_said(m.Leave.method, {b"e": envelope.make(PEER, file_tag(STREAM), 1, row)})


def test_who_answers_alive_proves_with_its_key_that_it_is_the_accused() -> None:
    ask = m.Alive(STREAM, PEER.peer, b"n" * 16)
    answer = codec.answer_alive(PEER, STREAM, codec.encode_ask(ask))
    assert codec.proves_alive(ask, answer)
    size = len(encode_query(b"tttt", ask.method, codec.encode_ask(ask)))
    assert len(encode_answer(b"tttt", answer)) <= 3 * size
    assert not codec.proves_alive(m.Alive(STREAM, PEER.peer, b"m" * 16), answer)
    other = keys_of("who has its address now")
    with pytest.raises(WireError):
        codec.answer_alive(other, STREAM, codec.encode_ask(ask))
    forged = {b"k": other.public, b"z": other.sign(codec._alive_text(ask))}
    assert not codec.proves_alive(ask, forged)


# Proof of cheating: two envelopes with one number


def test_only_two_different_envelopes_with_one_number_are_a_proof() -> None:
    tag = file_tag(STREAM)
    one = envelope.make(PEER, tag, 9, {b"depth": 2})
    other = envelope.make(PEER, tag, 9, {b"depth": 7})
    assert codec.contradict(PEER.peer, (one, other))
    assert not codec.contradict(PEER.peer, (one, one))
    assert not codec.contradict(PEER.peer, (one, envelope.make(PEER, tag, 10, {b"depth": 7})))
    assert not codec.contradict(PEER.peer, (one, envelope.make(SOURCE, tag, 9, {b"depth": 7})))
    assert not codec.contradict(SOURCE.peer, (one, other))
    assert not codec.contradict(PEER.peer, (one, other[:-3] + b"xxe"))
    assert not codec.contradict(PEER.peer, (one, b"rubbish"))
    elsewhere = envelope.make(PEER, file_tag(bytes(32)), 9, {b"depth": 7})
    assert not codec.contradict(PEER.peer, (one, elsewhere))


# Tokens and tickets


def test_a_token_is_bound_to_its_address_and_ends() -> None:
    tokens = Tokens(b"s" * 32, 60.0)
    at = ("192.0.2.1", 7)
    token = tokens.give(at, 1_000.0)
    assert tokens.epoch_of(token, at, 1_000.0) == tokens.epoch_of(token, at, 1_060.0) == 16
    assert tokens.epoch_of(token, at, 1_081.0) is None
    assert tokens.epoch_of(token, ("192.0.2.1", 8), 1_000.0) is None
    assert tokens.epoch_of(token, ("192.0.2.2", 7), 1_000.0) is None
    assert Tokens(b"t" * 32, 60.0).epoch_of(token, at, 1_000.0) is None
    assert tokens.epoch_of(bytes(8), at, 1_000.0) is None


def test_a_ticket_tells_a_registered_peer() -> None:
    ticket = m.Ticket.issue(REGISTRY, STREAM, PEER.peer, 1_000)
    assert ticket.is_valid(REGISTRY.public, 1_500, 600)
    assert not ticket.is_valid(REGISTRY.public, 1_000 + 600 + m.TICKET_SKEW_S + 1, 600)
    assert not ticket.is_valid(REGISTRY.public, 1_000 - m.TICKET_SKEW_S - 1, 600)
    assert not ticket.is_valid(SOURCE.public, 1_500, 600)
    assert ticket.is_signed(REGISTRY.public), "but it was signed, however wrong this clock is"
    for forged in (
        m.Ticket(STREAM, SOURCE.peer, 1_000, ticket.signature),
        m.Ticket(bytes(32), PEER.peer, 1_000, ticket.signature),
        m.Ticket(STREAM, PEER.peer, 1_400, ticket.signature),
        m.Ticket.issue(PEER, STREAM, PEER.peer, 1_000),
    ):
        assert not forged.is_valid(REGISTRY.public, 1_500, 600)


# Links

NAMES = some.text(min_size=1, max_size=20).filter(
    lambda text: text.isprintable() and text.isascii()
)
PLACES = some.builds(
    RegistryPlace,
    some.tuples(some.sampled_from(["192.0.2.1", "2001:db8::1", "radio.example"]), PORTS),
    some.none() | some.binary(min_size=32, max_size=32),
)


@settings(max_examples=50, deadline=None)
@given(STREAMS, some.lists(PLACES, max_size=REGISTRIES_MAX), some.none() | NAMES)
def test_a_link_reads_back(stream: bytes, places: list[RegistryPlace], name: str | None) -> None:
    link = StreamLink(stream, tuple(places), name)
    assert parse_link(str(link)) == link


@settings(max_examples=100, deadline=None)
@given(some.text(max_size=80), some.integers(0, 90))
def test_any_text_is_a_link_or_raises_the_one_error(text: str, at: int) -> None:
    good = f"p2pcast:{'ab' * 32}?r={'cd' * 32}@192.0.2.1:6970"
    for candidate in (text, good[:at] + text + good[at:], "p2pcast:" + text):
        with contextlib.suppress(InputError):
            assert parse_link(str(parse_link(candidate))).stream


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ("magnet:?xt=1", "begins with p2pcast:"),
        ("p2pcast:abc", "64 hexadecimal digits"),
        ("p2pcast:" + "zz" * 32, "64 hexadecimal digits"),
        (f"p2pcast:{'ab' * 32}?r=12@h:1", "no key"),
        (f"p2pcast:{'ab' * 32}?r=h:99999", "no address"),
        (f"p2pcast:{'ab' * 32}?r=h:0", "no port"),
        (f"p2pcast:{'ab' * 32}?" + "&".join(["r=h:1"] * 17), "at most 16"),
        (f"p2pcast:{'ab' * 32}?" + "&".join(["r=h:1"] * 40), "too many"),
        ("p2pcast:" + "a" * LINK_CHARACTERS_MAX, "at most 4096"),
    ],
)
def test_a_bad_link_says_what_is_wrong(link: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_link(link)


def test_a_place_by_itself() -> None:
    place = parse_place(f"{'cd' * 32}@[2001:db8::1]:6970")
    assert place == RegistryPlace(("2001:db8::1", 6970), b"\xcd" * 32)
    assert parse_place(str(place)) == place
