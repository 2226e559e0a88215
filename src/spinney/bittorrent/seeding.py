"""`Ration`: how a young seed spends its upload: every piece once before any piece twice.  Pure.

While some piece has never left the only seed, whatever that seed sends a second time is
time lost for all: the swarm cannot end before the last piece has left it once.  So a young
seed does not show all that it has.  To each peer it shows a few pieces that it has shown to
nobody else, and the next ones as those are asked for; the peers trade them among each other.
Any client understands this: it sees a peer that gets pieces, as in super-seeding (BEP 16),
but with several in flight for each peer, so that no line idles.

A piece goes through: hidden -> shown to one peer -> seen elsewhere.  When every piece has been
seen elsewhere, the rationing ends for good.  Who passes nothing on is passed over (`spreading`).

Saying "I have it" costs nothing, so one word is not enough: a piece counts as seen when two
addresses say that they have it, or one that we have sent as many bytes as we believe it pieces.
What a single one claims beyond that is doubtful: shown after all that is hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from spinney.bittorrent.spreading import Spreading
from spinney.content.pieces import Bitfield
from spinney.net.host import Rng

MIN_WINDOW_PIECES = 2
WINDOW_S = 1.0
"""A peer sees unasked pieces for this long at its rate: more than a round trip."""
MIN_WINDOW_BYTES = 2 << 20
"""Shown to a first peer before a rate is known: what a fast one asks for in its first moments.
No more than a sixteenth of a small torrent, or the others would have to wait for it."""
IDLE_S = 10.0
"""A peer that asks for nothing of what it is shown loses its seat."""
UNINTERESTED_S = 0.5
CHOOSY_S = 1.0
"""A peer that is not interested in what it is shown, or could ask for it and does not, for this
long wants only a part (chosen files, a window of a pipe): it is shown everything, or it would
wait for ever.  Who wants all of it is interested one round trip after it is shown what nobody
has; a line of longer round trips costs some duplicates."""
DOUBTS_LOOKED_AT = 256
"""Doubtful pieces tried for one peer at a time: a torrent may have two million."""
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
    idle_since: float | None = None
    choosy: bool = False
    """It wants only a part: outside the rationing, it sees everything."""
    believed: int = 0
    """Pieces seen elsewhere on its word alone."""


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
        self._seats: dict[int, float] = {}
        """The peers that are shown pieces, and when each asked for something."""
        self._doubtful: dict[int, None] = {}
        """Never shown, and claimed by one address that got them from elsewhere, or lies."""
        self._claimed: dict[int, object] = {}
        """Claimed by one address, not seen elsewhere yet: which."""
        self._elsewhere = Bitfield(piece_count)
        self._copies = [0] * piece_count
        self._spreading = Spreading()
        self.active = piece_count > 1

    def joined(self, key: int, has: Bitfield, who: object) -> None:
        """A peer that wants something, and what it says to have by now.  `who`: its address."""
        if key not in self._takers:
            self._takers[key] = _Taker(Bitfield(self._piece_count), has.copy())
        for piece in has:
            self._copies[piece] += 1
            self._claim(piece, who)

    def has(self, key: int, piece: int, who: object, sent_bytes: int, now: float) -> None:
        """A peer (a taker or not) says that it has this piece; we sent it so many bytes."""
        self._copies[piece] += 1
        self._spreading.claimed(piece, key)
        taker = self._takers.get(key)
        if taker is not None:
            taker.has.add(piece)
            taker.unasked.pop(piece, None)
            if piece not in self._elsewhere and taker.believed * self._piece_bytes < sent_bytes:
                taker.believed += 1
                self._seen(piece)
                self._spreading.got(key, piece, who, now)
                return
        self._claim(piece, who)

    def _claim(self, piece: int, who: object) -> None:
        if piece in self._elsewhere:
            return
        if self._claimed.setdefault(piece, who) != who:
            self._seen(piece)
        elif piece in self._hidden:
            del self._hidden[piece]
            self._doubtful[piece] = None

    def _seen(self, piece: int) -> None:
        if not self._elsewhere.add(piece):
            return
        self._hidden.pop(piece, None)
        self._doubtful.pop(piece, None)
        self._claimed.pop(piece, None)
        self._shown_to.pop(piece, None)
        if self._elsewhere.full:
            self.active = False

    @property
    def exhausted(self) -> bool:
        """Everything was shown to somebody: from now on what others have is shown too."""
        return not self._hidden and not self._doubtful

    def left(self, key: int) -> None:
        """What was shown to this peer alone is hidden again."""
        self._spreading.left(key)
        if self._takers.pop(key, None) is not None:
            self.choked(key)

    def choked(self, key: int) -> None:
        """This peer will not be sent what was shown to it: that is hidden again."""
        self._seats.pop(key, None)
        taker = self._takers.get(key)
        if taker is not None:
            taker.unasked.clear()
        for piece in [piece for piece, (owner, _) in self._shown_to.items() if owner == key]:
            del self._shown_to[piece]
            (self._doubtful if piece in self._claimed else self._hidden)[piece] = None

    def asked(self, key: int, piece: int, now: float) -> None:
        """A peer has asked for (a part of) this piece: its window has room for another."""
        taker = self._takers.get(key)
        if taker is not None:
            taker.unasked.pop(piece, None)
        if key in self._seats:
            self._seats[key] = now

    def may_ask(self, key: int, piece: int) -> bool:
        taker = self._takers.get(key)
        return not self.active or taker is None or piece in taker.shown

    def show(
        self,
        key: int,
        now: float,
        rate_bytes_per_s: float,
        *,
        seats: int = 1_000,
        spare: Callable[[], bool] = lambda: True,
        idle: bool = False,
        interested: bool = True,
    ) -> list[int]:
        """Pieces to show to this peer now; with rationing over, all that are left to show.

        Once each piece was shown to somebody, and while some have still to leave for the first
        time, others are shown only if our upload has time to `spare`.  Only `seats` peers are shown
        anything at a time: one that could not be served would hold pieces back.  `idle`: it may
        ask and has nothing asked for, or is not `interested` in what it was shown.
        """
        taker = self._takers.get(key)
        if taker is None:
            return []
        self._judge(taker, key, now, idle, CHOOSY_S if interested else UNINTERESTED_S)
        if not self.active or taker.choosy:
            rows = [p for p in range(self._piece_count) if p not in taker.shown]
            taker.unasked.clear()
        elif self._passed_over(key, now) or not self._seated(key, now, seats):
            return []
        else:
            rows = self._fresh(taker, key, now, self._window(rate_bytes_per_s))
            if self.exhausted and not taker.unasked and now >= taker.look_again_at and spare():
                taker.look_again_at = now + 0.1 + self._piece_count * 1e-6
                rows.extend(self._second_hand(taker, now, self._window(rate_bytes_per_s)))
        for piece in rows:
            taker.shown.add(piece)
        return rows

    def _judge(self, taker: _Taker, key: int, now: float, idle: bool, patience_s: float) -> None:
        """Does it turn down what it is shown?  Others get that then."""
        if not idle or not taker.unasked:
            taker.idle_since = None
        elif taker.idle_since is None:
            taker.idle_since = now
        elif now - taker.idle_since >= patience_s:
            taker.choosy = True
            self.choked(key)

    def _passed_over(self, key: int, now: float) -> bool:
        """It gives nothing on, and others would: what it alone has is shown to them."""
        barren = self._spreading.is_barren
        if not barren(key, now) or all(
            taker.choosy or taker.has.full or barren(other, now)
            for other, taker in self._takers.items()
        ):
            return False
        self._seats.pop(key, None)
        for piece, who in self._spreading.take_back(key, now).items():
            self._elsewhere.discard(piece)
            self._claimed[piece] = who
            self._doubtful[piece] = None
        return True

    def _window(self, rate_bytes_per_s: float) -> int:
        least_bytes = 0
        if len(self._takers) == 1:
            least_bytes = min(MIN_WINDOW_BYTES, self._piece_count * self._piece_bytes // 16)
        window_bytes = max(rate_bytes_per_s * WINDOW_S, least_bytes)
        return max(MIN_WINDOW_PIECES, int(window_bytes / self._piece_bytes))

    def _fresh(self, taker: _Taker, key: int, now: float, window: int) -> list[int]:
        """Pieces that nobody was shown.  Nobody says to have them, so this peer lacks them too."""
        rows = []
        while self._hidden and len(taker.unasked) < window:
            piece, _ = self._hidden.popitem()
            self._shown_to[piece] = (key, now)
            taker.unasked[piece] = None
            rows.append(piece)
        if not self._hidden and self._doubtful and len(taker.unasked) < window:
            rows += self._doubted(taker, key, now, window)
        return rows

    def _doubted(self, taker: _Taker, key: int, now: float, window: int) -> list[int]:
        """Pieces that one address claims, for others: who was looked at in vain goes to the end."""
        rows: list[int] = []
        for piece in list(islice(self._doubtful, DOUBTS_LOOKED_AT)):
            if len(taker.unasked) >= window:
                break
            del self._doubtful[piece]
            if piece in taker.has:
                self._doubtful[piece] = None
                continue
            self._shown_to[piece] = (key, now)
            taker.unasked[piece] = None
            rows.append(piece)
        return rows

    def _seated(self, key: int, now: float, seats: int) -> bool:
        """Is this peer one of those that are shown pieces?  A free seat is taken at once."""
        if key in self._seats:
            if now - self._seats[key] <= IDLE_S or not self._takers[key].unasked:
                return True
            self.choked(key)  # it does not take what it is shown: let another try
            return False
        if len(self._seats) >= seats:
            return False
        self._seats[key] = now
        return True

    def _second_hand(self, taker: _Taker, now: float, window: int) -> list[int]:
        """Nothing is left that nobody saw: what few others have by now, and what takes too long.

        Only a window of it: what is shown may be asked for at any time, also when our upload
        is needed for something rarer."""
        if sum(1 for p in taker.shown if p not in taker.has) >= window:
            return []
        rows = [p for p in self._elsewhere if p not in taker.shown and p not in taker.has]
        rows.sort(key=self._copies.__getitem__)
        del rows[window:]
        for piece, (_, since) in self._shown_to.items():
            if now - since > STALE_S and piece not in taker.shown:
                rows.append(piece)
        return rows
