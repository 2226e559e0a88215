"""`LiteralForest`: the paper's text to the letter, for two stripes, to show what happens to it.

All six calls of section 7 are methods and are counted.  Where the text leaves a choice it is made
at random, as it says; where it says nothing (a filler that is a leaf, a sibling that is one) the
ripple ends there.  No rule is enforced: `checks` says which breaks first.  Nothing else in this
room uses it.
"""

from __future__ import annotations

from collections import Counter

from spinney.net.host import Rng
from spinney.p2pcast.place import NOBODY, SOURCE, SPECIAL, Name, Place

STRIPES = 2
LONGEST_WALK = 10_000
"""Steps after which a walk is going round in a cycle."""


class LiteralNode:
    """A peer: a parent and some children in each of the two trees."""

    def __init__(self, name: Name) -> None:
        self.name = name
        self.parents = [NOBODY, NOBODY]
        self.children: list[list[Name]] = [[], []]

    @property
    def is_incomplete(self) -> bool:
        return self.name >= 0 and bool(self.children[0]) and bool(self.children[1])

    @property
    def own(self) -> int:
        return 0 if len(self.children[0]) >= len(self.children[1]) else 1


class LiteralForest:
    """Everybody, and what the six calls do to them."""

    def __init__(self, rng: Rng) -> None:
        self.rng = rng
        self.calls: Counter[str] = Counter()
        self.nodes: dict[Name, LiteralNode] = {
            SOURCE: LiteralNode(SOURCE),
            SPECIAL: LiteralNode(SPECIAL),
        }
        for stripe in range(STRIPES):
            self.nodes[SOURCE].children[stripe].append(SPECIAL)
            self.nodes[SPECIAL].parents[stripe] = SOURCE

    # -- the six calls (section 7) ------------------------------------------------------------

    def takeon(self, stripe: int, parent: LiteralNode, child: LiteralNode) -> None:
        """TAKEON: to take another peer as a child."""
        self.calls["takeon"] += 1
        parent.children[stripe].append(child.name)
        child.parents[stripe] = parent.name
        self.update(parent)

    def substitute(self, stripe: int, new: LiteralNode, old: LiteralNode) -> None:
        """SUBSTITUTE: to take the place of a child of some peer."""
        self.calls["substitute"] += 1
        parent = self.nodes[old.parents[stripe]]
        row = parent.children[stripe]
        row[row.index(old.name)] = new.name
        new.parents[stripe], old.parents[stripe] = parent.name, NOBODY
        self.update(parent)

    def search(self, stripe: int, node: LiteralNode) -> LiteralNode:
        """SEARCH: to obtain the child of a node in a particular stripe."""
        self.calls["search"] += 1
        return self.nodes[self.rng.choice(node.children[stripe])]

    def replace(self, stripe: int, parent: LiteralNode, child: LiteralNode) -> LiteralNode | None:
        """REPLACE: as substitute, but the node that takes us on sheds a random other child."""
        self.calls["replace"] += 1
        row = parent.children[stripe]
        shed = self.nodes[self.rng.choice(row)] if row else None
        if shed is not None:
            row.remove(shed.name)
            shed.parents[stripe] = NOBODY
        row.append(child.name)
        child.parents[stripe] = parent.name
        self.update(parent)
        return shed

    def direct(self) -> None:
        """DIRECT: to direct a node to its would-be parent."""
        self.calls["direct"] += 1

    def update(self, node: LiteralNode) -> None:
        """UPDATE: a node sends its state to its children."""
        self.calls["update"] += sum(len(row) for row in node.children)

    # -- insertion (section 4) ----------------------------------------------------------------

    def join(self, name: Name) -> None:
        new = self.nodes[name] = LiteralNode(name)
        others = [each for each in self.nodes if each not in (name, SOURCE)]
        contact = self.nodes[self.rng.choice(others)]
        self.calls["takeon"] += 1
        for stripe in range(STRIPES):
            parent = self.nodes[contact.parents[stripe]]
            if parent.is_incomplete and not contact.is_incomplete:
                contact = parent  # only-child: redirected
                break
        if contact.name == SPECIAL:
            for stripe in range(STRIPES):
                self.substitute(stripe, new, contact)
                self.takeon(stripe, new, contact)
        elif contact.is_incomplete:
            kept = self.rng.randrange(STRIPES)
            other = self.nodes[self.rng.choice(contact.children[1 - kept])]
            self.substitute(1 - kept, new, contact)
            self.takeon(1 - kept, new, contact)
            self._hand_over(kept, contact, other, new)
        else:
            self._join_at_complete(new, contact)

    def _hand_over(self, kept: int, at: LiteralNode, other: LiteralNode, new: LiteralNode) -> None:
        """An incomplete node adopts the new one in the tree that it keeps, and drops its child in
        the other, which the new one takes on."""
        self.takeon(kept, at, new)
        at.children[1 - kept].remove(other.name)
        self.takeon(1 - kept, new, other)

    def _join_at_complete(self, new: LiteralNode, contact: LiteralNode) -> None:
        own = contact.own
        self.substitute(1 - own, new, contact)
        self.takeon(1 - own, new, contact)
        parent = self.nodes[contact.parents[own]]
        siblings = [name for name in parent.children[own] if name != contact.name]
        at = self.nodes[self.rng.choice(siblings)] if siblings else contact
        for _ in range(LONGEST_WALK):
            if at.is_incomplete or not at.children[own]:
                break
            at = self.search(own, at)
        if at.is_incomplete:
            other = self.nodes[self.rng.choice(at.children[1 - own])]
            self._hand_over(own, at, other, new)
        elif at is new:
            self.takeon(own, contact, new)
        else:
            self.substitute(own, new, at)
            self.takeon(own, new, at)

    # -- deletion (section 5) -----------------------------------------------------------------

    def fail(self, name: Name) -> None:
        node = self.nodes[name]
        if node.is_incomplete:
            for stripe in range(STRIPES):
                child = self.nodes[node.children[stripe][0]]
                self.calls["substitute"] += 1
                self._into_bubble(stripe, node, child)
        else:
            self._fail_complete(node)
        del self.nodes[name]

    def _into_bubble(self, stripe: int, node: LiteralNode, child: LiteralNode) -> None:
        parent = self.nodes[node.parents[stripe]]
        row = parent.children[stripe]
        row[row.index(node.name)] = child.name
        child.parents[stripe] = parent.name

    def _fail_complete(self, node: LiteralNode) -> None:
        own = node.own
        other_parent = self.nodes[node.parents[1 - own]]
        other_parent.children[1 - own].remove(node.name)
        children = [self.nodes[name] for name in node.children[own]]
        filler = self.rng.choice(children)
        self.calls["replace"] += 1
        self._into_bubble(own, node, filler)
        stripe, shed = own, None
        for child in children:
            if child is not filler:
                self.direct()
                stripe, shed = self._ripple(own, filler, child)
        if shed is not None:
            # The grandparent in the other stripe takes on whoever was shed last.
            self.calls["replace"] += 1
            other_parent.children[stripe].append(shed.name)
            shed.parents[stripe] = other_parent.name
            self.update(other_parent)

    def _ripple(self, own: int, at: LiteralNode, child: LiteralNode) -> tuple[int, LiteralNode]:
        """Down from the filler: who is left over, and in which tree."""
        for _ in range(LONGEST_WALK):
            if at.is_incomplete:
                other = self.nodes[self.rng.choice(at.children[1 - own])]
                at.children[1 - own].remove(other.name)
                self.takeon(own, at, child)
                return 1 - own, other
            if not at.children[own]:
                break
            shed = self.replace(own, at, child)
            assert shed is not None
            below = [name for name in at.children[own] if name != child.name]
            if not below:
                return own, shed
            self.direct()
            at, child = self.nodes[below[0]], shed
        return own, child

    # -- looking at it ------------------------------------------------------------------------

    def places(self) -> dict[Name, Place]:
        """As the checks want it; an incomplete node is a cohort of one."""
        made: dict[Name, Place] = {}
        for name, node in self.nodes.items():
            stripe = node.own if name >= 0 else -1
            cohort = ((stripe, name),) if node.is_incomplete else ()
            rows = tuple(tuple(row) for row in node.children)
            made[name] = Place(name, stripe, tuple(node.parents), rows, cohort)
        return made

    def cut_off(self) -> int:
        """Peers that no longer hang from the source in every tree."""
        lost: dict[Name, None] = {}
        for stripe in range(STRIPES):
            reached: set[Name] = set()
            queue = [SOURCE]
            while queue:
                name = queue.pop()
                if name not in reached:
                    reached.add(name)
                    queue += self.nodes[name].children[stripe] if name in self.nodes else []
            lost.update(dict.fromkeys(name for name in self.nodes if name not in reached))
        return len(lost)
