"""Elections: the rules one by one, then many peers under loss, crashes and partitions."""

from __future__ import annotations

from random import Random

import pytest

from spinney.mcftp import messages as m
from spinney.mcftp.election import Election, Votes, reign_order

INTERVAL_S = 1.0
FILE = b"a file"
REIGN = b"reign  1"
NAMES = [b"%020d" % number for number in range(9)]


def keep_alive(election: Election) -> m.KeepAlive:
    """What this leader says."""
    assert election.role == "leader"
    return m.KeepAlive(
        election.reign,
        election.leader_term,
        1,
        0,
        1,
        int(INTERVAL_S * 1000),
        0,
        1,
        0,
        False,
        bytes(32),
        election.electorate,
        election.proposed,
        (),
    )


def elector(number: int, *, electors: int = 3, seed: int = 0) -> Election:
    """A follower of peer 8, leader of term 1, in an electorate of peers 0, 1, ..."""
    made = Election(NAMES[number], FILE, Random(seed + number), interval_s=INTERVAL_S)
    boss = Election(NAMES[8], FILE, Random(8), interval_s=INTERVAL_S)
    boss.found(REIGN)
    boss.electorate = m.Electorate((1, 1), tuple(NAMES[:electors]))
    assert made.follows(NAMES[8], keep_alive(boss), 0.0)
    return made


def test_the_founder_elects_itself() -> None:
    one = Election(NAMES[0], FILE, Random(0), interval_s=INTERVAL_S)
    one.watch(0.0)
    one.tick(7.9, REIGN)
    assert one.role == "follower"
    one.tick(11.1, REIGN)
    assert (one.role, one.reign, one.leader_term) == ("leader", REIGN, 1)
    assert one.unsaved
    assert one.record() == [(REIGN, Votes(1, NAMES[0], (1, 0)))]


def test_silence_of_1_5_to_3_intervals_the_best_elector_first() -> None:
    for seed in range(20):
        times = [elector(number, electors=3, seed=seed).next_at for number in (0, 1, 2, 5)]
        assert times == sorted(times)
        assert times[0] >= 1.5
        assert times[-1] <= 3.0


def test_nobody_says_yes_while_the_leader_lives() -> None:
    one = elector(0)
    one.heard(NAMES[1], m.PreVote(REIGN, 2, (1, 1)), 1.0)
    one.heard(NAMES[1], m.Vote(REIGN, 2, (1, 1)), 1.0)
    assert not one.outbox
    one.heard(NAMES[1], m.PreVote(REIGN, 2, (1, 1)), 1.6)
    assert one.outbox == [m.Ballot(REIGN, 2, NAMES[1], True)]


def test_one_vote_a_term_and_it_is_on_disk_first() -> None:
    one = elector(0)
    one.heard(NAMES[1], m.Vote(REIGN, 2, (1, 1)), 2.0)
    assert one.unsaved
    assert one.votes == Votes(2, NAMES[1], (0, 0))
    assert one.outbox == [m.Ballot(REIGN, 2, NAMES[1], False)]
    one.outbox.clear()
    one.heard(NAMES[2], m.Vote(REIGN, 2, (1, 1)), 2.0)
    one.heard(NAMES[2], m.PreVote(REIGN, 2, (1, 1)), 2.0)
    assert not one.outbox
    one.heard(NAMES[1], m.Vote(REIGN, 2, (1, 1)), 2.1)  # its ballot was lost
    assert one.outbox == [m.Ballot(REIGN, 2, NAMES[1], False)]


def test_no_vote_in_a_term_that_is_over() -> None:
    one = elector(0)
    one.heard(NAMES[1], m.Vote(REIGN, 5, (1, 1)), 2.0)
    one.outbox.clear()
    one.heard(NAMES[2], m.PreVote(REIGN, 4, (1, 1)), 2.0)
    one.heard(NAMES[2], m.Vote(REIGN, 4, (1, 1)), 2.0)
    assert not one.outbox
    assert one.votes.term == 5


def test_a_vote_is_remembered_after_a_restart() -> None:
    before = elector(0)
    before.heard(NAMES[1], m.Vote(REIGN, 2, (1, 1)), 2.0)
    after = elector(0)
    after.restore(before.record())
    after.heard(NAMES[2], m.Vote(REIGN, 2, (1, 1)), 2.0)
    assert not after.outbox


def test_a_vote_is_remembered_after_another_reign() -> None:
    one = elector(0)
    one.heard(NAMES[1], m.Vote(REIGN, 2, (1, 1)), 2.0)
    one.outbox.clear()
    other = Election(NAMES[7], FILE, Random(7), interval_s=INTERVAL_S)
    other.found(next(r for r in (b"reign%3d" % n for n in range(99)) if wins(r)))
    assert one.follows(NAMES[7], keep_alive(other), 2.0)
    assert one.votes == Votes()
    assert dict(one.record())[REIGN] == Votes(2, NAMES[1], (0, 0))


