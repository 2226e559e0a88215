"""`Seat`: one name's place at this machine, and what it hears in each tree.  Pure: takes now.

A peer has one seat; the source has two, its own and the special node's.  Whoever gets a newer
number from its parent in a tree passes it on at once; without one it says that it lives, and its
children wait.  A parent that says nothing is asked, then dead.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

from spinney.net.host import Rng
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.attaching import is_newer, may_become, with_parent, without_children
from spinney.p2pcast.book import Book
from spinney.p2pcast.place import INCOMPLETE, NOBODY, SOURCE, SPECIAL, Cohort, Name, Place, Sight
from spinney.p2pcast.registry.streams import network_of
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.transactions import Participant

NEVER = -1e9
REBALANCED = 0.1
"""How likely a childless peer is to change over, each second, if its tree has more room."""


class State(IntEnum):
    """Of a parent, by how long it has been silent."""

    WELL, PROBE, DEAD = range(3)


class Limb:
    """One tree as seen from one place."""

    __slots__ = (
        "above",
        "aunts",
        "cousins",
        "depth",
        "fresh",
        "heard",
        "idled",
        "proven",
        "raw",
        "sequence",
        "since",
        "up",
    )

    def __init__(self) -> None:
        self.sequence = 0
        self.depth = 0
        """As the parent says."""
        self.proven = -1
        """As its tickets show; -1 without any."""
        self.above = 0
        """Free slots of the parent, or `INCOMPLETE`."""
        self.heard = NEVER
        """When the parent last said anything."""
        self.fresh = NEVER
        """When it last brought a newer number."""
        self.idled = NEVER
        self.since = NEVER
        """When that became the parent."""
        self.up: Name = NOBODY
        """The parent's parent."""
        self.aunts: tuple[Name, ...] = ()
        """The parent's siblings with room."""
        self.cousins: tuple[Name, ...] = ()
        """One's own siblings with room."""
        self.raw = b""
        """The last beat's tail: parsed only when it changes."""

    @property
    def below(self) -> int:
        """The depth that it tells others: no less than its tickets show."""
        return max(self.depth, self.proven)


