"""A node of P2PCast's forest, and its source, as they stand: any call, well signed by a neighbour,
by the source or by a stranger.  It is refused by the one error, or leaves a legal place."""

from __future__ import annotations

import asyncio
import contextlib

from tests.fuzz.targets import Target

from spinney.errors import CallError, WireError
from spinney.net.host import Address
from spinney.p2pcast import codec, ticket_codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.book import MOST_ADDRESSES
from spinney.p2pcast.identity import HashSigner
from spinney.p2pcast.node import ForestNode
from spinney.p2pcast.place import NOBODY, SOURCE, Place
from spinney.p2pcast.signing import seal
from spinney.p2pcast.source import SourceNode
from spinney.p2pcast.station import LOCKS, MOST_TASKS
from spinney.p2pcast.tickets import issue
from spinney.p2pcast.transactions import Lock
from spinney.sim import World
from spinney.wire.krpc_messages import Query

_TAG = b"a stream"
_SIX: Address = ("2001:db8::1", 6881)
_PLACE = Place(7, 0, (1, 3), ((2,), ()), (), 1, 5.0, 9)
_WORN_OUT = 400
"""Inputs, after which the two are made anew."""

_NAMED = codec.pack_delete(m.Delete(1, 7))
_BEAT = codec.pack_beat(m.Beat(0, 5, 1, 1, 1, False, False, SOURCE, (), (), {4: _SIX}))
_TAKE = codec.pack_take_on(m.TakeOn(7, 2, 0, 1, 0, NOBODY, True, {2: _SIX}, 5))
_LOCK = codec.pack_lock(m.LockCall(7, Lock(b"12345678", 9, _PLACE, 1, (2,)), {2: _SIX}))
_HASH = HashSigner(1)
_CHAIN = issue(
    _HASH,
    _TAG,
    0,
    issue(HashSigner(SOURCE), _TAG, 0, (), 1, slot=0, version=1, now_unix_s=1.8e9),
    7,
    slot=0,
    version=1,
    now_unix_s=1.8e9,
)
_ROWS: tuple[tuple[bytes, bytes], ...] = (
    (b"update", _BEAT),
    (b"here", codec.pack_here(m.Here(2, 7, 1, 1, 2))),
    (b"search", codec.pack_search(m.Search(7), 2)),
    (b"takeon", _TAKE),
    *((verb, _LOCK) for verb in LOCKS),
    *((verb, codec.pack_decision(m.Decision(7, b"12345678"))) for verb in (b"apply", b"undo")),
    (b"outcome", codec.pack_decision(m.Decision(7, b"12345678"))),
    (b"ticket", ticket_codec.pack_chain(_HASH, 0, 7, _CHAIN)[0]),
    (b"want", ticket_codec.pack_want(2, 0)),
    (b"late", codec.pack_late(m.Late(2, 7, 0, 3_000))),
    *((verb, _NAMED) for verb in (b"doubt", b"hello", b"dial", b"delete", b"heirs")),
    (b"dialled", codec.pack_joined(m.Joined(2, 1, 9, (4,), {4: _SIX}))),
    (b"join", codec.pack_join(m.Join(1, 4, True))),
    (b"place", codec.pack_place_me(m.PlaceMe(1, 1, 5.0))),
)
_SIGNERS = tuple(HashSigner(name) for name in (1, 2, 3, SOURCE, 99))


class _Pair:
    """A node that is in the middle of a forest, and a source.  Nobody else answers."""

    def __init__(self) -> None:
        self.world = World(1)
        self.world.run(self._made())
        self.tried = 0

    async def _made(self) -> None:
        hosts = [self.world.host(name) for name in ("node", "source")]
        self.node = ForestNode(
            hosts[0],
            _TAG,
            (hosts[1].address, 9),
            name=7,
            stripes=2,
            spare=1,
            signer=HashSigner(7),
        )
        self.source = SourceNode(hosts[1], _TAG, stripes=2, spare=1, signer=HashSigner(SOURCE))
        await hosts[0].start(self.node.open((hosts[0].address, 9)))
        await hosts[1].start(self.source.open((hosts[1].address, 9)))
        self.node.seat.take(_PLACE, hosts[0].time())
        self.node.station.book.learn({at: (f"20.9.9.{at}", 9) for at in (1, 2, 3)})

    async def ask(self, at_source: bool, verb: bytes, signer: HashSigner, body: bytes) -> None:
        station = self.source.station if at_source else self.node.station
        method = b"p2pcast." + verb
        number = int(station.host.wall_time() * 1_000) + self.tried
        arguments = seal(signer, _TAG, method, number, body)
        if verb in (b"takeon", b"substitute") and body[:1] == _TAKE[:1]:
            arguments[b"o"] = 1
        remote = (f"20.9.9.{signer.name if signer.name > 0 else 77}", 9)
        with contextlib.suppress(WireError, CallError):
            station._asked(Query(method, arguments, remote, b"tttt", False, 700))
        await asyncio.sleep(0.01)


_PAIRS: list[_Pair] = []


def forest_station(data: bytes) -> None:
    """The first two bytes choose who is asked, by whom, and the call; the rest is its body."""
    if len(data) < 2:
        return
    if not _PAIRS or _PAIRS[0].tried >= _WORN_OUT:
        for worn in _PAIRS:
            worn.world.close()
        _PAIRS[:] = [_Pair()]
    pair = _PAIRS[0]
    pair.tried += 1
    verb = _ROWS[data[0] % len(_ROWS)][0]
    signer = _SIGNERS[(data[1] >> 1) % len(_SIGNERS)]
    pair.world.run(pair.ask(bool(data[1] & 1), verb, signer, data[2:]))
    place = pair.node.place
    assert place.out_degree <= 3
    assert place.name == 7
    for station in (pair.node.station, pair.source.station):
        assert len(station.book) <= MOST_ADDRESSES
        assert len(station._tasks) <= MOST_TASKS


TARGETS: dict[str, Target] = {
    "forest-station": Target(
        forest_station,
        tuple(
            bytes([at, by << 1 | at_source]) + body
            for at, (_, body) in enumerate(_ROWS)
            for by in (0, 1, 3)
            for at_source in (0, 1)
        ),
        tuple(
            f"spinney.p2pcast.{name}"
            for name in ("station", "guard", "papers", "adopting", "source", "seat")
        ),
    ),
}
