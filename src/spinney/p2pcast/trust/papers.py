"""`Papers`: the tickets that a station's seats hold, ask for, and give to their children."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from spinney.errors import CallError
from spinney.p2pcast.place import NOBODY, SOURCE, Name
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.trust import ticket_codec as codec
from spinney.p2pcast.trust.tickets import Chain, issue, judge
from spinney.wire.krpc_messages import Query

if TYPE_CHECKING:
    from spinney.p2pcast.trust.guard import Guard

RENEW_S = 20.0
"""Between waves of tickets: a ticket holds for three."""
WANT_S = 1.0
"""Without tickets of its parent for so long a child asks for them, each second."""
NO_TICKETS_S = 6.0
"""Without them for so long it leaves: as long as it waits below one that is cut off."""
SHOWN_S = 10.0
"""For so long who showed its tickets may ask for changes: a transaction and its repetitions."""
MOST_SHOWN = 64
LIES_S = 6.0
"""How long a parent may say that it sits higher than its tickets show: changes overtake them."""
LIES_LEVELS = 1
"""A place moves down by one when another is put in above it."""


class _Tree:
    """The tickets of one seat in one tree."""

    __slots__ = ("asked_at", "chain", "early", "judged_by", "lies_since", "names", "pages", "since")

    def __init__(self) -> None:
        self.chain: Chain = ()
        self.names: tuple[Name, ...] = ()
        """Who is above, the source first."""
        self.since = 0.0
        """When the parent became the parent, or the chain was last good."""
        self.asked_at = 0.0
        self.lies_since: float | None = None
        self.pages = codec.Pages()
        self.early: tuple[Name, Chain] | None = None
        """A chain that came before the place in which its sender is the parent."""


class Papers:
    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self._trees: dict[tuple[Name, int], _Tree] = {}
        self._renewed_at = 0.0
        self._shown: dict[Name, float] = {}
        self._shows: dict[Name, codec.Pages] = {}

    def of(self, seat: Seat, tree: int) -> _Tree:
        """Two seats at most, 16 trees."""
        return self._trees.setdefault((seat.name, tree), _Tree())

    def ancestors(self, seat: Seat, tree: int) -> tuple[Name, ...]:
        return self.of(seat, tree).names

    # -- giving ---------------------------------------------------------------------------

    def give(self, seat: Seat, tree: int, child: Name) -> None:
        """Signs a child's place and sends it the whole chain."""
        guard = self.guard
        chain = self.of(seat, tree).chain
        row = seat.place.children[tree]
        if child not in row or (seat.name != SOURCE and not chain):
            return
        made = issue(
            guard.signer,
            guard.station.stream,
            tree,
            chain,
            child,
            slot=row.index(child),
            version=seat.place.version,
            now_unix_s=guard.clock(),
        )
        if child in guard.station.seats:  # the source's special node
            self._believe(guard.station.seats[child], tree, seat.name, made)
            return
        for page in codec.pack_chain(guard.signer, tree, child, made):
            guard.station.tell(child, b"p2pcast.ticket", page)

    def give_all(self, seat: Seat, tree: int) -> None:
        for child in seat.place.children[tree]:
            self.give(seat, tree, child)

    def wanted(self, query: Query, body: object) -> None:
        """A child asks.  The answer goes where it signed from, not to who asks."""
        child, tree = codec.read_want(body)
        for seat in self.guard.station.seats.values():
            if tree < len(seat.limbs) and child in seat.place.children[tree]:
                self.give(seat, tree, child)

    # -- getting --------------------------------------------------------------------------

    def came(self, query: Query, body: object) -> None:
        """Tickets.  Raises `CallError` or `WireError` for false ones."""
        guard = self.guard
        page = codec.read_page(guard.signer, body)
        seat = guard.station.seats.get(page.child)
        if seat is None and guard.signed_by(query) == page.child:
            self._see(page)
            return
        if seat is None or page.tree >= len(seat.limbs):
            raise CallError("tickets for somebody else", 202)
        chain = self.of(seat, page.tree).pages.add(page)
        if chain is not None:
            self._believe(seat, page.tree, guard.signed_by(query), chain)

    def _believe(self, seat: Seat, tree: int, sender: Name, chain: Chain) -> None:
        guard, held = self.guard, self.of(seat, tree)
        names = judge(guard.signer, guard.station.stream, tree, chain, seat.name, guard.clock())
        if names[-1] != sender:
            raise CallError("tickets of somebody else", 202)
        if seat.place.parents[tree] != sender:
            held.early = sender, chain
            return
        held.chain, held.names, held.early = chain, names, None
        held.since = guard.station.host.time()
        seat.proves(tree, len(chain) - 1)
        self._compare(seat, tree)
        self.give_all(seat, tree)

    def _compare(self, seat: Seat, tree: int) -> None:
        """Does the parent say that it sits higher than it does?"""
        held, now = self.of(seat, tree), self.guard.station.host.time()
        limb = seat.limbs[tree]
        if limb.depth + LIES_LEVELS >= limb.proven:
            held.lies_since = None
        elif held.lies_since is None:
            held.lies_since = now

    # -- showing one's own ----------------------------------------------------------------

    def show(self, name: Name, others: Iterable[Name]) -> None:
        """To those who are no neighbours of this seat: that it has a place, the shortest way."""
        guard = self.guard
        seat = guard.station.seats[name]
        rows = [(len(self.of(seat, tree).chain), tree) for tree in range(len(seat.limbs))]
        held = [row for row in rows if row[0]]
        if not held or name < 0:
            return
        tree = min(held)[1]
        pages = codec.pack_chain(guard.signer, tree, name, self.of(seat, tree).chain)
        near = seat.neighbours()
        for other in others:
            if other not in near and other not in guard.station.seats:
                for page in pages:
                    guard.station.tell(other, b"p2pcast.ticket", page)

    def _see(self, page: codec.Page) -> None:
        """Somebody shows its tickets, since it is going to ask for something."""
        guard, name = self.guard, page.child
        pages = self._shows.setdefault(name, codec.Pages())
        while len(self._shows) > MOST_SHOWN:
            del self._shows[next(iter(self._shows))]
        chain = pages.add(page)
        if chain is None:
            return
        judge(guard.signer, guard.station.stream, page.tree, chain, name, guard.clock())
        self._shown.pop(name, None)
        self._shown[name] = guard.station.host.time() + SHOWN_S
        while len(self._shown) > MOST_SHOWN:
            del self._shown[next(iter(self._shown))]

    def has_shown(self, name: Name) -> bool:
        return self._shown.get(name, 0.0) > self.guard.station.host.time()

    # -- events ---------------------------------------------------------------------------

    def moved(self, seat: Seat, trees: list[int]) -> None:
        """Another parent in these trees."""
        for tree in trees:
            held = self.of(seat, tree)
            early, parent = held.early, seat.place.parents[tree]
            held.chain, held.names, held.early, held.lies_since = (), (), None, None
            held.since = held.asked_at = self.guard.station.host.time()
            if early is not None and early[0] == parent:
                self._believe(seat, tree, *early)

    def tick(self, now: float) -> None:
        """Each second: the source's wave; what is missing is asked for, or the parent left."""
        renews = now - self._renewed_at >= RENEW_S
        if renews:
            self._renewed_at = now
        for seat in list(self.guard.station.seats.values()):
            if seat.name == SOURCE:
                if renews:
                    for tree in range(len(seat.limbs)):
                        self.give_all(seat, tree)
                continue
            for tree, parent in enumerate(seat.place.parents):
                if parent != NOBODY:
                    self._look(seat, tree, parent, now)

    def _look(self, seat: Seat, tree: int, parent: Name, now: float) -> None:
        held, guard = self.of(seat, tree), self.guard
        if held.chain:
            ends_at = min(level.not_after for level in held.chain)
            if guard.clock() > ends_at:
                held.chain, held.names, held.since = (), (), now
            self._compare(seat, tree)
            if held.lies_since is None:
                return
            if now - held.lies_since >= LIES_S:
                guard.leave(seat, tree, "lies about its depth")
                return
            # Newer tickets may have been lost on their way.
        elif now - held.since >= NO_TICKETS_S:
            guard.leave(seat, tree, "no tickets")
            return
        if now - held.asked_at >= WANT_S:
            held.asked_at = now
            want = codec.pack_want(seat.name, tree)
            guard.station.tell(parent, b"p2pcast.want", want)