def wins(reign: bytes) -> bool:
    return reign_order(FILE, reign) < reign_order(FILE, REIGN)


def test_a_majority_elects() -> None:
    one = elector(0)
    one.tick(2.99, REIGN)
    assert one.role == "asking"
    assert one.outbox == [m.PreVote(REIGN, 2, (1, 1))]
    one.heard(NAMES[5], m.Ballot(REIGN, 2, NAMES[0], True), 3.0)  # no elector
    one.heard(NAMES[1], m.Ballot(REIGN, 3, NAMES[0], True), 3.0)  # another term
    assert one.role == "asking"
    one.heard(NAMES[1], m.Ballot(REIGN, 2, NAMES[0], True), 3.0)
    assert one.role == "candidate"
    assert one.outbox[-1] == m.Vote(REIGN, 2, (1, 1))
    one.heard(NAMES[1], m.Ballot(REIGN, 2, NAMES[0], True), 3.0)  # only of the first round
    assert one.role == "candidate"
    one.heard(NAMES[2], m.Ballot(REIGN, 2, NAMES[0], False), 3.0)
    assert (one.role, one.leader_term) == ("leader", 2)


def test_a_leader_that_comes_back_yields_to_the_higher_term() -> None:
    old = Election(NAMES[8], FILE, Random(8), interval_s=INTERVAL_S)
    old.found(REIGN)
    new = elector(0, electors=1)
    new.tick(3.0, REIGN)
    assert (new.role, new.leader_term) == ("leader", 2)
    assert not new.follows(NAMES[8], keep_alive(old), 3.0)
    assert new.rivals == 1
    assert old.follows(NAMES[0], keep_alive(new), 3.0)
    assert old.role == "follower"
    assert old.leader == NAMES[0]


def test_of_two_reigns_all_choose_the_same() -> None:
    for number in range(20):
        one, two = (Election(NAMES[n], FILE, Random(n), interval_s=1.0) for n in range(2))
        one.found(b"first%3d" % number)
        two.found(b"other%3d" % number)
        said = keep_alive(one), keep_alive(two)
        first_yields = one.follows(NAMES[1], said[1], 0.0)
        second_yields = two.follows(NAMES[0], said[0], 0.0)
        assert first_yields is not second_yields


def test_a_new_electorate_counts_when_a_majority_of_the_old_has_it() -> None:
    boss = elector(0, electors=3)
    boss.tick(3.0, REIGN)
    boss.heard(NAMES[1], m.Ballot(REIGN, 2, NAMES[0], True), 3.0)
    boss.heard(NAMES[1], m.Ballot(REIGN, 2, NAMES[0], False), 3.0)
    boss.propose(tuple(NAMES[3:6]))
    assert boss.electorate.peers == tuple(NAMES[:3])
    one = elector(1, electors=3)
    one.heard(NAMES[0], m.Vote(REIGN, 2, (1, 1)), 3.0)
    one.outbox.clear()
    assert one.follows(NAMES[0], keep_alive(boss), 3.0)
    assert boss.proposed is not None
    version = boss.proposed.version
    assert one.outbox == [m.Accept(REIGN, 2, version)]
    assert one.votes.version == version
    boss.heard(NAMES[4], m.Accept(REIGN, 2, version), 3.0)  # none of the old
    assert boss.proposed is not None
    boss.heard(NAMES[1], m.Accept(REIGN, 2, version), 3.0)
    assert boss.proposed is None
    assert boss.electorate.peers == tuple(NAMES[3:6])


def test_who_accepted_refuses_the_old_electorate() -> None:
    one = elector(1, electors=3)
    one._bind(Votes(1, NAMES[8], (1, 2)))
    one.heard(NAMES[2], m.PreVote(REIGN, 2, (1, 1)), 5.0)
    one.heard(NAMES[2], m.Vote(REIGN, 2, (1, 1)), 5.0)
    assert not one.outbox
    one.heard(NAMES[2], m.Vote(REIGN, 2, (1, 2)), 5.0)
    assert one.outbox


def test_the_successor_of_a_polite_leader_is_elected_at_once() -> None:
    one, two = elector(0), elector(1)
    bye = m.HandOver(REIGN, 1, NAMES[0])
    one.heard(NAMES[5], bye, 0.1)  # not the leader's word
    assert not one.outbox
    one.heard(NAMES[8], bye, 0.1)
    two.heard(NAMES[8], bye, 0.1)
    assert one.outbox == [m.Vote(REIGN, 2, (1, 1))]
    two.heard(NAMES[0], one.outbox[0], 0.1)
    assert two.outbox == [m.Ballot(REIGN, 2, NAMES[0], False)]
    one.heard(NAMES[1], two.outbox[0], 0.1)
    assert one.role == "leader"


