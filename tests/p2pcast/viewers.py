"""A broadcast with its registry and viewers that come by its link, in a simulated world: each
viewer is in a network of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from spinney.p2pcast.place import SOURCE, SPECIAL, Name, Place
from spinney.p2pcast.plans.checks import Broken, whole
from spinney.p2pcast.registry.link import StreamLink, parse_link
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.viewer import Broadcast, Viewer
from spinney.sim import Constant, Link, SimHost, World
from spinney.trust.keys import Keys

PORT = 6970


class Audience:
    """One broadcast, and its viewers, each on a machine of its own."""

    def __init__(
        self, world: World, seed: int, *, stripes: int, spare: int, registry: RegistrySettings
    ) -> None:
        self.world = world
        self.rng = Random(seed)
        self.host = world.host("source")
        self.stripes, self.spare = stripes, spare
        self.registry = registry
        self.broadcast: Broadcast
        self.link: StreamLink
        self.viewers: dict[Name, Viewer] = {}
        self.hosts: dict[Name, SimHost] = {}
        self.failed: list[Exception] = []
        self._started = 0

    async def open(self) -> None:
        await self.host.start(self._open())

    async def _open(self) -> None:
        self.broadcast = Broadcast(
            self.host,
            Keys(self.rng.randbytes(32)),
            stripes=self.stripes,
            spare=self.spare,
            registry=self.registry,
        )
        await self.broadcast.open((self.host.address, PORT))
        self.link = parse_link(str(self.broadcast.link))

    async def come(self, *, link: StreamLink | None = None, join_s: float = 60.0) -> Viewer:
        """A viewer on a machine of its own joins; raises what `join` raises."""
        self._started += 1
        number = self._started
        host = self.world.host(f"v{number}", [f"21.{number >> 8}.{number & 255}.9"])
        viewer = Viewer(
            host,
            link or self.link,
            keys=Keys(self.rng.randbytes(32)),
            settings=Settings(join_s=join_s),
        )

        async def joins() -> None:
            await viewer.open((host.address, PORT))
            await viewer.join()

        await host.start(joins())
        self.viewers[viewer.node.name] = viewer
        self.hosts[viewer.node.name] = host
        return viewer

    async def grow(self, count: int, at_once: int = 4) -> None:
        for first in range(0, count, at_once):
            await asyncio.gather(*(self.come() for _ in range(min(at_once, count - first))))

    def fall(self, name: Name) -> None:
        self.hosts[name].crash()
        del self.viewers[name]

    def places(self) -> dict[Name, Place]:
        seats = self.broadcast.source.station.seats
        found = {name: seats[name].place for name in (SOURCE, SPECIAL)}
        return found | {name: viewer.node.place for name, viewer in self.viewers.items()}

    async def whole(self, limit_s: float) -> float:
        """Waits until every rule holds; raises `Broken`."""
        began = self.world.loop.now
        while True:
            try:
                whole(self.places())
            except Broken:
                if self.world.loop.now - began > limit_s:
                    raise
                await asyncio.sleep(0.1)
            else:
                return self.world.loop.now - began

    def inner(self) -> list[Name]:
        """Those with as many children as there are stripes."""
        rows = [(name, viewer.node.place) for name, viewer in self.viewers.items()]
        return [name for name, place in rows if place.out_degree >= self.stripes]


Story = Callable[[Audience], Awaitable[None]]


def play(
    story: Story,
    seed: int = 1,
    *,
    stripes: int = 4,
    spare: int = 1,
    registry: RegistrySettings | None = None,
    **link: Any,
) -> Audience:
    world = World(seed, link=Link(latency=Constant(0.1), **link))
    audience = Audience(
        world, seed, stripes=stripes, spare=spare, registry=registry or RegistrySettings()
    )

    async def told() -> None:
        await audience.open()
        await story(audience)

    with world:
        world.run(told())
    return audience
