"""`Choking`: applies the choker's decisions to a swarm's peers, at once and every ten seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING

from spinney.bittorrent.choker import ROUND_S, SNUBBED_S, Choker, ChokerPeer, slots_for
from spinney.net.host import Rng
from spinney.net.limits import Limit

if TYPE_CHECKING:
    from spinney.bittorrent.peer import Peer

UNKNOWN_LINE_BYTES_PER_S = 1_280_000.0
"""Taken for the line's rate while nothing is known and little was sent: 8 slots."""


class Choking:
    """`peers()`: those connected, in the order of their keys.  `fixed_slots`: a setting or None."""

    def __init__(
        self,
        peers: Callable[[], Iterable[Peer]],
        limit: Limit,
        rng: Rng,
        now: float,
        *,
        fixed_slots: int | None,
        line_bytes_per_s: float | None,
        in_turn: bool,
    ) -> None:
        self._peers = peers
        self._limit = limit
        self._rng = rng
        self._choker = Choker(seed_in_turn=in_turn)
        self._fixed_slots = fixed_slots
        self._line_bytes_per_s = line_bytes_per_s
        self._peak_bytes_per_s = 0.0
        self._next_round_at = now + ROUND_S
        self._loop = asyncio.get_running_loop()
        self._due = False
        self.seeding = False

    @property
    def slots(self) -> int:
        if self._fixed_slots is not None:
            return self._fixed_slots
        rates = [bucket.rate_bytes_per_s for bucket in self._limit.buckets]
        known = [rate for rate in (*rates, self._line_bytes_per_s) if rate is not None]
        if known:
            return slots_for(min(known))
        return slots_for(max(self._peak_bytes_per_s, UNKNOWN_LINE_BYTES_PER_S))

    def changed(self) -> None:
        """Interest or the number of peers changed: free slots are given at once."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._fill)

    def _fill(self) -> None:
        self._due = False
        now = self._loop.time()
        unchoked, waiting = [], []
        for peer in self._peers():  # at every change of interest of any of them: no more than this
            if not peer.choked:
                unchoked.append(peer)
            elif peer.interested:
                waiting.append(peer)
        if not waiting:
            return
        rows = [self._row(peer, now) for peer in unchoked]
        if not self._choker.may_fill(rows, self.slots, seeding=self.seeding):
            return
        rows += [self._row(peer, now) for peer in waiting]
        rows.sort(key=attrgetter("key"))
        peers = {peer.key: peer for peer in (*unchoked, *waiting)}
        chosen, ended = self._choker.fill(now, rows, self.slots, seeding=self.seeding)
        for key in ended:
            peers[key].set_choked(True, now)
        for key in chosen:
            peers[key].set_choked(False, now)

    def tick(self, now: float, sent_bytes_per_s: float) -> None:
        """Once a second, with the swarm's upload rate."""
        self._peak_bytes_per_s = max(self._peak_bytes_per_s * 0.999, sent_bytes_per_s)
        if now < self._next_round_at:
            return
        self._next_round_at = now + ROUND_S
        peers = {peer.key: peer for peer in self._peers()}
        rows = [self._row(peer, now) for peer in peers.values()]
        chosen = set(self._choker.review(now, rows, self.slots, self._rng, seeding=self.seeding))
        for key, peer in peers.items():
            if key not in chosen:
                peer.set_choked(True, now)
        for key, peer in peers.items():
            if key in chosen:
                peer.set_choked(False, now)

    def _row(self, peer: Peer, now: float) -> ChokerPeer:
        downloader = peer.downloader
        return ChokerPeer(
            key=peer.key,
            interested=peer.interested,
            unchoked=not peer.choked,
            download_bytes_per_s=downloader.meter.rate_bytes_per_s(now),
            upload_bytes_per_s=peer.uploader.meter.rate_bytes_per_s(now),
            snubbed=downloader.silent_s(now) > SNUBBED_S,
            connected_at=peer.connected_at,
            unchoked_at=peer.unchoked_at,
            debt_bytes=peer.uploader.meter.total_bytes - downloader.meter.total_bytes,
        )
