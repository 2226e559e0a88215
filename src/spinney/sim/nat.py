"""NATs: who may answer whom through a translated address (RFC 4787's terms beside the old).

kind                 one mapping for            lets in
full-cone            each inner address         anybody
address-restricted   each inner address         hosts that were sent to
port-restricted      each inner address         host and port pairs that were sent to
symmetric            each destination           that destination only
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from spinney.net.host import Address
from spinney.sim.links import Link
from spinney.sim.segments import Attachment, Packet, Segment

if TYPE_CHECKING:
    from spinney.sim.world import World

NatKind = Literal["full-cone", "address-restricted", "port-restricted", "symmetric"]
Transport = Literal["udp", "tcp"]

MAPPING_LIFETIME_S = 120.0
"""An unused UDP mapping lives so long (RFC 4787 asks for two minutes or more)."""

TCP_LIFETIME_S = 7440.0
"""An idle TCP mapping lives two hours and four minutes (RFC 5382)."""

FIRST_PORT = 20_000
LAST_PORT = 65_535


@dataclass(slots=True)
class Mapping:
    """An inner address and the outer port that stands for it; `sent_to` are its permissions."""

    inner: Address
    port: int
    used_at: float
    sent_to: dict[Address, float] = field(default_factory=dict)
    fixed: bool = False


class Nat:
    """A router that translates; `inside` is the network behind it.

    `hairpin`: may two inner hosts meet through the outer address?  `lifetime_s`: of an unused
    UDP mapping; only packets from inside renew it.
    """

    def __init__(
        self,
        world: World,
        name: str,
        kind: NatKind,
        outside: Segment,
        inside: Segment,
        address: str,
        link: Link | None,
        hairpin: bool,
        lifetime_s: float,
    ) -> None:
        self.world = world
        self.name = name
        self.kind = kind
        self.inside = inside
        self.address = address
        self.hairpin = hairpin
        self.lifetime_s = lifetime_s
        self.outer = Attachment(self, outside, "wan", 1, ((address, 32),), link)
        outside.attach(self.outer)
        gateway = inside.next_address(False)
        self.inner = Attachment(self, inside, "lan", 2, ((gateway, 24),), None)
        inside.nat = self
        inside.attach(self.inner)
        self._by_inner: dict[tuple[object, ...], Mapping] = {}
        self._by_port: dict[tuple[Transport, int], Mapping] = {}
        self._next_port = FIRST_PORT + world.rng_for(f"nat {name}").randrange(10_000)

    def forward(self, port: int, inner: Address, transport: Transport = "udp") -> None:
        """Opens an outer port for an inner address, for anybody (port mapping)."""
        mapping = Mapping(inner, port, self.world.loop.now, fixed=True)
        self._by_port[transport, port] = mapping

    def unforward(self, port: int, transport: Transport = "udp") -> None:
        """Takes back a `forward`; one that does not exist is no error."""
        self._by_port.pop((transport, port), None)

    def restart(self) -> None:
        """Forgets every mapping that was not forwarded, as a router does that is switched off."""
        self._by_inner.clear()
        self._by_port = {key: each for key, each in self._by_port.items() if each.fixed}

    def outbound(self, transport: Transport, inner: Address, remote: Address) -> Address:
        """The outer address that a packet from inside leaves with; makes or renews a mapping."""
        now = self.world.loop.now
        key: tuple[object, ...] = (transport, inner)
        if self.kind == "symmetric":
            key = (transport, inner, remote)
        mapping = self._by_inner.get(key)
        if mapping is None or self._expired(transport, mapping):
            if mapping is not None:
                self._by_port.pop((transport, mapping.port), None)
            mapping = Mapping(inner, self._free_port(transport), now)
            self._by_inner[key] = mapping
            self._by_port[transport, mapping.port] = mapping
        mapping.used_at = now
        mapping.sent_to[remote] = now
        return self.address, mapping.port

    def inbound(self, transport: Transport, source: Address, outer: Address) -> Address | None:
        """The inner address that a packet from outside is for, or None if it may not enter."""
        mapping = self._by_port.get((transport, outer[1]))
        if mapping is None:
            return None
        if mapping.fixed:
            return mapping.inner
        if self._expired(transport, mapping):
            return None
        if self.kind == "address-restricted":
            allowed = any(
                host == source[0] and self._fresh(transport, at)
                for (host, _), at in mapping.sent_to.items()
            )
        elif self.kind == "full-cone":
            allowed = True
        else:
            at = mapping.sent_to.get(source)
            allowed = at is not None and self._fresh(transport, at)
        return mapping.inner if allowed else None

    def _fresh(self, transport: Transport, at: float) -> bool:
        lifetime = self.lifetime_s if transport == "udp" else TCP_LIFETIME_S
        return self.world.loop.now - at <= lifetime

    def _expired(self, transport: Transport, mapping: Mapping) -> bool:
        return not mapping.fixed and not self._fresh(transport, mapping.used_at)

    def _free_port(self, transport: Transport) -> int:
        for _ in range(LAST_PORT - FIRST_PORT):
            port = self._next_port
            self._next_port = port + 1 if port < LAST_PORT else FIRST_PORT
            held = self._by_port.get((transport, port))
            if held is None or self._expired(transport, held):
                return port
        raise AssertionError(f"{self.name} has no port left")

    def packet_arrived(self, at: Attachment, packet: Packet) -> None:
        """Translates a datagram and sends it on."""
        from spinney.sim.datagrams import transmit

        data, source, remote = packet
        if at is self.inner:
            source = self.outbound("udp", source, remote)
            if remote[0] != self.address:
                transmit(self.world, self.outer, (data, source, remote))
                return
            if not self.hairpin:
                self.world.lost.append(len(data))
                return
        inner = self.inbound("udp", source, remote)
        if inner is None:
            self.world.lost.append(len(data))
            return
        transmit(self.world, self.inner, (data, source, inner))
