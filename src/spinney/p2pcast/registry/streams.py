"""Who is in which stream: the registry's state (paper, section 7).  Pure; `now` is an argument.

    registry.join(stream, newcomer, now)       a place in the stream, or a refusal with its reason
    registry.choose(stream, asker, 16, rng)    random live peers to begin with
    registry.leave / delete / mark_bad         no longer handed out

A stream is opened by its source, who alone can sign with the key that names it, and lasts as
long as somebody is in it.  Peers that are handed out lie in pools by family and reach, so that
a random choice costs the same for ten peers and for fifty thousand.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from spinney.errors import CallError
from spinney.net.guard import Reach, reach_of
from spinney.net.host import Address, Rng
from spinney.p2pcast.registry.codec import contact_row
from spinney.p2pcast.registry.messages import (
    FULL,
    NO_MEMBER,
    NO_STREAM,
    OVERTAKEN,
    Contact,
)
from spinney.p2pcast.registry.settings import RegistryLimits

Order = tuple[int, int]
"""(epoch of the token, number of the envelope): what a peer said later is greater."""

NEVER: Order = (-1, -1)
DRAWS_PER_CONTACT = 4
"""Some that are drawn are the asker or of a network that was told already."""


_reach_of = lru_cache(maxsize=4_096)(reach_of)
"""It is asked for the same few addresses again and again, and costs as much as a token."""


@lru_cache(maxsize=4_096)
def network_of(host: str) -> bytes:
    """Whose limits an address counts against: IPv4 /24, IPv6 /64; empty for local addresses."""
    reach = _reach_of(host)
    if reach is not Reach.PUBLIC:
        return b""
    packed = ipaddress.ip_address(host.partition("%")[0]).packed
    return packed[:3] if len(packed) == 4 else packed[:8]


class Member:
    """One peer of one stream."""

    __slots__ = (
        "_row",
        "address",
        "bad_until",
        "depth",
        "heard_at",
        "is_open",
        "is_source",
        "is_suspect",
        "joined_at",
        "network",
        "order",
        "peer",
        "place",
        "pool",
        "said_order",
        "ticket_at",
    )

    def __init__(self, peer: bytes, address: Address, now: float) -> None:
        self.peer = peer
        self.address = address
        self.network = network_of(address[0])
        self.joined_at = self.heard_at = now
        self.depth: int | None = None
        self.is_open = True
        self.is_source = False
        self.is_suspect = False
        """It did not answer, and only one stripe missed it: not handed out until it renews."""
        self.bad_until = 0.0
        self.order = self.said_order = NEVER
        self.ticket_at = 0
        self.pool: list[Member] | None = None
        self.place = 0
        self._row = b""

    @property
    def row(self) -> bytes:
        """The member as a contact in an answer; made once and told many times."""
        if not self._row:
            self._row = contact_row(Contact(self.peer, self.address, self.depth))
        return self._row

    def says(self, depth: int | None, is_open: bool) -> None:
        if depth != self.depth:
            self.depth, self._row = depth, b""
        self.is_open = is_open


@dataclass(frozen=True, slots=True)
class Newcomer:
    """One who joins or renews, as the desk believes it: token and signature were good."""

    peer: bytes
    address: Address
    order: Order
    is_open: bool = True
    depth: int | None = None
    is_source: bool = False


class Stream:
    """One stream's peers; `members` is in the order in which they were last heard."""

    def __init__(self) -> None:
        self.members: dict[bytes, Member] = {}
        self.pools: dict[tuple[bool, Reach], list[Member]] = {}
        self.networks: dict[bytes, int] = {}
        """Members by network: bounded, as each entry is a member's."""
        self.bad: dict[bytes, float] = {}
        """Peers that are not handed out, and until when; kept when they leave and return."""
        self.source: Member | None = None
        self.opened_from = b""
        """The network of who opened it: one who opens streams without end fills no registry."""

    def pool_in(self, member: Member) -> None:
        if member.pool is not None or not member.is_open or member.is_suspect or member.is_source:
            return
        if member.bad_until:
            return
        key = (":" in member.address[0], _reach_of(member.address[0]))
        pool = self.pools.setdefault(key, [])
        member.pool, member.place = pool, len(pool)
        pool.append(member)

    def pool_out(self, member: Member) -> None:
        pool = member.pool
        if pool is None:
            return
        last = pool.pop()
        if last is not member:
            pool[member.place] = last
            last.place = member.place
        member.pool = None


