"""`Neighbours`: where the other members of a group swarm, as their signed messages state it.

The port stands beside the fields of every control message; the host is where the message came
from.  Members of one group need not also swarm among themselves over the same link.
"""

from __future__ import annotations

from collections import OrderedDict

from spinney.errors import WireError
from spinney.net.host import Address
from spinney.trust.envelope import Envelope, parse

MOST = 4_096
"""Members remembered; the one silent for longest is forgotten."""
KEY = b"at"
"""The port's field in a message: sorted before all that a glance at a message looks for."""
BYTES = 11
"""What the field takes, at most."""


class Neighbours:
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._address: OrderedDict[bytes, Address] = OrderedDict()
        self._count: dict[Address, int] = {}

    def __len__(self) -> int:
        return len(self._address)

    def note(self, said: Envelope, host: str) -> None:
        """Takes the port out of a message (so that its codec does not see it); believes it when
        the signature is right.  Known ones cost no look at the signature."""
        port = said.message.pop(KEY, 0)
        if type(port) is not int or not 0 < port < 65_536:
            return
        peer, address = said.peer_id, (host.partition("%")[0], port)
        known = self._address.get(peer)
        if known == address:
            self._address.move_to_end(peer)
            return
        if not said.verified():
            return
        self.forget(peer)
        self._address[peer] = address
        self._count[address] = self._count.get(address, 0) + 1
        if len(self._address) > self._most:
            self.forget(next(iter(self._address)))

    def glance(self, data: bytes, host: str, file: bytes) -> None:
        """A message that is not read otherwise."""
        try:
            said = parse(data)
        except WireError:
            return
        if said.file == file:
            self.note(said, host)

    def forget(self, peer: bytes) -> None:
        address = self._address.pop(peer, None)
        if address is not None:
            self._count[address] -= 1
            if not self._count[address]:
                del self._count[address]

    def address_of(self, peer: bytes) -> Address | None:
        return self._address.get(peer)

    def __contains__(self, address: Address) -> bool:
        return (address[0].partition("%")[0], address[1]) in self._count
