"""`Wills`: what neighbours said last of themselves, in case they fall (UPDATE, paper, section 7).

Only where there are no spare slots: then a plan fills a fallen peer's places, and needs to know
them; nobody else can say what they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.place import Name
from spinney.p2pcast.seat import Seat

if TYPE_CHECKING:
    from spinney.p2pcast.station import Station


class Wills:
    """Of the neighbours of one station's seats: as many as there are neighbours."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self._said: dict[Name, m.Seen] = {}

    def of(self, name: Name) -> m.Seen | None:
        return self._said.get(name)

    def heard(self, body: object) -> None:
        """A neighbour tells its whole place."""
        station = self.station
        seen = codec.read_seen(body)
        name = seen.sight.place.name
        near = {each for seat in station.seats.values() for each in seat.neighbours()}
        if station.fills and name in near and len(seen.sight.depths) == station.stripes:
            station.book.learn(seen.known)
            self._said[name] = seen
            for gone in [each for each in self._said if each not in near]:
                del self._said[gone]

    def tell(self, seat: Seat) -> None:
        """To all neighbours of a seat."""
        will = codec.pack_seen(seat.seen(), codec.SIGNED_ROOM_BYTES)
        for name in seat.neighbours():
            self.station.tell(name, b"p2pcast.will", will)
