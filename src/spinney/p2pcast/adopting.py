"""`Adopting`: how a station takes orphans for its seats, and looks whether an accused child lives.

`attaching.py` says whether a place may take somebody; here the network is asked what that needs.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from spinney.errors import CallError, WireError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.attaching import taking, with_child
from spinney.p2pcast.carrying import least_of, shortfall
from spinney.p2pcast.place import INCOMPLETE, NOBODY, SOURCE, Name
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.trust.signing import CANNOT_CARRY
from spinney.p2pcast.yielding import GIVES_WAY_S, given_way, may_give_way, sent_away
from spinney.wire.krpc_messages import Arguments, Query

if TYPE_CHECKING:
    from spinney.p2pcast.station import Station

PROBE_S = 0.3
"""What an accused child has to answer: a round trip of 200 ms."""


class Adopting:
    """For all seats of one station."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self._loop = asyncio.get_running_loop()
        self._probing: dict[Name, None] = {}

    def asked(self, query: Query, body: object) -> Arguments | None:
        call = codec.read_take_on(body)
        seat = self.station.seat(call.target)
        dead, now = call.dead, self._loop.time()
        least = least_of(self.station.settings, self.station.stripes)
        if 0 < call.slots < least:
            error = shortfall(call.slots, self.station.settings, self.station.stripes)
            raise CallError(str(error), CANNOT_CARRY)
        if call.tree >= self.station.stripes:
            raise WireError("a tree that is not")
        if dead == NOBODY or dead not in seat.place.children[call.tree]:
            return self._take_orphan(seat, query, call, False)
        if now - seat.heard[dead] >= self.station.settings.accused_s:
            return self._take_orphan(seat, query, call, True)
        self.station.spawn(self._check_accused(seat, query, call))
        return None

    def doubted(self, child: Name) -> None:
        """Somebody hears nothing of my child: I ask it, so that I know when I am asked."""
        for seat in self.station.seats.values():
            if child in seat.heard and child not in self._probing:
                self._probing[child] = None
                if not self.station.spawn(self._check_child(seat, child)):
                    del self._probing[child]

    async def _check_child(self, seat: Seat, child: Name) -> None:
        try:
            said = await self.station.look(child, self.station.settings.beat_s)
            now = self._loop.time()
            if child in seat.heard:
                silent = min(seat.heard[child], now - self.station.settings.accused_s)
                seat.heard[child] = silent if said is None else now
        finally:
            del self._probing[child]

    async def _check_accused(self, seat: Seat, query: Query, call: m.TakeOn) -> None:
        """The orphan says that my child is dead: I ask it myself."""
        said = await self.station.look(call.dead, PROBE_S)
        alive = said is not None and said.sight.place.parents[call.tree] == seat.name
        self.station.krpc.answer(query, self._take_orphan(seat, query, call, not alive))

    def _take_orphan(self, seat: Seat, query: Query, call: m.TakeOn, gone: bool) -> Arguments:
        limb, tree, old = seat.limbs[call.tree], call.tree, seat.place
        gives_way = call.urgent and self._gives_way(seat, tree)
        place = given_way(old, tree) if gives_way else old
        leaves = [name for name in seat.place.children[tree] if seat.is_leaf_child(name, tree)]
        leaves = [name for name in leaves if name != call.dead]
        reaching = self.station.reaching
        if reaching.is_closed(call.child):
            # An open leaf has a closed parent to go to; this one has not.
            call = replace(call, inner=True)
            leaves = [name for name in leaves if not reaching.is_closed(name)]
        if seat.participant.held is not None or tree in seat.asking:
            answer = m.Taking.BUSY
        else:
            answer = taking(place, limb.above, limb.sequence, call, gone=gone, leaves=len(leaves))
        if answer is m.Taking.TAKEN:
            if call.child >= 0:
                self.station.book.learn({call.child: query.remote})
            if call.child not in seat.place.children[tree]:
                dead = call.dead if gone else NOBODY
                self.station.counts["taken"] += 1
                after = with_child(place, tree, call.child, dead)
                if seat.name != SOURCE and after.room < 0:
                    self._send_away(seat, tree, leaves[0], call.child)
                    after = with_child(place, tree, call.child, leaves[0])
                if gives_way:
                    self._give_way(seat, tree)
                self.station.take(seat, after)
                for _, mate in old.cohort if gives_way else ():
                    self.station.tell(mate, b"p2pcast.here", seat.word(mate, 0))
        others = [
            name
            for name in seat.place.children[tree]
            if name != call.child and (call.inner or seat.has_room(name, tree))
            if name >= 0 and name not in leaves
        ]
        taken = m.Taken(
            answer,
            limb.sequence,
            -1 if seat.name == SOURCE else limb.below,
            max(seat.state(), INCOMPLETE),
            tuple(others[: codec.MOST_OTHERS]),
            self.station.book.of(others),
        )
        return {b"b": codec.pack_taken(taken)}

    def _gives_way(self, seat: Seat, tree: int) -> bool:
        """Children are sent away by whoever can, if all of them are leaves."""
        if self._loop.time() - seat.gave_way < GIVES_WAY_S:
            return False
        if not may_give_way(seat.place, tree, seat.limbs[tree].above):
            return False
        return all(seat.is_leaf_child(child, at) for at, child in sent_away(seat.place, tree))

    def _give_way(self, seat: Seat, tree: int) -> None:
        self.station.counts["gave way"] += 1
        seat.gave_way = self._loop.time()
        for at, child in sent_away(seat.place, tree):
            self.station.tell(child, b"p2pcast.update", seat.farewell(at))

    def _send_away(self, seat: Seat, tree: int, leaf: Name, newcomer: Name) -> None:
        """DIRECT: a leaf makes way for a branch, and is told whom it may ask."""
        self.station.counts["displaced"] += 1
        self.station.tell(leaf, b"p2pcast.update", seat.farewell(tree, newcomer))
