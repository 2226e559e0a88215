"""`Neighbours`: who the other members of a group are in the swarm, as their signed messages state.

Members of one group need not also swarm among themselves over the same link; and one who has got
everything by both is counted once.  An address would not tell: it is another in IPv6, and on
loopback all have the same.
"""

from __future__ import annotations

from collections import OrderedDict

from spinney.errors import WireError
from spinney.trust.envelope import Envelope, outline, parse
from spinney.trust.keys import peer_id_of

MOST = 4_096
"""Members remembered; the one silent for longest is forgotten."""
KEY = b"at"
"""The field, beside those of any message; sorted before all that a glance at one looks for."""
ID_BYTES = 8
"""The end of the peer id in the swarm (BEP 3), which is random."""
_STATED = b"d2:at8:"
"""So a message begins that has the field."""


def short_id(peer_id: bytes) -> bytes:
    """Of a peer id of the swarm."""
    return peer_id[-ID_BYTES:]


class Neighbours:
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._id: OrderedDict[bytes, bytes] = OrderedDict()
        self._count: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._id)

    def note(self, said: Envelope) -> None:
        """Takes the field out of a message (so that its codec does not see it); believes it when
        the signature is right.  Known ones cost no look at the signature."""
        stated = said.message.pop(KEY, None)
        if type(stated) is not bytes or len(stated) != ID_BYTES:
            return
        peer = said.peer_id
        if self._id.get(peer) == stated:
            self._id.move_to_end(peer)
            return
        if not said.verified():
            return
        self.forget(peer)
        self._id[peer] = stated
        self._count[stated] = self._count.get(stated, 0) + 1
        if len(self._id) > self._most:
            self.forget(next(iter(self._id)))

    def glance(self, data: bytes, file: bytes) -> None:
        """At a message that is not read otherwise: in a crowd nearly all are of that kind, and of
        members that are known."""
        seen = outline(data)
        if seen is None or seen[0] != file or not seen[2].startswith(_STATED):
            return
        stated = seen[2][len(_STATED) : len(_STATED) + ID_BYTES]
        peer = peer_id_of(seen[1])
        if self._id.get(peer) == stated:
            self._id.move_to_end(peer)
            return
        try:
            said = parse(data)
        except WireError:
            return
        if said.file == file:
            self.note(said)

    def forget(self, peer: bytes) -> None:
        stated = self._id.pop(peer, None)
        if stated is not None:
            self._count[stated] -= 1
            if not self._count[stated]:
                del self._count[stated]

    def swarm_id_of(self, peer: bytes) -> bytes | None:
        return self._id.get(peer)

    def __contains__(self, stated: bytes) -> bool:
        return stated in self._count
