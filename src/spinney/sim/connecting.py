"""How a simulated stream comes to be: routes through networks and NATs, and the handshake."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from spinney.errors import ConnectError, NetworkError
from spinney.net.address import format_address
from spinney.net.host import Address
from spinney.sim import tls as sim_tls
from spinney.sim.nat import Nat
from spinney.sim.segments import Attachment
from spinney.sim.streams import SimListener, SimStream

if TYPE_CHECKING:
    from spinney.sim.host import SimHost

P = TypeVar("P", bound=asyncio.BaseProtocol)

MOST_LEGS = 8
FIRST_RETRY_S = 1.0

Legs = list[tuple[Attachment, Attachment]]


@dataclass(slots=True)
class Route:
    """Where a connection attempt arrives: the machine, and both addresses as it sees them."""

    legs: Legs
    host: SimHost
    source: Address
    local: Address


def find_route(origin: Attachment, source: Address, remote: Address) -> Route | None:
    """Follows a stream's first packet through routers and NATs; None where it is dropped."""
    from spinney.sim.host import SimHost

    legs: Legs = []
    place = origin
    for _ in range(MOST_LEGS):
        owner = place.segment.find(remote[0])
        if owner is None:
            return None
        legs.append((place, owner))
        device = owner.device
        if isinstance(device, SimHost):
            return Route(legs, device, source, remote)
        assert isinstance(device, Nat)
        if owner is device.inner:
            source = device.outbound("tcp", source, remote)
            place = device.outer
            if remote[0] != device.address:
                continue
            if not device.hairpin:
                return None
        inner = device.inbound("tcp", source, remote)
        if inner is None:
            return None
        remote = inner
        place = device.inner
    return None


class Attempt:
    """One connection attempt: a future that becomes the client's stream."""

    def __init__(
        self,
        host: SimHost,
        origin: Attachment,
        local: Address,
        remote: Address,
        factory: Callable[[], asyncio.BaseProtocol],
        release: Callable[[], object],
    ) -> None:
        self.host = host
        self.world = host.world
        self.loop = host.world.loop
        self.origin = origin
        self.local = local
        self.remote = remote
        self.factory = factory
        self.release = release
        self.done: asyncio.Future[SimStream] = self.loop.create_future()
        self.done.waits_for = f"a connection to {format_address(remote)}"  # type: ignore[attr-defined]
        self.run = host.context().run
        self._wait_s = FIRST_RETRY_S

    def knock(self) -> None:
        """Sends the first packet; again later if nothing came of it."""
        if self.done.done() or not self.host.is_up:
            return
        self.loop.push(self.loop.now + self._wait_s, self.knock, ())
        self._wait_s *= 2
        route = find_route(self.origin, self.local, self.remote)
        if route is None:
            return
        delay = delay_of(route.legs)
        if delay is not None:
            self.loop.push(self.loop.now + delay, self._knocked, (route,))

    def _knocked(self, route: Route) -> None:
        """The first packet has arrived."""
        other = route.host
        if self.done.done() or not other.is_up:
            return
        back = [(there, here) for here, there in reversed(route.legs)]
        delay = delay_of(back)
        listener = other.listener_for(route.local)
        crossing = other.attempts.get((route.local, route.source)) if listener is None else None
        if listener is None and (crossing is None or crossing.done.done()):
            if delay is not None:
                self.loop.push(self.loop.now + delay, self._refused, ())
            return
        if delay is None:
            return
        client = self._make(route, back)
        if client is None:
            return
        if listener is not None:
            server = _accept(listener, route, back)
        else:
            assert crossing is not None
            server = crossing._make_crossing(route, back)
        if server is None:
            return
        client.peer, server.peer = server, client
        client.out.target, server.out.target = server, client
        if listener is not None:
            server.begin()
        else:
            assert crossing is not None
            crossing.done.set_result(server)
        self.loop.push(self.loop.now + delay, self._established, (client,))

    def _make(self, route: Route, back: Legs) -> SimStream | None:
        protocol = asyncio.Protocol()
        return SimStream(self.host, self.local, self.remote, route.legs, protocol, self.release)

    def _make_crossing(self, route: Route, back: Legs) -> SimStream:
        protocol = asyncio.Protocol()
        return SimStream(self.host, self.local, self.remote, back, protocol, self.release)

    def _refused(self) -> None:
        if not self.done.done():
            self.done.set_exception(
                ConnectError(f"nobody listens on {format_address(self.remote)}")
            )

    def _established(self, client: SimStream) -> None:
        if self.done.done():
            client.abort()
        else:
            self.done.set_result(client)


def delay_of(legs: Legs) -> float | None:
    """Seconds for one packet of a handshake; None if it is lost."""
    total = 0.0
    for here, there in legs:
        way = here.ways[there.profile]
        if not way.open or not here.is_up or (way.loss and way.rng.random() < way.loss):
            return None
        total += way.delay_s()
    return total


def _accept(listener: SimListener, route: Route, back: Legs) -> SimStream | None:
    protocol = listener.run(listener.factory)
    host = route.host
    if listener.tls is not None:
        protocol = sim_tls.server_side(host, protocol, listener.tls)
    stream = SimStream(host, route.local, route.source, back, protocol, _nothing)
    stream.is_secret = listener.tls is not None
    return stream


def _nothing() -> None:
    """An accepted stream holds no port of its own."""


async def connect(
    host: SimHost,
    factory: Callable[[], P],
    remote: Address,
    local: Address | None,
    reuse_port: bool,
    tls: ssl.SSLContext | None,
    server_name: str | None,
    timeout_s: float,
) -> tuple[asyncio.Transport, P]:
    """`Host.connect` (H1, H11, H12, H15)."""
    wild = "::" if ":" in remote[0] else "0.0.0.0"
    origin, own = host.way_out(local[0] if local else wild, remote[0])
    if origin is None or own is None:
        raise ConnectError(f"{host.name} has no way to {remote[0]}")
    bound = host.bind("tcp", (local[0] if local else own, local[1] if local else 0), reuse_port)
    source: Address = (own, bound[1])
    released = False

    def release() -> None:
        nonlocal released
        if not released:
            released = True
            host.release("tcp", bound, reuse_port)

    attempt = Attempt(host, origin, source, remote, factory, release)
    key = (source, remote)
    host.attempts[key] = attempt
    made: SimStream | None = None
    try:
        async with asyncio.timeout(timeout_s):
            attempt.knock()
            made = await attempt.done
            protocol = factory()
            if tls is None:
                made.set_protocol(protocol)
                made.begin()
                return made, protocol
            made.is_secret = True
            transport = await sim_tls.client_side(host, made, protocol, tls, server_name)
            return transport, protocol
    except TimeoutError:
        raise ConnectError(
            f"{format_address(remote)} did not answer within {timeout_s:g} s"
        ) from None
    except BaseException as error:
        if isinstance(error, OSError) and not isinstance(error, NetworkError):
            raise ConnectError(f"{format_address(remote)}: {error}") from error
        raise
    finally:
        if host.attempts.get(key) is attempt:
            del host.attempts[key]
        if made is None:
            attempt.done.cancel()
            release()
