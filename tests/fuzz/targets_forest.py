"""What comes to a node of a P2PCast forest: its calls and answers, tickets, signed calls."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tests.fuzz.targets import Target

from spinney.errors import CallError, WireError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.place import NOBODY, SOURCE, Place, Sight
from spinney.p2pcast.transactions import Lock, Outcome, Vote
from spinney.p2pcast.trust import ticket_codec
from spinney.p2pcast.trust.identity import HashSigner, KeySigner
from spinney.p2pcast.trust.signing import Heard, opened, seal
from spinney.p2pcast.trust.tickets import issue, judge
from spinney.trust.keys import Keys
from spinney.wire import bencode

_AT = ("192.0.2.1", 6881)
_SIX = ("2001:db8::1", 6881)
_KNOWN = {1: _AT, 2: _SIX}
_PLACE = Place(7, 0, (SOURCE, 1), ((2, 3), ()), (), 1, 5.0, 9)
_SEEN = m.Seen(Sight(_PLACE, (0, 2), (1, -1), (NOBODY, 1)), (5, 6), _KNOWN)
_LOCK = m.LockCall(7, Lock(b"12345678", 9, _PLACE, 1, (2,)), _KNOWN)
_TAG = b"a stream"
_NOW = 1_800_000_000.0

_READ: tuple[tuple[Callable[[object], object], Callable[..., bytes], bytes], ...] = (
    (codec.read_search, lambda said: codec.pack_search(said, 2), codec.pack_search(m.Search(7), 2)),
    (codec.read_seen, codec.pack_seen, codec.pack_seen(_SEEN)),
    (codec.read_lock, codec.pack_lock, codec.pack_lock(_LOCK)),
    (codec.read_voted, codec.pack_voted, codec.pack_voted(m.Voted(Vote.BUSY, 150))),
    (codec.read_decision, codec.pack_decision, codec.pack_decision(m.Decision(7, b"12345678"))),
    (codec.read_told, codec.pack_told, codec.pack_told(m.Told(Outcome.APPLIED))),
    (
        codec.read_beat,
        codec.pack_beat,
        codec.pack_beat(m.Beat(0, 5, 7, 1, 1, True, False, 1, (2,), (3,), _KNOWN)),
    ),
    (codec.read_here, codec.pack_here, codec.pack_here(m.Here(7, 1, 3, 0, 1))),
    (
        codec.read_take_on,
        codec.pack_take_on,
        codec.pack_take_on(m.TakeOn(7, 1, 0, 5, 0, 2, True, _KNOWN)),
    ),
    (
        codec.read_taken,
        codec.pack_taken,
        codec.pack_taken(m.Taken(m.Taking.FULL, 5, 1, 1, (1, 2), _KNOWN)),
    ),
    (codec.read_join, codec.pack_join, codec.pack_join(m.Join(7, 4, True))),
    (codec.read_joined, codec.pack_joined, codec.pack_joined(m.Joined(2, 1, 9, (1, 2), _KNOWN))),
    (codec.read_place_me, codec.pack_place_me, codec.pack_place_me(m.PlaceMe(7, 1, 5.0, True))),
    (codec.read_delete, codec.pack_delete, codec.pack_delete(m.Delete(7, 1))),
    (codec.read_late, codec.pack_late, codec.pack_late(m.Late(7, 1, 1, 2_500))),
)


def forest_message(data: bytes) -> None:
    """The first byte chooses the message.  What is read is written and read again alike."""
    if not data:
        return
    read, pack, _ = _READ[data[0] % len(_READ)]
    with contextlib.suppress(WireError):
        said = read(data[1:])
        packed = pack(said)
        assert len(packed) <= max(codec.ROOM_BYTES, len(data))
        assert pack(read(packed)) == packed


_HASH = HashSigner(7)
_CHAIN = issue(
    HashSigner(1),
    _TAG,
    0,
    issue(HashSigner(SOURCE), _TAG, 0, (), 1, slot=0, version=1, now_unix_s=_NOW),
    7,
    slot=1,
    version=2,
    now_unix_s=_NOW,
)


def forest_ticket(data: bytes) -> None:
    """Pages and chains.  None but the chain that was signed is believed."""
    with contextlib.suppress(WireError):
        ticket_codec.read_want(data)
    with contextlib.suppress(WireError):
        page = ticket_codec.read_page(_HASH, data)
        chain = ticket_codec.Pages().add(page)
        if chain is None:
            return
        with contextlib.suppress(CallError):
            judge(_HASH, _TAG, page.tree, chain, page.child, _NOW)


_KEY = KeySigner(Keys(bytes(32)), bytes(32))
_METHOD = b"p2pcast.apply"


def forest_call(data: bytes) -> None:
    """A signed call: only the one that was signed is heard."""
    with contextlib.suppress(WireError, CallError):
        table = bencode.decode(data)
        if isinstance(table, dict):
            name, _ = opened(_KEY, Heard(), _TAG, _METHOD, table, _AT, _NOW * 1_000)
            assert name == _KEY.name
            assert table[b"b"] == b"body"


TARGETS: dict[str, Target] = {
    "forest-message": Target(
        forest_message,
        tuple(bytes([at]) + row[2] for at, row in enumerate(_READ)),
        ("spinney.p2pcast.codec", "spinney.p2pcast.table", "spinney.p2pcast.place_codec"),
    ),
    "forest-ticket": Target(
        forest_ticket,
        (*ticket_codec.pack_chain(_HASH, 0, 7, _CHAIN), ticket_codec.pack_want(7, 1)),
        ("spinney.p2pcast.trust.ticket_codec", "spinney.p2pcast.trust.tickets"),
    ),
    "forest-call": Target(
        forest_call,
        (bencode.encode(seal(_KEY, _TAG, _METHOD, int(_NOW * 1_000), b"body")),),
        ("spinney.p2pcast.trust.signing", "spinney.p2pcast.trust.identity"),
    ),
}
