"""`Guard`: what a station believes of what others say, and how it shows who it is itself.

    signed calls     a change of places is asked for in one's own name only (`signing.py`)
    beats            are taken from the address from which the parent signed something last
    place tickets    a parent that shows none within `NO_TICKETS_S` is left (`tickets.py`)
    distrust         whoever was found cheating is not asked, and not obeyed, for a while

Who can forge the addresses of datagrams can still forge a beat: no key is in it, since there are
four a second in each tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinney.errors import CallError
from spinney.net.host import Address
from spinney.p2pcast import codec
from spinney.p2pcast.attaching import is_newer
from spinney.p2pcast.place import NOBODY, SOURCE, SPECIAL, Name
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.trust.identity import Signer
from spinney.p2pcast.trust.papers import Papers
from spinney.p2pcast.trust.rights import Orders, check_order, neighbours
from spinney.p2pcast.trust.signing import (
    NO_TICKETS,
    NOT_YOURS,
    Counter,
    Heard,
    opened,
    seal,
    speaks_for,
)
from spinney.wire.krpc_messages import Arguments, Query

if TYPE_CHECKING:
    from spinney.p2pcast.station import Station

SIGNED = frozenset(
    b"p2pcast." + verb
    for verb in (
        b"takeon",
        b"substitute",
        b"replace",
        b"direct",
        b"hold",
        b"apply",
        b"undo",
        b"here",
        b"will",
        b"place",
        b"ticket",
        b"late",
        b"delete",
        b"heirs",
        b"dial",
        b"dialled",
        b"hello",
    )
)
"""Calls that change something at who hears them.  What only asks needs no key."""
_ORDERS = frozenset(
    b"p2pcast." + verb for verb in (b"takeon", b"substitute", b"replace", b"direct", b"hold")
)
DISTRUST_S = 120.0
"""A cheat is not asked for so long: twice a ticket's life."""
MOST_DISTRUSTED = 256
IDLE_S = 20.0
"""Who brought nothing is not asked for so long."""
SIBLINGS = 3
"""Of a parent that brought nothing, who are asked whether they were served."""
KEPT_BACK_S = 600.0
"""Who kept back what it had: as long as a registry believes three witnesses."""
MOST_IDS = 1_024
"""Keys' peer ids kept by name, as many as addresses: DELETE names a peer by its id."""


