"""Faults that a world can have: partitions that heal (hosts crash by `SimHost.crash`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spinney.sim.host import SimHost
    from spinney.sim.world import World


class Partition:
    """Two groups of hosts that cannot reach each other; the rest reaches both.

    Packets under way still arrive; streams wait and try again, until they give up.
    """

    def __init__(self, world: World, side: list[SimHost], other: list[SimHost] | None) -> None:
        self.world = world
        world.partitions += 1
        self.number = world.partitions
        if other is None:
            cut_off = {host.name for host in side}
            other = [host for name, host in world.hosts.items() if name not in cut_off]
        self.sides = (side, other)
        for letter, hosts in enumerate(self.sides):
            for host in hosts:
                for attachment in host.attachments:
                    attachment.sides = (*attachment.sides, (self.number, letter))
            world.settle(hosts)

    def heal(self) -> None:
        """Joins the two sides again; twice is no error."""
        for hosts in self.sides:
            for host in hosts:
                for attachment in host.attachments:
                    attachment.sides = tuple(
                        each for each in attachment.sides if each[0] != self.number
                    )
            self.world.settle(hosts)
        self.sides = ([], [])
