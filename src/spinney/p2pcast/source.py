"""`SourceNode`: the source's two places, its beats, and the placing of few peers.

The source is the parent of the roots and keeps the special node, which is a leaf in every tree and
mends like any peer.  While there are hardly more peers than stripes it lays the forest out itself.
It answers `join` with random live peers, a small stand-in for the registry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, MutableMapping

from spinney.errors import CallError
from spinney.net.host import Address, Datagrams, Host
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.carried import Carried
from spinney.p2pcast.changing import Changing
from spinney.p2pcast.filling import Filling
from spinney.p2pcast.finding import AtSource
from spinney.p2pcast.mending import Mending
from spinney.p2pcast.place import NOBODY, SOURCE, SPECIAL, Name, Place, empty_place
from spinney.p2pcast.plans.checks import Broken, whole
from spinney.p2pcast.plans.draft import Plan
from spinney.p2pcast.plans.layout import lay_out
from spinney.p2pcast.reaching import Dials
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.station import Station
from spinney.p2pcast.trust.identity import Signer
from spinney.p2pcast.trust.signing import NOT_YOURS
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import Arguments, Query

MOST_PEERS = 200_000
"""Names kept: some 200 bytes each."""
MOST_WAITING = 64
"""Newcomers that wait to be placed among few: more than any layout takes at once."""
HEIRS = 4
"""Of one fallen peer: each of them has its will."""
MOST_FALLEN = 1_000
"""Of whom heirs are remembered: a tenth of ten thousand, at once."""
FILL_PATIENCE = 20.0
"""As for every node."""
MOST_PATIENCE = 4.0
"""Times `call_s` that peers have to answer before they are laid out, if some did not in less."""
KEEP_S = 1.0
"""Between looks at few peers."""


class Registered:
    """Live peers by name, with random choice.  In memory."""

    def __init__(self) -> None:
        self._at: dict[Name, int] = {}
        self._names: list[Name] = []

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: Name) -> bool:
        return name in self._at

    @property
    def names(self) -> list[Name]:
        return self._names

    def add(self, name: Name) -> None:
        if name not in self._at and len(self._names) < MOST_PEERS:
            self._at[name] = len(self._names)
            self._names.append(name)

    def remove(self, name: Name) -> None:
        at = self._at.pop(name, None)
        if at is not None:
            last = self._names.pop()
            if last != name:
                self._names[at], self._at[last] = last, at

    def expel(self, name: Name) -> None:
        """The source itself found it cheating: not handed out until it says again that it is here
        (a registry remembers it for longer)."""
        self.remove(name)


class SourceNode:
    """The source of a forest of `stripes` trees, whose peers offer `spare` slots."""

    def __init__(
        self,
        host: Host,
        stream: bytes,
        *,
        stripes: int,
        spare: int,
        settings: Settings | None = None,
        signer: Signer | None = None,
    ) -> None:
        assert signer is None or signer.name == SOURCE
        self.host = host
        self.signer = signer
        self.stripes = stripes
        self.settings = settings or Settings()
        self.peers: Registered | Carried = Registered()
        self.addresses: MutableMapping[Name, Address] = {}
        self.spare = spare
        self._stream = stream
        self._waiting: dict[Name, m.PlaceMe] = {}
        self._leaving: dict[Name, None] = {}
        self._checking: dict[Name, None] = {}
        self._came: dict[Name, Address] = {}
        """From where each asked for peers last."""
        self._dials = Dials()
        self._heirs: dict[Name, dict[Name, Address]] = {}
        self._datagrams: Datagrams | None = None
        self._sequence = int(host.wall_time() / self.settings.beat_s) % (1 << 32)
        self.layouts = 0

    async def open(self, local: Address) -> None:
        krpc = Krpc(self.host)
        self._datagrams = await self.host.open_datagrams(krpc, local)
        krpc.use(self._datagrams)
        self.use(krpc, self._datagrams.local_address)

    def use(self, krpc: Krpc, local: Address) -> None:
        self.station = Station(self.host, self._stream, local, self.settings, self.signer)
        station, now = self.station, self.host.time()
        source = empty_place(SOURCE, self.stripes, spare=self.spare)
        made = lay_out(self.stripes, [], source, empty_place(SPECIAL, self.stripes))
        for name in (SOURCE, SPECIAL):
            station.seats[name] = Seat(made[name], self.settings, station.book, now)
        self.source, self.special = station.seats[SOURCE], station.seats[SPECIAL]
        self.changing = Changing(station, SOURCE)
        self.mending = Mending(station, self.special, AtHome(self))
        station.on_orphan = lambda seat, tree, dead: self.mending.orphan(tree, dead)
        station.on_doubtful_parent = lambda seat, tree: self.mending.suspect(tree)
        if not self.spare:
            station.fills = True
            filling = Filling(station, self.special, self.mending.finder)
            station.on_dead = lambda seat, dead: filling.died(dead)
            station.on_doubtful_parent = lambda seat, tree: filling.suspect(tree)
            for seat in (self.source, self.special):
                seat.child_dead_s *= FILL_PATIENCE
                seat.patience_s *= FILL_PATIENCE
        station.on_dropped = lambda seat, child: self.accused(child)
        station.on_cheat = lambda name, tree: self.peers.expel(name)
        station.served = {b"join": self._join, b"delete": self._delete, b"place": self._place}
        station.served[b"heirs"] = self._heirs_of
        station.served[b"dial"] = self._dial
        station.use(krpc)
        loop = asyncio.get_running_loop()
        self._beat_timer = loop.call_later(self.settings.beat_s, self._beat)
        self._keep_timer = loop.call_later(KEEP_S, self._keep)
        self._keeping = False
        self._broken = 0
        self._patience = 1.0

    def close(self) -> None:
        self._beat_timer.cancel()
        self._keep_timer.cancel()
        self.station.close()
        self.station.krpc.close()
        if self._datagrams is not None:
            self._datagrams.close()

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        self._beat_timer = loop.call_later(self.settings.beat_s, self._beat)
        self._sequence = (self._sequence + 1) % (1 << 32) or 1
        for tree, limb in enumerate(self.source.limbs):
            limb.sequence, limb.fresh = self._sequence, loop.time()
            if self.source.place.children[tree] == (SPECIAL,):
                self.special.beaten(self.source.beat(tree), loop.time())
            else:
                self.station.pass_on(self.source, tree)

    # -- the registry's part --------------------------------------------------------------

    def some(self, count: int) -> tuple[Name, ...]:
        names, rng = self.peers.names, self.host.rng
        if len(names) <= count:
            return (*names, SPECIAL)
        return tuple(rng.sample(names, count))

    def _join(self, query: Query, body: object) -> Arguments:
        call = codec.read_join(body)
        self._came.pop(call.name, None)
        self._came[call.name] = query.remote
        if len(self._came) > MOST_PEERS:
            del self._came[next(iter(self._came))]
        if call.staying:
            self.peers.add(call.name)
            self.addresses[call.name] = query.remote
        # Sixteen bytes of name and address each, within three times the question.
        room = max(1, (query.room_bytes - 40) // 16)
        names = self.some(min(call.count, room))
        known = {name: self.addresses[name] for name in names if name >= 0}
        joined = m.Joined(self.stripes, self.spare, len(self.peers), names, known)
        return {b"b": codec.pack_joined(joined, query.room_bytes - 16)}

    def _delete(self, query: Query, body: object) -> Arguments:
        call = codec.read_delete(body)
        if call.sender == call.accused:
            if self.addresses.get(call.sender) == query.remote:
                self._forget(call.sender)
        else:
            self.accused(call.accused)
        return {}

    def accused(self, name: Name) -> None:
        """Somebody says that a peer is dead: it is asked itself."""
        if self.station.distrusts(name):
            return  # it lives, and is not asked: what we would not hear is no death
        if name in self.peers and name not in self._checking:
            self._checking[name] = None
            self.station.book.learn({name: self.addresses[name]})
            if not self.station.spawn(self._check(name)):
                del self._checking[name]

    async def _check(self, name: Name) -> None:
        try:
            wait_s = self.settings.call_s
            for patience in (1.0, 1.0, MOST_PATIENCE):
                if await self.station.look(name, wait_s * patience) is not None:
                    return
            self._forget(name)
        finally:
            del self._checking[name]

    def _forget(self, name: Name) -> None:
        self.peers.remove(name)
        self.addresses.pop(name, None)

    def _heirs_of(self, query: Query, body: object) -> Arguments:
        """Who found a neighbour dead hears who else did; `NOBODY` only asks."""
        call = codec.read_delete(body)
        row = self._heirs.pop(call.accused, {})
        known = {name: at for name, at in row.items() if name != call.sender}
        if call.sender != NOBODY:
            row[call.sender] = query.remote
        self._heirs[call.accused] = dict(list(row.items())[-HEIRS:])
        while len(self._heirs) > MOST_FALLEN:
            del self._heirs[next(iter(self._heirs))]
        joined = m.Joined(self.stripes, self.spare, len(self.peers), tuple(known), known)
        return {b"b": codec.pack_joined(joined, query.room_bytes - 16)}

    def _dial(self, query: Query, body: object) -> Arguments | None:
        """Somebody wants to be dialled by a peer that it cannot reach.  Only who came from that
        address before, which it has shown to be its own, and not without end: what it asks for
        goes to that address."""
        call = codec.read_delete(body)
        if not self._is_at(call.sender, query.remote):
            raise CallError("you did not say that you are there", NOT_YOURS)
        self._dials.count(query.remote[0], self.host.time())
        address = self.addresses.get(call.accused)
        if address is not None:
            wanted = m.Joined(
                self.stripes, self.spare, 0, (call.sender,), {call.sender: query.remote}
            )
            self.station.book.learn({call.accused: address})
            self.station.tell(call.accused, b"p2pcast.dialled", codec.pack_joined(wanted))
        return None

    def _is_at(self, name: Name, address: Address) -> bool:
        guard = self.station.guard
        if isinstance(self.peers, Carried) and guard is not None:
            return self.peers.is_at(guard.ids.get(name, b""), address)
        return self._came.get(name) == address

    # -- few peers ------------------------------------------------------------------------

    def _place(self, query: Query, body: object) -> Arguments:
        call = codec.read_place_me(body)
        if call.leaving:
            self._leaving[call.name] = None
        elif len(self._waiting) < MOST_WAITING:
            self._waiting[call.name] = call
            self.station.book.learn({call.name: query.remote})
            if call.name in self.peers:
                self.addresses[call.name] = query.remote
        if not self._keeping:
            self._keep_timer.cancel()
            self._keep()
        return {}

    def place_special(self) -> None:
        """The special node has looked for a parent in vain, as any peer may who asks for it."""
        place = self.special.place
        self._waiting[SPECIAL] = m.PlaceMe(SPECIAL, place.spare, place.since)

    def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        self._keep_timer = loop.call_later(KEEP_S, self._keep)
        few = len(self.peers) <= self.stripes
        wanted = bool(self._waiting or self._leaving) and len(self.peers) <= 4 * self.stripes
        if not self._keeping and (wanted or (few and len(self.peers))):
            self._keeping = self.station.spawn(self._keep_few())
        elif not wanted:
            self._waiting.clear()
            self._leaving.clear()

    async def _keep_few(self) -> None:
        waiting, leaving = dict(self._waiting), dict(self._leaving)
        try:
            await self._look_after(waiting, leaving)
        finally:
            self._keeping = False
            for name in waiting:
                self._waiting.pop(name, None)
            for name in leaving:
                self._leaving.pop(name, None)

    async def _look_after(self, waiting: Iterable[Name], leaving: Collection[Name]) -> None:
        """Asks everybody; lays the forest out anew if somebody waits or a rule does not hold."""
        station = self.station
        station.book.learn(self.addresses)
        names = dict.fromkeys([*self.peers.names, *waiting])
        seen = await station.look_many(names, self.settings.call_s * self._patience)
        places = {each.sight.place.name: each.sight.place for each in seen}
        gone = [name for name in self.peers.names if name not in places]
        for name in gone:
            self.accused(name)
        # A lay-out without those who are only slow would tear the forest down; the dead are
        # forgotten soon.
        self._patience = min(self._patience + 1.0, MOST_PATIENCE) if gone else 1.0
        if gone:
            return
        able = [name for name, place in places.items() if place.spare >= 0]
        if self.stripes <= len(able) < len(places):
            # A layout has no place for who carries less than f: it would take that from all.
            for name in waiting:
                self._waiting.pop(name, None)
            return
        # Who has found a parent by now needs no other.
        unplaced = [name for name in waiting if name in able and NOBODY in places[name].parents]
        if not unplaced and not leaving:
            known = {**places, SOURCE: self.source.place, SPECIAL: self.special.place}
            try:
                whole(known)
                self._broken = 0
                return
            except Broken:
                self._broken += 1
                if self._broken < 2:
                    return
        kept = [
            place
            for name, place in places.items()
            if name >= 0 and name not in leaving and place.spare >= 0
        ]
        if await self._lay_out(kept):
            self._broken = 0
            for place in kept:
                self.peers.add(place.name)
                address = station.book.find(place.name)
                if address is not None:
                    self.addresses[place.name] = address

    async def _lay_out(self, kept: list[Place]) -> bool:
        kept.sort(key=lambda place: (place.since, place.name))
        before = {place.name: place for place in kept}
        before[SOURCE], before[SPECIAL] = self.source.place, self.special.place
        made = lay_out(self.stripes, kept, self.source.place, self.special.place)
        seen = {name: place.version for name, place in before.items()}
        self.layouts += 1
        return await self.changing.carry_out(Plan("laid out", seen, made, ()), before)


class AtHome:
    """The special node's finder: the registry is in the same process."""

    def __init__(self, source: SourceNode) -> None:
        self._source = source

    async def some(self, count: int, *, staying: bool = False) -> m.Joined:
        source = self._source
        names = source.some(min(count, 32))
        known = {name: source.addresses[name] for name in names if name >= 0}
        source.station.book.learn(known)
        return m.Joined(source.stripes, source.spare, len(source.peers), names, known)

    async def delete(self, accused: Name, tree: int = 0) -> None:
        self._source.accused(accused)

    async def accuse(self, parent: Name, tree: int) -> None:
        """The source's own list has no bad ones."""

    async def leave(self) -> None:
        raise AssertionError("the special node does not leave")

    async def place_me(self, place: Place, *, leaving: bool = False) -> None:
        self._source.place_special()


__all__ = ["AtSource", "SourceNode"]
