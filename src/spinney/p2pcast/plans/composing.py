"""`plan_fill`: the places of several peers that fell together, filled by one plan.

A plan that writes to a dead neighbour needs that one's agreement, and the dead do not vote.  So
the plans for all of them are made one after the other, each from the sights as the ones before it
leave them, and are one plan in the end: whoever is alive changes once, and the dead are gone.

Needed: what each of the dead told its neighbours last, and what every single plan needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from spinney.net.host import Rng
from spinney.p2pcast.place import NOBODY, Name, Place, Sight
from spinney.p2pcast.plans.draft import Move, Plan, Planning
from spinney.p2pcast.plans.leaving import plan_leave

T = TypeVar("T")

MOST_FALLEN = 128
"""In one plan: where a fifth falls, most of the fallen are neighbours of each other, and no part of
them can be filled without the others.  All who are touched must agree."""


class Composing:
    """Plans upon plans.  A place that was changed is at one version more, however often."""

    def __init__(self) -> None:
        self.gone: list[Name] = []
        self._sights: dict[Name, Sight | None] = {}
        self._places: dict[Name, Place] = {}
        self._relied: dict[Name, None] = {}
        self._kinds: list[str] = []

    def through(self, planning: Planning[T]) -> Planning[T]:
        """Asks for the planner, and shows it what the plans so far leave."""
        try:
            name = next(planning)
            while True:
                name = planning.send((yield from self._sight(name)))
        except StopIteration as done:
            ended: T = done.value
            return ended

    def _sight(self, name: Name) -> Planning[Sight | None]:
        if name in self.gone:
            return None
        if name not in self._sights:
            self._sights[name] = yield name
        sight, place = self._sights[name], self._places.get(name)
        return sight if sight is None or place is None else replace(sight, place=place)

    def add(self, plan: Plan) -> None:
        assert plan.gone is not None
        self.gone.append(plan.gone)
        self._kinds.append(plan.kind)
        self._relied.update(dict.fromkeys(plan.seen))
        for name, place in plan.writes.items():
            self._places[name] = replace(place, version=self._before(name).version + 1)
        self._places.pop(plan.gone, None)

    def _before(self, name: Name) -> Place:
        sight = self._sights[name]
        assert sight is not None
        return sight.place

    def fallen(self) -> list[Name]:
        """Dead peers on whose agreement the plan as it is would wait."""
        return [name for name in self._relied if name not in self.gone and self._is_dead(name)]

    def met_dead(self) -> list[Name]:
        """Dead peers that were seen at all."""
        return [name for name in self._sights if name not in self.gone and self._is_dead(name)]

    def _is_dead(self, name: Name) -> bool:
        sight = self._sights[name]
        return sight is not None and not sight.alive

    def plan(self) -> Plan:
        """All of it as one."""
        seen = {name: self._before(name).version for name in self._relied}
        moves: list[Move] = []
        for name in self._relied:
            before, place = self._before(name), self._places.get(name)
            after = place.parents if place is not None else before.parents
            if name in self.gone:
                after = (NOBODY,) * len(before.parents)
            for tree, (old, new) in enumerate(zip(before.parents, after, strict=True)):
                if old != new:
                    moves.append(Move(tree, name, old, new))
        kind = self._kinds[0] if len(self._kinds) == 1 else f"leave: {len(self._kinds)} together"
        first, *others = self.gone
        return Plan(kind, seen, dict(self._places), tuple(moves), first, tuple(others))


def plan_fill(
    stripes: int, name: Name, contacts: Sequence[Name], rng: Rng
) -> Planning[Plan | None]:
    """As `plan_leave` of a dead peer, with all the dead whom its plan would write to.  None: no
    way was found, or some of them are dead and nobody says what their places were."""
    composed = Composing()
    queue = [name]
    put_off: list[Name] = []
    while queue:
        dead = queue.pop(0)
        plan = yield from composed.through(plan_leave(stripes, dead, contacts, rng))
        if plan is not None:
            composed.add(plan)
            if len(composed.gone) > MOST_FALLEN:
                return None
            queue += [*put_off, *composed.fallen()]
            put_off = []
        else:
            # Perhaps there is a way once a dead neighbour's places are filled.
            put_off.append(dead)
            queue += composed.met_dead()
        queue = [each for each in dict.fromkeys(queue) if each not in (*composed.gone, *put_off)]
    return None if put_off else composed.plan()
