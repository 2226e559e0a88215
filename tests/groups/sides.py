"""What every check of the contract of groups uses: machines with one kind of groups on them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import unittest.mock
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from contract.live_machines import network_namespace
from spinney.groups.fanout import FanoutGroups
from spinney.groups.group import Group, GroupReceiver, Groups, Sent
from spinney.groups.ip import IpGroups
from spinney.net.host import Address, Host
from spinney.net.live import LiveHost
from spinney.net.live.plain import ENVIRONMENT_NAME
from spinney.sim import Constant, Link, World

T = TypeVar("T")

CHECK_LIMIT_S = 20.0
KINDS = ("ip4", "ip6", "fan")
SLOW_BYTES_PER_S = 2_000_000
RECEIVE_BUFFER_BYTES = 256 << 10


class Member(GroupReceiver):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Sent] = []
        self.bursts = 0
        self.errors: list[OSError] = []
        self._changed = asyncio.Event()

    @property
    def payloads(self) -> list[bytes]:
        return [payload for payload, _ in self.heard]

    def group_received(self, batch: list[Sent]) -> None:
        assert batch
        self.heard += batch
        self._changed.set()

    def group_burst(self, data: memoryview, segment_bytes: int, sender: Address) -> None:
        self.bursts += 1
        super().group_burst(data, segment_bytes, sender)

    def group_error(self, error: OSError) -> None:
        self.errors.append(error)
        self._changed.set()

    async def until(self, count: int) -> list[bytes]:
        """The payloads, once there are `count`."""
        await self.when(lambda: len(self.heard) >= count)
        return self.payloads

    async def when(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


class Side:
    """Machines `a`, `b` (another one where the side has several) and `a` once more."""

    live: bool

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.exit = contextlib.ExitStack()

    def hosts(self) -> tuple[Host, Host, Host]:
        raise NotImplementedError

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError

    def groups(self, host: Host, local: str) -> Groups:
        """One program's groups on a host; a fan-out is reached at `local`."""
        raise NotImplementedError

    def locals(self) -> tuple[str, str, str]:
        raise NotImplementedError

    def close(self) -> None:
        self.exit.close()

    @contextlib.asynccontextmanager
    async def three(self) -> AsyncIterator[tuple[Groups, Groups, Groups]]:
        """Three programs: on a, on b, and a second one on a."""
        made = [
            self.groups(host, local)
            for host, local in zip(self.hosts(), self.locals(), strict=True)
        ]
        for each in made:
            if isinstance(each, FanoutGroups):
                await each.open()
        try:
            yield made[0], made[1], made[2]
        finally:
            for each in made:
                if isinstance(each, FanoutGroups):
                    each.close()

    @contextlib.asynccontextmanager
    async def joined(
        self, *, send_only: int | None = None
    ) -> AsyncIterator[tuple[list[Group], list[Member]]]:
        """The three in one group, the first founding it; `send_only` is the index of one."""
        async with self.three() as programs:
            address = programs[0].candidate(self.hosts()[0].rng)
            members = [Member(), Member(), Member()]
            groups: list[Group] = []
            try:
                for at, (program, member) in enumerate(zip(programs, members, strict=True)):
                    groups.append(await program.join(address, member, send_only=at == send_only))
                yield groups, members
            finally:
                for group in groups:
                    group.close()


class LiveSide(Side):
    """All three on this machine: over loopback, or in a network namespace of its own."""

    live = True

    def __init__(
        self, kind: str, *, isolated: bool = False, slow: bool = False, plain: bool = False
    ) -> None:
        super().__init__(kind)
        if plain:
            self.exit.enter_context(unittest.mock.patch.dict(os.environ, {ENVIRONMENT_NAME: "1"}))
        self.isolated = isolated or slow
        # A slow line must not lose at the other end what it has taken.
        self._receive_buffer_bytes = 64 << 20 if slow else RECEIVE_BUFFER_BYTES
        if self.isolated:
            self.exit.enter_context(network_namespace())
        if slow:
            rate = f"{SLOW_BYTES_PER_S * 8}bit"
            for device in ("lo", "spin0"):
                shape = ["tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", rate]
                subprocess.run([*shape, "burst", "70kb", "limit", "64mb"], check=True, timeout=10)
        self._hosts = tuple(LiveHost(name) for name in "abc")
        for host in self._hosts:
            self.exit.callback(host.close)

    def hosts(self) -> tuple[Host, Host, Host]:
        return self._hosts[0], self._hosts[1], self._hosts[2]

    def locals(self) -> tuple[str, str, str]:
        return ("127.0.0.1", "127.0.0.2", "127.0.0.1")

    def groups(self, host: Host, local: str) -> Groups:
        if self.kind == "fan":
            return FanoutGroups(host, (local, 0), receive_buffer_bytes=self._receive_buffer_bytes)
        return IpGroups(
            host,
            six=self.kind == "ip6",
            hops=1 if self.isolated else 0,
            interfaces=("spin0",) if self.isolated else (),
            receive_buffer_bytes=self._receive_buffer_bytes,
        )

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        async def limited() -> T:
            async with asyncio.timeout(CHECK_LIMIT_S):
                return await main

        return asyncio.run(limited())


class SimSide(Side):
    """Two machines on one local network of a world."""

    live = False

    def __init__(self, kind: str, *, slow: bool = False) -> None:
        super().__init__(kind)
        self.world = World(1)
        self.exit.callback(self.world.close)
        lan = self.world.lan(
            "lan", link=Link(latency=Constant(0.0002)), prefix4="10.77.0.0/24", prefix6="fd77::/64"
        )
        line = Link(up_bytes_per_s=SLOW_BYTES_PER_S) if slow else None
        a = self.world.host("a", ["10.77.0.1", "fd77::1"], on=lan, link=line)
        b = self.world.host("b", ["10.77.0.2", "fd77::2"], on=lan)
        self._hosts: tuple[Host, Host, Host] = (a, b, a)

    def hosts(self) -> tuple[Host, Host, Host]:
        return self._hosts

    def locals(self) -> tuple[str, str, str]:
        return ("10.77.0.1", "10.77.0.2", "10.77.0.1")

    def groups(self, host: Host, local: str) -> Groups:
        if self.kind == "fan":
            return FanoutGroups(host, (local, 0))
        return IpGroups(host, six=self.kind == "ip6")

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        async def limited() -> T:
            async with asyncio.timeout(CHECK_LIMIT_S):
                return await main

        return self.world.run(limited())
