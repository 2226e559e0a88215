"""`Book`: where the peers that we know of are reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spinney.net.host import Address
from spinney.p2pcast.place import NOBODY, SOURCE, SPECIAL, Name

MOST_ADDRESSES = 1_024
"""A peer has up to 60 neighbours at f = 16, and theirs: the longest unused are forgotten."""


class Book:
    """Names and addresses.  `source`: where the source and the special node are reached."""

    def __init__(self, source: Address) -> None:
        self.source = source
        self._known: dict[Name, Address] = {}
        self._pinned: dict[Name, Address] = {}

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, known: Mapping[Name, Address]) -> None:
        """What a message said; the newest word holds."""
        kept = self._known
        pinned = self._pinned
        for name, address in known.items():
            if name >= 0:
                kept.pop(name, None)
                kept[name] = pinned.get(name, address)
        while len(kept) > MOST_ADDRESSES:
            gone = next(iter(kept))
            del kept[gone]
            pinned.pop(gone, None)

    def pin(self, name: Name, address: Address) -> None:
        """It signed something from there: nobody else's word moves it, while it is remembered."""
        self._pinned[name] = address
        self.learn({name: address})

    def unpin(self, name: Name) -> None:
        """It does not answer there: others may know better."""
        self._pinned.pop(name, None)

    def find(self, name: Name) -> Address | None:
        if name in (SOURCE, SPECIAL):
            return self.source
        return self._known.get(name) if name != NOBODY else None

    def of(self, names: Iterable[Name]) -> dict[Name, Address]:
        """The addresses that are known of these; they are kept longer for it."""
        found: dict[Name, Address] = {}
        kept = self._known
        for name in names:
            address = kept.pop(name, None)
            if address is not None:
                kept[name] = found[name] = address
        return found
