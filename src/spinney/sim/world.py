"""`World`: a seeded network of simulated hosts, and the loop that it runs on.

    world = World(seed=7)
    alice = world.host("alice")
    bob = world.host("bob", link=Link(up_bytes_per_s=1e6))
    world.run(scenario(alice, bob))
    print(world.digest())

Everything that chance decides comes from the seed: `rng_for(purpose)` gives each purpose a
stream of its own, so that a new host does not change what the others draw.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from hashlib import blake2b
from random import Random
from typing import Any, TypeVar

from spinney.net.host import Address
from spinney.sim.faults import Partition
from spinney.sim.flows import Line
from spinney.sim.host import SimHost
from spinney.sim.links import INTERNET, LAN, Link, Pipe
from spinney.sim.log import Log
from spinney.sim.loop import SimLoop
from spinney.sim.nat import MAPPING_LIFETIME_S, Nat, NatKind
from spinney.sim.radio import Radio
from spinney.sim.segments import Attachment, Segment, Ways
from spinney.sim.trace import Trace

T = TypeVar("T")

WALL_START_S = 1_767_225_600.0
"""Unix time when a world begins: 1 January 2026."""

STREAM_WINDOW_BYTES = 1 << 20
"""Bytes of one stream under way at most (what TCP's window does)."""

GIVE_UP_S = 120.0
"""A stream whose other side does not answer is lost after so long."""


class World:
    """A simulated world.  `link` is what every packet of its Internet meets."""

    def __init__(
        self,
        seed: int | str = 0,
        *,
        link: Link = INTERNET,
        trace: str | Trace | None = None,
        give_up_s: float = GIVE_UP_S,
        window_bytes: int = STREAM_WINDOW_BYTES,
        resolve_s: float = 0.0,
        wall_start_s: float = WALL_START_S,
    ) -> None:
        self.seed = seed
        self.loop = SimLoop()
        self.log = Log()
        self.lost = self.log.lost
        self.loop.housekeeping.append(self.log.fold)
        self.trace = Trace(trace) if isinstance(trace, str) else trace
        self.give_up_s = give_up_s
        self.window_bytes = window_bytes
        self.resolve_s = resolve_s
        self.wall_start_s = wall_start_s
        self.ways = Ways(self)
        self.hosts: dict[str, SimHost] = {}
        self.names: dict[str, list[str]] = {}
        self.partitions = 0
        self._own_profiles = 0
        self._lans = 0
        self.internet = Segment(
            self,
            "internet",
            link,
            multicast=False,
            prefix4="20.0.0.0/8",
            prefix6="2600:20::/64",
        )

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- chance -----------------------------------------------------------------------

    def seed_bytes(self, purpose: str) -> bytes:
        """32 bytes that depend on the world's seed and on `purpose`."""
        return blake2b(f"{self.seed}/{purpose}".encode(), digest_size=32).digest()

    def rng_for(self, purpose: str) -> Random:
        """A source of choices of its own for each purpose."""
        return Random(int.from_bytes(self.seed_bytes(purpose), "big"))

    # --- places -----------------------------------------------------------------------

    def host(
        self,
        name: str,
        addresses: Sequence[str] | None = None,
        *,
        on: Segment | Nat | None = None,
        link: Link | None = None,
        wall_skew_s: float = 0.0,
        disk_bytes: int | None = None,
        attached: bool = True,
    ) -> SimHost:
        """A new host on `on` (the Internet, a LAN, behind a NAT), with its own line `link`.

        Without `addresses` it gets an IPv4 and, where the network has it, an IPv6 address.
        """
        assert name not in self.hosts, f"there is a host {name} already"
        host = SimHost(self, name, wall_skew_s=wall_skew_s, disk_bytes=disk_bytes)
        self.hosts[name] = host
        if attached:
            host.attach(on or self.internet, addresses, link=link)
        return host

    def lan(
        self,
        name: str,
        *,
        link: Link = LAN,
        uplink: Link | None = None,
        multicast: bool = True,
        isolated: bool = False,
        prefix4: str | None = None,
        prefix6: str | None = None,
        parent: Segment | None = None,
        radio: Radio | None = None,
    ) -> Segment:
        """A local network: one multicast domain, routed into the Internet by `uplink`.

        `isolated`: with no way out at all.  `radio`: what multicast meets there.
        """
        self._lans += 1
        number = self._lans
        return Segment(
            self,
            name,
            link,
            multicast=multicast,
            parent=None if isolated else parent or self.internet,
            uplink=uplink,
            prefix4=prefix4 or f"10.{number // 256}.{number % 256}.0/24",
            prefix6=prefix6 or f"fd00:0:0:{number:x}::/64",
            radio=radio,
        )

    def nat(
        self,
        name: str,
        kind: NatKind = "port-restricted",
        *,
        address: str | None = None,
        outside: Segment | Nat | None = None,
        link: Link | None = None,
        inside_link: Link = LAN,
        hairpin: bool = False,
        lifetime_s: float = MAPPING_LIFETIME_S,
        prefix4: str = "192.168.0.0/24",
    ) -> Nat:
        """A NAT with a network behind it (`on=nat`); IPv4 only, as real ones are."""
        place = outside.inside if isinstance(outside, Nat) else outside or self.internet
        inside = Segment(
            self, f"behind {name}", inside_link, multicast=True, parent=place, prefix4=prefix4
        )
        inside.is_plain = False
        public = address or place.next_address(False)
        return Nat(self, name, kind, place, inside, public, link, hairpin, lifetime_s)

    def connect(self, one: SimHost, other: SimHost, link: Link) -> None:
        """Gives the path between two hosts a link of its own, both ways."""
        for host in (one, other):
            for attachment in host.attachments:
                if not attachment.own:
                    self._own_profiles += 1
                    attachment.own = self._own_profiles
        for a in one.attachments:
            for b in other.attachments:
                self.ways.between[a.own, b.own] = self.ways.between[b.own, a.own] = link
        self.ways.forget()
        self.settle((one, other))

    def partition(
        self, side: Iterable[SimHost], other: Iterable[SimHost] | None = None
    ) -> Partition:
        """Cuts `side` off from `other` (default: all the rest) until `heal` is called."""
        return Partition(self, list(side), None if other is None else list(other))

    def settle(self, hosts: Iterable[SimHost]) -> None:
        """After the network around these hosts changed: their sockets look again."""
        for host in hosts:
            for attachment in host.attachments:
                attachment.classify()
            host.settle()

    def lines(self, here: Attachment, there: Attachment) -> tuple[list[Pipe], list[Pipe]]:
        """The slow lines between two attachments, the first's own line up left out."""
        if here.segment is there.segment:
            return [], ([there.down] if there.down is not None else [])
        _, ups, downs = here.segment.lines_to(there.segment)
        return ups, [*downs, there.down] if there.down is not None else downs

    def line(self, pipe: Pipe) -> Line:
        """A slow line as streams see it."""
        if pipe.line is None:
            pipe.line = Line(self, pipe)
        return pipe.line

    # --- time -------------------------------------------------------------------------

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Runs until `main` has ended; what else runs is kept for the next `run`.

        Raises `Stalled` if `main` can never end, `SimulationError` if a callback failed.
        """
        result: T = self.loop.run_until_complete(main)
        return result

    def run_until(self, when: float) -> None:
        """Runs up to the virtual time `when`."""
        self.loop.run_until_time(when)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def digest(self) -> str:
        """What happened so far, as 32 hex digits: the same for the same seed and code."""
        return self.log.digest()

    def note_loss(self, source: Address, remote: Address, length: int) -> None:
        if self.trace is not None:
            self.trace.event(self.loop.now, "lost", source=source, remote=remote, bytes=length)

    def close(self) -> None:
        """Ends every task and forgets everything that waits."""
        for host in self.hosts.values():
            host.is_up = False
        tasks = sorted(asyncio.all_tasks(self.loop), key=lambda task: getattr(task, "number", 0))
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.fail_on_error = False
            self.loop.run_until_time(self.loop.now)
        if self.trace is not None:
            self.trace.close()
        self.loop.close()
