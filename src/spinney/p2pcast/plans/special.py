"""`Special`: the special node, a leaf in every tree, and the statistics that it collects.

The paper keeps it for bootstrapping and says that it might collect statistics (section 3).  The
source runs it, so it hears what the registry hears: who joined and left, and by which kind of
change.  And it is a peer like any other to those that answer `SEARCH`: a census asks some of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from spinney.p2pcast.place import SPECIAL, Name
from spinney.p2pcast.plans.draft import Plan, Planning


@dataclass(slots=True)
class Census:
    """What some peers answered: how many are incomplete, offer a slot, and how deep they are in the
    tree that they work for and in the others."""

    asked: int = 0
    incomplete: int = 0
    with_room: int = 0
    children: Counter[int] = field(default_factory=Counter)
    own_depths: Counter[int] = field(default_factory=Counter)
    leaf_depths: Counter[int] = field(default_factory=Counter)

    @property
    def incomplete_share(self) -> float:
        return self.incomplete / self.asked if self.asked else 0.0


class Special:
    """Counts of every change that the source hears of."""

    def __init__(self) -> None:
        self.changes: Counter[str] = Counter()
        self.moved_edges = 0

    def told(self, plan: Plan) -> None:
        """A change was made."""
        self.changes[plan.kind] += 1
        self.moved_edges += plan.moved_edges


def take_census(names: Iterable[Name]) -> Planning[Census]:
    """Asks each of these peers, one call each."""
    census = Census()
    for name in names:
        sight = yield name
        if sight is None or not sight.alive or name == SPECIAL:
            continue
        place = sight.place
        census.asked += 1
        census.incomplete += place.is_incomplete
        census.with_room += place.room > 0
        census.children[place.out_degree] += 1
        for stripe, depth in enumerate(sight.depths):
            own = stripe == place.stripe
            (census.own_depths if own else census.leaf_depths)[depth] += 1
    return census
