"""Crowds of forest nodes in a simulated world, each on a machine of its own, that come, go, fall.

Each node is made with its host, the stream and the source's address; the crowd alone knows them
all, to look at their places from above (`checks.whole`), which no node can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from spinney.errors import CannotCarryError, NoPeersError, SpinneyError
from spinney.net.host import Address
from spinney.p2pcast.node import ForestNode
from spinney.p2pcast.place import SOURCE, SPECIAL, Name, Place
from spinney.p2pcast.plans.checks import Broken, whole
from spinney.p2pcast.plans.forest import Forest
from spinney.p2pcast.reaching import CLOSED, is_closed
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.source import SourceNode
from spinney.p2pcast.trust.identity import Signer
from spinney.sim import Constant, Link, SimHost, World

STREAM = b"a stream"
PORT = 6881
HOP = Link(latency=Constant(0.1))


def _neighbours(place: Place) -> list[Name]:
    mates = [name for _, name in place.cohort]
    return [*place.parents, *(child for _, child in place.edges()), *mates]


class Crowd:
    """`world` must be fresh.  Times are virtual seconds."""

    def __init__(
        self,
        world: World,
        rng: Random,
        *,
        stripes: int,
        spare: int,
        settings: Settings | None = None,
        signers: Callable[[Name], Signer] | None = None,
        closed: float = 0.0,
    ) -> None:
        """`signers`: None, and everybody is believed."""
        self.uploads: dict[Name, float] = {}
        """What the lines of some carry, as they know themselves (bytes/s)."""
        self.signers = signers
        self.world, self.rng = world, rng
        self.closed = closed
        """The share of newcomers that sit behind a NAT each, which lets nobody in."""
        self.stripes, self.spare = stripes, spare
        self.settings = settings or Settings(nat=closed > 0)
        self.source_host = world.host("source")
        self.source: SourceNode
        self.nodes: dict[Name, ForestNode] = {}
        self.hosts: dict[Name, SimHost] = {}
        self.joining: dict[Name, asyncio.Task[None]] = {}
        self.fallen: dict[Name, float] = {}
        self.orphans: list[tuple[Name, int, float]] = []
        """Children of the fallen that have no other parent yet: (name, tree, since)."""
        self.orphaned_s: list[float] = []
        """How long others were orphans, to 50 ms."""
        self.refused: dict[Name, SpinneyError] = {}
        """Who was told that nobody can serve it, and how."""
        self._started = 0

    async def open(self) -> None:
        await self.source_host.start(self._open())

    async def _open(self) -> None:
        self.source = SourceNode(
            self.source_host,
            STREAM,
            stripes=self.stripes,
            spare=self.spare,
            settings=self.settings,
            signer=self.signers(SOURCE) if self.signers else None,
        )
        await self.source.open((self.source_host.address, PORT))

    @property
    def now(self) -> float:
        return self.world.loop.now

    def start(self, name: Name | None = None, host: SimHost | None = None) -> Name:
        """A newcomer begins to join."""
        if name is None:
            name = self.name(self.rng.random() < self.closed)
        if host is None:
            self._started += 1
            on = None
            if self.closed and is_closed(name):
                on = self.world.nat(f"nat{self._started}")
            host = self.world.host(f"n{self._started}", on=on)
        self.hosts[name] = host
        self.joining[name] = host.start(self._come(name, host))
        return name

    def name(self, closed: bool) -> Name:
        if not self.closed:
            return self.rng.getrandbits(63)
        return self.rng.getrandbits(62) | CLOSED * closed

    def _node(self, name: Name, host: SimHost) -> ForestNode:
        """All that a node is given: its machine, the stream, and where the source is."""
        return ForestNode(
            host,
            STREAM,
            (self.source_host.address, PORT),
            name=name,
            stripes=self.stripes,
            spare=self.spare,
            settings=self.settings,
            signer=self.signers(name) if self.signers else None,
            upload_bytes_per_s=self.uploads.get(name),
        )

    async def _come(self, name: Name, host: SimHost) -> None:
        node = self._node(name, host)
        await node.open((host.address, PORT))
        self.nodes[name] = node
        try:
            await node.join()
        except (NoPeersError, CannotCarryError) as error:
            self.refused[name] = error  # it stays, and goes on looking
        finally:
            self.joining.pop(name, None)

    async def plant(self, count: int) -> None:
        """A forest that stands: joins made by the model, each node given its place.  Quick.  All
        of these are open."""
        model = Forest(self.stripes, self.rng, spare=self.spare)
        names = [self.name(False) for _ in range(count)]
        for name in names:
            model.join(name, since=self.world.wall_start_s)
        await self.put(model.places)

    async def put(self, places: Mapping[Name, Place]) -> None:
        """A forest as it is: each node is given its place."""
        names = [name for name in places if name >= 0]
        hosts = {name: self.world.host(f"p{at}") for at, name in enumerate(names)}
        at = {name: (host.address, PORT) for name, host in hosts.items()}
        for name, host in hosts.items():
            self.hosts[name] = host
            await host.start(self._planted(name, host, places[name], at))
        for name in (SOURCE, SPECIAL):
            seat = self.source.station.seats[name]
            near = _neighbours(places[name])
            self.source.station.book.learn({each: at[each] for each in near if each in at})
            seat.take(places[name], self.now)
        for name in names:
            self.source.peers.add(name)
        self.source.addresses.update(at)
        await asyncio.sleep(3.0)

    async def _planted(
        self, name: Name, host: SimHost, place: Place, at: dict[Name, Address]
    ) -> None:
        node = self._node(name, host)
        node.station.book.learn({each: at[each] for each in _neighbours(place) if each in at})
        node.seat.take(place, self.now)
        await node.open((host.address, PORT))
        self.nodes[name] = node

    async def grow(self, count: int, *, at_once: int = 8, limit_s: float = 120.0) -> None:
        """Newcomers, so many at once, until all have joined."""
        for first in range(0, count, at_once):
            for _ in range(min(at_once, count - first)):
                self.start()
            await self.joined(limit_s)

    async def joined(self, limit_s: float = 60.0) -> None:
        until = self.now + limit_s
        while self.joining:
            assert self.now < until, f"{len(self.joining)} have not joined"
            await asyncio.sleep(0.1)

    def fall(self, name: Name) -> None:
        """The machine loses power."""
        self.fallen[name] = self.now
        node = self.nodes.get(name)
        if node is not None:
            self.orphans += [(child, tree, self.now) for tree, child in node.place.edges()]
        self.hosts[name].crash()
        self.nodes.pop(name, None)
        self.joining.pop(name, None)

    async def leave(self, name: Name) -> None:
        """Politely."""
        node = self.nodes[name]
        await self.hosts[name].start(node.leave())
        node.close()
        self.nodes.pop(name)
        self.hosts[name].stop()

    def is_placed(self, name: Name) -> bool:
        """Has it parents in all trees, and do they know it?"""
        node = self.nodes.get(name)
        if node is None or not node.is_placed:
            return False
        for tree, parent in enumerate(node.place.parents):
            above = self.nodes.get(parent)
            seat = self.source.source if parent == SOURCE else above.seat if above else None
            if seat is None or name not in seat.place.children[tree]:
                return False
        return True

    def look(self) -> None:
        """Which orphans have a parent now, that knows it?"""
        places = self.places()
        left = []
        for name, tree, since in self.orphans:
            place = places.get(name)
            if place is None:
                continue
            parent = places.get(place.parents[tree])
            if parent is not None and name in parent.children[tree]:
                self.orphaned_s.append(round(self.now - since, 3))
            else:
                left.append((name, tree, since))
        self.orphans = left

    @property
    def live(self) -> list[Name]:
        return [name for name, node in self.nodes.items() if node.place.version]

    @property
    def peers(self) -> list[Name]:
        return self.live

    def places(self) -> dict[Name, Place]:
        found = {name: self.nodes[name].place for name in self.live}
        for name in (SOURCE, SPECIAL):
            found[name] = self.source.station.seats[name].place
        return found

    def broken(self) -> Broken | None:
        try:
            whole(self.places())
        except Broken as broken:
            return broken
        return None

    async def whole(self, limit_s: float = 5.0) -> float:
        """Waits until every rule holds; the seconds that it took.  Raises `Broken`."""
        began = self.now
        while (broken := self.broken()) is not None:
            if self.now - began > limit_s:
                raise broken
            await asyncio.sleep(0.1)
        return self.now - began

    async def mended(self, limit_s: float) -> float | None:
        """As `whole`, once nobody is joining; None if the limit passes."""
        began = self.now
        while self.now - began <= limit_s:
            if not self.joining and self.broken() is None:
                return self.now - began
            await asyncio.sleep(0.1)
        return None

    def spent(self) -> list[int]:
        """Datagrams and bytes (headers left out) that arrived or were lost so far."""
        log = self.world.log
        log.fold()
        return [log.arrivals + log.lost_count, log.arrived_bytes + log.lost_bytes]

    def depths(self) -> list[list[int | None]]:
        """For each live peer its hops from the source in each tree; None where it is cut off."""
        places = self.places()
        known: dict[tuple[Name, int], int | None] = {}

        def depth(name: Name, tree: int) -> int | None:
            path: list[Name] = []
            while name != SOURCE and (name, tree) not in known and len(path) <= len(places):
                path.append(name)
                parent = places[name].parents[tree]
                if parent not in places or name not in places[parent].children[tree]:
                    break
                name = parent
            found = 0 if name == SOURCE else known.get((name, tree))
            for each in reversed(path):
                found = None if found is None else found + 1
                known[each, tree] = found
            return found

        return [[depth(name, tree) for tree in range(self.stripes)] for name in self.live]

    def lacking(self) -> list[int]:
        """For each live peer the trees in which it is cut off from the source."""
        return [row.count(None) for row in self.depths()]

    def loads(self) -> list[int]:
        """How many children each live peer has, over all trees."""
        places = self.places()
        return [places[name].out_degree for name in self.live]

    def counts(self) -> dict[str, int]:
        """Sums of what the stations counted."""
        total: dict[str, int] = {}
        stations = [node.station for node in self.nodes.values()]
        for station in [*stations, self.source.station]:
            for key, count in station.counts.items():
                total[key] = total.get(key, 0) + count
        return total

    def run(self, scenario: Any) -> Any:
        return self.world.run(scenario)
