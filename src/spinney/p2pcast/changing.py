"""`Changing`: drives a planner over the network and carries its plan out as one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from spinney.errors import CallError, NoAnswerError, SpinneyError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.looking import FindWill, Looking, no_will
from spinney.p2pcast.place import NOBODY, Name, Place, Sight, empty_place
from spinney.p2pcast.plans.draft import Blind, Plan, Planning, Wanted
from spinney.p2pcast.station import Station
from spinney.p2pcast.transactions import (
    TRANSACTION_BYTES,
    Lock,
    Outcome,
    Round,
    Send,
    Vote,
)

MOST_LOOKS = 400
"""Peers that one plan may ask for: a search of a whole subtree for a substitute, twice over."""

FRESH_STARTS = 4
"""Of one plan: a contradiction lasts as long as a few calls take."""
MOST_TOGETHER = 8
"""Peers that are asked beside one that is wanted, since they stand in one row with it."""
MOST_SOON = 24
"""Peers that are asked beside it, since the planner will want them."""


def lock_method(old: Place, new: Place | None) -> bytes:
    """By which of the paper's calls a participant is locked: what becomes of it."""
    if new is None:
        return b"p2pcast.hold"
    before, after = set(old.edges()), set(new.edges())
    if after == before:
        return b"p2pcast.direct"
    if not before - after:
        return b"p2pcast.takeon"
    return b"p2pcast.substitute" if len(after) >= len(before) else b"p2pcast.replace"


def agrees(one: Sight | None, others: Iterable[Sight | None]) -> bool:
    """Do these say the same of the edges between them?  Else a change is just under way."""
    if one is None or not one.alive:
        return True
    name, parents, rows = one.place.name, one.place.parents, one.place.children
    for other in others:
        if other is None or other is one or not other.alive:
            continue
        place = other.place
        for tree, parent in enumerate(parents):
            if (parent == place.name) != (name in place.children[tree]):
                return False
            if (place.parents[tree] == name) != (place.name in rows[tree]):
                return False
    return True


def together(name: Name, sights: Iterable[Sight | None]) -> list[Name]:
    """The others in the first row of children, or of parents, in which this one stands."""
    for sight in sights:
        if sight is None:
            continue
        place = sight.place
        for row in (*place.children, place.parents):
            if name in row:
                return [each for each in row if each != name and each != NOBODY][:MOST_TOGETHER]
    return []


