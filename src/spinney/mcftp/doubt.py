"""`Doubt`: who is to blame when a piece fails its hash.  Pure.

Anybody on the link can forge a datagram, its address included.  So one failure proves nothing:
the block is solved again from its likeliest sender alone; if that verifies, the others were to
blame.  An address whose blocks fail again and again is ignored; a block that fails again and
again is left to the swarm.
"""

from __future__ import annotations

from collections import OrderedDict

from spinney.mcftp.blocks import BlockBuffer
from spinney.net.host import Address

MAX_ORIGINS = 255
"""Addresses told apart; the 256th and later count as the last."""
STRIKE, FORGIVEN, OUT = 4, 1, 12
"""Points of an address for a failed block, for a verified one, and when it is ignored."""
MAX_SPOILED = 1_024
GIVE_UP = 2
"""So often a block may fail before others are asked."""


class Doubt:
    def __init__(self) -> None:
        self._origins: dict[Address, int] = {}
        self._points: dict[int, int] = {}
        self._ignored: dict[int, None] = {}
        self._fresh: list[Address] = []
        self._suspects: OrderedDict[int, set[int]] = OrderedDict()
        """By block: who is to blame if it verifies without them."""
        self._spoiled: OrderedDict[int, int] = OrderedDict()

    def origin_of(self, address: Address) -> int:
        """A small number for an address; 0 is the first that was heard."""
        number = self._origins.get(address)
        if number is None:
            number = min(len(self._origins), MAX_ORIGINS)
            if len(self._origins) < MAX_ORIGINS:
                self._origins[address] = number
        return number

    def is_ignored(self, origin: int) -> bool:
        return origin in self._ignored

    def verified(self, buffer: BlockBuffer) -> None:
        """All pieces of this block are right."""
        for origin in sorted(self._suspects.pop(buffer.block, ())):
            self._strike(origin, OUT)
        self._spoiled.pop(buffer.block, None)
        if self._points and buffer.delivered:
            for origin in sorted(buffer.brought_by()):
                if self._points.get(origin):
                    self._points[origin] -= FORGIVEN

    def again(self, buffer: BlockBuffer) -> bool:
        """A piece of this block failed.  True: its symbols of all but one sender are forgotten,
        and the block can be solved anew; False: nothing of it is worth keeping."""
        origins = buffer.brought_by() - set(self._ignored)
        if len(origins) > 1 and buffer.block not in self._suspects:
            keep = max(sorted(origins), key=lambda origin: _part(buffer, origin))
            others = buffer.brought_by() - {keep}
            for origin in sorted(others):
                buffer.drop(origin)
            self._suspects[buffer.block] = others
            if len(self._suspects) > MAX_SPOILED:
                self._suspects.popitem(last=False)
            return True
        self._suspects.pop(buffer.block, None)
        for origin in sorted(origins):
            self._strike(origin, STRIKE)
        return False

    def _strike(self, origin: int, points: int) -> None:
        self._points[origin] = self._points.get(origin, 0) + points
        if self._points[origin] >= OUT and origin not in self._ignored:
            self._ignored[origin] = None
            self._fresh += [a for a, number in self._origins.items() if number == origin]

    def newly_ignored(self) -> list[Address]:
        """Addresses that are ignored since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def give_up(self, block: int) -> bool:
        """A block failed as a whole: shall others fetch it?"""
        self._spoiled[block] = self._spoiled.get(block, 0) + 1
        if len(self._spoiled) > MAX_SPOILED:
            self._spoiled.popitem(last=False)
        return self._spoiled[block] >= GIVE_UP


def _part(buffer: BlockBuffer, origin: int) -> int:
    """How many symbols one origin brought."""
    repairs = sum(1 for number in buffer.repairs if buffer.repair_origins.get(number, 0) == origin)
    if buffer.origins is None:
        return repairs + (sum(buffer.seen) if origin == 0 else 0)
    return repairs + sum(
        1 for seen, each in zip(buffer.seen, buffer.origins, strict=True) if seen and each == origin
    )