class Seat:
    """A place with its lock.  `book` is its machine's."""

    def __init__(self, place: Place, settings: Settings, book: Book, now: float) -> None:
        self.place = place
        self.settings = settings
        self.book = book
        self.participant = Participant(may_become)
        self.limbs = [Limb() for _ in place.parents]
        self.heard: dict[Name, float] = {}
        """Children, by when they were last heard.  As many as there are children."""
        self.adopted: dict[Name, float] = {}
        """When it last became a child in some tree."""
        self.rooms: dict[Name, tuple[int, int]] = {}
        """Children's (stripe, room)."""
        self.mates: dict[Name, float] = {}
        """The others of its cohort, by when they were last heard."""
        self.mates_since = NEVER
        self.asking: dict[int, Name] = {}
        """Trees in which it is just asking somebody to take it."""
        self.patience_s = settings.cut_off_s
        """How long it waits below a parent that is itself cut off."""
        self.child_dead_s = settings.child_dead_s
        self.leaves = False
        """It is going: nobody mends it."""
        self.gave_way = NEVER
        """When it last sent children away for an orphan of another tree."""
        self.changed = 0
        """Edges that it has got, as a child."""
        self._beats: list[bytes | None] = [None] * len(place.parents)

    @property
    def name(self) -> Name:
        return self.place.name

    def take(self, place: Place, now: float) -> list[int]:
        """The place from now on; returns the trees in which it has another parent."""
        old, self.place = self.place, place
        moved = []
        for tree, limb in enumerate(self.limbs):
            if old.parents[tree] != place.parents[tree]:
                moved.append(tree)
                limb.heard = limb.fresh = limb.since = now
                limb.up, limb.aunts, limb.cousins, limb.raw = NOBODY, (), (), b""
                # Nothing is known of the new parent's room before its first beat.
                limb.above, limb.proven = 0, -1
                self.changed += place.parents[tree] != NOBODY
        before = set(old.edges())
        children = {child: None for _, child in place.edges()}
        for tree, child in place.edges():
            self.heard.setdefault(child, now)
            if (tree, child) not in before or child not in self.adopted:
                # Also of a child in another tree: a word that is on its way knows nothing of this.
                self.adopted[child] = now
        for child in [each for each in self.heard if each not in children]:
            del self.heard[child], self.adopted[child]
            self.rooms.pop(child, None)
        if old.cohort != place.cohort:
            self.mates_since = now
        mates = [name for _, name in place.cohort if name != self.name]
        self.mates = {name: self.mates.get(name, now) for name in mates}
        self._beats = [None] * len(place.parents)
        return moved

    @property
    def slots(self) -> int:
        """Children that it offers to carry; 0 for the special node, which has none."""
        place = self.place
        return max(len(place.parents) + place.spare, 0) if place.name >= 0 else 0

    def neighbours(self) -> dict[Name, None]:
        """Parents, children, mates."""
        place = self.place
        near = dict.fromkeys(place.parents)
        near.update(dict.fromkeys(child for _, child in place.edges()))
        near.update(dict.fromkeys(self.mates))
        near.pop(NOBODY, None)
        return near

    def is_beside_parent(self, name: Name, tree: int) -> bool:
        """Is this one in the network (/24, /64) of a parent in another tree?  Who owns a network
        would else get all stripes of a peer into his hand.  Local addresses are in none."""
        address = self.book.find(name)
        network = network_of(address[0]) if self.settings.parents_apart and address else b""
        if not network:
            return False
        others = [parent for at, parent in enumerate(self.place.parents) if at != tree]
        found = [self.book.find(parent) for parent in others if parent >= 0]
        return any(each is not None and network_of(each[0]) == network for each in found)

    # -- what it says ---------------------------------------------------------------------

    def state(self) -> int:
        """Its room, as its children hear it."""
        return INCOMPLETE if self.place.cohort else self.place.room

    def seen(self) -> m.Seen:
        place = self.place
        if self.name == SOURCE:
            depths: tuple[int, ...] = (-1,) * len(place.parents)
        else:
            depths = tuple(limb.below for limb in self.limbs)
        above = tuple(limb.above for limb in self.limbs)
        names = [*place.parents, *(child for _, child in place.edges())]
        names += [name for _, name in place.cohort]
        slots = tuple(map(self._slot, range(len(place.parents))))
        names += slots
        sequences = tuple(limb.sequence for limb in self.limbs)
        return m.Seen(Sight(place, depths, above, slots), sequences, self.book.of(names))

    def _slot(self, tree: int) -> Name:
        """An owner with a free slot: the parent, or one of whom its beats told."""
        limb, parent = self.limbs[tree], self.place.parents[tree]
        if parent < 0:
            return NOBODY
        if limb.above > 0:
            return parent
        return next((name for name in (*limb.cousins, *limb.aunts) if name != self.name), NOBODY)

    def beat(self, tree: int, *, idle: bool = False) -> bytes:
        limb = self.limbs[tree]
        packed = self._beats[tree]
        if packed is None:
            packed = self._beats[tree] = codec.pack_beat(self._said(tree))
        return codec.with_sequence(packed, limb.sequence, idle=idle)

    def farewell(self, tree: int, instead: Name = NOBODY) -> bytes:
        """The last beat for a child: find another parent, perhaps who came in its stead."""
        said = self._said(tree)
        if instead != NOBODY:
            nieces = (instead, *said.nieces)[: m.ALTERNATIVES]
            known = {**said.known, **self.book.of((instead,))}
            said = replace(said, nieces=nieces, known=known)
        return codec.pack_beat(replace(said, idle=True, gone=True))

    def is_leaf_child(self, child: Name, tree: int) -> bool:
        """Has this child said that it works for another tree (so it has no children in this one)?
        The special node never has any."""
        stripe, room = self.rooms.get(child, (tree, 0))
        return child == SPECIAL or (stripe not in (tree, -1) and room >= 0)

    def _said(self, tree: int) -> m.Beat:
        limb, place = self.limbs[tree], self.place
        depth = -1 if self.name == SOURCE else limb.below
        nieces: tuple[Name, ...] = ()
        aunts: tuple[Name, ...] = ()
        up = place.parents[tree]
        if tree == place.stripe:
            row = [name for name in place.children[tree] if self.has_room(name, tree)]
            nieces = tuple(row[: m.ALTERNATIVES])
            aunts = tuple(name for name in limb.cousins if name != self.name)
        known = self.book.of((up, *aunts, *nieces))
        return m.Beat(
            tree, 0, self.name, depth, self.state(), False, False, up, aunts, nieces, known
        )

    def has_room(self, child: Name, tree: int) -> bool:
        stripe, room = self.rooms.get(child, (-1, 0))
        return stripe == tree and room > 0

    def here(self) -> list[tuple[Name, bytes]]:
        """Its word to each parent, and to its mates in a cohort."""
        trees: dict[Name, int] = {}
        for tree, parent in enumerate(self.place.parents):
            if parent != NOBODY:
                trees[parent] = trees.get(parent, 0) | 1 << tree
        for _, mate in self.place.cohort:
            if mate != self.name:
                trees.setdefault(mate, 0)
        return [(other, self.word(other, bits)) for other, bits in trees.items()]

    def word(self, parent: Name, trees: int) -> bytes:
        place = self.place
        return codec.pack_here(m.Here(self.name, parent, trees, place.stripe, self.state()))

    # -- what it hears --------------------------------------------------------------------

    def beaten(self, data: bytes, now: float) -> tuple[int, bool] | None:
        """A beat came: (tree, whether it is to be passed on); None if it is not from a parent.
        Raises `WireError`."""
        tree, flags, sequence, sender, depth, room = codec.read_beat_head(data)
        if tree >= len(self.limbs) or self.place.parents[tree] != sender:
            return None
        limb = self.limbs[tree]
        limb.heard = now
        tail = data[codec.BEAT_HEAD_BYTES :]
        if tail != limb.raw:
            beat = codec.read_beat(data)
            self.book.learn(beat.known)
            limb.raw, limb.up, limb.aunts = tail, beat.up, beat.aunts
            if limb.cousins != beat.nieces:
                limb.cousins = beat.nieces
                self._beats[tree] = None
        if flags & 2:
            limb.heard = NEVER
            return tree, False
        if room != limb.above:
            limb.above = max(room, INCOMPLETE)
        if depth + 1 != limb.depth:
            limb.depth = depth + 1
            self._beats[tree] = None
        if flags & 1 or not is_newer(sequence, limb.sequence):
            return tree, False
        limb.sequence, limb.fresh = sequence, now
        return tree, True

    def child_said(self, here: m.Here, now: float) -> None:
        """A child's word: it lives, and it is my child in these trees."""
        child = here.sender
        if child in self.mates:
            # A word from before it heard that we are mates is no word against it.
            settled = now - self.mates_since >= self.settings.here_s
            self.mates[child] = now if here.room < 0 or not settled else NEVER
        if child not in self.heard:
            return
        self.heard[child] = now
        if self.rooms.get(child) != (here.stripe, here.room):
            self.rooms[child] = (here.stripe, here.room)
            self._beats[self.place.stripe] = None
        if self.participant.held is not None or now - self.adopted[child] < self.settings.here_s:
            return
        lost = [
            (tree, name)
            for tree, name in self.place.edges()
            if name == child and not here.trees >> tree & 1
        ]
        if lost:
            self.take(without_children(self.place, lost), now)

    # -- time -----------------------------------------------------------------------------

    def parent_state(self, tree: int, now: float) -> State:
        limb, settings = self.limbs[tree], self.settings
        silent_s = now - limb.heard
        if silent_s >= settings.dead_s or now - limb.fresh >= self.patience_s:
            return State.DEAD
        return State.PROBE if silent_s >= settings.probe_s else State.WELL

    def answered(self, seen: m.Seen, now: float) -> None:
        """A parent was asked and answers: where does it still know us as its child?"""
        place = seen.sight.place
        for tree, parent in enumerate(self.place.parents):
            if parent != place.name or tree >= len(place.children):
                continue
            limb = self.limbs[tree]
            if self.name in place.children[tree]:
                limb.heard = now
            elif now - limb.since >= self.settings.here_s:
                # Before that it may not have heard yet what we both are part of.
                limb.heard = NEVER

    def orphaned(self, tree: int, now: float) -> Name:
        """Its parent in this tree is dead for it; returns that one's name."""
        dead = self.place.parents[tree]
        limb = self.limbs[tree]
        up, aunts, cousins = limb.up, limb.aunts, limb.cousins
        self.take(with_parent(self.place, tree, NOBODY), now)
        limb.up, limb.aunts, limb.cousins = up, aunts, cousins
        return dead

    def mend_cohort(self, now: float) -> None:
        """Without a child in another's tree it is in no cohort; mates that are silent, or say that
        they are in none, are no longer in this one."""
        place = self.place
        if self.participant.held is not None or not place.version or place.name < 0:
            return
        cohort: Cohort = ()
        if place.is_incomplete:
            limit = now - self.child_dead_s
            lost = [name for name, heard in self.mates.items() if heard < limit]
            cohort = tuple(row for row in place.cohort if row[1] not in lost)
            cohort = cohort or ((place.stripe, place.name),)
        if cohort != place.cohort:
            self.take(replace(place, cohort=cohort, version=place.version + 1), now)

    def proves(self, tree: int, depth: int) -> None:
        """Tickets show how deep it sits."""
        limb = self.limbs[tree]
        if depth != limb.proven:
            limb.proven = depth
            self._beats[tree] = None

    def rebalance(self, now: float, rng: Rng) -> None:
        """Without children, in a tree whose parent still has room, while in another the parent has
        none: now and then it changes over, so that no tree is short of slots."""
        place, limbs = self.place, self.limbs
        if place.out_degree or place.stripe < 0 or self.participant.held is not None:
            return
        if limbs[place.stripe].above <= 0 or rng.random() >= REBALANCED:
            return
        short = [tree for tree, limb in enumerate(limbs) if limb.above == 0 and limb.depth > 0]
        if short and not self.asking:
            stripe = rng.choice(short)
            self.take(replace(place, stripe=stripe, version=place.version + 1), now)

    def silent(self, now: float) -> list[Name]:
        """Children from whom nothing was heard for so long that they have probably fallen."""
        limit = now - self.settings.child_dead_s
        return [child for child, heard in self.heard.items() if heard < limit]

    def drop_silent(self, now: float) -> list[Name]:
        """Children from whom nothing was heard for long; they are no longer its children."""
        limit = now - self.child_dead_s
        silent = [child for child, heard in self.heard.items() if heard < limit]
        if silent and self.participant.held is None:
            gone = set(silent)
            lost = [(tree, child) for tree, child in self.place.edges() if child in gone]
            self.take(without_children(self.place, lost), now)
            return silent
        return []
