"""Who stays when there is one connection too many.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spinney.bittorrent.priority import canonical_priority
from spinney.net.host import Address

if TYPE_CHECKING:
    from spinney.bittorrent.connection import Connection
    from spinney.bittorrent.peer import Peer

RACE_S = 5.0
"""Two peers that dial each other at once notice within this time; later it is a newcomer who
uses a peer id that is taken, and loses."""
USELESS_S = 60.0
"""A peer that neither side is interested in for this long gives its place to another; then one
with which no byte was moved in so long."""


def keep_new(
    own_id: bytes, peer_id: bytes, old: Connection, new: Connection, old_age_s: float
) -> bool:
    """Two connections between the same two peers: does the new one stay instead of the old?

    Both ends compute the same: the one that was dialled by the greater peer id stays.  Of two that
    one side dialled, by IPv4 and by IPv6, that by IPv6: each end may hear of another one first,
    and if each kept its own first one, both would end.
    """
    if old_age_s > RACE_S:
        return False
    if old.outgoing == new.outgoing:
        return ":" in new.remote[0] and ":" not in old.remote[0]
    dialled_by = own_id if new.outgoing else peer_id
    return dialled_by == max(own_id, peer_id)


def no_place(peers: Sequence[Peer], places: int, share_of_strangers: float) -> bool:
    """Are all places taken, or those that peers who dialled us may have?"""
    strangers = sum(1 for peer in peers if not peer.connection.outgoing)
    taken = share_of_strangers < 1.0 and strangers >= places * share_of_strangers
    return taken or len(peers) >= places


def weakest(
    peers: Sequence[Peer], newcomer: Address, own: Sequence[Address], now: float
) -> Peer | None:
    """The peer that makes room for a newcomer, or None: all are better than it.

    First one that nobody gains from, then one that only waits; else BEP 40 decides, alike at
    both ends.
    """
    useless = [
        peer
        for peer in peers
        if not peer.interested
        and not peer.downloader.interested
        and now - peer.connected_at > USELESS_S
    ]
    if not useless:
        useless = [
            peer
            for peer in peers
            if now - peer.connected_at > USELESS_S
            and now - max(peer.uploader.moved_at, peer.downloader.moved_at) > USELESS_S
        ]
    if useless:
        return min(useless, key=lambda peer: peer.key)
    ours = {":" in address[0]: address for address in own}
    mine = ours.get(":" in newcomer[0])
    if mine is None:
        return None

    def rank(peer: Peer) -> int:
        return canonical_priority(mine, peer.listens_at or peer.connection.remote)

    busy = [peer for peer in peers if now - peer.connected_at > USELESS_S]
    worst = min(busy, key=rank, default=None)
    if worst is None or rank(worst) >= canonical_priority(mine, newcomer):
        return None
    return worst