class Changing:
    """The coordinator's side, for one peer of this station."""

    def __init__(self, station: Station, name: Name) -> None:
        self.station = station
        self.name = name
        self.moved = 0
        self.looks = 0
        self.find_will: FindWill = no_will
        """Who answers for somebody that says nothing: what it told its neighbours last."""
        self.seen: list[Name] = []
        """Whom the last plan asked: one that is made again begins with them."""
        self._prepared: Looking | None = None

    async def plan(
        self, planner: Callable[[], Planning[Plan | None]], ahead: Sequence[Name] = ()
    ) -> tuple[Plan | None, dict[Name, Place]]:
        """The plan, and the places that it was made from.  `ahead`: asked all at once first, unless
        `prepare` did so.

        Sights that contradict each other are of different moments, and a change lies between them:
        all are asked for once more, and the planner begins anew."""
        looking = self._prepared or self._looking()
        self._prepared = None
        looking.ask(ahead)
        try:
            for _ in range(FRESH_STARTS):
                plan, sights, torn = await self._planned(planner(), looking)
                self.seen = looking.names
                if not torn:
                    found = sights.items()
                    return plan, {name: sight.place for name, sight in found if sight is not None}
                looking.close()
                looking = self._looking()
                looking.ask(self.seen)
        finally:
            looking.close()
        return None, {}

    def prepare(self, ahead: Iterable[Name]) -> Looking:
        """Asks these now; the next plan is made from what they answer."""
        self.forget()
        self._prepared = self._looking()
        self._prepared.ask(ahead)
        return self._prepared

    def forget(self) -> None:
        """What was prepared is of no use."""
        if self._prepared is not None:
            self._prepared.close()
            self._prepared = None

    def _looking(self) -> Looking:
        return Looking(self.station, self.find_will, MOST_LOOKS)

    async def _planned(
        self, planning: Planning[Plan | None], looking: Looking
    ) -> tuple[Plan | None, dict[Name, Sight | None], bool]:
        """The plan; the sights that it saw; whether two of them contradict each other."""
        sights: dict[Name, Sight | None] = {}
        try:
            name = next(planning)
            for _ in range(MOST_LOOKS):
                if name not in sights:
                    soon = name.soon if isinstance(name, Wanted) else ()
                    row = together(name, sights.values())
                    looking.ask([name, *row, *soon[:MOST_SOON]])
                    sights[int(name)] = await looking.sight(name)
                    self.looks += 1
                if not agrees(sights[name], sights.values()):
                    self.station.counts["contradictions"] += 1
                    return None, sights, True
                name = planning.send(sights[name])
        except StopIteration as done:
            plan: Plan | None = done.value
            return plan, sights, False
        except (Blind, AssertionError, LookupError, ValueError):
            # Sights of different moments, or lies: no plan can be made from them.
            self.station.counts["no plan"] += 1
        finally:
            planning.close()
        return None, sights, False

    async def change(
        self,
        planner: Callable[[], Planning[Plan | None]],
        ahead: Sequence[Name] = (),
    ) -> Plan | None:
        """One attempt: plans, locks, applies.  The plan if it was applied."""
        plan, places = await self.plan(planner, ahead)
        if plan is None:
            return None
        return plan if await self.carry_out(plan, places) else None

    async def carry_out(self, plan: Plan, places: dict[Name, Place]) -> bool:
        """Locks, then applies or undoes.  False: nothing was changed."""
        station = self.station
        transaction = station.host.entropy(TRANSACTION_BYTES)
        absent = [] if plan.gone is None or plan.gone in station.seats else [plan.gone]
        absent += plan.also_gone
        change = Round(transaction, plan, absent)
        witnesses = self._witnesses(change.participants)
        if station.guard is not None:
            station.guard.papers.show(self.name, change.participants)
        calls = [self._lock(change, send.name, places, witnesses) for send in change.begin()]
        decision: list[Send] = []
        for ended in asyncio.as_completed(calls):
            name, vote = await ended
            decision = change.voted(name, vote) or decision
            if decision:
                break  # the rest of the locks end by themselves; their votes change nothing
        loop = asyncio.get_running_loop()
        outcome = Outcome.APPLIED if change.decided else Outcome.UNDONE
        station.counts["applied" if change.decided else "aborted"] += 1
        own = station.seats[self.name]
        if own.participant.outcome(transaction) is Outcome.UNKNOWN:
            own.participant.note(transaction, outcome, loop.time())
        attempts = station.settings.apply_attempts
        if change.decided:
            self.moved += plan.moved_edges
            local = [each for each in decision if each.name in station.seats]
            for send in local:
                change.told(send.name, self._decide_here(send, transaction))
            await asyncio.gather(
                *(
                    self._decide(change, send, attempts)
                    for send in decision
                    if send.name not in station.seats
                )
            )
            station.counts["failed edges"] += len(change.failed)
            return True
        for send in decision:
            if send.name in station.seats:
                self._decide_here(send, transaction)
            else:
                station.spawn(self._decide(change, send, 2))
        return False

    def _witnesses(self, participants: Iterable[Name]) -> tuple[Name, ...]:
        others = [name for name in participants if name != self.name]
        return tuple(others[: m.WITNESSES])

    async def _lock(
        self, change: Round, name: Name, places: dict[Name, Place], witnesses: tuple[Name, ...]
    ) -> tuple[Name, Vote | None]:
        station, plan = self.station, change.plan
        new = plan.writes.get(name)
        lock = Lock(change.transaction, plan.seen[name], new, self.name, witnesses)
        own = station.seats.get(name)
        if own is not None:
            return name, station.lock(own, lock)
        old = places.get(name)
        if old is None and new is not None:
            old = empty_place(name, len(new.parents))
        named = list(witnesses)
        if new is not None:
            named += [*new.parents, *(child for _, child in new.edges())]
            named += [member for _, member in new.cohort]
        known = station.book.of(name for name in named if name != NOBODY)
        body = codec.pack_lock(m.LockCall(name, lock, known))
        method = b"p2pcast.hold" if old is None else lock_method(old, new)
        try:
            data = await station.ask(
                name,
                method,
                body,
                timeout_s=station.settings.lock_s,
                attempts=station.settings.lock_attempts,
            )
            return name, codec.read_voted(data).vote
        except CallError:
            return name, Vote.STALE
        except SpinneyError:
            return name, None

    def _decide_here(self, send: Send, transaction: bytes) -> Outcome:
        seat = self.station.seats[send.name]
        return self.station.decide(seat, send.verb.encode(), transaction)

    async def _decide(self, change: Round, send: Send, attempts: int) -> None:
        body = codec.pack_decision(m.Decision(send.name, change.transaction))
        outcome: Outcome | None = None
        try:
            data = await self.station.ask(
                send.name,
                b"p2pcast." + send.verb.encode(),
                body,
                timeout_s=self.station.settings.call_s,
                attempts=attempts,
            )
            outcome = codec.read_told(data).outcome
        except NoAnswerError:
            pass
        except SpinneyError:
            outcome = Outcome.UNKNOWN
        change.told(send.name, outcome)
