"""What comes to a registry of P2PCast and what it answers; its link, and its file."""

from __future__ import annotations

import contextlib
import random

from tests.fuzz.targets import Target

from spinney.errors import CallError, InputError, WireError
from spinney.net.host import Address
from spinney.p2pcast.registry import codec, snapshot
from spinney.p2pcast.registry import messages as m
from spinney.p2pcast.registry.desk import Desk
from spinney.p2pcast.registry.link import parse_link
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.p2pcast.registry.streams import Newcomer, Registry
from spinney.trust.keys import Keys
from spinney.wire import bencode
from spinney.wire.krpc_messages import Query

_KEYS = Keys(bytes(32))
_STREAM = m.stream_of(_KEYS.public)
_AT: Address = ("192.0.2.1", 6970)
_RNG = random.Random(1)
_DESK = Desk(RegistrySettings(), None, _RNG, _RNG.randbytes)
_TOKEN = _DESK.tokens.give(_AT, 0.0)


def registry_call(data: bytes) -> None:
    """The first byte chooses the call, the rest is its envelope or its arguments."""
    methods = [*sorted(codec.SAID), m.AskToken.method, m.Alive.method]
    method = methods[data[0] % len(methods)] if data else b""
    tables = [{b"e": data[1:]}]
    with contextlib.suppress(WireError):
        table = bencode.decode(data[1:])
        if isinstance(table, dict):
            tables.append(table)
    for table in tables:
        with contextlib.suppress(WireError, CallError):
            reply = _DESK.answer(Query(method, table, _AT, b"tttt", False, 700), 1.0, 1.8e9)
            assert len(bencode.encode(reply.values)) <= 700
        with contextlib.suppress(WireError):
            codec.answer_alive(_KEYS, _STREAM, table)
    registry = _DESK.registry
    assert registry.member_count == sum(len(one.members) for one in registry.streams.values())


def registry_answer(data: bytes) -> None:
    with contextlib.suppress(WireError):
        values = bencode.decode(data)
        if not isinstance(values, dict):
            return
        codec.proves_alive(m.Alive(_STREAM, _KEYS.peer, bytes(16)), values)
        for decode in (codec.decode_token, codec.decode_verdict):
            with contextlib.suppress(WireError):
                decode(values)
        joined = codec.decode_joined(values, _STREAM, _KEYS.peer)
        assert len(joined.contacts) <= m.CONTACTS_MAX
        again = codec.encode_joined(joined)
        assert codec.decode_joined(again, _STREAM, _KEYS.peer) == joined


def registry_link(data: bytes) -> None:
    with contextlib.suppress(InputError):
        link = parse_link(data.decode("utf-8", "replace"))
        assert parse_link(str(link)).registries == link.registries


def registry_state(data: bytes) -> None:
    """A whole file, and the same bytes under a checksum that fits."""
    for candidate in (data, b"".join(snapshot.SEAL.parts([data]))):
        registry = Registry()
        with contextlib.suppress(WireError):
            snapshot.restore(candidate, registry, 1_000.0)


def _said(said: m.Said, number: int) -> bytes:
    envelope: bytes = codec.sign(_KEYS, number, said)[b"e"]
    return bytes((sorted(codec.SAID).index(said.method),)) + envelope


def _state() -> bytes:
    registry = Registry()
    registry.join(_STREAM, Newcomer(_KEYS.peer, _AT, (0, 1), is_source=True), 1.0)
    registry.join(_STREAM, Newcomer(b"p" * 20, ("2001:db8::1", 1), (0, 1), depth=2), 1.0)
    return snapshot.pack_stream(_STREAM, registry.streams[_STREAM], 2.0)


_CONTACTS = (m.Contact(b"a" * 20, _AT, 3), m.Contact(b"b" * 20, ("2001:db8::1", 9)))
_TICKET = m.Ticket.issue(_KEYS, _STREAM, _KEYS.peer, 1_800_000_000)
_WATCHED = ("spinney.p2pcast.registry.codec", "spinney.p2pcast.registry.desk")

TARGETS: dict[str, Target] = {
    "registry-call": Target(
        registry_call,
        (
            _said(m.Join(_STREAM, _TOKEN, depth=2), 1),
            _said(m.Renew(_STREAM, _TOKEN), 2),
            _said(m.Leave(_STREAM, _TOKEN), 3),
            _said(m.Delete(_STREAM, _TOKEN, b"a" * 20, 1), 4),
            _said(m.Accuse(_STREAM, _TOKEN, b"a" * 20, 1, (b"x", b"y")), 5),
            b"\x05" + bencode.encode(codec.encode_ask(m.AskToken(_STREAM))),
            b"\x06" + bencode.encode(codec.encode_ask(m.Alive(_STREAM, _KEYS.peer, bytes(16)))),
        ),
        _WATCHED,
    ),
    "registry-answer": Target(
        registry_answer,
        (
            bencode.encode(codec.encode_joined(m.Joined(_TOKEN, 45, 9, _AT, _CONTACTS, _TICKET))),
            bencode.encode(codec.encode_verdict(m.Verdict(_TOKEN, m.HEARD))),
        ),
        ("spinney.p2pcast.registry.codec",),
    ),
    "registry-link": Target(
        registry_link,
        (f"p2pcast:{_STREAM.hex()}?r={_KEYS.public.hex()}@192.0.2.1:6970&dn=x".encode(),),
        ("spinney.p2pcast.registry.link",),
    ),
    "registry-state": Target(
        registry_state,
        (_state(), b"".join(snapshot.SEAL.parts([_state()]))),
        ("spinney.p2pcast.registry.snapshot",),
    ),
}
