"""`Spreading`: which of a young seed's takers pass on what they were given first.  Pure.

A piece that the seed gave to one who never gives has left it in vain: it must leave again.  Who
keeps most of what it was given for itself is found out by what the others say to have, and gets
nothing more that is new while there are others who want it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BARREN_PIECES = 4
BARREN_S = 5.0
"""What only the seed and one peer have is what everybody asks that peer for: who has had so many
pieces for so long, and spread less than a part of all that it was given, keeps them."""
BARREN_PART = 0.25


@dataclass(slots=True)
class _Given:
    """To one taker.  At most one entry for each piece of the torrent in all takers together."""

    kept: dict[int, float] = field(default_factory=dict)
    """Pieces that nobody else has, as far as is known, and since when this one has each."""
    who: dict[int, object] = field(default_factory=dict)
    spread: int = 0
    in_vain: int = 0
    """Taken back: others get them from the seed."""


class Spreading:
    """Takers by the caller's keys."""

    def __init__(self) -> None:
        self._given: dict[int, _Given] = {}
        self._first: dict[int, int] = {}

    def got(self, key: int, piece: int, who: object, now: float) -> None:
        """It is the first to have this piece.  `who`: whom its claim counts for."""
        given = self._given.setdefault(key, _Given())
        given.kept[piece] = now
        given.who[piece] = who
        self._first[piece] = key

    def claimed(self, piece: int, key: int) -> None:
        """A peer says that it has this piece."""
        first = self._first.get(piece)
        if first is not None and first != key:
            del self._first[piece]
            given = self._given[first]
            given.spread += 1
            del given.kept[piece], given.who[piece]

    def is_barren(self, key: int, now: float) -> bool:
        """Does it keep what it was given?"""
        given = self._given.get(key)
        if given is None or len(given.kept) + given.in_vain < BARREN_PIECES:
            return False
        kept = given.in_vain + sum(1 for since in given.kept.values() if now - since >= BARREN_S)
        return kept >= BARREN_PIECES and given.spread < BARREN_PART * (given.spread + kept)

    def take_back(self, key: int, now: float) -> dict[int, object]:
        """The pieces that it has kept for long, with whom its claim on each counts for."""
        given = self._given.get(key)
        if given is None:
            return {}
        rows = {
            piece: given.who[piece]
            for piece, since in given.kept.items()
            if now - since >= BARREN_S
        }
        for piece in rows:
            del given.kept[piece], given.who[piece], self._first[piece]
        given.in_vain += len(rows)
        return rows

    def left(self, key: int) -> None:
        given = self._given.pop(key, None)
        for piece in given.kept if given is not None else ():
            del self._first[piece]
