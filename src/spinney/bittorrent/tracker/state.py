"""Who is where: the torrents and peers that a tracker knows.  Pure; `now` is an argument.

A peer is (peer id, key): an announce by IPv4 and one by IPv6 with the same two are one peer
with two endpoints (BEP 7), counted once.  Whoever lacks the key cannot speak for it.  Peers lie
in four pools a torrent (seeds and leechers, each by family), so that a random choice for a
reply is two slices of a list, whatever the size of the swarm.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from spinney.bittorrent.tracker.messages import AnnounceRequest
from spinney.errors import TrackerError
from spinney.net.address import is_local
from spinney.net.host import Rng


@dataclass(frozen=True, slots=True)
class StateLimits:
    """The bounds of a tracker's memory: below 600 bytes a peer and 2,000 a torrent (a test)."""

    torrents: int = 20_000
    peers: int = 200_000
    """Over all torrents."""
    peers_per_torrent: int = 20_000
    entries_per_address: int = 500
    """Over all torrents, for each IPv4 address or IPv6 /64; not for local addresses."""
    expiry_s: float = 1575.0
    """A peer that was not heard for this long is gone.  `Tracker` sets it by its interval."""


class Peer:
    """One client in one torrent."""

    __slots__ = ("endpoint4", "endpoint6", "heard_at", "identity", "owner", "seed")

    def __init__(self, identity: bytes, owner: bytes, seed: bool, heard_at: float) -> None:
        self.identity = identity
        self.owner = owner
        """Whose quota it counts against: see `owner_of`."""
        self.seed = seed
        self.heard_at = heard_at
        self.endpoint4: bytes | None = None
        self.endpoint6: bytes | None = None


