"""`Ration`: how a young seed spends its upload: every piece once before any piece twice.  Pure.

While some piece has never left the only seed, whatever that seed sends a second time is
time lost for all: the swarm cannot end before the last piece has left it once.  So a young
seed does not show all that it has.  To each peer it shows a few pieces that it has shown to
nobody else, and the next ones as those are asked for; the peers trade them among each other.
Any client understands this: it sees a peer that gets pieces, as in super-seeding (BEP 16),
but with several in flight for each peer, so that no line idles.

A piece goes through: hidden -> shown to one peer -> seen elsewhere (somebody says that he has
it).  When every piece has been seen elsewhere, the rationing ends for good.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spinney.content.pieces import Bitfield
from spinney.net.host import Rng

MIN_WINDOW_PIECES = 2
WINDOW_S = 1.0
"""A peer sees unasked pieces for this long at its rate: more than a round trip."""
LONELY_WINDOW_BYTES = 32 << 20
"""With one peer alone there is nobody to trade with: show so much that it never waits."""
STALE_S = 20.0
"""A shown piece that nobody says to have after this long is shown to others too."""


@dataclass(slots=True)
class _Taker:
    shown: Bitfield
    has: Bitfield
    unasked: dict[int, None] = field(default_factory=dict)
    """Pieces shown to it first and not asked for yet: at most a window of them."""
    look_again_at: float = 0.0
    """When all that others have may be looked through again."""


class Ration:
    """Decides which pieces to show to whom.  Peers are known by the caller's keys.

    `active` turns false when every piece has been seen elsewhere, and stays so.
    """

    def __init__(self, piece_count: int, piece_bytes: int, rng: Rng) -> None:
        self._piece_count = piece_count
        self._piece_bytes = piece_bytes
        self._takers: dict[int, _Taker] = {}
        order = list(range(piece_count))
        rng.shuffle(order)
        self._hidden: dict[int, None] = dict.fromkeys(reversed(order))
        """Never shown; taken from the end.  Chance, so that two seeds do not do the same."""
        self._shown_to: dict[int, tuple[int, float]] = {}
        """Shown and not seen elsewhere: first taker and since when."""
        self._elsewhere = Bitfield(piece_count)
        self.active = piece_count > 1

    def joined(self, key: int, has: Bitfield) -> None:
        """A peer that wants something, and what it has by now."""
        if key not in self._takers:
            self._takers[key] = _Taker(Bitfield(self._piece_count), has.copy())
        for piece in has:
            self._seen(piece)

    def has(self, key: int, piece: int) -> None:
        """A peer (a taker or not) says that it has this piece."""
        taker = self._takers.get(key)
        if taker is not None:
            taker.has.add(piece)
            taker.unasked.pop(piece, None)
        self._seen(piece)

    def _seen(self, piece: int) -> None:
        if not self._elsewhere.add(piece):
            return
        self._hidden.pop(piece, None)
        self._shown_to.pop(piece, None)
        if self._elsewhere.full:
            self.active = False

    @property
    def exhausted(self) -> bool:
        """Everything was shown to somebody: from now on what others have is shown too."""
        return not self._hidden

    def end(self) -> None:
        """There is another seed, or no reason to go on."""
        self.active = False

    def left(self, key: int) -> None:
        """What was shown to this peer alone is hidden again."""
        if self._takers.pop(key, None) is None:
            return
        for piece in [piece for piece, (owner, _) in self._shown_to.items() if owner == key]:
            del self._shown_to[piece]
            self._hidden[piece] = None

    def asked(self, key: int, piece: int) -> None:
        """A peer has asked for (a part of) this piece: its window has room for another."""
        taker = self._takers.get(key)
        if taker is not None:
            taker.unasked.pop(piece, None)

    def may_ask(self, key: int, piece: int) -> bool:
        taker = self._takers.get(key)
        return not self.active or taker is None or piece in taker.shown

    def show(
        self, key: int, now: float, rate_bytes_per_s: float, *, unchoked: bool = True
    ) -> list[int]:
        """Pieces to show to this peer now; with rationing over, all that are left to show.

        One that is choked gets a single piece, so that it is interested and waits for a slot.
        """
        taker = self._takers.get(key)
        if taker is None:
            return []
        if not self.active:
            rows = [p for p in range(self._piece_count) if p not in taker.shown]
            taker.unasked.clear()
        elif not unchoked:
            rows = self._bait(taker, key, now)
        else:
            rows = self._fresh(taker, key, now, self._window(rate_bytes_per_s))
            if not self._hidden and not taker.unasked and now >= taker.look_again_at:
                taker.look_again_at = now + 0.1 + self._piece_count * 1e-6
                rows.extend(self._second_hand(taker, now))
        for piece in rows:
            taker.shown.add(piece)
        return rows

    def _window(self, rate_bytes_per_s: float) -> int:
        if len(self._takers) == 1:
            return max(MIN_WINDOW_PIECES, LONELY_WINDOW_BYTES // self._piece_bytes)
        return max(MIN_WINDOW_PIECES, int(rate_bytes_per_s * WINDOW_S / self._piece_bytes))

    def _fresh(self, taker: _Taker, key: int, now: float, window: int) -> list[int]:
        """Pieces that nobody was shown.  Nobody has them, so this peer lacks them too."""
        rows = []
        while self._hidden and len(taker.unasked) < window:
            piece, _ = self._hidden.popitem()
            self._shown_to[piece] = (key, now)
            taker.unasked[piece] = None
            rows.append(piece)
        return rows

    def _bait(self, taker: _Taker, key: int, now: float) -> list[int]:
        """One piece that it lacks: rather one that others were shown than a fresh one."""
        if any(piece not in taker.has for piece in taker.shown):
            return []
        for piece in (*self._shown_to, *self._elsewhere):
            if piece not in taker.has:
                return [piece]
        return self._fresh(taker, key, now, 1)

    def _second_hand(self, taker: _Taker, now: float) -> list[int]:
        """Nothing is left that nobody saw: what others have by now, and what takes too long."""
        rows = [p for p in self._elsewhere if p not in taker.shown and p not in taker.has]
        for piece, (_, since) in self._shown_to.items():
            if now - since > STALE_S and piece not in taker.shown:
                rows.append(piece)
        return rows
