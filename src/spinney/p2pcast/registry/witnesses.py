"""Who says what of whom: accusations, and when they are believed.  Pure; `now` is an argument.

Nobody is deleted at one peer's word (the paper lets any child evict its parent).  A dead peer is
missed by its children in its own stripe and by its parents in the others; so it is deleted when
neighbours in two stripes say so *and* it does not answer the registry itself.  An accused who
answers costs each of its accusers a false accusation; after some of these an accuser is deaf
to us: it is answered as before and nothing comes of what it says.

A parent that cheats can be alive: against it counts a proof, or the word of several children
from different networks.  Such a parent keeps its place (blame is local: its children leave it),
but no newcomer is sent to it.
"""

from __future__ import annotations

from dataclasses import dataclass

TESTIMONIES_MOST = 16
"""Kept of one case; the oldest gives way.  As many as a peer has neighbours in two stripes."""
ACCUSERS_MOST = 16_384
"""Whose false accusations are remembered; the oldest is forgotten."""

Key = tuple[bytes, bytes]
"""(stream, peer)"""


@dataclass(frozen=True, slots=True)
class Testimony:
    """One neighbour's word.  `network`: empty for local addresses, which all count as different."""

    accuser: bytes
    network: bytes
    stripe: int
    at: float


class Case:
    """What is said against one peer: that it is `dead`, that it is `bad`."""

    __slots__ = ("bad", "dead", "failed_at", "is_asked")

    def __init__(self) -> None:
        self.dead: dict[bytes, Testimony] = {}
        self.bad: dict[bytes, Testimony] = {}
        self.failed_at: float | None = None
        """When it last did not answer us."""
        self.is_asked = False
        """It is being asked just now."""


class Witnesses:
    """All cases.  `cases_max`: at one time; the oldest gives way to a new one."""

    def __init__(
        self,
        *,
        cases_max: int = 4_096,
        testimony_s: float = 600.0,
        probe_holds_s: float = 20.0,
        false_most: int = 3,
        false_s: float = 600.0,
        accused_most: int = 32,
        bad_witnesses: int = 3,
    ) -> None:
        self.cases: dict[Key, Case] = {}
        self._cases_max = cases_max
        self._testimony_s = testimony_s
        self._probe_holds_s = probe_holds_s
        self._false_most = false_most
        self._false_s = false_s
        self._accused_most = accused_most
        self._bad_witnesses = bad_witnesses
        self._counts: dict[Key, tuple[int, int, float]] = {}

    def is_deaf(self, stream: bytes, accuser: bytes, now: float) -> bool:
        """Whether this accuser was wrong too often, or accuses more than it has neighbours."""
        false, accused, _ = self._count(stream, accuser, now)
        return false >= self._false_most or accused > self._accused_most

    def _count(self, stream: bytes, accuser: bytes, now: float) -> tuple[int, int, float]:
        """(false accusations, all accusations, since when) of the present stretch of time."""
        count = self._counts.get((stream, accuser))
        if count is None or now - count[2] >= self._false_s:
            return 0, 0, now
        return count

    def _add_count(self, stream: bytes, accuser: bytes, false: int, said: int, now: float) -> None:
        before = self._count(stream, accuser, now)
        self._counts[stream, accuser] = (before[0] + false, before[1] + said, before[2])
        if len(self._counts) > ACCUSERS_MOST:
            del self._counts[next(iter(self._counts))]

    def _case(self, key: Key) -> Case:
        case = self.cases.get(key)
        if case is None:
            while len(self.cases) >= self._cases_max:
                del self.cases[next(iter(self.cases))]
            case = self.cases[key] = Case()
        return case

    def _testify(self, said: dict[bytes, Testimony], one: Testimony) -> None:
        for accuser in [a for a, t in said.items() if one.at - t.at >= self._testimony_s]:
            del said[accuser]
        said.pop(one.accuser, None)
        said[one.accuser] = one
        if len(said) > TESTIMONIES_MOST:
            del said[next(iter(said))]

    # Dead

    def says_dead(self, stream: bytes, accused: bytes, one: Testimony) -> Case | None:
        """Takes the testimony; None if this accuser is not listened to."""
        self._add_count(stream, one.accuser, 0, 1, one.at)
        if self.is_deaf(stream, one.accuser, one.at):
            return None
        case = self._case((stream, accused))
        self._testify(case.dead, one)
        return case

    def must_ask(self, case: Case, now: float) -> bool:
        """Whether the accused is to be asked now: not when it just was."""
        if case.is_asked:
            return False
        return case.failed_at is None or now - case.failed_at >= self._probe_holds_s

    def is_dead(self, case: Case, now: float) -> bool:
        """It did not answer lately, and two stripes miss it, by two peers of two networks."""
        if case.failed_at is None or now - case.failed_at >= self._probe_holds_s:
            return False
        said = [t for t in case.dead.values() if now - t.at < self._testimony_s]
        return any(
            one.stripe != other.stripe and _are_apart(one, other)
            for at, one in enumerate(said)
            for other in said[at + 1 :]
        )

    def did_not_answer(self, stream: bytes, accused: bytes, now: float) -> Case:
        case = self._case((stream, accused))
        case.is_asked = False
        case.failed_at = now
        return case

    def answered(self, stream: bytes, accused: bytes, now: float) -> None:
        """The accused lives: who called it dead was wrong."""
        case = self.cases.get((stream, accused))
        if case is None:
            return
        for accuser in case.dead:
            self._add_count(stream, accuser, 1, 0, now)
        case.dead.clear()
        case.failed_at, case.is_asked = None, False
        if not case.bad:
            del self.cases[stream, accused]

    def spoke(self, stream: bytes, peer: bytes) -> None:
        """The peer called us itself: that it did not answer before means nothing now."""
        case = self.cases.get((stream, peer))
        if case is not None:
            case.failed_at = None

    def close(self, stream: bytes, accused: bytes) -> None:
        """Nothing more is to be found out about this peer."""
        self.cases.pop((stream, accused), None)

    # Bad

    def says_bad(self, stream: bytes, accused: bytes, one: Testimony) -> bool:
        """Takes the testimony of a child; True when enough of them say the same."""
        self._add_count(stream, one.accuser, 0, 1, one.at)
        if self.is_deaf(stream, one.accuser, one.at):
            return False
        case = self._case((stream, accused))
        self._testify(case.bad, one)
        networks = {t.network or t.accuser for t in case.bad.values()}
        return len(networks) >= self._bad_witnesses

    def sweep(self, now: float) -> None:
        """Forgets what is too old to be believed."""
        for key in list(self.cases):
            case = self.cases[key]
            for said in (case.dead, case.bad):
                for accuser in [a for a, t in said.items() if now - t.at >= self._testimony_s]:
                    del said[accuser]
            if not case.dead and not case.bad and not case.is_asked:
                del self.cases[key]
        self._counts = {
            key: count for key, count in self._counts.items() if now - count[2] < self._false_s
        }


def _are_apart(one: Testimony, other: Testimony) -> bool:
    """Not two names of one: Sybils share a network more easily than a stripe."""
    return not one.network or one.network != other.network
