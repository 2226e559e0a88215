"""`Candidates`: addresses where peers may be, bounded; whom to dial next.  Pure.

Everything that finds peers (a link, trackers, LAN discovery, peer exchange, a DHT) puts
addresses here.  They are dialled in the order: fewest failures, most trusted source, then
BEP 40's priority, which both ends compute alike and no stranger can steer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from spinney.bittorrent.priority import canonical_priority
from spinney.net.address import is_dialable, is_loopback
from spinney.net.host import Address

TRUST = {"link": 0, "user": 0, "lan": 1, "tracker": 2, "incoming": 2, "dht": 3, "pex": 4}
"""Sources by how much their word weighs; unknown ones come last."""
LEAST_TRUST = 5
BACK_OFF_S = (2.0, 10.0, 30.0, 120.0, 600.0, 1800.0)
"""Before the next attempt, by the number of failures so far."""
MAX_FAILURES = 8
"""Then an address is forgotten unless it came from the user or the link."""
SHORT_STAY_S = 5.0
"""A connection that ended sooner counts as a failure: the peer does not want us."""
MAX_BANNED = 1_000
PER_HOST = 16
"""Addresses of one host: a liar on the LAN or in peer exchange must not fill the list with the
ports of one victim, nor make us knock on all of them."""
PER_LOOPBACK_HOST = 256
"""Everybody on this machine has that address."""


@dataclass(slots=True)
class Candidate:
    """One address.  `trust` of its best source; times are monotonic."""

    address: Address
    trust: int
    failures: int = 0
    next_at: float = 0.0
    seed: bool = False
    """Known to need nothing: of no use while we need nothing ourselves."""
    busy: bool = False
    """Being dialled, or connected."""
    ranked_for: Address | None = None
    rank: int = 0
    """BEP 40's priority as seen from `ranked_for`, which hardly ever changes."""


class Candidates:
    """`limit`: addresses kept.  `may_dial(address, source)`: the guard of outgoing addresses."""

    def __init__(
        self, limit: int, may_dial: Callable[[Address, str], bool] = lambda address, source: True
    ) -> None:
        self._limit = limit
        self._may_dial = may_dial
        self._rows: dict[Address, Candidate] = {}
        self._per_host: dict[str, int] = {}
        self._own: set[Address] = set()
        self._banned: dict[str, None] = {}
        self.refused = 0
        """Addresses that the guard or a ban kept out."""

    def __len__(self) -> int:
        return len(self._rows)

    def found(self, addresses: Sequence[Address], source: str) -> int:
        """Takes addresses in; returns how many were new."""
        trust = TRUST.get(source.partition(":")[0], LEAST_TRUST)
        new = 0
        for address in addresses:
            row = self._rows.get(address)
            if row is not None:
                row.trust = min(row.trust, trust)
                continue
            if address in self._own or not is_dialable(address):
                continue
            if address[0] in self._banned or not self._may_dial(address, source):
                self.refused += 1
                continue
            if trust > 0 and self._per_host.get(address[0], 0) >= _most(address[0]):
                self.refused += 1
                continue
            if len(self._rows) >= self._limit and not self._make_room(trust):
                continue
            self._rows[address] = Candidate(address, trust)
            self._per_host[address[0]] = self._per_host.get(address[0], 0) + 1
            new += 1
        return new

    def _remove(self, address: Address) -> None:
        if self._rows.pop(address, None) is not None:
            self._per_host[address[0]] -= 1
            if not self._per_host[address[0]]:
                del self._per_host[address[0]]

    def _make_room(self, trust: int) -> bool:
        """Forgets the worst one that is not better than a newcomer of this trust."""
        idle = [row for row in self._rows.values() if not row.busy]
        worst = max(idle, key=lambda row: (row.failures, row.trust), default=None)
        if worst is None or (worst.failures == 0 and worst.trust <= trust):
            return False
        self._remove(worst.address)
        return True

    def own(self, address: Address) -> None:
        """This is ourselves (a connection met its own peer id): never again."""
        self._remove(address)
        if len(self._own) < 64:
            self._own.add(address)

    def ban(self, host: str) -> None:
        """This host lied: not dialled again in this session."""
        while len(self._banned) >= MAX_BANNED:
            del self._banned[next(iter(self._banned))]
        self._banned[host] = None
        for address in [address for address in self._rows if address[0] == host]:
            self._remove(address)

    def forget(self, address: Address) -> None:
        self._remove(address)

    def clear(self) -> None:
        """Forgets every address but those that the user typed."""
        for address in [row.address for row in self._rows.values() if row.trust > 0]:
            self._remove(address)

    def banned(self, host: str) -> bool:
        return host in self._banned

    def choose(
        self,
        now: float,
        count: int,
        own: Collection[Address],
        *,
        seeding: bool,
        half_open: int = 0,
        opening: int = 0,
    ) -> list[Address]:
        """Up to `count` addresses to dial now.  `own`: our own addresses, for BEP 40.

        `half_open`: how many may be dialled at a time, of which `opening` are under way; a part
        of these places is kept for the more trusted ones.  0: no such limit.
        """
        ready = [
            row
            for row in self._rows.values()
            if not row.busy and row.next_at <= now and not (seeding and row.seed)
        ]
        ours = {":" in address[0]: address for address in own}

        def order(row: Candidate) -> tuple[int, int, int]:
            mine = ours.get(":" in row.address[0])
            if mine is not None and row.ranked_for != mine:
                row.ranked_for, row.rank = mine, canonical_priority(mine, row.address)
            return (row.failures, row.trust, -row.rank)

        if len(ready) > count:
            ready.sort(key=order)
        else:  # all may be dialled: then who is not trusted must not be first, no more
            ready.sort(key=lambda row: row.trust)
        if not half_open:
            return [row.address for row in ready[:count]]
        free = half_open - opening
        chosen: list[Address] = []
        for row in ready:
            kept = 0 if row.trust == 0 else half_open // (3 if row.trust > TRUST["tracker"] else 6)
            if len(chosen) < min(count, free - kept):
                chosen.append(row.address)
        return chosen

    def next_attempt_at(self) -> float | None:
        """When the next waiting address may be dialled."""
        return min((row.next_at for row in self._rows.values() if not row.busy), default=None)

    def dialling(self, address: Address) -> None:
        row = self._rows.get(address)
        if row is not None:
            row.busy = True

    def failed(self, address: Address, now: float) -> None:
        """Nobody answered, or it ended at once."""
        row = self._rows.get(address)
        if row is None:
            return
        row.busy = False
        row.failures += 1
        if row.failures >= MAX_FAILURES and row.trust > 0:
            self._remove(address)
            return
        row.next_at = now + BACK_OFF_S[min(row.failures, len(BACK_OFF_S)) - 1]

    def ended(self, address: Address, now: float, stayed_s: float) -> None:
        """A connection to this address ended."""
        row = self._rows.get(address)
        if row is None:
            return
        if stayed_s < SHORT_STAY_S:
            self.failed(address, now)
            return
        row.busy = False
        row.failures = 0
        row.next_at = now + BACK_OFF_S[0]

    def is_seed(self, address: Address) -> None:
        row = self._rows.get(address)
        if row is not None:
            row.seed = True


def _most(host: str) -> int:
    return PER_LOOPBACK_HOST if is_loopback(host) else PER_HOST
