"""`Neighbourhood`: swarm addresses of the group's members, as leaders tell them.  Pure, bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from spinney.net.host import Address

BELIEVED_S = 20.0
"""How long an address counts after it was told: a leader repeats it every few seconds."""
MOST = 4_096


class Neighbourhood:
    """Who shares this link, and is reached by the group already."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Address, float] = OrderedDict()

    def heard(self, addresses: Iterable[Address], now: float) -> None:
        for address in addresses:
            self._rows[address] = now
            self._rows.move_to_end(address)
        while len(self._rows) > MOST:
            self._rows.popitem(last=False)

    def holds(self, address: Address, now: float) -> bool:
        bare = (address[0].partition("%")[0], address[1])
        return now - self._rows.get(bare, float("-inf")) < BELIEVED_S
