"""LANs for the tests of MC-FTP: machines on one simulated segment, with groups by IP multicast."""

from __future__ import annotations

from spinney.groups.ip import IpGroups
from spinney.mcftp.lan_directory import LanDirectory, lan_address
from spinney.sim import Constant, Link, SimHost, Uniform, World

QUICK = Link(latency=Constant(0.0002))
ROUGH = Link(latency=Uniform(0.0002, 0.003), loss=0.2, duplicate=0.05, reorder=0.05)


class Lan:
    """A world with one LAN on which machines are made by number."""

    def __init__(self, seed: int, machines: int = 0, link: Link = QUICK) -> None:
        self.world = World(seed=seed)
        self.segment = self.world.lan("room", link=link, isolated=True, prefix4="10.7.0.0/16")
        self.hosts: list[SimHost] = [self.host() for _ in range(machines)] if machines else []

    def host(self) -> SimHost:
        return self.world.host(f"m{len(self.world.hosts)}", on=self.segment)

    def __enter__(self) -> Lan:
        return self

    def __exit__(self, *_: object) -> None:
        self.world.close()


async def directory(host: SimHost) -> LanDirectory:
    """A LAN directory, started."""
    groups = IpGroups(host)
    made = LanDirectory(host, groups, lan_address(groups))
    await made.start()
    return made
