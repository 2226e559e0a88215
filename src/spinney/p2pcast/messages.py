"""What peers of a forest say to each other, decoded.  `codec.py` has the bytes.

The paper's calls (section 7) and what each carries here:

    search       what is your place, or that of a neighbour of yours?      Search -> Seen
    takeon       take me as a child in this tree (an orphan asks)          TakeOn -> Taken
    substitute   the same, in the place of my dead parent, your child      TakeOn -> Taken
    update       a beat, down each tree                                    Beat

In a transaction `takeon`, `substitute`, `replace` and `direct` carry a `LockCall` and say what
becomes of the participant: it gets a child more, a child in another's place, exchanges children,
or gets other parents.  `hold` asks it not to change; `apply`, `undo` and `outcome` end it.
`here` is a child's word to its parent, `place` asks the source for a place among few peers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from spinney.net.host import Address
from spinney.p2pcast.place import NOBODY, Name, Sight
from spinney.p2pcast.transactions import Lock, Outcome, Transaction, Vote

Known: TypeAlias = dict[Name, Address]
"""Addresses of peers that a message names."""

MAX_NAMED = 80
"""Different names in one message: a place at f = 16 with 16 spare slots has 63, a sight 16 more."""
ALTERNATIVES = 3
"""Of each kind in a beat."""
WITNESSES = 6


@dataclass(frozen=True, slots=True)
class Search:
    name: Name


@dataclass(frozen=True, slots=True)
class Seen:
    """A sight with the newest number in each tree, and where the peers named are reached."""

    sight: Sight
    sequences: tuple[int, ...]
    known: Known = field(default_factory=dict)
    reachable: bool = True


@dataclass(frozen=True, slots=True)
class LockCall:
    """`target`: whose place it is (the source keeps two)."""

    target: Name
    lock: Lock
    known: Known = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Voted:
    vote: Vote
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """The body of `apply`, `undo` and `outcome`; `Told` is the answer."""

    target: Name
    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Told:
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Beat:
    """From a parent to its child in one tree.  `idle`: no newer number, but it lives.  `gone`: it
    leaves.  `room`: its free slots, or `INCOMPLETE`.  `up`: its own parent in this tree; `aunts`:
    its siblings with room, `nieces`: its children with room."""

    tree: int
    sequence: int
    sender: Name
    depth: int
    room: int
    idle: bool = False
    gone: bool = False
    up: Name = NOBODY
    aunts: tuple[Name, ...] = ()
    nieces: tuple[Name, ...] = ()
    known: Known = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Here:
    """From a child to its parent: the trees in which it takes it for its parent, as bits; the
    child's own stripe and room."""

    sender: Name
    target: Name
    trees: int
    stripe: int
    room: int


class Taking(IntEnum):
    """How a peer answers an orphan."""

    TAKEN, FULL, BEHIND, BUSY, CUT_OFF = range(5)


@dataclass(frozen=True, slots=True)
class TakeOn:
    """An orphan asks to be taken.  `sequence`: the newest number that it has seen in that tree;
    `slots`: children that it offers to carry in its turn (0: it does not say).
    `dead`: its parent, whose place it wants (SUBSTITUTE).  `stripe`: that it works for itself; only
    a peer of the tree's own stripe can be its root.  `inner`: it has children there, or could have
    some, and may displace a leaf.  `urgent`: it found nobody, and asks one to give way for it."""

    target: Name
    child: Name
    tree: int
    sequence: int
    stripe: int = -1
    dead: Name = NOBODY
    inner: bool = False
    known: Known = field(default_factory=dict)
    urgent: bool = False
    slots: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """`others`: who might have room instead."""

    taking: Taking
    sequence: int = 0
    depth: int = 0
    room: int = 0
    others: tuple[Name, ...] = ()
    known: Known = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Join:
    """To the registry: name some peers; `staying`: and name me to others."""

    name: Name
    count: int
    staying: bool


@dataclass(frozen=True, slots=True)
class Joined:
    """`peers`: how many are known; `names`: some of them, at random."""

    stripes: int
    spare: int
    peers: int
    names: tuple[Name, ...]
    known: Known = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlaceMe:
    """To the source: too few peers for a way of their own.  `leaving`: place the others."""

    name: Name
    spare: int
    since: float
    leaving: bool = False


LATE_MOST_MS = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class Late:
    """From a child to the parent that it leaves: what comes from you comes so much later than in
    other trees."""

    sender: Name
    target: Name
    tree: int
    behind_ms: int


@dataclass(frozen=True, slots=True)
class Delete:
    """To the registry: this neighbour of mine is dead.  As `doubt`, to its parent: I hear
    nothing of it."""

    sender: Name
    accused: Name
