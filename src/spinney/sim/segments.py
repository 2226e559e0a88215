"""Networks and who is on them: segments (the Internet, a LAN), attachments, routes, ways.

A segment is one broadcast domain with addresses of its own.  A segment with a parent is
routed into it (its addresses are known there too) unless a NAT stands between.  Whoever has
an interface has an `Attachment`: where packets leave and arrive.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from spinney.net.host import Address
from spinney.sim.links import ACCESS, Link, Pipe, Way
from spinney.sim.radio import Air, Radio

if TYPE_CHECKING:
    from spinney.sim.datagrams import SimDatagrams
    from spinney.sim.nat import Nat
    from spinney.sim.world import World

Packet = tuple[bytes, Address, Address]
"""Payload, source and destination of a datagram on its way."""


class Device(Protocol):
    """What an attachment belongs to: a host or a NAT."""

    name: str

    def packet_arrived(self, at: Attachment, packet: Packet) -> None: ...


class Attachment:
    """One interface of a device on a segment: addresses, its own line, and the ways from it.

    `profile` numbers what a way depends on; attachments that are alike share it, so that ten
    thousand hosts need one way and not a hundred million.
    """

    def __init__(
        self,
        device: Device,
        segment: Segment,
        name: str,
        index: int,
        addresses: tuple[tuple[str, int], ...],
        link: Link | None,
    ) -> None:
        self.device = device
        self.segment = segment
        self.name = name
        self.index = index
        self.addresses = addresses
        self.up: Pipe | None = None
        self.down: Pipe | None = None
        self.sides: tuple[tuple[int, int], ...] = ()
        self.own = 0
        self.is_up = True
        self.set_link(link or ACCESS)

    def set_link(self, link: Link) -> None:
        """Puts the device behind another line, at once."""
        self.link = link
        self.up = _pipe(link.up_bytes_per_s, link.queue_bytes, self.up)
        self.down = _pipe(link.down_bytes_per_s, link.queue_bytes, self.down)
        self.classify()

    def classify(self) -> None:
        """Finds the profile anew, after the line or a partition changed."""
        world = self.segment.world
        self.profile = world.ways.profile_of(self)
        self.ways = world.ways.table_from(self.profile)

    @property
    def is_plain(self) -> bool:
        """No rates here or above: a datagram's fate is a delay and nothing else."""
        return self.up is None and self.down is None and self.segment.is_plain and self.is_up

    def address_of(self, six: bool) -> str | None:
        """The first address of a family, or None."""
        for host, _ in self.addresses:
            if (":" in host) is six:
                return host
        return None


def _pipe(rate: float | None, queue_bytes: int, old: Pipe | None) -> Pipe | None:
    if rate is None:
        return None
    if old is None:
        return Pipe(rate, queue_bytes)
    old.rate_bytes_per_s, old.queue_bytes = rate, queue_bytes
    return old


