"""`Watching`: what a station does as time passes: parents that fall silent are asked, then dead;
children that fall silent are dropped; locks whose decision is late are asked for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from spinney.errors import SpinneyError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.place import NOBODY, SOURCE, Name
from spinney.p2pcast.seat import Seat, State
from spinney.p2pcast.transactions import Lock, Outcome

if TYPE_CHECKING:
    from spinney.p2pcast.station import Station

TICKS_A_BEAT = 2


class Watching:
    """For all seats of one station, until `close`."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self._loop = asyncio.get_running_loop()
        self._probing: dict[Name, None] = {}
        # A phase of its own, so that a thousand peers do not all speak at one moment.
        rng, settings = station.host.rng, station.settings
        self._tick_s = settings.beat_s / TICKS_A_BEAT
        self._here_at = self._loop.time() + rng.random() * settings.here_s
        self._timer = self._loop.call_later(rng.random() * self._tick_s, self._tick)

    def close(self) -> None:
        self._timer.cancel()

    def _tick(self) -> None:
        now = self._loop.time()
        self._timer = self._loop.call_later(self._tick_s, self._tick)
        says_here = now >= self._here_at
        if says_here:
            self._here_at = now + self.station.settings.here_s
        if says_here and self.station.guard is not None:
            self.station.guard.papers.tick(now)
        for seat in list(self.station.seats.values()):
            self._watch(seat, now)
            if says_here:
                for other, word in seat.here():
                    self.station.tell(other, b"p2pcast.here", word)
                seat.mend_cohort(now)
                seat.rebalance(now, self.station.host.rng)
                if self.station.fills and seat.name >= 0:
                    self.station.wills.tell(seat)
                    for child in seat.silent(now):
                        self.station.on_silent(child)
                for child in seat.drop_silent(now):
                    self.station.counts["dropped: silent"] += 1
                    self.station.on_dropped(seat, child)

    def _watch(self, seat: Seat, now: float) -> None:
        doubt = seat.participant.doubtful(now)
        if doubt is not None and seat.name not in self._probing:
            self._probing[seat.name] = None
            if not self.station.spawn(self._resolve(seat, doubt)):
                del self._probing[seat.name]
        if seat.name == SOURCE:
            return
        settings, place = self.station.settings, seat.place
        idle_s = settings.idle_beats * settings.beat_s
        for tree, limb in enumerate(seat.limbs):
            cut_off = now - limb.fresh > idle_s and limb.sequence
            if cut_off and place.children[tree] and now - limb.idled >= settings.beat_s:
                limb.idled = now
                self.station.pass_on(seat, tree, idle=True)
            parent = place.parents[tree]
            if parent == NOBODY:
                if place.version and not seat.leaves:
                    self.station.on_orphan(seat, tree, NOBODY)
                continue
            if now - limb.heard < settings.probe_s > now - limb.fresh:
                continue
            state = seat.parent_state(tree, now)
            if state is State.PROBE:
                self._probe(seat, tree, parent)
            elif state is State.DEAD and seat.participant.held is None:
                if self.station.fills and parent >= 0:
                    self.station.on_dead(seat, parent)
                    continue
                self.station.counts["orphaned"] += 1
                if self.station.guard is not None and now - limb.heard < settings.dead_s:
                    self.station.guard.brought_nothing(seat, tree)
                seat.orphaned(tree, now)
                place = seat.place
                self.station.on_orphan(seat, tree, parent)

    def _probe(self, seat: Seat, tree: int, parent: Name) -> None:
        if parent in self._probing:
            return
        self._probing[parent] = None
        self.station.on_doubtful_parent(seat, tree)
        if not self.station.spawn(self._probed(seat, parent)):
            del self._probing[parent]

    async def _probed(self, seat: Seat, parent: Name) -> None:
        try:
            seen = await self.station.look(parent, self.station.settings.beat_s)
            if seen is not None:
                seat.answered(seen, self._loop.time())
        finally:
            del self._probing[parent]

    async def _resolve(self, seat: Seat, lock: Lock) -> None:
        """In doubt: asks the coordinator and the witnesses."""
        try:
            asked = [name for name in (lock.coordinator, *lock.witnesses) if name != seat.name]
            calls = [self._outcome(name, lock.transaction) for name in asked]
            heard = [each for each in await asyncio.gather(*calls) if each is not None]
            place = seat.participant.resolve(lock, heard, self._loop.time())
            self.station.counts["doubts"] += 1
            if place is not None:
                self.station.take(seat, place)
        finally:
            del self._probing[seat.name]

    async def _outcome(self, name: Name, transaction: bytes) -> Outcome | None:
        own = self.station.seats.get(name)
        if own is not None:
            return own.participant.outcome(transaction)
        try:
            body = codec.pack_decision(m.Decision(name, transaction))
            data = await self.station.ask(
                name, b"p2pcast.outcome", body, timeout_s=self.station.settings.call_s
            )
            return codec.read_told(data).outcome
        except SpinneyError:
            return None
