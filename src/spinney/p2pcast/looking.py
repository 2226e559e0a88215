"""`Looking`: the sights that one plan is made from, asked for many at once.

A planner asks for one peer after the other, and says whom it will ask for next.  All of them are
asked at once; only whom it needs is waited for, so that one that has fallen delays nobody who does
not need it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from spinney.p2pcast import messages as m
from spinney.p2pcast.place import NOBODY, Name, Sight
from spinney.p2pcast.station import Station

FindWill = Callable[[Name], Awaitable[m.Seen | None]]


async def no_will(name: Name) -> m.Seen | None:
    return None


class Looking:
    """`find_will`: who answers for somebody that says nothing: what it told its neighbours last.
    `most`: peers that are asked.  `close` ends it."""

    def __init__(self, station: Station, find_will: FindWill, most: int) -> None:
        self.station = station
        self.began = asyncio.get_running_loop().time()
        self._find_will = find_will
        self._most = most
        self.follow: Callable[[Sight], Iterable[Name]] = lambda sight: ()
        """Whom an answer makes worth asking, before any planner wants them."""
        self._asked: dict[Name, asyncio.Task[Sight | None]] = {}
        self._given: dict[Name, Sight] = {}

    @property
    def names(self) -> list[Name]:
        return list(self._asked)

    def ask(self, names: Iterable[Name], *, briefly: bool = False) -> None:
        """`briefly`: others serve as well, if one of these does not answer soon."""
        for name in names:
            if name not in self._asked and name != NOBODY and len(self._asked) < self._most:
                work = self._look(int(name), briefly)
                self._asked[name] = asyncio.get_running_loop().create_task(work)

    def give(self, name: Name, sight: Sight) -> None:
        """This one need not be asked."""
        self._given[name] = sight

    async def sight(self, name: Name) -> Sight | None:
        """Waits for this one.  None: it says nothing, nor does anybody for it."""
        if name in self._given:
            return self._given[name]
        self.ask([name])
        task = self._asked.get(name)
        return await task if task is not None else None

    async def _look(self, name: Name, briefly: bool) -> Sight | None:
        wait_s = self.station.settings.lock_s / 2
        seen = await self.station.look(name, wait_s, 1 if briefly else 2)
        if seen is None and not briefly:
            seen = await self._find_will(name)
        if seen is None:
            return None
        self.ask(self.follow(seen.sight))
        return seen.sight

    def close(self) -> None:
        for task in self._asked.values():
            task.cancel()