class Guard:
    """For one station.  `clock_offset_s`: by how much the registry's clock is ahead."""

    def __init__(self, station: Station, signer: Signer) -> None:
        self.station = station
        self.signer = signer
        self.clock_offset_s = 0.0
        self.counter = Counter(self.clock)
        self.heard = Heard()
        self.ids: dict[Name, bytes] = {signer.name: signer.peer_of(signer.public)}
        self.papers = Papers(self)
        self.orders = Orders()
        self.refused: dict[int, int] = {}
        """Calls refused, by code."""
        self._source_at: Address | None = None
        """Where the source signed from: its machine may have several addresses."""
        self._distrusted: dict[Name, float] = {}
        self._avoided: dict[Name, float] = {}

    def clock(self) -> float:
        """Unix seconds, as the registry counts them."""
        return self.station.host.wall_time() + self.clock_offset_s

    # -- what it says ---------------------------------------------------------------------

    def arguments(self, method: bytes, body: bytes) -> Arguments:
        stream = self.station.stream
        if method not in SIGNED:
            return {b"b": body, b"s": stream}
        return seal(self.signer, stream, method, self.counter.next(), body)

    # -- what it hears --------------------------------------------------------------------

    def check(self, query: Query) -> None:
        """Before a call is looked at.  Raises `CallError` or `WireError`, for who called."""
        try:
            self._check(query)
        except CallError as error:
            self.refused[error.code] = self.refused.get(error.code, 0) + 1
            raise

    def _check(self, query: Query) -> None:
        method, arguments, remote = query.method, query.arguments, query.remote
        if method == b"p2pcast.update":
            sender = codec.read_beat_head(arguments.get(b"b"))[3]
            known = self.station.book.find(sender)
            if remote != known and (sender >= 0 or remote != self._source_at):
                raise CallError("a beat from elsewhere than its sender", NOT_YOURS)
            return
        if method not in SIGNED:
            return
        stream, now_ms = self.station.stream, self.clock() * 1_000
        name, public = opened(self.signer, self.heard, stream, method, arguments, remote, now_ms)
        if self.is_distrusted(name):
            raise CallError("this peer was found cheating", NOT_YOURS)
        claimed = self._claimed(method, arguments)
        if claimed != NOBODY and not speaks_for(name, claimed):
            raise CallError("signed by somebody else than it speaks for", NOT_YOURS)
        if method in (b"p2pcast.apply", b"p2pcast.undo"):
            self._check_decision(name, arguments)
        elif method in _ORDERS:
            self._check_order(name, arguments)
        self._know(name, public, remote)

    def _check_decision(self, name: Name, arguments: Arguments) -> None:
        """Only who asked for a change says what becomes of it."""
        decision = codec.read_decision(arguments.get(b"b"))
        seat = self.station.seats.get(decision.target)
        held = seat.participant.held if seat is not None else None
        is_held = held is not None and held.transaction == decision.transaction
        if held is not None and is_held and not speaks_for(name, held.coordinator):
            raise CallError("another's transaction", NOT_YOURS)

    def _check_order(self, name: Name, arguments: Arguments) -> None:
        body = arguments.get(b"b")
        if arguments.get(b"o") == 1:
            call = codec.read_take_on(body)
            seat = self.station.seats.get(call.target)
            if seat is None or call.tree >= len(seat.limbs) or seat.name == SOURCE:
                return
            if call.child in self.papers.ancestors(seat, call.tree):
                raise CallError("you are above me there", NOT_YOURS)
            if not self.papers.of(seat, call.tree).chain:
                raise CallError("I have no tickets there myself", NO_TICKETS)
            return
        order = codec.read_lock(body)
        seat = self.station.seats.get(order.target)
        if seat is None or order.lock.version != seat.place.version:
            return  # refused anyway
        new = order.lock.place
        parents = new.parents if new is not None else ()
        if any(each not in seat.place.parents and self.is_distrusted(each) for each in parents):
            raise CallError("one of these parents was found cheating", NOT_YOURS)
        if name != SOURCE and name not in neighbours(seat.place):
            self.orders.count(name, self.station.host.time())
        has_shown = self.papers.has_shown(name)
        check_order(seat.place, new, name, has_shown=has_shown)

    def _claimed(self, method: bytes, arguments: Arguments) -> Name:
        """In whose name a call speaks."""
        body = arguments.get(b"b")
        match method:
            case b"p2pcast.here":
                return codec.read_here(body).sender
            case b"p2pcast.late":
                return codec.read_late(body).sender
            case b"p2pcast.delete" | b"p2pcast.heirs" | b"p2pcast.dial" | b"p2pcast.hello":
                return codec.read_delete(body).sender
            case b"p2pcast.dialled":
                return SOURCE
            case b"p2pcast.will":
                return codec.read_seen(body).sight.place.name
            case b"p2pcast.place":
                return codec.read_place_me(body).name
            case b"p2pcast.takeon" | b"p2pcast.substitute" if arguments.get(b"o") == 1:
                return codec.read_take_on(body).child
            case b"p2pcast.apply" | b"p2pcast.undo" | b"p2pcast.ticket":
                return NOBODY
            case _:
                return codec.read_lock(body).lock.coordinator

    def signed_by(self, query: Query) -> Name:
        """Who signed a call that was checked."""
        return self.signer.name_of(query.arguments[b"k"])

    def _know(self, name: Name, public: bytes, remote: Address) -> None:
        ids = self.ids
        ids.pop(name, None)
        ids[name] = self.signer.peer_of(public)
        while len(ids) > MOST_IDS:
            del ids[next(iter(ids))]
        if name >= 0:
            self.station.book.pin(name, remote)
        else:
            self._source_at = remote

    # -- who is believed ------------------------------------------------------------------

    def distrust(self, name: Name, why: str, seconds: float = DISTRUST_S) -> None:
        """Not asked and not obeyed for a while."""
        if name in (SOURCE, SPECIAL, NOBODY) or name in self.station.seats:
            return
        self.station.counts[f"distrusted: {why}"] += 1
        self._remember(self._distrusted, name, seconds)

    def _remember(self, row: dict[Name, float], name: Name, seconds: float) -> None:
        row.pop(name, None)
        row[name] = self.station.host.time() + seconds
        while len(row) > MOST_DISTRUSTED:
            del row[next(iter(row))]

    def is_distrusted(self, name: Name) -> bool:
        return self._distrusted.get(name, 0.0) > self.station.host.time()

    def avoid(self, name: Name, seconds: float = IDLE_S) -> None:
        """Not asked to be a parent for a while.  It is obeyed and looked at: it may be cut off as
        its children are, and be a good neighbour in other trees."""
        self.station.counts["avoided"] += 1
        self._remember(self._avoided, name, seconds)

    def is_avoided(self, name: Name) -> bool:
        return self.is_distrusted(name) or self._avoided.get(name, 0.0) > self.station.host.time()

    def brought_nothing(self, seat: Seat, tree: int) -> None:
        """A parent lives, and nothing new came from it for long.  It may be cut off itself, so it
        is asked again soon; unless its siblings have what it did not pass on."""
        parent, above = seat.place.parents[tree], self.papers.ancestors(seat, tree)
        self.avoid(parent)
        if len(above) > 1 and above[-1] == parent:
            number = seat.limbs[tree].sequence
            self.station.spawn(self._ask_above(tree, parent, above[-2], number))

    async def _ask_above(self, tree: int, parent: Name, above: Name, number: int) -> None:
        """Its siblings were served, or its own parent is the source, which serves: so it was.
        Else that parent may be who keeps things back."""
        seen = await self.station.look(above)
        if seen is None or parent not in seen.sight.place.children[tree]:
            return
        row = [name for name in seen.sight.place.children[tree] if name not in (parent, SPECIAL)]
        for served in [SOURCE] if above == SOURCE else row[:SIBLINGS]:
            said = seen if served == SOURCE else await self.station.look(served)
            if said is not None and is_newer(said.sequences[tree], number):
                self.distrust(parent, "kept it back", KEPT_BACK_S)
                self.station.on_cheat(parent, tree)
                return

    def _forget_numbers(self, seat: Seat, tree: int) -> None:
        """A cheat may have sent numbers of beats that the source never made: nobody else could
        then take this orphan, being behind.  In other trees it hears the source's own."""
        numbers = [
            limb.sequence
            for at, limb in enumerate(seat.limbs)
            if at != tree and self.papers.of(seat, at).chain
        ]
        limb = seat.limbs[tree]
        for number in numbers:
            if is_newer(limb.sequence, number):
                limb.sequence = number

    def leave(self, seat: Seat, tree: int, why: str) -> None:
        """A parent that cheats is left as if it had fallen."""
        parent = seat.place.parents[tree]
        if seat.participant.held is not None or parent == NOBODY:
            return
        self.distrust(parent, why)
        self.station.on_cheat(parent, tree)
        if self.station.fills and parent >= 0:
            self.station.on_dead(seat, parent)
            return
        now = self.station.host.time()
        for at, name in enumerate(seat.place.parents):
            if name == parent:
                self._forget_numbers(seat, at)
                seat.orphaned(at, now)
                self.station.on_orphan(seat, at, parent)
