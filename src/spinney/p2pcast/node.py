"""`ForestNode`: one peer of a forest: it joins, mends what it loses, and leaves.

    node = ForestNode(host, stream, source_address, name=name, stripes=4, spare=1)
    await node.open(("0.0.0.0", 0))
    await node.join()                 # raises `NoPeersError` if it finds no place in time
    await node.leave()
    node.close()

It knows its own place, what its neighbours said, and addresses: nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from spinney.errors import CannotCarryError, NoPeersError, SpinneyError
from spinney.net.host import Address, Datagrams, Host
from spinney.p2pcast import messages as m
from spinney.p2pcast.carrying import Carrying, least_of, shortfall, slots_of
from spinney.p2pcast.changing import Changing
from spinney.p2pcast.filling import CONTACTS, Filling
from spinney.p2pcast.finding import AtSource, Finder
from spinney.p2pcast.mending import Mending
from spinney.p2pcast.place import NOBODY, Name, Place, empty_place
from spinney.p2pcast.plans.joining import Newcomer, plan_join
from spinney.p2pcast.plans.leaving import plan_leave
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.station import Station
from spinney.p2pcast.trust.identity import Signer
from spinney.wire.krpc import Krpc

FILL_PATIENCE = 20.0
"""Without spare slots a silent child is kept so many times longer, and a branch that is cut off
stays together: a plan replaces who fell."""


class ForestNode:
    """`name`: 63 bits.  `finder`: None for the source's own."""

    def __init__(
        self,
        host: Host,
        stream: bytes,
        source: Address,
        *,
        name: Name,
        stripes: int,
        spare: int,
        settings: Settings | None = None,
        finder: Callable[[Station], Finder] | None = None,
        signer: Signer | None = None,
        upload_bytes_per_s: float | None = None,
    ) -> None:
        assert name >= 0
        assert signer is None or signer.name == name
        self.host = host
        self.settings = settings or Settings()
        self.station = Station(host, stream, source, self.settings, signer)
        self.spare = spare
        self.slots = slots_of(upload_bytes_per_s, self.settings, stripes, spare)
        """Children that its line carries."""
        offered = min(spare, self.slots - stripes)
        place = empty_place(name, stripes, spare=offered, since=host.wall_time())
        self.seat = Seat(place, self.settings, self.station.book, host.time())
        self.seat.patience_s *= 1 + host.rng.random()
        self.station.seats[name] = self.seat
        self.finder = finder(self.station) if finder else AtSource(self.station, name)
        self.changing = Changing(self.station, name)
        self.mending = Mending(self.station, self.seat, self.finder)
        self.carrying = Carrying(self)
        self.problem: SpinneyError | None = None
        """Why it had to go."""
        self.on_problem: Callable[[SpinneyError], None] = lambda error: None
        self.attempts = 0
        """Of joining."""
        self._datagrams: Datagrams | None = None
        self._filling: Filling | None = None

    @property
    def name(self) -> Name:
        return self.seat.name

    @property
    def place(self) -> Place:
        return self.seat.place

    @property
    def is_placed(self) -> bool:
        """Has it a parent in every tree?"""
        return self.seat.place.stripe >= 0 and NOBODY not in self.seat.place.parents

    async def open(self, local: Address) -> None:
        krpc = Krpc(self.host)
        self._datagrams = await self.host.open_datagrams(krpc, local)
        krpc.use(self._datagrams)
        self.use(krpc)

    def use(self, krpc: Krpc) -> None:
        """On a port that other rooms use, too."""
        station = self.station
        station.on_orphan = lambda seat, tree, dead: self.mending.orphan(tree, dead)
        station.on_doubtful_parent = lambda seat, tree: self.mending.suspect(tree)
        if not self.spare:
            station.fills = True
            self.seat.child_dead_s *= FILL_PATIENCE
            self.seat.patience_s *= FILL_PATIENCE
            filling = Filling(station, self.seat, self.finder)
            station.on_dead = lambda seat, dead: filling.died(dead)
            station.on_doubtful_parent = lambda seat, tree: filling.suspect(tree)
            station.on_silent = filling.inherited
            self._filling = filling
        station.on_cheat = lambda name, tree: self._found_cheating(name, tree)
        station.on_dropped = lambda seat, child: self._dropped(child)
        station.use(krpc)
        station.spawn(self._stay())
        if self.settings.late_s > 0 and not station.fills:
            station.spawn(self.carrying.watch())

    def close(self) -> None:
        self.station.close()
        self.station.krpc.close()
        if self._datagrams is not None:
            self._datagrams.close()

    def _dropped(self, child: Name) -> None:
        if child >= 0:
            self.station.spawn(self.finder.delete(child, max(self.place.stripe, 0)))

    def _found_cheating(self, parent: Name, tree: int) -> None:
        self.station.spawn(self.finder.accuse(parent, tree))

    # -- coming ---------------------------------------------------------------------------

    async def join(self) -> None:
        """Raises `NoPeersError` after `join_s`, or earlier if nobody can serve this peer;
        `CannotCarryError` at once if its line is too slow for what the stream asks of it."""
        loop, settings = asyncio.get_running_loop(), self.settings
        stripes = len(self.place.parents)
        if self.slots < max(least_of(settings, stripes), 1):
            raise shortfall(self.slots, settings, stripes)
        until = loop.time() + settings.join_s
        pause_s = settings.backoff_s
        while self.seat.place.version == 0:
            if loop.time() > until:
                raise NoPeersError("no place was found in this forest: is its source on the air?")
            self.attempts += 1
            await self._try_to_join()
            if self.seat.place.version == 0:
                await asyncio.sleep(pause_s * self.host.rng.uniform(0.5, 1.5))
                pause_s = min(2 * pause_s, settings.backoff_most_s)
        await self._register()
        if self.station.reaching.is_closed_here and not self.is_placed:
            raise NoPeersError(
                "this peer cannot be reached from outside, and those that can have no slot left "
                "for it: open a UDP port on the router, or wait until more of them join"
            )
        while not self.is_placed and self.place.spare < 0 and loop.time() < until:
            if self.station.refusal is not None:
                break
            await asyncio.sleep(0.5)
        if not self.is_placed and self.station.refusal is not None:
            raise CannotCarryError(str(self.station.refusal))
        if not self.is_placed and self.place.spare < 0:
            why = ", and the spare slots of others, that make up for it, are taken"
            raise shortfall(self.slots, replace(settings, least_slots=None), stripes, why)

    async def _try_to_join(self) -> None:
        place, settings = self.seat.place, self.settings
        joined = await self.finder.some(settings.contacts)
        stripes = len(place.parents)
        if joined.peers < 0:
            return
        few = joined.peers < stripes or (joined.peers < 4 * stripes and self.attempts > 8)
        if few and place.spare >= 0:
            await self.finder.place_me(place)
            for _ in range(20):
                if self.seat.place.version:
                    return
                await asyncio.sleep(0.1)
            return
        newcomer = Newcomer(place.name, place.spare, place.since)
        names = [name for name in joined.names if name != place.name]
        many = joined.peers > 2 * stripes and self.attempts > settings.planned_joins
        if settings.uneven or (self.spare and many):
            await self._attach_everywhere(names)
            return
        await self.changing.change(
            lambda: plan_join(stripes, newcomer, names, self.host.rng), names
        )

    async def _attach_everywhere(self, names: list[Name]) -> None:
        """Where many join at once their plans want the same slots, and few succeed: then, tree by
        tree, as an orphan does.  It works for the tree that is said to have least room."""
        seen = await self.station.look_many(names, self.settings.call_s)
        if not seen:
            return
        stripes = len(self.place.parents)
        room = self._room_heard(seen)
        # By lot, or all who join just now would work for the same tree.
        weights = [1.0 / (1 + each) ** 2 for each in room]
        lot, own = self.host.rng.random() * sum(weights), 0
        while own < stripes - 1 and lot >= weights[own]:
            lot -= weights[own]
            own += 1
        place = replace(self.place, stripe=own, version=1)
        self.station.take(self.seat, place)
        # Others find its slots through it while it is still looking for some.
        self.station.spawn(self._register())
        for tree in range(stripes):
            self.mending.orphan(tree, NOBODY, seen)
        until = self.host.time() + self.settings.call_s * 40
        while not self.is_placed and self.host.time() < until:
            await asyncio.sleep(0.1)

    def _room_heard(self, seen: list[m.Seen]) -> list[int]:
        """Free slots in each tree.  Where some are closed an open peer counts those of open ones
        only: they are what closed ones need, and nobody else can bring them."""
        reaching = self.station.reaching
        open_only = self.settings.nat and not reaching.is_closed_here
        room = [0] * len(self.place.parents)
        for each in seen:
            place = each.sight.place
            for tree, above in enumerate(each.sight.above):
                if not (open_only and reaching.is_closed(place.parents[tree])):
                    room[tree] += max(above, 0)
            if place.stripe >= 0 and not (open_only and reaching.is_closed(place.name)):
                room[place.stripe] += max(place.room, 0)
        return room

    async def _stay(self) -> None:
        """Until `close`."""
        while True:
            await asyncio.sleep(self.settings.renew_s * self.host.rng.uniform(0.8, 1.0))
            if self.seat.place.version and not self.seat.leaves:
                await self._register()

    async def _register(self) -> None:
        filling = self._filling
        joined = await self.finder.some(CONTACTS if filling else 0, staying=True)
        if filling is not None and joined.names:
            filling.contacts = joined.names

    # -- going ----------------------------------------------------------------------------

    async def leave(self) -> None:
        """Politely: somebody takes its places first.  If that is not done within `leave_s`, its
        neighbours hear that it is gone and mend.  `close` comes afterwards."""
        self.seat.leaves = True
        await self.finder.leave()
        loop = asyncio.get_running_loop()
        until = loop.time() + self.settings.leave_s
        stripes = len(self.place.parents)
        while loop.time() < until and self.place.version and not self.settings.uneven:
            joined = await self.finder.some(self.settings.contacts)
            if 0 <= joined.peers <= stripes:
                await self.finder.place_me(self.place, leaving=True)
                await asyncio.sleep(1.0)
                break
            names = [name for name in joined.names if name != self.name]
            plan = await self.changing.change(
                partial(plan_leave, stripes, self.name, names, self.host.rng),
                [*self.place.parents, *(child for _, child in self.place.edges())],
            )
            if plan is not None:
                return
            await asyncio.sleep(self.settings.backoff_s)
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        for tree, row in enumerate(self.place.children):
            for child in row:
                self.station.tell(child, b"p2pcast.update", self.seat.farewell(tree))
        for parent in dict.fromkeys(self.place.parents):
            if parent != NOBODY:
                self.station.tell(parent, b"p2pcast.here", self.seat.word(parent, 0))
