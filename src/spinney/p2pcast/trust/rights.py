"""Who may tell a peer to change its place: rights in transactions.  Pure.

    the source                 lays few peers out, so may ask anything
    a neighbour                parent, child or mate: what it wants it could reach by going away
    who puts itself there      a newcomer: the peer gets edges with it, hardly others
    who showed its own place   by tickets up to the source: a leaving peer, or a fallen one's
                               neighbour, that calls a substitute from elsewhere

and nobody more than `MOST_ORDERS` times a minute.  The last is a right to disturb, which only a
peer with a place has, and a place costs upload; where such a change ends below somebody without
tickets both are distrusted (`guard.py`).
"""

from __future__ import annotations

from spinney.errors import CallError
from spinney.p2pcast.place import SOURCE, Name, Place
from spinney.p2pcast.trust.signing import NOT_YOURS

MOST_ORDERS = 40
"""Locks that one who is no neighbour may ask of a peer in a minute: a newcomer tries some ten
plans, and says each twice."""
MOST_MOVED = 2
"""Edges between others that a newcomer may move at one peer, to make room for itself."""


def neighbours(place: Place) -> set[Name]:
    near = {*place.parents, *(child for _, child in place.edges())}
    return near | {name for _, name in place.cohort}


def puts_itself(old: Place, new: Place, coordinator: Name) -> bool:
    """Does the change put the coordinator beside the peer, and leave most else as it was?"""
    before = {(tree, parent, True) for tree, parent in enumerate(old.parents)}
    before |= {(tree, child, False) for tree, child in old.edges()}
    after = {(tree, parent, True) for tree, parent in enumerate(new.parents)}
    after |= {(tree, child, False) for tree, child in new.edges()}
    gained = after - before
    mine = sum(name == coordinator for _, name, _ in gained)
    return mine > 0 and len(gained) <= mine + MOST_MOVED and len(before - after) <= len(gained) + 1


def check_order(old: Place, new: Place | None, coordinator: Name, *, has_shown: bool) -> None:
    """Raises `CallError` if this coordinator may not ask for this."""
    if new is None or coordinator == SOURCE or has_shown:
        return
    if coordinator in neighbours(old) or puts_itself(old, new, coordinator):
        return
    raise CallError("only a neighbour may ask for this, or who shows its place", NOT_YOURS)


class Orders:
    """How often each asked lately.  Bounded by `MOST_ASKERS`; forgotten each minute."""

    MOST_ASKERS = 1_024

    def __init__(self) -> None:
        self._minute = -1
        self._asked: dict[Name, int] = {}

    def count(self, name: Name, now: float) -> None:
        """Raises `CallError` for one too many."""
        minute = int(now // 60)
        if minute != self._minute or len(self._asked) >= self.MOST_ASKERS:
            self._minute, self._asked = minute, {}
        self._asked[name] = self._asked.get(name, 0) + 1
        if self._asked[name] > MOST_ORDERS:
            raise CallError("too many orders from one who is no neighbour", NOT_YOURS)