def test_memory_of_reigns_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spinney.mcftp.election.REIGNS_KEPT", 10)
    one = Election(NAMES[0], FILE, Random(0), interval_s=1.0)
    for number in range(30):
        one.role = "follower"
        one.found(b"%08d" % number)
    assert len(one.record()) == 10


class Crowd:
    """Peers that say everything to all, over a bad network, with crashes and partitions."""

    def __init__(self, seed: int, peers: int, loss: float) -> None:
        self.rng = Random(seed)
        self.loss = loss
        self.now = 0.0
        self.disks: list[list[tuple[bytes, Votes]]] = [[] for _ in range(peers)]
        self.peers: list[Election | None] = [self.made(n) for n in range(peers)]
        self.queue: list[tuple[float, int, int, m.Message]] = []
        self.leaders: dict[tuple[bytes, int], int] = {}
        self.spoken = [0.0] * peers
        self.cut: set[int] = set()
        self.count = 0

    def made(self, number: int) -> Election:
        election = Election(NAMES[number], FILE, self.rng, interval_s=INTERVAL_S)
        election.restore(self.disks[number])
        election.watch(self.now)
        return election

    def send(self, sender: int, said: m.Message) -> None:
        for number in range(len(self.peers)):
            if number == sender or self.rng.random() < self.loss:
                continue
            if (number in self.cut) == (sender in self.cut):
                self.count += 1
                delay = self.rng.uniform(0.001, 0.05)
                self.queue.append((self.now + delay, self.count, number, said))
                self.senders[self.count] = sender

    senders: dict[int, int]

    def step(self, seconds: float) -> None:
        until = self.now + seconds
        self.senders = getattr(self, "senders", {})
        while self.now < until:
            self.now += 0.02
            due = sorted(row for row in self.queue if row[0] <= self.now)
            self.queue = [row for row in self.queue if row[0] > self.now]
            for _, count, number, said in due:
                peer = self.peers[number]
                sender = self.senders.pop(count)
                if peer is None:
                    continue
                if isinstance(said, m.KeepAlive):
                    peer.follows(NAMES[sender], said, self.now)
                else:
                    peer.heard(NAMES[sender], said, self.now)
                self.flush(number, peer)
            for number, peer in enumerate(self.peers):
                if peer is not None:
                    if self.now >= peer.next_at:
                        peer.tick(self.now, self.rng.randbytes(8))
                    self.flush(number, peer)

    def flush(self, number: int, peer: Election) -> None:
        self.disks[number] = peer.record()
        said, peer.outbox = peer.outbox, []
        for message in said:
            self.send(number, message)
        if peer.role == "leader":
            key = (peer.reign, peer.leader_term)
            assert self.leaders.setdefault(key, number) == number, "two leaders of one term"
            if self.now - self.spoken[number] >= INTERVAL_S:
                self.spoken[number] = self.now
                live = [n for n, other in enumerate(self.peers) if other is not None]
                if self.rng.random() < 0.2:
                    peer.withdraw()
                peer.propose(tuple(NAMES[n] for n in self.rng.sample(live, min(7, len(live)))))
                self.send(number, keep_alive(peer))

    def rulers(self) -> set[int]:
        return {n for n, peer in enumerate(self.peers) if peer and peer.role == "leader"}


@pytest.mark.parametrize("seed", range(8))
def test_one_leader_a_term_whatever_happens_and_one_leader_when_it_is_over(seed: int) -> None:
    """Loss of 30 %, crashes with and without return, partitions, electorates that change."""
    crowd = Crowd(seed, 7, loss=0.3)
    for _ in range(12):
        crowd.step(crowd.rng.uniform(1.0, 8.0))
        fault = crowd.rng.randrange(3)
        if fault == 0:
            crowd.cut = set(crowd.rng.sample(range(7), crowd.rng.randrange(4)))
        victim = crowd.rng.choice(sorted(crowd.rulers()) or [0])
        if fault == 1:
            crowd.peers[victim] = None
        if fault == 2:
            for number in range(7):
                if crowd.peers[number] is None:
                    crowd.peers[number] = crowd.made(number)
    crowd.cut = set()
    crowd.loss = 0.05
    crowd.step(30.0)
    assert len(crowd.rulers()) == 1
    (ruler,) = crowd.rulers()
    assert {peer.leader for peer in crowd.peers if peer} == {NAMES[ruler]}
