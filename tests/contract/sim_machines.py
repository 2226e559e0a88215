"""The simulated side: two hosts on one local network of a world."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from contract.machines import CHECK_LIMIT_S, Machines
from spinney.net.host import Address, Host
from spinney.sim import Constant, Link, SimHost, World

T = TypeVar("T")

SMALL_DISK_BYTES = 1 << 20


class SimMachines(Machines):
    side = "sim"
    four = ("10.77.0.1", "10.77.0.2")
    six = ("fd77::1", "fd77::2")
    interface = "eth0"
    folder = "/disk/contract"
    known_name = ("both.test", ["10.77.0.2", "fd77::2"])

    def __init__(self, *, slow_bytes_per_s: int | None = None, seed: int = 1) -> None:
        self.world = World(seed, give_up_s=5.0)
        # Unlike a cable, a link that draws delays from a range would reorder (D6).
        lan = self.world.lan(
            "lan", link=Link(latency=Constant(0.0002)), prefix4="10.77.0.0/24", prefix6="fd77::/64"
        )
        line = Link(up_bytes_per_s=slow_bytes_per_s) if slow_bytes_per_s else None
        self._a = self.world.host("a", [self.four[0], self.six[0]], on=lan, link=line)
        self._b = self.world.host("b", [self.four[1], self.six[1]], on=lan)
        self.a: Host = self._a
        self.b: Host = self._b
        self.world.names["both.test"] = list(self.known_name[1])
        self._a.disk.make_path(self.folder)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        async def limited() -> T:
            async with asyncio.timeout(CHECK_LIMIT_S):
                return await main

        return self.world.run(limited())

    def close(self) -> None:
        self.world.close()

    async def silent(self) -> Address:
        gone = self.world.host("gone")
        address = gone.attachments[0].addresses[0][0]
        gone.crash()
        return address, 6881

    def vanish(self) -> None:
        self._b.crash()

    def power_cut(self) -> bool:
        self._a.crash()
        self._a.restart()
        return True

    def was_synced(self, path: str) -> bool:
        return True

    def plant_link(self, path: str, target: str) -> None:
        self._a.storage.make_link(path, target)

    def small_disk(self) -> tuple[Host, str, int]:
        small: SimHost = self.world.host("small", disk_bytes=SMALL_DISK_BYTES)
        small.disk.make_path("/disk/small")
        return small, "/disk/small", SMALL_DISK_BYTES

    @contextlib.contextmanager
    def read_only(self, path: str) -> Iterator[None]:
        self._a.storage.set_read_only(path)
        yield
        self._a.storage.set_read_only(path, False)

    def step_wall_clock(self, seconds: float) -> bool:
        self._a.step_wall_time(seconds)
        return True
