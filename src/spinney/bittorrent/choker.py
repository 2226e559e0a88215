"""Who may ask us for blocks: tit-for-tat with an optimistic unchoke (BEP 3, the lectures).

Pure: peers come in as `ChokerPeer` rows, decisions go out as keys.  While downloading, the
peers that give the highest rates are unchoked; one slot in five goes round by chance, so
that better partners are found and newcomers get something to trade.  A seed has no rates to
repay: its slots go to the fastest takers, or in turn.  A slot that falls free is given at
once (`fill`); the ten-second round (`review`) only redistributes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

from spinney.net.host import Rng

ROUND_S = 10.0
"""BEP 3: "to avoid fibrillation" choking changes no more often than this."""
OPTIMISTIC_ROUNDS = 3
NEWCOMER_S = 60.0
NEWCOMER_WEIGHT = 3
"""BEP 3: new connections are three times as likely to be the optimistic unchoke."""
SNUBBED_S = 60.0
"""BEP 3: a peer that gave nothing for a minute is snubbing us and loses its regular slot."""
SEED_TURN_S = 20.0
"""With `in turn` a seed keeps one peer for this long while others wait: two rounds, so that a
piece that nobody else has is likely to be done."""

CREDIT_BYTES = 65_536
"""What a peer may owe before it stands behind those who owe less ("for every piece that it
downloads it uploads one", the lectures): four blocks, about what is on its way anyway."""

MIN_SLOTS = 4
MAX_SLOTS = 50
SLOT_BYTES_PER_S = 20_000.0


def slots_for(rate_bytes_per_s: float) -> int:
    """Slots for an upload rate: 4 up to 320 kB/s, 16 at 5 MB/s, 50 from 50 MB/s on.

    The square root keeps both the number of slots and the rate of each growing with the line.
    """
    return max(MIN_SLOTS, min(MAX_SLOTS, int(sqrt(max(0.0, rate_bytes_per_s) / SLOT_BYTES_PER_S))))


@dataclass(frozen=True, slots=True)
class ChokerPeer:
    """What the choker sees of a peer; times on the monotonic clock.

    `key` is the connection's serial number: it settles ties, the same way in every run.
    """

    key: int
    interested: bool
    unchoked: bool
    download_bytes_per_s: float
    upload_bytes_per_s: float
    snubbed: bool
    connected_at: float
    unchoked_at: float
    """When it was last unchoked; 0.0 for never."""
    debt_bytes: int = 0
    """What it has taken from us beyond what it gave."""


class Choker:
    """Remembers who the optimistic unchokes are, and nothing else.

    `seed_in_turn`: as a seed, peers take turns, and next is who had the least beyond what it
    gave us; otherwise the fastest takers keep their slots, and one that never gives may live on
    the seed alone (Legout and others, "Rarest first and choke algorithms are enough", 2006).
    """

    def __init__(self, *, seed_in_turn: bool = False) -> None:
        self.seed_in_turn = seed_in_turn
        self.optimistic: list[int] = []
        self._rounds = 0

    def fill(
        self, now: float, peers: Sequence[ChokerPeer], slots: int, *, seeding: bool
    ) -> tuple[list[int], list[int]]:
        """Keys to unchoke at once, because slots are free; and keys to choke for them.

        One that is no longer interested keeps its slot until somebody waits for it.
        """
        waiting = [peer for peer in peers if peer.interested and not peer.unchoked]
        if not waiting:
            return [], []
        free = max(0, slots - sum(1 for peer in peers if peer.unchoked and peer.interested))
        waiting.sort(key=self._order(now, seeding=seeding))
        chosen = [peer.key for peer in waiting[:free]]
        resting = [peer for peer in peers if peer.unchoked and not peer.interested]
        resting.sort(key=lambda peer: (peer.download_bytes_per_s, peer.key))
        in_use = sum(1 for peer in peers if peer.unchoked)
        over = max(0, in_use + len(chosen) - slots)
        ended = [peer.key for peer in resting[:over]] if chosen else []
        if not seeding:
            for better, worse in self._returns(peers, waiting[free:]):
                chosen.append(better)
                ended.append(worse)
        return chosen, ended

    def may_fill(self, unchoked: Sequence[ChokerPeer], slots: int, *, seeding: bool) -> bool:
        """Can `fill` do anything for those who wait, whoever they are?"""
        if sum(1 for peer in unchoked if peer.interested) < slots:
            return True
        return not seeding and any(self._is_idle(peer) for peer in unchoked)

    def _is_idle(self, peer: ChokerPeer) -> bool:
        """It takes and gives nothing, and is no optimistic unchoke."""
        return (
            peer.unchoked
            and peer.interested
            and peer.download_bytes_per_s <= 0
            and peer.debt_bytes > CREDIT_BYTES
            and peer.key not in self.optimistic
        )

    def _returns(
        self, peers: Sequence[ChokerPeer], waiting: Sequence[ChokerPeer]
    ) -> list[tuple[int, int]]:
        """Peers that give, and wait, take back slots from those that give nothing.

        Interest comes and goes with every piece.  A slot that a partner leaves for a moment is
        given at once to whoever waits; if the partner had to wait for the next round to have
        it back, those who never give would live well on such moments.
        """
        givers = [peer for peer in waiting if peer.download_bytes_per_s > 0 and not peer.snubbed]
        idle = [peer for peer in peers if self._is_idle(peer)]
        idle.sort(key=lambda peer: (-peer.debt_bytes, peer.key))
        return [(giver.key, taker.key) for giver, taker in zip(givers, idle, strict=False)]

    def review(
        self, now: float, peers: Sequence[ChokerPeer], slots: int, rng: Rng, *, seeding: bool
    ) -> list[int]:
        """The keys of all that shall be unchoked for the next round."""
        interested = [peer for peer in peers if peer.interested]
        slots = max(0, slots)
        rotate = self._rounds % OPTIMISTIC_ROUNDS == 0
        self._rounds += 1
        if len(interested) <= slots:
            self.optimistic = [peer.key for peer in interested if peer.key in self.optimistic]
            return [peer.key for peer in interested]
        chance = 0 if seeding else min(slots, max(1, slots // 5))
        interested.sort(key=self._order(now, seeding=seeding))
        chosen = [peer.key for peer in interested[: slots - chance]]
        rest = interested[slots - chance :]
        self._draw(now, rest, chance, rng, rotate=rotate)
        return chosen + self.optimistic

    def _draw(
        self, now: float, rest: list[ChokerPeer], chance: int, rng: Rng, *, rotate: bool
    ) -> None:
        """The optimistic unchokes: kept between rotations, drawn from `rest` where missing."""
        keys = {peer.key for peer in rest}
        kept = [] if rotate else [key for key in self.optimistic if key in keys][:chance]
        former = set(self.optimistic)
        urn: list[int] = []
        for peer in rest:
            if peer.key not in kept and not (rotate and peer.key in former):
                young = now - peer.connected_at < NEWCOMER_S
                urn.extend([peer.key] * (NEWCOMER_WEIGHT if young else 1))
        while len(kept) < chance and urn:
            key = urn[rng.randrange(len(urn))]
            kept.append(key)
            urn = [other for other in urn if other != key]
        for peer in rest:  # fewer peers than chances once the former ones are set aside
            if len(kept) < chance and peer.key not in kept:
                kept.append(peer.key)
        self.optimistic = kept

    def _order(self, now: float, *, seeding: bool) -> Callable[[ChokerPeer], tuple[float, ...]]:
        if not seeding:
            return _by_what_they_give
        if not self.seed_in_turn:
            return _by_what_they_take

        def in_turn(peer: ChokerPeer) -> tuple[float, ...]:
            had_its_turn = peer.unchoked and now - peer.unchoked_at >= SEED_TURN_S
            rank = 2.0 if had_its_turn else 0.0 if peer.unchoked else 1.0
            return (rank, float(peer.debt_bytes // CREDIT_BYTES), peer.unchoked_at, float(peer.key))

        return in_turn


def _by_what_they_give(peer: ChokerPeer) -> tuple[float, ...]:
    given = 0.0 if peer.snubbed else peer.download_bytes_per_s
    owes = max(0, peer.debt_bytes - CREDIT_BYTES)
    return (-given, float(owes), float(peer.snubbed), float(not peer.unchoked), float(peer.key))


def _by_what_they_take(peer: ChokerPeer) -> tuple[float, ...]:
    return (-peer.upload_bytes_per_s, float(not peer.unchoked), peer.unchoked_at, float(peer.key))
