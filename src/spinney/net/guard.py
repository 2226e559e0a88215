"""The guard of outgoing addresses: where a stranger's word may send us (pure, but for one call).

Torrents, magnet links, trackers and peers name places that this machine then talks to.
Whoever writes them could aim us at a router's or a developer's page on our own network
(server-side request forgery), so each such place passes here first.

    URL ──parse_target──▶ Target ──host.resolve, once──▶ addresses ──allowed──▶ dial only these

Rules (libtorrent's audit of 2020; docs/decisions/live-host.md):

1. A tracker's URL is http, https or udp; a web seed's, a descriptor's and a redirect's is
   http or https.  Nothing names a user, and nothing holds control characters or a backslash.
2. A name is resolved once, each of its addresses is judged, and only judged addresses are
   dialled: a name that answers differently the second time (rebinding) gains nothing.
3. Nobody sends us to multicast, unspecified, broadcast or reserved addresses.
4. A loopback address is dialled for a tracker on path `/announce` (`/scrape` to scrape) only.
5. A web seed at a private address carries no query.
6. A redirect never leads inwards: from public to private, or from there to loopback.
7. Nobody but the user sends us to a link-local address (clouds serve credentials there).
8. What the user typed is free of 4, 5 and 7.
9. A peer at a private address is dialled only at the word of the link, the user, LAN
   discovery, itself, or a tracker or peer that is at a private address too; one at a loopback
   address at the word of the first four or of somebody at a loopback address.

An IPv4 address wrapped in an IPv6 one (mapped, 6to4, NAT64, Teredo) is judged by what is inside.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from spinney.errors import ForbiddenAddressError
from spinney.net.address import format_address
from spinney.net.host import Address, Host

Purpose: TypeAlias = Literal["tracker", "scrape", "web-seed", "descriptor"]

LONGEST_URL = 4_096
"""No tracker or web seed needs more; a proxy or server would refuse it anyway."""

_SCHEMES: dict[str, tuple[str, ...]] = {
    "tracker": ("http", "https", "udp"),
    "scrape": ("http", "https", "udp"),
    "web-seed": ("http", "https"),
    "descriptor": ("http", "https"),
}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK_PATHS = {"tracker": "/announce", "scrape": "/scrape"}

_SHARED = ipaddress.ip_network("100.64.0.0/10")  # carriers' NAT (RFC 6598): not the internet
_SITE_LOCAL = ipaddress.ip_network("fec0::/10")  # deprecated, still routed inside some sites
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Reach(enum.IntEnum):
    """How far out an address lies; a redirect may only go up."""

    NOWHERE = 0
    LOOPBACK = 1
    PRIVATE = 2
    PUBLIC = 3


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart.  `host` is a name or a numeric address without brackets."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def request_target(self) -> str:
        """Path and query, as HTTP's request line wants them."""
        return f"{self.path}?{self.query}" if self.query else self.path


