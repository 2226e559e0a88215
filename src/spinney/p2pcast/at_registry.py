"""`AtRegistry`: a peer's `Finder` that asks a registry, or who stands in for it.

The forest knows names, the registry peer ids and signed calls; this stands between them.  No repair
waits for it: an answer that is late is for the next question, and while there is none those who
were told last are told again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from spinney.errors import CallError, SpinneyError
from spinney.net.host import Address
from spinney.p2pcast import messages as m
from spinney.p2pcast.finding import AtSource
from spinney.p2pcast.place import SOURCE, Name, Place
from spinney.p2pcast.registry import codec as registry_codec
from spinney.p2pcast.registry.contacts import Contacts, Standing
from spinney.p2pcast.registry.messages import CONTACTS_MAX, DEPTH_MAX, STRIPES_MAX, Alive, Joined
from spinney.p2pcast.trust.identity import KeySigner, name_of
from spinney.trust.keys import PEER_ID_BYTES
from spinney.wire.krpc_messages import METHOD_UNKNOWN, Arguments, Query

if TYPE_CHECKING:
    from spinney.p2pcast.station import Station

REMEMBERED = 64
"""Contacts that were told: four answers of sixteen."""
WAIT_S = 1.0
"""For an answer: a token and a call, 100 ms a hop, twice over."""
DOWN_WAIT_S = 0.1
"""After one that did not come: those told before serve an orphan's next round at once."""
PAUSE_S, PAUSE_MOST_S = 1.0, 16.0
"""Between two questions; doubled each time that nobody answers."""
DELETE_S = 10.0
"""A registry that is down is not told of the dead; who renews later is not needed for it."""


class AtRegistry:
    """`stream`: 32 bytes.  `contacts`: of this station's port and key."""

    def __init__(
        self, station: Station, signer: KeySigner, contacts: Contacts, stream: bytes
    ) -> None:
        self.station = station
        self.signer = signer
        self.contacts = contacts
        self.stream = stream
        self.problem: SpinneyError | None = None
        """Why nobody could be asked the last time."""
        self.serves: Callable[[Query], Arguments] | None = None
        """A registry that this peer carries in another's stead."""
        self._source = AtSource(station, signer.name)
        self._told: dict[Name, Address] = {}
        self._peers = -1
        self._is_open = False
        self._asking: asyncio.Event | None = None
        self._next_at = 0.0
        self._pause_s = PAUSE_S
        station.outside = self.answer

    def answer(self, query: Query) -> Arguments:
        """`p2pcast.alive`, by which a registry asks whether we live; and a stand-in's calls."""
        if query.method == Alive.method:
            return registry_codec.answer_alive(self.signer.keys, self.stream, query.arguments)
        if self.serves is None:
            raise CallError("no registry is here", METHOD_UNKNOWN)
        return self.serves(query)

    # -- live peers -----------------------------------------------------------------------

    async def some(self, count: int, *, staying: bool = False) -> m.Joined:
        becomes_open = staying and not self._is_open
        self._is_open = self._is_open or staying
        now = self.station.host.time()
        if self._asking is None and (now >= self._next_at or becomes_open):
            self._asking = asyncio.Event()
            if not self.station.spawn(self._ask(count, self._asking)):
                self._asking = None
        if self._asking is not None:
            wait_s = WAIT_S if self.problem is None else DOWN_WAIT_S
            await asyncio.wait([asyncio.ensure_future(self._asking.wait())], timeout=wait_s)
        return self._names(count)

    async def _ask(self, count: int, done: asyncio.Event) -> None:
        try:
            # Who becomes open must say so; else a join, which names others, renews as well.
            standing = Standing(self._is_open, depth=self._depth())
            if count:
                wanted = min(count, CONTACTS_MAX)
                joined = await self.contacts.join(self.stream, wanted, standing)
            else:
                joined = await self.contacts.renew(self.stream, standing)
        except SpinneyError as error:
            self.problem = error
            self._next_at = self.station.host.time() + self._pause_s
            self._pause_s = min(2 * self._pause_s, PAUSE_MOST_S)
        else:
            self._note(joined)
            self._next_at = self.station.host.time() + PAUSE_S
            self._pause_s, self.problem = PAUSE_S, None
        finally:
            self._asking = None
            done.set()

    def _depth(self) -> int | None:
        """Of its own tree, in which it has children."""
        seat = self.station.seats[self.signer.name]
        if seat.place.stripe < 0:
            return None
        return min(max(seat.limbs[seat.place.stripe].below, 0), DEPTH_MAX)

    def _note(self, joined: Joined) -> None:
        station, told = self.station, self._told
        self._peers = joined.open
        if joined.ticket is not None and station.guard is not None:
            station.guard.clock_offset_s = joined.ticket.issued_at - station.host.wall_time()
        for contact in joined.contacts:
            if contact.peer == self.stream[:PEER_ID_BYTES]:
                station.book.source = contact.address
                continue
            name = name_of(contact.peer)
            if station.guard is not None:
                station.guard.ids.setdefault(name, contact.peer)
            told.pop(name, None)
            told[name] = contact.address
        while len(told) > REMEMBERED:
            del told[next(iter(told))]

    def _names(self, count: int) -> m.Joined:
        """Of those told: the last ones, as many as are wanted."""
        station = self.station
        names = [name for name in reversed(self._told) if not station.avoids(name)]
        names = names[: max(count, 0)]
        if count and self._peers == 0:
            names.append(SOURCE)
        known = {name: self._told[name] for name in names if name >= 0}
        station.book.learn(known)
        spare = max(station.seats[self.signer.name].place.spare, 0)
        return m.Joined(station.stripes, spare, self._peers, tuple(names), known)

    # -- the dead, and going --------------------------------------------------------------

    async def delete(self, accused: Name, tree: int = 0) -> None:
        self._told.pop(accused, None)
        if self.station.distrusts(accused) or await self.station.look(accused) is not None:
            return  # it cheats, or sent us away, but lives: false deaths count against who says so
        guard = self.station.guard
        peer = guard.ids.get(accused) if guard is not None else None
        if peer is None or self.problem is not None or tree >= STRIPES_MAX:
            return
        try:
            async with asyncio.timeout(DELETE_S):
                await self.contacts.delete(self.stream, peer, tree)
        except (SpinneyError, TimeoutError):
            self.station.counts["deaths not told"] += 1

    async def accuse(self, parent: Name, tree: int) -> None:
        self._told.pop(parent, None)
        guard = self.station.guard
        peer = guard.ids.get(parent) if guard is not None else None
        if peer is None or self.problem is not None:
            return
        self.station.counts["accused"] += 1
        try:
            async with asyncio.timeout(DELETE_S):
                await self.contacts.accuse(self.stream, peer, tree)
        except (SpinneyError, TimeoutError):
            self.station.counts["cheats not told"] += 1

    async def leave(self) -> None:
        self._is_open = False
        left = asyncio.ensure_future(self.contacts.leave(self.stream))
        await asyncio.wait([left], timeout=WAIT_S)
        left.cancel()

    async def place_me(self, place: Place, *, leaving: bool = False) -> None:
        await self._source.place_me(place, leaving=leaving)
