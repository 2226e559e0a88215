"""`Station`: one machine's part in a forest: answers calls, passes beats on, keeps time.

It holds the seats of this machine (a peer has one, the source two) and decides nothing about
structure: `changing.py` drives plans, `mending.py` finds orphans a parent.
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
from spinney.p2pcast.attaching import taking, with_child
from spinney.p2pcast.book import Book
from spinney.p2pcast.place import INCOMPLETE, NOBODY, SOURCE, Name, Place
from spinney.p2pcast.seat import Seat, State
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.transactions import BUSY_S, Lock, Outcome, Vote
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import SERVER, Arguments, Query

PREFIX = b"p2pcast"
STREAM_BYTES = 8
WRONG_STREAM = SERVER
TICKS_A_BEAT = 2
MOST_TASKS = 256
"""Repairs, doubts and probes under way at once; each ends by itself."""

LOCKS = (b"takeon", b"substitute", b"replace", b"direct", b"hold")


class Station:
    """`stream`: 8 bytes.  `source`: where the source is reached.  Call `use` before anything."""

    def __init__(self, host: Host, stream: bytes, source: Address, settings: Settings) -> None:
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
        self.wills: dict[Name, m.Seen] = {}
        """What neighbours said last of themselves; as many as there are neighbours."""
        self.dead: dict[Name, m.Seen] = {}
        """Those whose places are just being filled: their wills answer for them."""
        self.on_dead: Callable[[Seat, Name], None] = lambda seat, dead: None
        self.on_orphan: Callable[[Seat, int, Name], None] = lambda seat, tree, dead: None
        self.on_doubtful_parent: Callable[[Seat, int], None] = lambda seat, tree: None
        self.on_dropped: Callable[[Seat, Name], None] = lambda seat, child: None
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._here_at = 0.0
        self._closed = False
        self._probing: dict[Name, None] = {}

    def use(self, krpc: Krpc) -> None:
        self.krpc = krpc
        krpc.serve(PREFIX, self._asked)
        # A phase of its own, so that a thousand peers do not all speak at one moment.
        tick_s = self.settings.beat_s / TICKS_A_BEAT
        self._here_at = self._loop.time() + self.host.rng.random() * self.settings.here_s
        self._timer = self._loop.call_later(self.host.rng.random() * tick_s, self._tick)

    def close(self) -> None:
        self._closed = True
        self.krpc.stop_serving(PREFIX)
        if self._timer is not None:
            self._timer.cancel()
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
            self.krpc.tell(address, method, {b"b": body, b"s": self.stream})

    async def ask(
        self, name: Name, method: bytes, body: bytes, *, timeout_s: float, attempts: int = 1
    ) -> object:
        """The packed answer.  Raises `NoAnswerError` (also where no address is known) or
        `CallError`."""
        address = self.book.find(name)
        if address is None:
            raise NoAnswerError(f"nobody said where {name} is")
        arguments: Arguments = {b"b": body, b"s": self.stream}
        values = await self.krpc.call(
            address, method, arguments, timeout_s=timeout_s, attempts=attempts
        )
        return values.get(b"b")

    async def ask_orphan(self, call: m.TakeOn, body: bytes) -> object:
        """TAKEON, or SUBSTITUTE, of an orphan.  Raises as `ask`."""
        address = self.book.find(call.target)
        if address is None:
            raise CallError("nobody said where it is", SERVER)
        method = b"p2pcast.takeon" if call.dead == NOBODY else b"p2pcast.substitute"
        # The dead one is probed meanwhile.
        wait_s = self.settings.call_s + (0.3 if call.dead != NOBODY else 0.0)
        arguments: Arguments = {b"b": body, b"o": 1, b"s": self.stream}
        values = await self.krpc.call(address, method, arguments, timeout_s=wait_s, attempts=2)
        return values.get(b"b")

    async def look(self, name: Name, timeout_s: float | None = None) -> m.Seen | None:
        """SEARCH: what somebody says of its place; None if nobody answers."""
        own = self.seats.get(name)
        if own is not None:
            return own.seen()
        if name in self.dead:
            return self.dead[name]
        if name == NOBODY:
            return None
        body = codec.pack_search(m.Search(name), self.stripes)
        self.counts["search"] += 1
        wait_s = timeout_s or self.settings.call_s
        attempts = 1 if timeout_s else 2
        try:
            data = await self.ask(
                name, b"p2pcast.search", body, timeout_s=wait_s, attempts=attempts
            )
            seen = codec.read_seen(data)
        except SpinneyError:
            return None
        if seen.sight.place.name != name or len(seen.sight.depths) != self.stripes:
            return None
        self.book.learn(seen.known)
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

    @property
    def stripes(self) -> int:
        return len(next(iter(self.seats.values())).limbs)

    # -- being asked ----------------------------------------------------------------------

    def _asked(self, query: Query) -> Arguments | None:
        arguments = query.arguments
        body = arguments.get(b"b")
        if arguments.get(b"s") != self.stream:
            raise CallError("another stream", WRONG_STREAM)
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
            self._willed(body)
            return None
        if verb == b"doubt":
            self._doubted(codec.read_delete(body).accused)
            return None
        if verb in (b"takeon", b"substitute") and arguments.get(b"o") == 1:
            return self._orphan_asks(query, body)
        if verb in LOCKS:
            return self._locked(query, body)
        if verb in (b"apply", b"undo", b"outcome"):
            return self._decided(verb, body)
        served = self.served.get(verb)
        if served is None:
            raise CallError("the forest has no such call", SERVER)
        return served(query, body)

    def _seat(self, name: Name) -> Seat:
        seat = self.seats.get(name)
        if seat is None:
            raise CallError("somebody else's place", SERVER)
        return seat

    def _searched(self, query: Query, body: object) -> Arguments:
        seat = self._seat(codec.read_search(body).name)
        return {b"b": codec.pack_seen(seat.seen(), query.room_bytes - 16)}

    def _willed(self, body: object) -> None:
        """A neighbour tells its whole place, in case it falls."""
        seen = codec.read_seen(body)
        name = seen.sight.place.name
        near = {each for seat in self.seats.values() for each in seat.neighbours()}
        if self.fills and name in near and len(seen.sight.depths) == self.stripes:
            self.book.learn(seen.known)
            self.wills[name] = seen
            for gone in [each for each in self.wills if each not in near]:
                del self.wills[gone]

    def _tell_will(self, seat: Seat) -> None:
        will = codec.pack_seen(seat.seen())
        for name in seat.neighbours():
            self.tell(name, b"p2pcast.will", will)

    def _locked(self, query: Query, body: object) -> Arguments:
        call = codec.read_lock(body)
        seat = self._seat(call.target)
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
        seat = self._seat(decision.target)
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
        seat.take(place, self._loop.time())
        if self.fills and seat.name >= 0:
            self._tell_will(seat)
        for tree, child in place.edges():
            if (tree, child) not in before:
                limb = seat.limbs[tree]
                ok = seat.name == SOURCE or limb.sequence
                if ok:
                    self.tell(child, b"p2pcast.update", seat.beat(tree))

    # -- orphans --------------------------------------------------------------------------

    def _orphan_asks(self, query: Query, body: object) -> Arguments | None:
        call = codec.read_take_on(body)
        seat = self._seat(call.target)
        dead, now = call.dead, self._loop.time()
        if call.tree >= self.stripes:
            raise WireError("a tree that is not")
        if dead == NOBODY or dead not in seat.place.children[call.tree]:
            return self._take_orphan(seat, query, call, False)
        if now - seat.heard[dead] >= self.settings.accused_s:
            return self._take_orphan(seat, query, call, True)
        self.spawn(self._check_accused(seat, query, call))
        return None

    def _doubted(self, child: Name) -> None:
        """Somebody hears nothing of my child: I ask it, so that I know when I am asked."""
        for seat in self.seats.values():
            if child in seat.heard and child not in self._probing:
                self._probing[child] = None
                if not self.spawn(self._check_child(seat, child)):
                    del self._probing[child]

    async def _check_child(self, seat: Seat, child: Name) -> None:
        try:
            said = await self.look(child, self.settings.beat_s)
            now = self._loop.time()
            if child in seat.heard:
                silent = min(seat.heard[child], now - self.settings.accused_s)
                seat.heard[child] = silent if said is None else now
        finally:
            del self._probing[child]

    async def _check_accused(self, seat: Seat, query: Query, call: m.TakeOn) -> None:
        """The orphan says that my child is dead: I ask it myself."""
        said = await self.look(call.dead, 0.3)
        alive = said is not None and said.sight.place.parents[call.tree] == seat.name
        self.krpc.answer(query, self._take_orphan(seat, query, call, not alive))

    def _take_orphan(self, seat: Seat, query: Query, call: m.TakeOn, gone: bool) -> Arguments:
        limb, tree = seat.limbs[call.tree], call.tree
        leaves = [name for name in seat.place.children[tree] if seat.is_leaf_child(name, tree)]
        leaves = [name for name in leaves if name != call.dead]
        if seat.participant.held is not None or tree in seat.asking:
            answer = m.Taking.BUSY
        else:
            answer = taking(
                seat.place, limb.above, limb.sequence, call, gone=gone, leaves=len(leaves)
            )
        if answer is m.Taking.TAKEN:
            if call.child >= 0:
                self.book.learn({call.child: query.remote})
            if call.child not in seat.place.children[tree]:
                dead = call.dead if gone else NOBODY
                self.counts["taken"] += 1
                place = with_child(seat.place, tree, call.child, dead)
                if seat.name != SOURCE and place.room < 0:
                    self._send_away(seat, tree, leaves[0], call.child)
                    place = with_child(seat.place, tree, call.child, leaves[0])
                self.take(seat, place)
        others = [
            name
            for name in seat.place.children[tree]
            if name != call.child and (call.inner or seat.has_room(name, tree))
            if name >= 0 and name not in leaves
        ]
        taken = m.Taken(
            answer,
            limb.sequence,
            -1 if seat.name == SOURCE else limb.depth,
            max(seat.state(), INCOMPLETE),
            tuple(others[: codec.MOST_OTHERS]),
            self.book.of(others),
        )
        return {b"b": codec.pack_taken(taken)}

    def _send_away(self, seat: Seat, tree: int, leaf: Name, newcomer: Name) -> None:
        """DIRECT: a leaf makes way for a branch, and is told whom it may ask."""
        self.counts["displaced"] += 1
        self.tell(leaf, b"p2pcast.update", seat.farewell(tree, newcomer))

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
        seat = self._seat(here.target)
        before = seat.place
        seat.child_said(here, self._loop.time())
        if seat.place is not before:
            self.counts["dropped: said so"] += 1

    # -- time -----------------------------------------------------------------------------

    def _tick(self) -> None:
        now = self._loop.time()
        self._timer = self._loop.call_later(self.settings.beat_s / TICKS_A_BEAT, self._tick)
        says_here = now >= self._here_at
        if says_here:
            self._here_at = now + self.settings.here_s
        for seat in list(self.seats.values()):
            self._watch(seat, now)
            if says_here:
                for other, word in seat.here():
                    self.tell(other, b"p2pcast.here", word)
                seat.mend_cohort(now)
                seat.rebalance(now, self.host.rng)
                if self.fills and seat.name >= 0:
                    self._tell_will(seat)
                for child in seat.drop_silent(now):
                    self.counts["dropped: silent"] += 1
                    self.on_dropped(seat, child)

    def _watch(self, seat: Seat, now: float) -> None:
        doubt = seat.participant.doubtful(now)
        if doubt is not None and seat.name not in self._probing:
            self._probing[seat.name] = None
            if not self.spawn(self._resolve(seat, doubt)):
                del self._probing[seat.name]
        if seat.name == SOURCE:
            return
        settings, place = self.settings, seat.place
        idle_s = settings.idle_beats * settings.beat_s
        for tree, limb in enumerate(seat.limbs):
            cut_off = now - limb.fresh > idle_s and limb.sequence
            if cut_off and place.children[tree] and now - limb.idled >= settings.beat_s:
                limb.idled = now
                self.pass_on(seat, tree, idle=True)
            parent = place.parents[tree]
            if parent == NOBODY:
                if place.version and not seat.leaves:
                    self.on_orphan(seat, tree, NOBODY)
                continue
            if now - limb.heard < settings.probe_s > now - limb.fresh:
                continue
            state = seat.parent_state(tree, now)
            if state is State.PROBE:
                self._probe(seat, tree, parent)
            elif state is State.DEAD and seat.participant.held is None:
                if self.fills and parent >= 0:
                    self.on_dead(seat, parent)
                    continue
                self.counts["orphaned"] += 1
                seat.orphaned(tree, now)
                place = seat.place
                self.on_orphan(seat, tree, parent)

    def _probe(self, seat: Seat, tree: int, parent: Name) -> None:
        if parent in self._probing:
            return
        self._probing[parent] = None
        self.on_doubtful_parent(seat, tree)
        if not self.spawn(self._probed(seat, parent)):
            del self._probing[parent]

    async def _probed(self, seat: Seat, parent: Name) -> None:
        try:
            seen = await self.look(parent, self.settings.beat_s)
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
            self.counts["doubts"] += 1
            if place is not None:
                self.take(seat, place)
        finally:
            del self._probing[seat.name]

    async def _outcome(self, name: Name, transaction: bytes) -> Outcome | None:
        own = self.seats.get(name)
        if own is not None:
            return own.participant.outcome(transaction)
        try:
            body = codec.pack_decision(m.Decision(name, transaction))
            data = await self.ask(name, b"p2pcast.outcome", body, timeout_s=self.settings.call_s)
            return codec.read_told(data).outcome
        except SpinneyError:
            return None


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """The network's faults end it: what was to be done is tried again by who waits for it."""
    with contextlib.suppress(SpinneyError):
        await work
