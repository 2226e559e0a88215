"""`Gathering`: sights that come in one after the other; who needs one takes the first that serves.

An orphan asks a dozen peers what they know while its parent is only silent.  To wait for all of
them would be to wait for the slowest, or for one that is dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from spinney.p2pcast import messages as m
from spinney.p2pcast.finding import Finder
from spinney.p2pcast.place import Name
from spinney.p2pcast.station import Station

MOST_ASKED = 96
"""By one gathering: the registry names at most 32 at a time, and neighbours are some fifteen."""


class Gathering:
    """`wait_s`: what each peer has to answer."""

    def __init__(self, station: Station, wait_s: float, seen: Iterable[m.Seen] = ()) -> None:
        self.seen: list[m.Seen] = list(seen)
        self.silent: set[Name] = set()
        """Who was asked and said nothing in time."""
        self.began = asyncio.get_running_loop().time()
        self._station = station
        self._wait_s = wait_s
        self._asked: set[Name] = set()
        self._open = 0
        self._news = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Has everybody answered, or had the time to?"""
        return not self._open

    def ask(self, names: Iterable[Name]) -> None:
        for name in names:
            if name in self._asked or not self._station.reaching.can_meet(name):
                continue
            if len(self._asked) < MOST_ASKED:
                self._asked.add(name)
                self._open += 1
                if not self._station.spawn(self._look(name)):
                    self._open -= 1

    def ask_far(self, finder: Finder, count: int) -> None:
        """Peers that the registry names."""
        self._open += 1
        if not self._station.spawn(self._find(finder, count)):
            self._open -= 1

    async def more(self) -> bool:
        """Waits for the next sight; False if none will come."""
        if self.is_over:
            return False
        self._news.clear()
        await self._news.wait()
        return True

    async def _look(self, name: Name) -> None:
        try:
            seen = await self._station.look(name, self._wait_s)
            if seen is not None:
                self.seen.append(seen)
            else:
                self.silent.add(name)
        finally:
            self._ended()

    async def _find(self, finder: Finder, count: int) -> None:
        try:
            self.ask((await finder.some(count)).names)
        finally:
            self._ended()

    def _ended(self) -> None:
        self._open -= 1
        self._news.set()
