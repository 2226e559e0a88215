"""`Tending`: what works for one seat of a station, with somebody who names other peers."""

from __future__ import annotations

from spinney.p2pcast.finding import Finder
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.station import Station


class Tending:
    """For one seat."""

    def __init__(self, station: Station, seat: Seat, finder: Finder) -> None:
        self.station = station
        self.seat = seat
        self.finder = finder
