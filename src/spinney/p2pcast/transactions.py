"""Small transactions: how a few peers change their places together, or not at all.  Pure.

    coordinator   LOCK all -> all agree -> APPLY to all
                           -> one refuses, or is silent -> UNDO to all, plan anew
    participant   FREE -> HELD -> applied (its new place) or undone

A participant never waits for a lock, so nobody waits for each other in a ring; it holds one lock
at a time.  It agrees if it is free, its place is of the version that was planned from, and the new
place obeys the rules that it can see itself.  What became of the last transactions is remembered,
so that repeated, late and reordered calls change nothing twice.  Without a decision for `DOUBT_S`
a participant asks the coordinator and its witnesses (other participants): somebody applied, so
does it; else it undoes.  What a coordinator's death leaves half done is mended as after a failure:
an edge that only one side knows carries no beats and is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from spinney.p2pcast.place import Name, Place
from spinney.p2pcast.plans.draft import Plan

Transaction: TypeAlias = bytes
TRANSACTION_BYTES = 8

DOUBT_S = 2.0
"""A coordinator locks for 1.2 s at most (two attempts); later its word should have come."""
REMEMBERED = 64
"""Outcomes that a participant keeps: a peer takes part in some ten changes a minute."""
REMEMBERED_S = 60.0
"""A call that is later than this is from a time that nobody knows."""
BUSY_S = 0.15
"""Half of what a transaction takes: when to try again."""


class Vote(IntEnum):
    """A participant's answer to a lock."""

    OK, STALE, BUSY, ILLEGAL = range(4)


class Outcome(IntEnum):
    """What became of a transaction, as far as one peer knows."""

    UNKNOWN, HELD, APPLIED, UNDONE = range(4)


@dataclass(frozen=True, slots=True)
class Lock:
    """What a participant is asked to hold itself ready for.  `place`: its new one, or None if it
    must only not change (the paper has no such call)."""

    transaction: Transaction
    version: int
    place: Place | None
    coordinator: Name
    witnesses: tuple[Name, ...] = ()


Legal: TypeAlias = Callable[[Place, Place], bool]
"""May a place become another, as far as its holder can see?"""


class Participant:
    """One peer's part in transactions."""

    def __init__(self, legal: Legal = lambda old, new: True) -> None:
        self.held: Lock | None = None
        self.held_since = 0.0
        self._legal = legal
        self._outcomes: dict[Transaction, tuple[Outcome, float]] = {}

    def lock(self, place: Place, lock: Lock, now: float) -> Vote:
        known = self.outcome(lock.transaction)
        if known is Outcome.APPLIED:
            return Vote.OK
        if known is Outcome.UNDONE:
            return Vote.ILLEGAL
        if self.held is not None:
            return Vote.OK if self.held.transaction == lock.transaction else Vote.BUSY
        if lock.version != place.version:
            return Vote.STALE
        new = lock.place
        if new is not None and not (_follows(place, new) and self._legal(place, new)):
            return Vote.ILLEGAL
        self.held, self.held_since = lock, now
        return Vote.OK

    def apply(self, transaction: Transaction, now: float) -> tuple[Outcome, Place | None]:
        """The outcome, and the place to take from now on (None: the old one stays)."""
        held = self.held
        if held is None or held.transaction != transaction:
            return self.outcome(transaction), None
        self.held = None
        self.note(transaction, Outcome.APPLIED, now)
        return Outcome.APPLIED, held.place

    def undo(self, transaction: Transaction, now: float) -> Outcome:
        """Also of a lock that has not come yet: it is refused when it does."""
        known = self.outcome(transaction)
        if known is Outcome.APPLIED:
            return known
        if self.held is not None and self.held.transaction == transaction:
            self.held = None
        self.note(transaction, Outcome.UNDONE, now)
        return Outcome.UNDONE

    def outcome(self, transaction: Transaction) -> Outcome:
        if self.held is not None and self.held.transaction == transaction:
            return Outcome.HELD
        return self._outcomes.get(transaction, (Outcome.UNKNOWN, 0.0))[0]

    def note(self, transaction: Transaction, outcome: Outcome, now: float) -> None:
        """Remembers an outcome; a coordinator its own decision, too."""
        kept = self._outcomes
        kept.pop(transaction, None)
        kept[transaction] = (outcome, now + REMEMBERED_S)
        while len(kept) > REMEMBERED or next(iter(kept.values()))[1] <= now:
            del kept[next(iter(kept))]

    def doubtful(self, now: float) -> Lock | None:
        """A lock whose decision is late: ask for it."""
        if self.held is not None and now - self.held_since >= DOUBT_S:
            return self.held
        return None

    def resolve(self, lock: Lock, heard: Iterable[Outcome], now: float) -> Place | None:
        """Ends a doubt with what the others said: the place to take, if one of them applied."""
        if self.held is not lock:
            return None
        if any(outcome is Outcome.APPLIED for outcome in heard):
            return self.apply(lock.transaction, now)[1]
        self.undo(lock.transaction, now)
        return None


def _follows(old: Place, new: Place) -> bool:
    """Is this the next version of the same peer's place?"""
    same = (old.name, old.spare, old.since, len(old.parents))
    return same == (new.name, new.spare, new.since, len(new.parents)) and (
        new.version == old.version + 1
    )


class Stage(IntEnum):
    LOCKING, APPLYING, UNDOING, ENDED = range(4)


@dataclass(frozen=True, slots=True)
class Send:
    """What the coordinator sends next: `verb` is `lock`, `apply` or `undo`."""

    verb: str
    name: Name


class Round:
    """A coordinator's transaction, from the locks to the last word.  Inputs may come in any order
    and repeatedly; each gives what is to be sent next."""

    def __init__(self, transaction: Transaction, plan: Plan, absent: Iterable[Name] = ()) -> None:
        self.transaction = transaction
        self.plan = plan
        self.stage = Stage.LOCKING
        self.refused: dict[Name, Vote | None] = {}
        """Who did not agree; None: silent."""
        self.failed: list[Name] = []
        """Who agreed and could not be told to apply, or had given up: those edges are mended."""
        absent = set(absent)
        self.participants = tuple(name for name in plan.seen if name not in absent)
        self._voted: set[Name] = set()
        self._told: set[Name] = set()

    @property
    def decided(self) -> bool:
        """Has it been decided that all apply?"""
        return self.stage is Stage.APPLYING or (self.stage is Stage.ENDED and not self.refused)

    def begin(self) -> list[Send]:
        return [Send("lock", name) for name in self.participants]

    def voted(self, name: Name, vote: Vote | None) -> list[Send]:
        """An answer to a lock; None: there was none."""
        if self.stage is not Stage.LOCKING or name in self._voted:
            return []
        self._voted.add(name)
        if vote is not Vote.OK:
            self.refused[name] = vote
            self.stage = Stage.UNDOING
            return [Send("undo", each) for each in self.participants]
        if len(self._voted) < len(self.participants):
            return []
        self.stage = Stage.APPLYING
        return [Send("apply", each) for each in self.participants]

    def told(self, name: Name, outcome: Outcome | None) -> None:
        """An answer to apply or undo; None: there was none after all attempts."""
        if self.stage not in (Stage.APPLYING, Stage.UNDOING) or name in self._told:
            return
        self._told.add(name)
        if self.stage is Stage.APPLYING and outcome is not Outcome.APPLIED:
            self.failed.append(name)
        if len(self._told) == len(self.participants):
            self.stage = Stage.ENDED