class Registry:
    """Every stream; all bounds are kept here.  Refusals are `CallError`, for the peer."""

    def __init__(
        self,
        limits: RegistryLimits | None = None,
        *,
        expiry_s: float = 120.0,
        peers_per_network: int | None = None,
        streams_per_network: int | None = None,
        allowed: frozenset[bytes] | None = None,
    ) -> None:
        self.limits = limits or RegistryLimits()
        self.expiry_s = expiry_s
        self.peers_per_network = peers_per_network
        self.streams_per_network = streams_per_network
        self.allowed = allowed
        self.streams: dict[bytes, Stream] = {}
        self.member_count = 0
        self._gone: dict[tuple[bytes, bytes], Order] = {}

    # Coming and going

    def join(self, stream_id: bytes, newcomer: Newcomer, now: float) -> Member:
        """Books one join or renewal.  Said twice it changes nothing."""
        stream = self.streams.get(stream_id)
        if stream is None:
            stream = self._opened(stream_id, newcomer)
        self._expire(stream, now)
        member = stream.members.get(newcomer.peer)
        before = member.order if member else self._gone.get((stream_id, newcomer.peer), NEVER)
        if newcomer.order < before or (member is None and newcomer.order == before != NEVER):
            raise CallError("this peer has said something newer since", OVERTAKEN)
        if member is not None and member.address != newcomer.address:
            self._remove(stream, member)  # it came back elsewhere
            member = None
        if member is None:
            self._room(stream, newcomer)
            member = Member(newcomer.peer, newcomer.address, now)
            member.is_source = newcomer.is_source
            member.bad_until = stream.bad.get(newcomer.peer, 0.0)
            self._add(stream_id, stream, member)
        stream.members[newcomer.peer] = stream.members.pop(newcomer.peer)
        member.heard_at, member.order = now, newcomer.order
        member.says(newcomer.depth, newcomer.is_open)
        member.is_suspect = False  # who speaks with a token of its own is not dead
        if member.bad_until <= now:
            member.bad_until = 0.0
            stream.bad.pop(member.peer, None)
        if member.is_open:
            stream.pool_in(member)
        else:
            stream.pool_out(member)
        return member

    def _opened(self, stream_id: bytes, newcomer: Newcomer) -> Stream:
        if self.allowed is not None and stream_id not in self.allowed:
            raise CallError("this stream is not served here", NO_STREAM)
        if not newcomer.is_source and self.allowed is None:
            raise CallError("no such stream here: its source is not on the air", NO_STREAM)
        if len(self.streams) >= self.limits.streams:
            raise CallError("this registry has as many streams as it can hold", FULL)
        network, most = network_of(newcomer.address[0]), self.streams_per_network
        if network and most is not None:
            opened = sum(stream.opened_from == network for stream in self.streams.values())
            if opened >= most:
                raise CallError("too many streams were opened from your network already", FULL)
        stream = Stream()
        stream.opened_from = network
        return stream

    def _room(self, stream: Stream, newcomer: Newcomer) -> None:
        if newcomer.is_source:
            return
        if self.member_count >= self.limits.peers:
            raise CallError("this registry has as many peers as it can hold", FULL)
        if len(stream.members) >= self.limits.peers_per_stream:
            raise CallError("this stream has as many peers as this registry can hold", FULL)
        network, most = network_of(newcomer.address[0]), self.peers_per_network
        if network and most is not None and stream.networks.get(network, 0) >= most:
            raise CallError("too many peers of this stream are in your network already", FULL)

    def _add(self, stream_id: bytes, stream: Stream, member: Member) -> None:
        self.streams.setdefault(stream_id, stream)
        self._gone.pop((stream_id, member.peer), None)
        stream.members[member.peer] = member
        self.member_count += 1
        if member.network:
            stream.networks[member.network] = stream.networks.get(member.network, 0) + 1
        if member.is_source:
            stream.source = member
        stream.pool_in(member)

    def _remove(self, stream: Stream, member: Member) -> None:
        del stream.members[member.peer]
        stream.pool_out(member)
        self.member_count -= 1
        if stream.source is member:
            stream.source = None
        if member.network:
            count = stream.networks[member.network] - 1
            if count:
                stream.networks[member.network] = count
            else:
                del stream.networks[member.network]

    def leave(self, stream_id: bytes, peer: bytes, order: Order) -> None:
        """The peer goes.  What it said before and comes again later does not bring it back."""
        stream = self.streams.get(stream_id)
        member = stream.members.get(peer) if stream else None
        if stream is None or member is None:
            return
        if order < member.order:
            raise CallError("this peer has said something newer since", OVERTAKEN)
        self._remove(stream, member)
        self._gone[stream_id, peer] = order
        if len(self._gone) > self.limits.gone:
            del self._gone[next(iter(self._gone))]

    def delete(self, stream_id: bytes, peer: bytes) -> None:
        """The peer is dead (the paper's DELETE, after it was checked)."""
        stream = self.streams.get(stream_id)
        if stream is not None and peer in stream.members:
            self._remove(stream, stream.members[peer])

    def _expire(self, stream: Stream, now: float) -> None:
        oldest_allowed = now - self.expiry_s
        while stream.members:
            member = next(iter(stream.members.values()))
            if member.heard_at > oldest_allowed:
                return
            self._remove(stream, member)

    def sweep(self, now: float, gone_before: int = -1) -> None:
        """Forgets silent peers, empty streams, and leavers whose tokens of epochs up to
        `gone_before` are worth nothing any more."""
        for stream_id in list(self.streams):
            stream = self.streams[stream_id]
            self._expire(stream, now)
            for peer in [peer for peer, until in stream.bad.items() if until <= now]:
                self._forgive(stream, peer)
            if not stream.members:
                del self.streams[stream_id]
        self._gone = {key: order for key, order in self._gone.items() if order[0] > gone_before}

    def restore(
        self, stream_id: bytes, opened_from: bytes, members: list[Member], bad: dict[bytes, float]
    ) -> None:
        """Puts back what a snapshot held, within the limits; `members` longest silent first."""
        if self.allowed is not None and stream_id not in self.allowed:
            return
        if stream_id in self.streams or len(self.streams) >= self.limits.streams:
            return
        stream = Stream()
        stream.opened_from = opened_from
        stream.bad = dict(list(bad.items())[: self.limits.bad])
        for member in members[-self.limits.peers_per_stream :]:
            if self.member_count < self.limits.peers and member.peer not in stream.members:
                member.bad_until = stream.bad.get(member.peer, 0.0)
                self._add(stream_id, stream, member)

    def take(self, other: Registry) -> None:
        """Becomes what `other` is; nobody uses `other` afterwards."""
        self.streams, self.member_count = other.streams, other.member_count

    def open_count(self, stream_id: bytes) -> int:
        """How many peers of a stream are handed out."""
        stream = self.streams.get(stream_id)
        return sum(map(len, stream.pools.values())) if stream is not None else 0

    # Good and bad

    def member(self, stream_id: bytes, peer: bytes) -> Member | None:
        stream = self.streams.get(stream_id)
        return stream.members.get(peer) if stream is not None else None

    def speaker(self, stream_id: bytes, peer: bytes, address: Address) -> Member:
        """The member who accuses.  Raises `CallError` for one who is none, or elsewhere."""
        member = self.member(stream_id, peer)
        if member is None or member.address != address:
            raise CallError("only a peer of the stream is heard: join it first", NO_MEMBER)
        return member

    def suspect(self, stream_id: bytes, peer: bytes) -> None:
        """Not handed out until it speaks: it did not answer."""
        member = self.member(stream_id, peer)
        if member is not None:
            member.is_suspect = True
            self.streams[stream_id].pool_out(member)

    def mark_bad(self, stream_id: bytes, peer: bytes, until: float) -> None:
        """Not handed out before `until`, whatever it says; remembered if it leaves and returns.
        The source is never marked: it could as well not be there."""
        stream = self.streams.get(stream_id)
        if stream is None or (stream.source is not None and stream.source.peer == peer):
            return
        stream.bad[peer] = max(until, stream.bad.pop(peer, 0.0))
        if len(stream.bad) > self.limits.bad:
            self._forgive(stream, min(stream.bad, key=stream.bad.__getitem__))
        member = stream.members.get(peer)
        if member is not None and peer in stream.bad:
            member.bad_until = stream.bad[peer]
            stream.pool_out(member)

    def _forgive(self, stream: Stream, peer: bytes) -> None:
        del stream.bad[peer]
        member = stream.members.get(peer)
        if member is not None:
            member.bad_until = 0.0
            stream.pool_in(member)

    # Who is told

    def choose(
        self,
        stream_id: bytes,
        asker: Newcomer,
        count: int,
        rng: Rng,
        *,
        families: tuple[bool, ...] = (False, True),
        drawn_per_contact: int = 1,
        told_per_network: int | None = None,
    ) -> list[Member]:
        """At most `count` different live peers, at random; never the asker itself.

        With `told_per_network`, networks are chosen at random and not names: eight names in one
        are told as often as one.  A loopback address is told on this machine only and a private
        one to private ones.  The source comes last, and only when there are fewer others than
        were asked for.
        """
        stream = self.streams.get(stream_id)
        if stream is None or count <= 0:
            return []
        reach = _reach_of(asker.address[0])
        pools = [
            pool
            for (six, far), pool in stream.pools.items()
            if pool and six in families and far >= reach
        ]
        drawn = _draw(pools, count * max(drawn_per_contact, DRAWS_PER_CONTACT), rng)
        enough = count * drawn_per_contact
        chosen: list[Member] = []
        crowded: list[Member] = []
        told: dict[bytes, int] = {}

        def is_one_more(member: Member) -> bool:
            """Takes the member if its network has not been told so often already."""
            if told_per_network is not None and member.network:
                told[member.network] = told.get(member.network, 0) + 1
                if told[member.network] > told_per_network:
                    return False
            chosen.append(member)
            return len(chosen) >= enough

        for member in drawn:
            if member.peer == asker.peer:
                continue
            if told_per_network is not None and member.network:
                names = stream.networks.get(member.network, 1)
                if names > 1 and rng.random() * names >= 1.0:
                    crowded.append(member)  # each network is as likely as any other
                    continue
            if is_one_more(member):
                break
        else:
            for member in crowded:
                if is_one_more(member):
                    break
        if drawn_per_contact > 1:
            chosen.sort(key=lambda member: 255 if member.depth is None else member.depth)
        del chosen[count:]
        source = stream.source
        if len(chosen) < count and source is not None and source.peer != asker.peer:
            here = source.address[0]
            if (":" in here) in families and _reach_of(here) >= reach:
                chosen.append(source)
        return chosen


def _draw(pools: list[list[Member]], count: int, rng: Rng) -> Iterator[Member]:
    """At most `count` different members of all pools together, in random order, one by one."""
    total = sum(map(len, pools))
    for at in _few(total, rng) if total <= count else _some(total, count, rng):
        for pool in pools:
            if at < len(pool):
                yield pool[at]
                break
            at -= len(pool)


def _few(total: int, rng: Rng) -> Iterator[int]:
    """All numbers below `total`, shuffled as far as somebody asks."""
    numbers = list(range(total))
    for at in range(total):
        other = at + int(rng.random() * (total - at))
        numbers[at], numbers[other] = numbers[other], numbers[at]
        yield numbers[at]


def _some(total: int, count: int, rng: Rng) -> Iterator[int]:
    """At most `count` different numbers below `total`, which is larger."""
    seen: set[int] = set()
    for _ in range(2 * count):
        at = int(rng.random() * total)
        if at not in seen:
            seen.add(at)
            yield at
            if len(seen) >= count:
                return