class Pool:
    """Endpoints in compact form with their peers; add, drop and choose cost the same for any n."""

    __slots__ = ("endpoints", "places")

    def __init__(self) -> None:
        self.endpoints: list[bytes] = []
        self.places: dict[bytes, tuple[int, Peer]] = {}

    def __len__(self) -> int:
        return len(self.endpoints)

    def add(self, endpoint: bytes, peer: Peer) -> None:
        self.places[endpoint] = (len(self.endpoints), peer)
        self.endpoints.append(endpoint)

    def drop(self, endpoint: bytes) -> None:
        place, _ = self.places.pop(endpoint)
        last = self.endpoints.pop()
        if last != endpoint:
            self.endpoints[place] = last
            self.places[last] = (place, self.places[last][1])

    def choose(self, count: int, rng: Rng) -> list[bytes]:
        """At most `count` different endpoints, each as likely as any other.

        A random start and a random stride: two slices at C's speed, where a shuffle or a
        sample costs Python work for each peer.
        """
        endpoints = self.endpoints
        size = len(endpoints)
        if count >= size:
            return endpoints[:]
        if count <= 0:
            return []
        stride = 1 + rng.getrandbits(30) % (size // count)
        start = rng.getrandbits(30) % size
        chosen = endpoints[start : start + stride * count : stride]
        missing = count - len(chosen)
        if missing > 0:
            at = start + stride * len(chosen) - size
            chosen += endpoints[at : at + stride * missing : stride]
        return chosen


class Torrent:
    """One torrent's peers; `peers` is in order of the last announce, oldest first."""

    __slots__ = ("downloaded", "leechers4", "leechers6", "peers", "seed_count", "seeds4", "seeds6")

    def __init__(self) -> None:
        self.peers: dict[bytes, Peer] = {}
        self.seeds4, self.seeds6 = Pool(), Pool()
        self.leechers4, self.leechers6 = Pool(), Pool()
        self.seed_count = 0
        self.downloaded = 0

    def pool(self, seed: bool, six: bool) -> Pool:
        if seed:
            return self.seeds6 if six else self.seeds4
        return self.leechers6 if six else self.leechers4

    def attach(self, peer: Peer, endpoint: bytes) -> None:
        six = len(endpoint) == 18
        self.pool(peer.seed, six).add(endpoint, peer)
        if six:
            peer.endpoint6 = endpoint
        else:
            peer.endpoint4 = endpoint

    def detach(self, peer: Peer, endpoint: bytes) -> None:
        six = len(endpoint) == 18
        self.pool(peer.seed, six).drop(endpoint)
        if six:
            peer.endpoint6 = None
        else:
            peer.endpoint4 = None

    def holder(self, endpoint: bytes) -> Peer | None:
        six = len(endpoint) == 18
        for seed in (False, True):
            place = self.pool(seed, six).places.get(endpoint)
            if place is not None:
                return place[1]
        return None


def owner_of(host: str) -> bytes:
    """Whose quota an address counts against: IPv4 address, IPv6 /64, nobody if local."""
    if is_local(host):
        return b""
    packed = ipaddress.ip_address(host).packed
    return packed if len(packed) == 4 else packed[:8]


class TrackerState:
    """Every torrent; all bounds are kept here.  Refusals are `TrackerError`, for the client."""

    def __init__(self, limits: StateLimits) -> None:
        self.limits = limits
        self.torrents: dict[bytes, Torrent] = {}
        self.peer_count = 0
        self._owned: dict[bytes, int] = {}
        """Entries by owner: bounded by `limits.peers`, as each entry is a peer."""

    def announce(
        self,
        request: AnnounceRequest,
        endpoints: tuple[bytes, ...],
        owner: bytes,
        now: float,
    ) -> Torrent:
        """Books one announce; `endpoints` are the compact addresses that the server believes."""
        torrent = self.torrents.get(request.infohash)
        identity = request.peer_id + request.key
        if request.event == "stopped":
            if torrent is None:
                return Torrent()
            peer = torrent.peers.get(identity)
            if peer is not None:
                self._remove(torrent, peer)
            return torrent
        if torrent is None:
            if len(self.torrents) >= self.limits.torrents:
                raise TrackerError("this tracker has as many torrents as it can hold")
            torrent = Torrent()
        else:
            self._expire(torrent, now)
        seed = request.left_bytes == 0
        peer = torrent.peers.pop(identity, None)
        if peer is None:
            self._room_for_peer(torrent, owner)
            peer = Peer(identity, owner, seed, now)
            self._count(owner, 1)
            self.peer_count += 1
            torrent.seed_count += seed
        elif peer.seed != seed:
            self._change_sides(torrent, peer, seed)
        if request.event == "completed" and seed:
            torrent.downloaded += 1
        self.torrents.setdefault(request.infohash, torrent)
        torrent.peers[identity] = peer
        peer.heard_at = now
        for endpoint in endpoints:
            self._settle(torrent, peer, endpoint)
        return torrent

    def _room_for_peer(self, torrent: Torrent, owner: bytes) -> None:
        """Raises if no peer may be added; a crowded torrent gives up its longest silent one."""
        self._may_own(owner)
        if self.peer_count >= self.limits.peers:
            raise TrackerError("this tracker has as many peers as it can hold")
        if len(torrent.peers) >= self.limits.peers_per_torrent:
            self._remove(torrent, next(iter(torrent.peers.values())))

    def _may_own(self, owner: bytes) -> None:
        if owner and self._owned.get(owner, 0) >= self.limits.entries_per_address:
            raise TrackerError("too many announces of different peers from this address")

    def _count(self, owner: bytes, change: int) -> None:
        if not owner:
            return
        count = self._owned.get(owner, 0) + change
        if count:
            self._owned[owner] = count
        else:
            self._owned.pop(owner, None)

    def _change_sides(self, torrent: Torrent, peer: Peer, seed: bool) -> None:
        endpoints = [e for e in (peer.endpoint4, peer.endpoint6) if e is not None]
        for endpoint in endpoints:
            torrent.detach(peer, endpoint)
        torrent.seed_count += 1 if seed else -1
        peer.seed = seed
        for endpoint in endpoints:
            torrent.attach(peer, endpoint)

    def _settle(self, torrent: Torrent, peer: Peer, endpoint: bytes) -> None:
        """The peer listens at `endpoint` now.  Whoever was there before left without a word."""
        before = peer.endpoint6 if len(endpoint) == 18 else peer.endpoint4
        if before == endpoint:
            return
        if before is not None:
            torrent.detach(peer, before)
        holder = torrent.holder(endpoint)
        if holder is not None:
            torrent.detach(holder, endpoint)
            if holder.endpoint4 is None and holder.endpoint6 is None:
                self._remove(torrent, holder)
        torrent.attach(peer, endpoint)

    def _remove(self, torrent: Torrent, peer: Peer) -> None:
        del torrent.peers[peer.identity]
        for endpoint in (peer.endpoint4, peer.endpoint6):
            if endpoint is not None:
                torrent.detach(peer, endpoint)
        torrent.seed_count -= peer.seed
        self.peer_count -= 1
        self._count(peer.owner, -1)

    def _expire(self, torrent: Torrent, now: float) -> None:
        oldest_allowed = now - self.limits.expiry_s
        while torrent.peers:
            peer = next(iter(torrent.peers.values()))
            if peer.heard_at > oldest_allowed:
                return
            self._remove(torrent, peer)

    def sweep(self, now: float) -> None:
        """Forgets silent peers everywhere, and torrents without peers (and their counts)."""
        for infohash in list(self.torrents):
            torrent = self.torrents[infohash]
            self._expire(torrent, now)
            if not torrent.peers:
                del self.torrents[infohash]

    def take(self, other: TrackerState) -> None:
        """Becomes what `other` is; nobody uses `other` afterwards."""
        self.torrents = other.torrents
        self.peer_count = other.peer_count
        self._owned = other._owned

    def restore(
        self, infohash: bytes, downloaded: int, peers: Iterator[tuple[Peer, tuple[bytes, ...]]]
    ) -> None:
        """Puts back what a snapshot held, within the limits; `peers` oldest first."""
        if infohash in self.torrents or len(self.torrents) >= self.limits.torrents:
            return
        torrent = self.torrents[infohash] = Torrent()
        torrent.downloaded = downloaded
        for peer, endpoints in peers:
            if self.peer_count >= self.limits.peers or peer.identity in torrent.peers:
                continue
            if any(torrent.holder(endpoint) is not None for endpoint in endpoints):
                continue
            torrent.peers[peer.identity] = peer
            torrent.seed_count += peer.seed
            self.peer_count += 1
            self._count(peer.owner, 1)
            for endpoint in endpoints:
                torrent.attach(peer, endpoint)


def choose_peers(
    torrent: Torrent, own: tuple[bytes, ...], seed: bool, count: int, rng: Rng
) -> tuple[list[bytes], list[bytes]]:
    """Endpoints for a reply, IPv4 and IPv6, at most `count` in all, without the asker's `own`.

    A seed gets leechers only: two seeds have nothing to say to each other.  A leecher gets both,
    by their share; and both families, by theirs.
    """
    pools = [torrent.leechers4, torrent.leechers6]
    if not seed:
        pools += [torrent.seeds4, torrent.seeds6]
    total = len(pools[0]) + len(pools[1])
    if not seed:
        total += len(pools[2]) + len(pools[3])
    four: list[bytes] = []
    six: list[bytes] = []
    if total and count > 0:
        room = count + len(own)
        for at, pool in enumerate(pools):
            size = len(pool)
            if not size:
                continue
            share = size if total <= room else -(-room * size // total)
            (six if at % 2 else four).extend(pool.choose(share, rng))
        for endpoint in own:
            row = six if len(endpoint) == 18 else four
            if endpoint in row:
                row.remove(endpoint)
        while len(four) + len(six) > count:
            longer = four if len(four) >= len(six) else six
            longer.pop(rng.getrandbits(30) % len(longer))
    return four, six
