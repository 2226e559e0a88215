"""`Election`: who leads a file management group.  Pure: `now`, chance and messages are handed in.

    follower ── no keep-alive for 1.5 to 3 intervals ──> asks for pre-votes
    asker ────── a majority of the electorate says yes ─> raises the term, asks for votes
    candidate ── a majority votes for it ───────────────> leader of that term
    anybody ──── no leader for a stated time ───────────> founds a new reign, as its leader
    anybody ──── hears a leader whom the rules prefer ──> follower

Within a reign a term has at most one leader, because an elector votes once a term, keeps that on
disk before it says so, and two majorities of one electorate share an elector.  The electorate
changes while a reign lasts: a new one takes effect when a majority of the one before has it on
disk, and from then on refuses who asks in the name of an older one (`Electorate.version`).

Of two reigns that hear each other, the one whose hash with the file is lower goes on: every peer
computes that alone.  What a peer voted in a reign it remembers when it leaves it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeAlias

from spinney.mcftp.messages import (
    ELECTORATE_MAX,
    REIGN_BYTES,
    Accept,
    Ballot,
    Electorate,
    HandOver,
    KeepAlive,
    Message,
    PreVote,
    Vote,
)
from spinney.net.host import Rng

LEAST_SILENCE = 1.5
MOST_SILENCE = 3.0
"""Intervals without a keep-alive before somebody stands for leader."""
FOUND_AFTER = 8.0
"""Intervals without a leader before a new reign is founded: several elections fit in."""
FOUND_SPREAD = 3.0
"""More intervals, by rank and chance, so that founders seldom coincide."""
ASK_AGAIN = 0.25
"""Intervals between two requests for the same votes: requests and ballots get lost."""
REIGNS_KEPT = 256
"""Reigns of one file whose votes are remembered, 60 bytes each."""

Role: TypeAlias = Literal["follower", "asking", "candidate", "leader"]


@dataclass(frozen=True, slots=True)
class Votes:
    """What binds a peer in one reign, on disk before it acts: the highest term it voted in, for
    whom, and the newest electorate that it accepted."""

    term: int = 0
    voted_for: bytes = b""
    version: tuple[int, int] = (0, 0)


def reign_order(file: bytes, reign: bytes) -> bytes:
    """Of two reigns of one file the one with the lower of these goes on."""
    return sha256(file + reign).digest()


class Election:
    """One peer's part.  After each call look at `outbox` (to be sent), `unsaved` (to be on disk
    before that) and `role`; call `tick` at `next_at`."""

    def __init__(
        self, me: bytes, file: bytes, rng: Rng, *, interval_s: float, may_lead: bool = True
    ) -> None:
        self.me = me
        self.file = file
        self.may_lead = may_lead
        self.interval_s = interval_s
        self.role: Role = "follower"
        self.reign = b""
        self.leader = b""
        self.leader_term = 0
        self.electorate = Electorate((0, 0), ())
        self.proposed: Electorate | None = None
        self.heard_at = float("-inf")
        self.outbox: list[Message] = []
        self.unsaved = False
        self.rivals = 0
        """Keep-alives of leaders whom the rules make yield: they ought to hear ours."""
        self._rng = rng
        self._votes: OrderedDict[bytes, Votes] = OrderedDict()
        self._yes: dict[bytes, None] = {}
        self._accepted: dict[bytes, None] = {}
        self._stand_at = float("inf")
        self._ask_at = float("inf")
        self._found_at = float("inf")
        self._released_for = b""

    # -- what is kept -------------------------------------------------------------------

    @property
    def votes(self) -> Votes:
        return self._votes.get(self.reign, Votes())

    def record(self) -> list[tuple[bytes, Votes]]:
        """What must be on disk, oldest reign first."""
        return list(self._votes.items())

    def restore(self, rows: list[tuple[bytes, Votes]]) -> None:
        self._votes = OrderedDict(rows[-REIGNS_KEPT:])

    def _bind(self, votes: Votes) -> None:
        if votes != self._votes.get(self.reign):
            self._votes[self.reign] = votes
            self._votes.move_to_end(self.reign)
            if len(self._votes) > REIGNS_KEPT:
                self._votes.popitem(last=False)
            self.unsaved = True

    # -- time ---------------------------------------------------------------------------

    def watch(self, now: float) -> None:
        """Begins to wait for a leader: there is a group, and nobody was heard yet."""
        self.heard_at = now
        self._set_timers(now)

    @property
    def next_at(self) -> float:
        """When `tick` is due."""
        if self.role == "leader":
            return float("inf")
        return min(self._stand_at, self._ask_at, self._found_at)

    def _place(self) -> float:
        """Between 0 (the best elector) and 1 (no elector), with chance within the place."""
        peers = self.electorate.peers
        place = peers.index(self.me) if self.me in peers else ELECTORATE_MAX
        return (place + self._rng.random()) / (ELECTORATE_MAX + 1)

    def _set_timers(self, now: float) -> None:
        span = MOST_SILENCE - LEAST_SILENCE
        self._stand_at = now + self.interval_s * (LEAST_SILENCE + span * self._place())
        self._found_at = now + self.interval_s * (FOUND_AFTER + FOUND_SPREAD * self._place())
        self._ask_at = float("inf")
        if not self.may_lead:
            self._stand_at = self._found_at = float("inf")

    def _stand_later(self, now: float) -> None:
        span = MOST_SILENCE - LEAST_SILENCE
        self._stand_at = now + self.interval_s * (LEAST_SILENCE + span * self._place()) / 2
        self._ask_at = float("inf")
        if not self.may_lead:
            self._stand_at = float("inf")

    def tick(self, now: float, reign: bytes) -> None:
        """Does what is due.  `reign`: 8 random bytes, the id of a reign that is founded now."""
        if self.role == "leader":
            return
        if now >= self._found_at:
            self.found(reign)
        elif now >= self._stand_at:
            self._stand(now)
        elif now >= self._ask_at:
            self._ask(now)

    def is_silent(self, now: float) -> bool:
        """Has the leader not been heard for so long that another may be elected?"""
        return now - self.heard_at >= self.interval_s * LEAST_SILENCE

    # -- standing -----------------------------------------------------------------------

    def found(self, reign: bytes) -> None:
        """Founds a reign with its founder as the only elector and leader of term 1."""
        assert len(reign) == REIGN_BYTES
        self.reign = reign
        self.electorate = Electorate((1, 0), (self.me,))
        self._bind(Votes(1, self.me, (1, 0)))
        self._lead(1)

    def _lead(self, term: int) -> None:
        self.role = "leader"
        self.leader, self.leader_term = self.me, term
        self.proposed = None
        self._accepted.clear()
        self._released_for = b""

    def _stand(self, now: float, *, at_once: bool = False) -> None:
        """Asks for pre-votes, or (`at_once`, the old leader says so) for votes."""
        self._stand_later(now)
        if not self.electorate.peers:
            return
        self._yes.clear()
        self.role = "asking"
        if at_once:
            self._candidate(now)
            return
        if self.me in self.electorate.peers:
            self._count(self.me, now)
        if self.role == "asking":
            self._ask(now)

    def _candidate(self, now: float) -> None:
        self.role = "candidate"
        self._yes.clear()
        votes = self.votes
        term = max(votes.term, self.leader_term) + 1
        self._bind(Votes(term, self.me, max(votes.version, self.electorate.version)))
        if self.me in self.electorate.peers:
            self._count(self.me, now)
        if self.role == "candidate":
            self._ask(now)

    def _ask(self, now: float) -> None:
        version = self.electorate.version
        if self.role == "asking":
            term = max(self.votes.term, self.leader_term) + 1
            self.outbox.append(PreVote(self.reign, term, version))
        elif self.role == "candidate":
            self.outbox.append(Vote(self.reign, self.votes.term, version))
        self._ask_at = now + self.interval_s * ASK_AGAIN

    def _count(self, voter: bytes, now: float) -> None:
        self._yes[voter] = None
        if len(self._yes) < self.electorate.majority:
            return
        if self.role == "asking":
            self._candidate(now)
        elif self.role == "candidate":
            self._lead(self.votes.term)

    # -- hearing ------------------------------------------------------------------------

    def heard(self, sender: bytes, said: Message, now: float) -> None:
        """Anything but a keep-alive."""
        if isinstance(said, PreVote | Vote):
            self._hear_request(sender, said, now)
        elif isinstance(said, Ballot):
            self._hear_ballot(sender, said, now)
        elif isinstance(said, HandOver):
            self._hear_hand_over(sender, said, now)
        elif isinstance(said, Accept):
            self._hear_accept(sender, said)

    def _hear_request(self, sender: bytes, said: PreVote | Vote, now: float) -> None:
        if said.reign != self.reign:
            return
        if self.role == "leader":
            self.rivals += 1
            return
        votes = self.votes
        if self.me not in self.electorate.peers or said.version < votes.version:
            return
        if not self.is_silent(now) and self._released_for != sender:
            return
        if said.term <= self.leader_term or said.term < votes.term:
            return
        if said.term == votes.term and votes.voted_for != sender:
            return
        if isinstance(said, PreVote):
            if self.role != "candidate":
                self._stand_later(now)
                self.outbox.append(Ballot(self.reign, said.term, sender, True))
            return
        self._bind(Votes(said.term, sender, votes.version))
        self.role = "follower"
        self._stand_later(now)
        self.outbox.append(Ballot(self.reign, said.term, sender, False))

    def _hear_ballot(self, sender: bytes, said: Ballot, now: float) -> None:
        if said.reign != self.reign or said.candidate != self.me:
            return
        if sender not in self.electorate.peers:
            return
        term = self.votes.term if self.role == "candidate" else self._next_term
        wanted = "asking" if said.pre else "candidate"
        if self.role == wanted and said.term == term:
            self._count(sender, now)

    @property
    def _next_term(self) -> int:
        return max(self.votes.term, self.leader_term) + 1

    def _hear_hand_over(self, sender: bytes, said: HandOver, now: float) -> None:
        if said.reign != self.reign or sender != self.leader or said.term != self.leader_term:
            return
        if self.role == "leader":
            return
        self._released_for = said.successor
        self.heard_at = min(self.heard_at, now - self.interval_s * LEAST_SILENCE)
        if said.successor == self.me and self.may_lead:
            self._stand(now, at_once=True)
        else:
            self._stand_later(now)

    # -- keep-alives --------------------------------------------------------------------

    def follows(self, sender: bytes, said: KeepAlive, now: float) -> bool:
        """Takes in a keep-alive; True when its sender is whom we follow.

        A leader who hears one whom the rules prefer is a follower from here on.
        """
        if said.reign == self.reign:
            if said.term < self.leader_term:
                self.rivals += 1
                return False
            if said.term == self.leader_term and self.leader not in (b"", sender):
                return False
        elif self.reign and not self._prefers(said.reign, now):
            self.rivals += 1
            return False
        if said.reign != self.reign:
            self.reign = said.reign
            self.electorate = Electorate((0, 0), ())
        self.role = "follower"
        self.leader, self.leader_term = sender, said.term
        self.interval_s = said.interval_ms / 1000
        self.heard_at = now
        self._released_for = b""
        self.proposed = None
        if said.electorate.version >= self.electorate.version:
            self.electorate = said.electorate
        self._set_timers(now)
        self._accept(said)
        return True

    def _prefers(self, reign: bytes, now: float) -> bool:
        if reign_order(self.file, reign) < reign_order(self.file, self.reign):
            return True
        silent = now - self.heard_at >= self.interval_s * MOST_SILENCE
        return self.role != "leader" and silent

    # -- the electorate -----------------------------------------------------------------

    def _accept(self, said: KeepAlive) -> None:
        """An elector puts the proposed electorate on its disk, then says so."""
        proposed, votes = said.proposed, self.votes
        if proposed is None or self.me not in said.electorate.peers:
            return
        if said.term < votes.term or proposed.version < votes.version:
            return
        # The leader of this term has had our vote, if anybody: nobody else gets it.
        voted_for = votes.voted_for if votes.term == said.term else self.leader
        self._bind(Votes(said.term, voted_for, proposed.version))
        self.outbox.append(Accept(said.reign, said.term, proposed.version))

    def propose(self, peers: tuple[bytes, ...]) -> None:
        """By the leader: names another electorate.  One at a time."""
        assert self.role == "leader"
        if self.proposed is not None or peers == self.electorate.peers or not peers:
            return
        version = (self.leader_term, max(self.votes.version, self.electorate.version)[1] + 1)
        self.proposed = Electorate(version, peers[:ELECTORATE_MAX])
        self._accepted.clear()
        votes = self.votes
        self._bind(Votes(votes.term, votes.voted_for, version))
        if self.me in self.electorate.peers:
            self._accepted[self.me] = None
        self._commit()

    def withdraw(self) -> None:
        """By the leader: the proposal waits for electors who are gone; another may be made."""
        self.proposed = None

    def _hear_accept(self, sender: bytes, said: Accept) -> None:
        if self.role != "leader" or self.proposed is None or sender not in self.electorate.peers:
            return
        wanted = (self.reign, self.leader_term, self.proposed.version)
        if (said.reign, said.term, said.version) == wanted:
            self._accepted[sender] = None
            self._commit()

    def _commit(self) -> None:
        if self.proposed is not None and len(self._accepted) >= self.electorate.majority:
            self.electorate, self.proposed = self.proposed, None
