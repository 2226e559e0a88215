"""`Station`: one machine's part in a forest: it sends, answers calls and passes beats on.

It holds the seats of this machine (a peer has one, the source two) and decides nothing about
structure: `changing.py` drives plans, `mending.py` finds orphans a parent, `adopting.py` takes
those of others, `watching.py` sees who has fallen silent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from spinney.errors import CallError, NoAnswerError, SpinneyError, WireError
from spinney.net.host import Address, Host
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.adopting import Adopting
from spinney.p2pcast.book import Book
from spinney.p2pcast.calling import answered
from spinney.p2pcast.place import NOBODY, SOURCE, Name, Place
from spinney.p2pcast.reaching import Reaching
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.transactions import BUSY_S, Lock, Outcome, Vote
from spinney.p2pcast.trust.guard import Guard
from spinney.p2pcast.trust.identity import Signer
from spinney.p2pcast.watching import Watching
from spinney.p2pcast.wills import Wills
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import SERVER, Arguments, Query

PREFIX = b"p2pcast"
STREAM_BYTES = 8
WRONG_STREAM = SERVER
MOST_TASKS = 256
"""Repairs, doubts and probes under way at once; each ends by itself."""

LOCKS = (b"takeon", b"substitute", b"replace", b"direct", b"hold")


class Station:
    """`stream`: 8 bytes.  `source`: where the source is reached.  Call `use` before anything."""

    def __init__(
        self,
        host: Host,
        stream: bytes,
        source: Address,
        settings: Settings,
        signer: Signer | None = None,
    ) -> None:
        assert len(stream) == STREAM_BYTES
        self.host = host
        self.stream = stream
        self.settings = settings
        self.book = Book(source)
        self.seats: dict[Name, Seat] = {}
        self.krpc: Krpc
        self.counts: Counter[str] = Counter()
        self.served: dict[bytes, Callable[[Query, object], Arguments | None]] = {}
        """Calls that only some stations answer (the source's)."""
        self.fills = False
        """The forest has no spare slots: wills are told, plans fill fallen peers' places."""
        self.guard = None if signer is None else Guard(self, signer)
        """None: everybody is believed, as in simulations of structure alone."""
        self.outside: Callable[[Query], Arguments | None] | None = None
        """Answers calls that are not the forest's own: a registry's, and to one."""
        self.wills = Wills(self)
        self.adopting = Adopting(self)
        self.reaching = Reaching(self)
        self.on_dead: Callable[[Seat, Name], None] = lambda seat, dead: None
        self.on_orphan: Callable[[Seat, int, Name], None] = lambda seat, tree, dead: None
        self.on_doubtful_parent: Callable[[Seat, int], None] = lambda seat, tree: None
        self.on_dropped: Callable[[Seat, Name], None] = lambda seat, child: None
        self.on_silent: Callable[[Name], None] = lambda child: None
        self.on_cheat: Callable[[Name, int], None] = lambda parent, tree: None
        self.on_late: Callable[[m.Late], None] = lambda call: None
        self.refusal: CallError | None = None
        """Why somebody said that this peer is not for this stream."""
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: Watching | None = None
        self._closed = False

    def use(self, krpc: Krpc) -> None:
        self.krpc = krpc
        krpc.serve(PREFIX, self._asked)
        self._watching = Watching(self)

    def close(self) -> None:
        self._closed = True
        self.krpc.stop_serving(PREFIX)
        if self._watching is not None:
            self._watching.close()
        for task in list(self._tasks):
            task.cancel()

    def spawn(self, work: Coroutine[Any, Any, None]) -> bool:
        """Runs something that ends by itself; what goes wrong in it is the network's fault."""
        if self._closed or len(self._tasks) >= MOST_TASKS:
            work.close()
            return False
        task = self._loop.create_task(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    # -- sending --------------------------------------------------------------------------

    def tell(self, name: Name, method: bytes, body: bytes) -> None:
        address = self.book.find(name)
        if address is not None:
            self.krpc.tell(address, method, self._arguments(method, body))

    def _arguments(self, method: bytes, body: bytes) -> Arguments:
        if self.guard is None:
            return {b"b": body, b"s": self.stream}
        return self.guard.arguments(method, body)

    async def ask(
        self, name: Name, method: bytes, body: bytes, *, timeout_s: float, attempts: int = 1
    ) -> object:
        """The packed answer, waited for `timeout_s` for each of the `attempts`; these are made
        sooner than that, and an answer to any of them serves.  Raises `NoAnswerError` (also where
        no address is known) or `CallError`."""
        address = self.book.find(name)
        if address is None:
            raise NoAnswerError(f"nobody said where {name} is")
        await self.reaching.open_way(name, address)
        values = await answered(
            self.krpc,
            address,
            method,
            lambda: self._arguments(method, body),
            wait_s=timeout_s * attempts,
            resend_s=self.settings.resend_s,
            sendings=attempts,
        )
        return values.get(b"b")

    async def ask_orphan(self, call: m.TakeOn, body: bytes, patience: float = 1.0) -> object:
        """TAKEON, or SUBSTITUTE, of an orphan.  Raises as `ask`."""
        address = self.book.find(call.target)
        if address is None or self.avoids(call.target):
            raise CallError("nobody said where it is, or it was found cheating", SERVER)
        await self.reaching.open_way(call.target, address)
        method = b"p2pcast.takeon" if call.dead == NOBODY else b"p2pcast.substitute"
        # The dead one is probed meanwhile.
        wait_s = patience * self.settings.call_s + (0.3 if call.dead != NOBODY else 0.0)
        # There are others to ask, and this one may have fallen, too: it is not waited for longer.
        values = await answered(
            self.krpc,
            address,
            method,
            lambda: {**self._arguments(method, body), b"o": 1},
            wait_s=wait_s,
            resend_s=self.settings.resend_s,
            sendings=2,
        )
        return values.get(b"b")

    async def look(
        self, name: Name, timeout_s: float | None = None, attempts: int = 1
    ) -> m.Seen | None:
        """SEARCH: what somebody says of its place; None if nobody answers."""
        own = self.seats.get(name)
        if own is not None:
            return own.seen()
        if name == NOBODY or self.distrusts(name):
            return None
        body = codec.pack_search(m.Search(name), self.stripes)
        self.counts["search"] += 1
        wait_s = timeout_s or self.settings.call_s
        attempts = attempts if timeout_s else 2
        try:
            data = await self.ask(
                name, b"p2pcast.search", body, timeout_s=wait_s, attempts=attempts
            )
            seen = codec.read_seen(data)
        except SpinneyError:
            self.book.unpin(name)
            return None
        if seen.sight.place.name != name or len(seen.sight.depths) != self.stripes:
            return None
        self.book.learn(seen.known)
        return seen

    async def ask_will(self, heir: Name, dead: Name) -> m.Seen | None:
        """SEARCH of a neighbour: what a dead peer told it last."""
        body = codec.pack_search(m.Search(dead), self.stripes)
        try:
            data = await self.ask(heir, b"p2pcast.search", body, timeout_s=self.settings.call_s)
            seen = codec.read_seen(data)
        except SpinneyError:
            return None
        if seen.sight.place.name != dead or len(seen.sight.depths) != self.stripes:
            return None
        return seen

    async def look_many(self, names: Iterable[Name], wait_s: float) -> list[m.Seen]:
        """What those say who answer within `wait_s`."""
        asked = [asyncio.ensure_future(self.look(name, wait_s)) for name in dict.fromkeys(names)]
        if not asked:
            return []
        await asyncio.wait(asked, timeout=wait_s + 0.1)
        found = []
        for task in asked:
            if not task.done():
                task.cancel()
            elif (seen := task.result()) is not None:
                found.append(seen)
        return found

    def distrusts(self, name: Name) -> bool:
        return self.guard is not None and self.guard.is_distrusted(name)

    def avoids(self, name: Name) -> bool:
        return self.guard is not None and self.guard.is_avoided(name)

    @property
    def stripes(self) -> int:
        return len(next(iter(self.seats.values())).limbs)

    # -- being asked ----------------------------------------------------------------------

    def _asked(self, query: Query) -> Arguments | None:
        arguments = query.arguments
        body = arguments.get(b"b")
        if b"s" not in arguments and self.outside is not None:
            return self.outside(query)
        if arguments.get(b"s") != self.stream:
            raise CallError("another stream", WRONG_STREAM)
        self.reaching.heard(query.remote)
        if self.guard is not None:
            self.guard.check(query)
        verb = query.method[len(PREFIX) + 1 :]
        if verb == b"update":
            self._beaten(body)
            return None
        if verb == b"here":
            self._child_said(body)
            return None
        if verb == b"search":
            return self._searched(query, body)
        if verb == b"will":
            self.wills.heard(body)
            return None
        if verb == b"late":
            self.on_late(codec.read_late(body))
            return None
        if verb == b"doubt":
            self.adopting.doubted(codec.read_delete(body).accused)
            return None
        if verb == b"dialled":
            self.reaching.asked_to_dial(body)
            return None
        if verb == b"hello":
            self.reaching.greeted(body, query.remote)
            return None
        if verb in (b"takeon", b"substitute") and arguments.get(b"o") == 1:
            return self.adopting.asked(query, body)
        if verb in LOCKS:
            return self._locked(query, body)
        if verb in (b"apply", b"undo", b"outcome"):
            return self._decided(verb, body)
        if self.guard is not None and verb in (b"ticket", b"want"):
            papers = self.guard.papers
            (papers.came if verb == b"ticket" else papers.wanted)(query, body)
            return None
        served = self.served.get(verb)
        if served is None:
            raise CallError("the forest has no such call", SERVER)
        return served(query, body)

    def seat(self, name: Name) -> Seat:
        seat = self.seats.get(name)
        if seat is None:
            raise CallError("somebody else's place", SERVER)
        return seat

    def _searched(self, query: Query, body: object) -> Arguments:
        name = codec.read_search(body).name
        will = self.wills.of(name) if name not in self.seats else None
        if will is not None:
            return {b"b": codec.pack_seen(will, query.room_bytes - 16)}
        seat = self.seat(name)
        return {b"b": codec.pack_seen(seat.seen(), query.room_bytes - 16)}

    def _locked(self, query: Query, body: object) -> Arguments:
        call = codec.read_lock(body)
        seat = self.seat(call.target)
        vote = self.lock(seat, call.lock)
        if vote is Vote.OK:
            self.book.learn(call.known)
            self.book.learn({call.lock.coordinator: query.remote})
        wait_ms = int(BUSY_S * 1000) if vote is Vote.BUSY else 0
        return {b"b": codec.pack_voted(m.Voted(vote, wait_ms))}

    def lock(self, seat: Seat, lock: Lock) -> Vote:
        if seat.asking:
            return Vote.BUSY
        return seat.participant.lock(seat.place, lock, self._loop.time())

    def _decided(self, verb: bytes, body: object) -> Arguments:
        decision = codec.read_decision(body)
        seat = self.seat(decision.target)
        return {b"b": codec.pack_told(m.Told(self.decide(seat, verb, decision.transaction)))}

    def decide(self, seat: Seat, verb: bytes, transaction: bytes) -> Outcome:
        now = self._loop.time()
        if verb == b"outcome":
            return seat.participant.outcome(transaction)
        if verb == b"undo":
            return seat.participant.undo(transaction, now)
        outcome, place = seat.participant.apply(transaction, now)
        if place is not None:
            self.take(seat, place)
        return outcome

    def take(self, seat: Seat, place: Place) -> None:
        """A new place: new children hear at once where they are."""
        before = set(seat.place.edges())
        moved = seat.take(place, self._loop.time())
        if self.guard is not None:
            self.guard.papers.moved(seat, moved)
        if self.fills and seat.name >= 0:
            self.wills.tell(seat)
        for tree, child in place.edges():
            if (tree, child) not in before:
                limb = seat.limbs[tree]
                ok = seat.name == SOURCE or limb.sequence
                if ok:
                    self.tell(child, b"p2pcast.update", seat.beat(tree))
                if self.guard is not None:
                    self.guard.papers.give(seat, tree, child)

    # -- beats ----------------------------------------------------------------------------

    def _beaten(self, body: object) -> None:
        if type(body) is not bytes:
            raise WireError("a beat is a string")
        for seat in self.seats.values():
            if seat.name == SOURCE:
                continue
            told = seat.beaten(body, self._loop.time())
            if told is not None and told[1]:
                self.pass_on(seat, told[0])
            elif told is None:
                self._not_mine(seat, body)

    def _not_mine(self, seat: Seat, body: bytes) -> None:
        """A beat from one who is not my parent there: it takes me for its child."""
        tree, _, _, sender, _, _ = codec.read_beat_head(body)
        if tree < self.stripes and seat.asking.get(tree) != sender and sender != NOBODY:
            if seat.participant.held is not None:
                return
            self.counts["not mine"] += 1
            trees = sum(1 << at for at, name in enumerate(seat.place.parents) if name == sender)
            self.tell(sender, b"p2pcast.here", seat.word(sender, trees))

    def pass_on(self, seat: Seat, tree: int, *, idle: bool = False) -> None:
        row = seat.place.children[tree]
        if not row:
            return
        arguments: Arguments = {b"b": seat.beat(tree, idle=idle), b"s": self.stream}
        find, tell = self.book.find, self.krpc.tell
        for child in row:
            address = find(child)
            if address is not None:
                tell(address, b"p2pcast.update", arguments)

    def _child_said(self, body: object) -> None:
        here = codec.read_here(body)
        seat = self.seat(here.target)
        before = seat.place
        seat.child_said(here, self._loop.time())
        if seat.place is not before:
            self.counts["dropped: said so"] += 1


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """The network's faults end it: what was to be done is tried again by who waits for it."""
    with contextlib.suppress(SpinneyError):
        await work