def reach_of(host: str) -> Reach:
    """Of a numeric address, with or without a zone; NOWHERE if it is none."""
    try:
        address = _unwrapped(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return Reach.NOWHERE
    if address.is_loopback:
        return Reach.LOOPBACK
    if address.is_multicast or address.is_unspecified:
        return Reach.NOWHERE
    if isinstance(address, ipaddress.IPv4Address):
        if address.is_reserved or address.packed[0] == 0:
            return Reach.NOWHERE  # 240/4 with the broadcast address, 0/8
        if address.is_private or address.is_link_local or address in _SHARED:
            return Reach.PRIVATE
        return Reach.PUBLIC
    if address.is_private or address.is_link_local or address in _SITE_LOCAL:
        return Reach.PRIVATE
    return Reach.NOWHERE if address.is_reserved else Reach.PUBLIC


def _unwrapped(address: IPAddress) -> IPAddress:
    """The IPv4 address inside an IPv6 one that a system or a gateway would dial instead."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_link_local(host: str) -> bool:
    return _unwrapped(ipaddress.ip_address(host.partition("%")[0])).is_link_local


def parse_target(url: str, purpose: Purpose) -> Target:
    """Raises `ForbiddenAddressError` for what rule 1 forbids and for what is no URL."""
    shown = url if len(url) <= 80 else url[:77] + "..."
    if len(url) > LONGEST_URL:
        raise ForbiddenAddressError(f"the URL {shown!r} has more than {LONGEST_URL} characters")
    if "\\" in url or any(character < " " or character == "\x7f" for character in url):
        raise ForbiddenAddressError(f"the URL {shown!r} holds characters that no URL has")
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ForbiddenAddressError(f"{shown!r} is not a URL: {error}") from None
    if parts.scheme not in _SCHEMES[purpose]:
        known = ", ".join(_SCHEMES[purpose])
        raise ForbiddenAddressError(
            f"{parts.scheme or 'no scheme'!r} in {shown!r} is not one of {known}"
        )
    if parts.username is not None or parts.password is not None:
        raise ForbiddenAddressError(f"the URL {shown!r} names a user")
    if not host or any(character.isspace() for character in host):
        raise ForbiddenAddressError(f"the URL {shown!r} names no host")
    if port is None:
        port = _DEFAULT_PORTS.get(parts.scheme)
    if not port:
        raise ForbiddenAddressError(f"the URL {shown!r} names no port")
    return Target(url, parts.scheme, host, port, parts.path or "/", parts.query)


def allowed(
    target: Target,
    addresses: Sequence[Address],
    purpose: Purpose,
    *,
    by_user: bool = False,
    redirected_from: Reach | None = None,
) -> list[Address]:
    """Those of `addresses` (the target's, resolved) that may be dialled, in their order.

    `redirected_from`: the reach of the address that sent us here (`reach_of`).  Raises
    `ForbiddenAddressError` with the reason if there is none.
    """
    passed: list[Address] = []
    reasons: dict[str, None] = {}
    for address in addresses:
        reason = _objection(target, address, purpose, by_user, redirected_from)
        if reason is None:
            passed.append(address)
        else:
            reasons[f"{format_address(address)} {reason}"] = None
    if not passed:
        why = "; ".join(list(reasons)[:3]) or "it has no address"
        raise ForbiddenAddressError(f"not going to {target.host}:{target.port}: {why}")
    return passed


def _objection(
    target: Target,
    address: Address,
    purpose: Purpose,
    by_user: bool,
    redirected_from: Reach | None,
) -> str | None:
    """Why not to dial `address`, or None."""
    reach = reach_of(address[0])
    if reach is Reach.NOWHERE or not 0 < address[1] < 65536:
        return "is nothing to connect to"
    if redirected_from is not None and reach < redirected_from:
        return "lies further inside than the server that redirected there"
    if by_user:
        return None
    if reach is Reach.LOOPBACK:
        path = _LOOPBACK_PATHS.get(purpose)
        if path is None:
            return "is this machine itself"
        if target.path != path or target.query:
            return f"is this machine itself, where a {purpose} is at {path} only"
    if _is_link_local(address[0]):
        return "is link-local, where clouds keep credentials"
    if reach is Reach.PRIVATE and purpose == "web-seed" and target.query:
        return "is private, and the web seed has a query"
    return None


async def resolve_target(
    host: Host,
    url: str,
    purpose: Purpose,
    *,
    by_user: bool = False,
    redirected_from: Reach | None = None,
) -> tuple[Target, list[Address]]:
    """Takes a URL apart, resolves it once and judges: dial only what this returns.

    Raises `ForbiddenAddressError`, or `ResolveError` if the name has no address.
    """
    target = parse_target(url, purpose)
    addresses = await host.resolve(target.host, target.port)
    return target, allowed(
        target, addresses, purpose, by_user=by_user, redirected_from=redirected_from
    )


_FREE_SOURCES = ("link", "user", "lan", "incoming")
"""`lan` and `incoming` tell of an address that a packet to us came from."""


def may_dial(address: Address, source: str) -> bool:
    """Whether a peer at `address` may be dialled at the word of `source` (rule 9).

    `source`: `link`, `user`, `lan`, `incoming`, or `KIND:WHO` where WHO is the numeric address
    (or `address:port`, or a URL with one) that told us, such as `pex:10.0.0.7` or
    `tracker:192.168.1.2:6969`.  One without WHO is taken for a stranger on the internet.
    """
    reach = reach_of(address[0])
    if reach is Reach.NOWHERE or not 0 < address[1] < 65536:
        return False
    kind, _, who = source.partition(":")
    if reach is Reach.PUBLIC or kind in _FREE_SOURCES:
        return True
    teller = _teller_reach(who)
    if reach is Reach.PRIVATE:
        return teller in (Reach.PRIVATE, Reach.LOOPBACK)
    return teller is Reach.LOOPBACK


def _teller_reach(who: str) -> Reach:
    """Of `1.2.3.4`, `1.2.3.4:5`, `[::1]:5`, `::1` or `http://1.2.3.4/…`; a name is public."""
    _, has_scheme, rest = who.partition("://")
    place = (rest if has_scheme else who).partition("/")[0]
    if place.startswith("["):
        place = place[1:].partition("]")[0]
    elif place.count(":") == 1:
        place = place.partition(":")[0]
    return reach_of(place) or Reach.PUBLIC
