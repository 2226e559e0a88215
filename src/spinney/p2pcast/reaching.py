"""`Reaching`: who can send to whom, where some peers sit behind NATs that let nobody in.

A peer whose NAT lets in only those it has sent to is *closed*: it must send first.  It can serve
children and have parents that are open; two closed ones never pair.  Whoever names a peer tells
which it is: the name of a closed one has `CLOSED` set (a peer chooses its keys so).

An open peer that wants something of a closed one asks the source, to whom that one says each few
seconds that it is still here, to have itself dialled: it gets a `hello`, and may send from then on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from spinney.errors import CallError, NoAnswerError
from spinney.net.host import Address
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.place import SOURCE, Name
from spinney.p2pcast.trust.signing import TOO_OFTEN

if TYPE_CHECKING:
    from spinney.p2pcast.station import Station

CLOSED: Name = 1 << 62

PATH_S = 60.0
"""A NAT keeps a way open for two minutes or more (RFC 4787), in bad cases one."""
DIAL_S = 0.6
"""Three hops until the hello: me, the source, the other, me."""
MOST_PATHS = 4_096
"""Addresses from which something came: far more than a peer has neighbours and contacts."""


DIALS_A_MINUTE = 60
"""That one address may ask for: four trees' rounds of looking for a parent, and their contacts."""
MOST_DIALLERS = 4_096


class Dials:
    """How often each address had somebody dialled lately.  Pure; forgotten each minute."""

    def __init__(self) -> None:
        self._minute = -1
        self._asked: dict[str, int] = {}

    def count(self, host: str, now: float) -> None:
        """Raises `CallError` for one too many: each makes two more datagrams."""
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._asked = minute, {}
        if host not in self._asked and len(self._asked) >= MOST_DIALLERS:
            raise CallError("too many have somebody dialled: wait a minute", TOO_OFTEN)
        self._asked[host] = self._asked.get(host, 0) + 1
        if self._asked[host] > DIALS_A_MINUTE:
            raise CallError("you had too many dialled: wait a minute", TOO_OFTEN)


def is_closed(name: Name) -> bool:
    return name >= 0 and bool(name & CLOSED)


class Reaching:
    """For one station.  Without `Settings.nat` everybody is taken for open."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self._heard: dict[Address, float] = {}
        self._dialling: dict[Name, asyncio.Future[None]] = {}

    def is_closed(self, name: Name) -> bool:
        return self.station.settings.nat and is_closed(name)

    @property
    def is_closed_here(self) -> bool:
        return any(map(self.is_closed, self.station.seats))

    def can_meet(self, name: Name) -> bool:
        """Could I and this one ever talk?"""
        return not (self.is_closed(name) and self.is_closed_here)

    def heard(self, remote: Address) -> None:
        """Something came from there, so something may go there."""
        if self.station.settings.nat:
            self._heard.pop(remote, None)
            self._heard[remote] = self.station.host.time()
            if len(self._heard) > MOST_PATHS:
                del self._heard[next(iter(self._heard))]

    async def open_way(self, name: Name, address: Address) -> None:
        """Returns once this one may be sent to.  Raises `NoAnswerError`."""
        if not self.is_closed(name):
            return
        heard = self._heard.get(address)
        if heard is not None and self.station.host.time() - heard < PATH_S:
            return
        if not self.can_meet(name):
            raise NoAnswerError(f"neither I nor {name} can be reached from outside")
        hello = self._dialling.get(name)
        if hello is None:
            hello = asyncio.get_running_loop().create_future()
            self._dialling[name] = hello
            own = next(iter(self.station.seats))
            body = codec.pack_delete(m.Delete(own, name))
            self.station.tell(SOURCE, b"p2pcast.dial", body)
            self.station.counts["dialled"] += 1
        try:
            await asyncio.wait_for(asyncio.shield(hello), DIAL_S)
        except TimeoutError:
            raise NoAnswerError(f"{name} was asked to dial and did not") from None
        finally:
            self._dialling.pop(name, None)

    def asked_to_dial(self, body: object) -> None:
        """The source says who wants me to send to it first."""
        joined = codec.read_joined(body)
        self.station.book.learn(joined.known)
        own = next(iter(self.station.seats))
        for name in joined.names[:1]:
            hello = codec.pack_delete(m.Delete(own, name))
            self.station.tell(name, b"p2pcast.hello", hello)

    def greeted(self, body: object, remote: Address) -> None:
        name = codec.read_delete(body).sender
        hello = self._dialling.get(name)
        if hello is not None and not hello.done():
            self.station.book.learn({name: remote})
            self.heard(remote)
            hello.set_result(None)
