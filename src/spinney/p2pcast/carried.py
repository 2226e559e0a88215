"""`Carried`: the registry that a source carries, as its forest sees it: live peers by name."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

from spinney.net.host import Address, Host
from spinney.p2pcast.place import Name
from spinney.p2pcast.registry.streams import Member, Registry
from spinney.p2pcast.trust.identity import name_of

EXPELLED_S = 600.0
"""As long as what three witnesses said."""
INDEX_S = 0.5
"""How old the index by name may be: the registry itself knows peers by their ids."""


class Carried(MutableMapping[Name, Address]):
    """Where each live peer is reached: those that the registry hands out."""

    def __init__(self, host: Host, registry: Registry, stream: bytes) -> None:
        self._host = host
        self._registry = registry
        self._stream = stream
        self._index: dict[Name, Member] = {}
        self._made_at = -INDEX_S
        self.expelled = 0

    def _members(self) -> dict[Name, Member]:
        now = self._host.time()
        if now - self._made_at >= INDEX_S or len(self) != len(self._index):
            stream = self._registry.streams.get(self._stream)
            pools = stream.pools.values() if stream is not None else ()
            self._index = {name_of(each.peer): each for pool in pools for each in pool}
            self._made_at = now
        return self._index

    def is_at(self, peer: bytes, address: Address) -> bool:
        """Did this peer, placed or not, show the registry that it is there?"""
        member = self._registry.member(self._stream, peer)
        return member is not None and member.address == address

    @property
    def names(self) -> list[Name]:
        return list(self._members())

    def __len__(self) -> int:
        return self._registry.open_count(self._stream)

    def __iter__(self) -> Iterator[Name]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._members()

    def __getitem__(self, name: Name) -> Address:
        """Also of one that has just gone: who asks has its name from `names`."""
        member = self._index.get(name)
        return (member or self._members()[name]).address

    def __setitem__(self, name: Name, address: Address) -> None:
        """The registry knows it from the peer itself."""

    def __delitem__(self, name: Name) -> None:
        self.remove(name)

    def add(self, name: Name) -> None:
        """It joins by itself."""

    def remove(self, name: Name) -> None:
        """The source found it dead."""
        member = self._members().get(name)
        if member is not None:
            self._registry.delete(self._stream, member.peer)

    def expel(self, name: Name) -> None:
        """The source itself, which everybody trusts, found it cheating: no witness is needed."""
        member = self._members().get(name)
        if member is not None:
            self.expelled += 1
            until = self._host.time() + EXPELLED_S
            self._registry.mark_bad(self._stream, member.peer, until)
            self._made_at = -INDEX_S