class Segment:
    """A network.  `link` is what each packet on it meets; `uplink` the line to the parent."""

    def __init__(
        self,
        world: World,
        name: str,
        link: Link,
        *,
        multicast: bool,
        parent: Segment | None = None,
        uplink: Link | None = None,
        prefix4: str | None = None,
        prefix6: str | None = None,
        radio: Radio | None = None,
    ) -> None:
        self.world = world
        self.air = Air(radio, world.rng_for(f"radio {name}")) if radio is not None else None
        self.name = name
        self.link = link
        self.multicast = multicast
        self.parent = parent
        self.uplink = uplink or ACCESS
        self.up = _pipe(self.uplink.up_bytes_per_s, self.uplink.queue_bytes, None)
        self.down = _pipe(self.uplink.down_bytes_per_s, self.uplink.queue_bytes, None)
        self.nat: Nat | None = None
        self.owners: dict[str, Attachment] = {}
        self.quick4: dict[Address, SimDatagrams] = {}
        self.quick6: dict[Address, SimDatagrams] = {}
        self.members: dict[Address, list[SimDatagrams]] = {}
        self.attachments: list[Attachment] = []
        self.network4 = ipaddress.IPv4Network(prefix4) if prefix4 else None
        self.network6 = ipaddress.IPv6Network(prefix6) if prefix6 else None
        self._next4 = 1
        self._next6 = 1
        self.is_plain: bool = (
            self.up is None and self.down is None and (parent is None or parent.is_plain)
        )

    def next_address(self, six: bool) -> str:
        """The next free address of this network."""
        network = self.network6 if six else self.network4
        assert network is not None, f"{self.name} has no addresses of that family"
        while True:
            if six:
                self._next6 += 1
                found = str(network[self._next6])
            else:
                self._next4 += 1
                found = str(network[self._next4])
            if found not in self.owners:
                return found

    def attach(self, attachment: Attachment) -> None:
        """Makes the attachment's addresses known here and in the networks this is routed into."""
        self.attachments.append(attachment)
        for host, _ in attachment.addresses:
            place: Segment | None = self
            while place is not None:
                assert host not in place.owners, f"{host} is taken on {place.name}"
                place.owners[host] = attachment
                place = place.parent if place.nat is None else None

    def find(self, host: str) -> Attachment | None:
        """Who a packet to `host` goes to next: its owner, a NAT on the way, or nobody."""
        place: Segment | None = self
        while place is not None:
            owner = place.owners.get(host)
            if owner is not None:
                return owner
            if place.nat is not None:
                return place.nat.inner
            place = place.parent
        return None

    def lines_to(self, other: Segment) -> tuple[list[Link], list[Pipe], list[Pipe]]:
        """The links between two segments of one tree, and the slow lines up and down it."""
        mine = self._upwards()
        others = other._upwards()
        links: list[Link] = []
        ups: list[Pipe] = []
        downs: list[Pipe] = []
        shared = next(place for place in mine if place in others)
        for place in mine[: mine.index(shared)]:
            links += [place.link, place.uplink]
            ups += [place.up] if place.up else []
        links.append(shared.link)
        for place in reversed(others[: others.index(shared)]):
            links += [place.uplink, place.link]
            downs += [place.down] if place.down else []
        return links, ups, downs

    def _upwards(self) -> list[Segment]:
        """This segment and those that it is routed into."""
        places = [self]
        while places[-1].parent is not None and places[-1].nat is None:
            places.append(places[-1].parent)
        return places


class Ways:
    """Every way of the world: profiles are numbered, ways are made when first asked for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._profiles: dict[tuple[object, ...], int] = {}
        self._kinds: list[Attachment] = []
        self._parts: list[tuple[Link, Segment, tuple[tuple[int, int], ...], int]] = []
        self._tables: list[_Table] = []
        self.between: dict[tuple[int, int], Link] = {}

    def profile_of(self, attachment: Attachment) -> int:
        link = attachment.link.without_rates()
        key = (link, id(attachment.segment), attachment.sides, attachment.own)
        number = self._profiles.get(key)
        if number is None:
            number = self._profiles[key] = len(self._parts)
            self._parts.append((link, attachment.segment, attachment.sides, attachment.own))
            self._tables.append(_Table(self, number))
        return number

    def table_from(self, profile: int) -> _Table:
        return self._tables[profile]

    def forget(self) -> None:
        """Draws every way anew, after `between` changed."""
        for table in self._tables:
            table.clear()
            table.fates.clear()

    def make(self, here: int, there: int) -> Way:
        link, segment, sides, own = self._parts[here]
        other_link, other_segment, other_sides, other_own = self._parts[there]
        links, _, _ = segment.lines_to(other_segment)
        other = dict(other_sides)
        parted = any(other.get(number, side) != side for number, side in sides)
        extra = self.between.get((own, other_own)) if own and other_own else None
        middle = [extra] if extra is not None else links
        rng = self.world.rng_for(f"way {here} {there}")
        return Way((link, *middle, other_link), rng, is_open=not parted)


class _Table(dict[int, Way]):
    """The ways from one profile, made on first use."""

    def __init__(self, ways: Ways, profile: int) -> None:
        super().__init__()
        self._ways = ways
        self._profile = profile
        self.fates = _Fates(self)

    def __missing__(self, there: int) -> Way:
        way = self[there] = self._ways.make(self._profile, there)
        return way


class _Fates(dict[int, Iterator[float]]):
    """The fates on the ways from one profile: one look-up less for the fastest code."""

    def __init__(self, table: _Table) -> None:
        super().__init__()
        self._table = table

    def __missing__(self, there: int) -> Iterator[float]:
        fates = self[there] = self._table[there].fates
        return fates
