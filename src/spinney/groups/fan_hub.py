"""The hub of a fan-out, pure: who is a member, and what is answered to whom.

Nothing is sent to an address that has not echoed a cookie but that cookie, which is shorter
than the request; so nobody can have a third party flooded.  Cookies need no memory: they are a
keyed hash of the address and the minute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from spinney.groups.fan_wire import (
    COOKIE_BYTES,
    MEMBERS_MAX,
    Cookie,
    Join,
    Leave,
    Message,
    Moved,
    Row,
    Welcome,
)
from spinney.net.host import Address

MEMBER_LOST_S = 20.0
"""Four keep-alives missed."""
COOKIE_S = 60.0
"""A cookie is good for one to two of these."""
TELL_S = 0.5
"""After a change of the members all are told, at most so often."""
ELDER_S = 10.0
"""A hub that came after others asks so often whether one of them is back."""
ELDERS_MAX = 8

Out = tuple[Message, Address]


@dataclass(slots=True)
class Registered:
    """A member as the hub knows it."""

    number: int
    address: Address
    send_only: bool
    heard: float


class Hub:
    """`elders`: hubs before this one, in order: if one answers, this hub gives way to it."""

    def __init__(
        self,
        token: bytes,
        secret: bytes,
        *,
        elders: Sequence[Address] = (),
        members_max: int = MEMBERS_MAX,
    ) -> None:
        assert members_max <= MEMBERS_MAX
        self.token = token
        self.members: dict[Address, Registered] = {}
        self.elders = list(elders)[:ELDERS_MAX]
        self.members_max = members_max
        self.refused = 0
        self._secret = secret
        self._next = 1
        self._changed = False
        self._told = float("-inf")
        self._asked_elders = float("-inf")

    @property
    def listeners(self) -> list[Address]:
        """Where what is said goes to."""
        return [each.address for each in self.members.values() if not each.send_only]

    def is_from(self, number: int, address: Address) -> bool:
        """Is this the member that it says it is?"""
        member = self.members.get(address)
        return member is not None and member.number == number

    def cookie(self, address: Address, now: float, age: int = 0) -> bytes:
        minute = int(now // COOKIE_S) - age
        text = f"{address[0]}|{address[1]}|{minute}".encode()
        return hashlib.blake2b(
            self.token + text, key=self._secret, digest_size=COOKIE_BYTES
        ).digest()

    def heard(self, message: Message, remote: Address, now: float) -> list[Out]:
        """The answers to one control message."""
        if isinstance(message, Leave):
            if self.is_from(message.number, remote):
                del self.members[remote]
                self._changed = True
            return []
        if not isinstance(message, Join):
            return []
        if message.cookie not in (self.cookie(remote, now), self.cookie(remote, now, 1)):
            return [(Cookie(self.cookie(remote, now)), remote)]
        member = self.members.get(remote)
        if member is None:
            if len(self.members) >= self.members_max:
                self.refused += 1
                return [(Moved(None), remote)]
            member = Registered(self._number(), remote, message.send_only, now)
            self.members[remote] = member
            self._changed = True
        member.heard = now
        member.send_only = message.send_only
        return self._tell(now) or [(self._welcome(member, now), remote)]

    def tick(self, now: float) -> list[Out]:
        """What time brings: call it a few times a second."""
        for address in [a for a, each in self.members.items() if now - each.heard > MEMBER_LOST_S]:
            del self.members[address]
            self._changed = True
        out = self._tell(now)
        if self.elders and now - self._asked_elders >= ELDER_S:
            self._asked_elders = now
            out += [(Join(bytes(COOKIE_BYTES), False), elder) for elder in self.elders]
        return out

    def _tell(self, now: float) -> list[Out]:
        """The list for everybody, if it changed; not too often, whoever comes and goes."""
        if not self._changed or now - self._told < TELL_S:
            return []
        self._changed, self._told = False, now
        return [(self._welcome(each, now), address) for address, each in self.members.items()]

    def farewell(self, successor: Address | None) -> list[Out]:
        """The last words of a hub that gives up its place."""
        return [(Moved(successor), address) for address in self.members]

    def successor(self) -> Address | None:
        """The member that has been here longest."""
        return next(iter(self.members), None)

    def rows(self) -> tuple[Row, ...]:
        return tuple((each.number, each.address) for each in self.members.values())

    def _welcome(self, member: Registered, now: float) -> Welcome:
        return Welcome(member.number, self.cookie(member.address, now), self.rows())

    def _number(self) -> int:
        taken = {each.number for each in self.members.values()}
        while self._next in taken or not 1 <= self._next <= 0xFFFF:
            self._next = self._next % 0xFFFF + 1
        number, self._next = self._next, self._next + 1
        return number
