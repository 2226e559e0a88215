"""`Finder`: who names live peers of the stream.  The source answers; a registry, any peer or an
overlay can stand in for it through the same few calls."""

from __future__ import annotations

from typing import Protocol

from spinney.errors import SpinneyError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.place import SOURCE, Name, Place
from spinney.p2pcast.station import Station


class Finder(Protocol):
    """None of these raises: who cannot be asked names nobody."""

    async def some(self, count: int, *, staying: bool = False) -> m.Joined:
        """Live peers, at random; `staying`: name me to others from now on."""

    async def delete(self, accused: Name, tree: int = 0) -> None:
        """A neighbour in this tree is dead."""

    async def accuse(self, parent: Name, tree: int) -> None:
        """A parent in this tree was found cheating."""

    async def leave(self) -> None: ...

    async def place_me(self, place: Place, *, leaving: bool = False) -> None:
        """Too few peers for a way of my own: the source may place us all."""


class AtSource:
    """Asks the source, by the calls `join`, `delete` and `place`."""

    def __init__(self, station: Station, name: Name) -> None:
        self.station = station
        self.name = name

    async def some(self, count: int, *, staying: bool = False) -> m.Joined:
        body = codec.pack_join(m.Join(self.name, min(count, 32), staying))
        settings = self.station.settings
        try:
            data = await self.station.ask(
                SOURCE, b"p2pcast.join", body, timeout_s=settings.call_s, attempts=3
            )
            joined = codec.read_joined(data)
        except SpinneyError:
            return m.Joined(self.station.stripes, 0, -1, ())
        self.station.book.learn(joined.known)
        return joined

    async def delete(self, accused: Name, tree: int = 0) -> None:
        body = codec.pack_delete(m.Delete(self.name, accused))
        await self._said(b"p2pcast.delete", body)

    async def accuse(self, parent: Name, tree: int) -> None:
        """The source's own list has no bad ones."""

    async def leave(self) -> None:
        await self.delete(self.name)

    async def place_me(self, place: Place, *, leaving: bool = False) -> None:
        call = m.PlaceMe(place.name, place.spare, place.since, leaving)
        await self._said(b"p2pcast.place", codec.pack_place_me(call))

    async def _said(self, method: bytes, body: bytes) -> None:
        settings = self.station.settings
        try:
            await self.station.ask(SOURCE, method, body, timeout_s=settings.call_s, attempts=3)
        except SpinneyError:
            return
