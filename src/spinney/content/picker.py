"""`Picker`: which piece to begin next.  Pure: takes its random numbers as an argument.

Rarest first (lecture: the pieces that the fewest peers have), ties broken at random; the
first four pieces at random, so that a newcomer soon has something to give; or in order, for
players and pipes.  Pieces lie in buckets by (priority, copies among the peers), so that a
choice costs a few probes, never a scan over all pieces: a torrent may have two million.
Whole copies (seeds) count once for all pieces and move nothing.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable

from spinney.content.pieces import Bitfield
from spinney.net.host import Rng

RANDOM_FIRST_PIECES = 4
"""While fewer pieces are here, pick at random (as the mainline client did)."""
PROBES = 256
"""Pieces tried from the rarest on before the set is searched: bounds the cost of a choice."""
DRAWS = 16
"""Random pieces tried before the set is searched."""
MAX_COPIES = 4095
"""Availability is counted up to here; beyond, pieces are equally common."""
DEFAULT_PRIORITY = 4
LEVELS = MAX_COPIES + 1
_NOT_ZERO = re.compile(rb"[^\x00]")


class Picker:
    """Pieces that nobody has begun, by rarity; counts of copies; the measure of availability."""

    def __init__(self, piece_count: int) -> None:
        self.piece_count = piece_count
        self.priority = bytearray([DEFAULT_PRIORITY]) * piece_count
        self.copies = array("H", bytes(2 * piece_count))
        self.seeds = 0
        self.candidates = Bitfield(piece_count, full=True)
        """Wanted, not here, not begun: what `pick` may choose."""
        self.taken = 0
        """Pieces that are here: fewer than four means that a random one is picked."""
        self._buckets: dict[int, array[int]] = {}
        self._order: list[int] = []
        self._where = array("i", bytes(4 * piece_count))
        self._own = Bitfield(piece_count)
        self._histogram: dict[int, int] = {0: piece_count}
        self._rebuild()

    # -- buckets ----------------------------------------------------------------------

    def _level(self, piece: int) -> int:
        return (7 - self.priority[piece]) * LEVELS + min(self.copies[piece], MAX_COPIES)

    def _rebuild(self) -> None:
        self._buckets, self._order = {}, []
        for piece in self.candidates:
            self._put(piece)

    def _put(self, piece: int) -> None:
        level = self._level(piece)
        bucket = self._buckets.get(level)
        if bucket is None:
            bucket = self._buckets[level] = array("i")
            self._order = sorted(self._buckets)
        self._where[piece] = len(bucket)
        bucket.append(piece)

    def _pull(self, piece: int) -> None:
        level = self._level(piece)
        bucket = self._buckets[level]
        last = bucket.pop()
        if last != piece:
            at = self._where[piece]
            bucket[at] = last
            self._where[last] = at
        if not bucket:
            del self._buckets[level]
            self._order.remove(level)

    def offer(self, piece: int) -> None:
        """The piece may be begun (again)."""
        if self.priority[piece] and self.candidates.add(piece):
            self._put(piece)

    def withdraw(self, piece: int) -> None:
        """The piece is begun, here, or not wanted."""
        if self.candidates.discard(piece):
            self._pull(piece)

    def set_priority(self, piece: int, priority: int) -> None:
        """0 skips the piece, 7 is the most urgent.  The caller offers what is wanted anew."""
        if self.priority[piece] == priority:
            return
        was = self.candidates.discard(piece)
        if was:
            self._pull(piece)
        self.priority[piece] = priority
        if was:
            self.offer(piece)

    # -- copies -----------------------------------------------------------------------

    def _count(self, piece: int, step: int) -> None:
        held = self.copies[piece]
        own = piece in self._own
        self._histogram[held + own] -= 1
        self._histogram[held + own + step] = self._histogram.get(held + own + step, 0) + 1
        if piece in self.candidates:
            self._pull(piece)
            self.copies[piece] = held + step
            self._put(piece)
        else:
            self.copies[piece] = held + step

    def add_copy(self, piece: int) -> None:
        """One more peer, not a seed, has this piece."""
        self._count(piece, 1)

    def add_copies(self, has: Bitfield) -> None:
        """A peer's whole bitfield; a full one moves nothing."""
        if has.full:
            self.seeds += 1
            return
        for piece in has:
            self._count(piece, 1)

    def remove_copies(self, has: Bitfield) -> None:
        if has.full:
            self.seeds -= 1
            return
        for piece in has:
            self._count(piece, -1)

    def became_full(self, has: Bitfield) -> None:
        """A peer's last piece came by `add_copy`: from now on it counts as a seed."""
        for piece in has:
            self._count(piece, -1)
        self.seeds += 1

    def verified(self, piece: int) -> None:
        """The piece is here."""
        self.withdraw(piece)
        if self._own.add(piece):
            self.taken += 1
            held = self.copies[piece]
            self._histogram[held] -= 1
            self._histogram[held + 1] = self._histogram.get(held + 1, 0) + 1

    def availability(self) -> float:
        """Whole copies, this one included, plus the fraction of pieces that have one more."""
        if not self.piece_count:
            return 1.0 + self.seeds
        least = min(copies for copies, pieces in self._histogram.items() if pieces)
        more = self.piece_count - self._histogram[least]
        return self.seeds + least + more / self.piece_count

    def reachable(self) -> bool:
        """Has any peer a piece that nobody has begun?"""
        if self.seeds:
            return bool(self._order)
        return any(level % LEVELS for level in self._order)

    # -- choice -----------------------------------------------------------------------

    def pick(
        self,
        has: Bitfield,
        rng: Rng,
        *,
        allowed: Callable[[int], bool],
        suggested: Iterable[int] = (),
        within: Bitfield | None = None,
    ) -> int | None:
        """The best candidate that the source has; `within` limits it to a small set."""
        if within is not None:
            return self._search(has, rng, allowed, within)
        if self.taken < RANDOM_FIRST_PIECES:
            return self._random(has, rng, allowed, suggested)
        best, tried_all = self._probe(has, rng, allowed)
        if best is None and not tried_all:
            best = self._search(has, rng, allowed, None)
        if best is not None:
            level = self._level(best)
            for piece in suggested:
                offered = piece in self.candidates and piece in has
                if offered and self._level(piece) == level and allowed(piece):
                    return piece
        return best

    def _probe(
        self, has: Bitfield, rng: Rng, allowed: Callable[[int], bool]
    ) -> tuple[int | None, bool]:
        """From the rarest on, each bucket from a random place; (choice, all were tried)."""
        probes = PROBES
        full = has.full
        for level in self._order:
            bucket = self._buckets[level]
            if not full and level % LEVELS == 0:
                continue  # nobody but seeds has these
            size = len(bucket)
            start = int(rng.random() * size)
            for step in range(min(size, probes)):
                piece = bucket[(start + step) % size]
                if (full or piece in has) and allowed(piece):
                    return piece, True
            probes -= size
            if probes <= 0:
                return None, False
        return None, True

    def _search(
        self,
        has: Bitfield,
        rng: Rng,
        allowed: Callable[[int], bool],
        within: Bitfield | None,
    ) -> int | None:
        """The rarest of what the source has, for one who has little: set algebra, then a scan
        of at most `PROBES` of the hits, from a random place."""
        best: int | None = None
        best_level = 0
        for piece in self._hits(has, rng, within):
            level = self._level(piece)
            if (best is None or level < best_level) and allowed(piece):
                best, best_level = piece, level
        return best

    def _random(
        self,
        has: Bitfield,
        rng: Rng,
        allowed: Callable[[int], bool],
        suggested: Iterable[int],
    ) -> int | None:
        for piece in suggested:
            if piece in self.candidates and piece in has and allowed(piece):
                return piece
        top = 7 - self._order[0] // LEVELS if self._order else 0
        for _ in range(DRAWS):
            piece = int(rng.random() * self.piece_count)
            fits = piece in self.candidates and piece in has and self.priority[piece] == top
            if fits and allowed(piece):
                return piece
        best: int | None = None
        for piece in self._hits(has, rng, None):
            better = best is None or self.priority[piece] > self.priority[best]
            if better and allowed(piece):
                best = piece
        return best

    def _hits(self, has: Bitfield, rng: Rng, within: Bitfield | None) -> list[int]:
        """Up to `PROBES` candidates that the source has, in random order."""
        bits = has.as_int() & self.candidates.as_int()
        if within is not None:
            bits &= within.as_int()
        if not bits:
            return []
        data = bits.to_bytes((self.piece_count + 7) // 8, "big")
        start = rng.randrange(len(data))
        rows: list[int] = []
        for begin, end in ((start, len(data)), (0, start)):
            for match in _NOT_ZERO.finditer(data, begin, end):
                at = match.start()
                rows += [at * 8 + bit for bit in range(8) if data[at] & (0x80 >> bit)]
                if len(rows) >= PROBES:
                    break
            if len(rows) >= PROBES:
                break
        rng.shuffle(rows)
        return rows
