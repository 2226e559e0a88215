"""Somebody on the wire who has no place in the forest, and says what it likes."""

from __future__ import annotations

import asyncio

from tests.p2pcast.viewers import PORT, Audience

from spinney.errors import CallError, SpinneyError
from spinney.net.host import Address
from spinney.p2pcast.place import SOURCE, Name
from spinney.p2pcast.trust.identity import KeySigner
from spinney.p2pcast.trust.signing import (
    seal,
)
from spinney.trust.keys import Keys
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import Arguments


class Stranger:
    """Somebody with a key of its own and no place, who says what it likes."""

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.host = audience.world.host("stranger")
        self.keys = Keys(b"\x07" * 32)
        self.signer = KeySigner(self.keys, audience.link.stream)
        self.tag = audience.link.stream[:8]
        self.number = 0

    async def say(self, calls: list[tuple[Name, bytes, Arguments]]) -> list[int]:
        """The code of each answer: 0 for none or a good one."""
        return await self.host.start(self._say(calls))  # type: ignore[no-any-return]

    async def _say(self, calls: list[tuple[Name, bytes, Arguments]]) -> list[int]:
        krpc = Krpc(self.host)
        datagrams = await self.host.open_datagrams(krpc, (self.host.address, 0))
        krpc.use(datagrams)
        codes = []
        for target, method, arguments in calls:
            try:
                await krpc.call(self.at(target), method, arguments, timeout_s=1.0)
                codes.append(0)
            except CallError as error:
                codes.append(error.code)
            except SpinneyError:
                codes.append(0)
        krpc.close()
        datagrams.close()
        return codes

    def at(self, name: Name) -> Address:
        host = self.audience.host if name == SOURCE else self.audience.hosts[name]
        return host.address, PORT

    def signed(self, method: bytes, body: bytes, **more: int) -> Arguments:
        self.number += 1
        number = int(self.host.wall_time() * 1_000) + self.number
        extra: Arguments = {key.encode(): value for key, value in more.items()}
        return {**seal(self.signer, self.tag, method, number, body), **extra}


async def stands(audience: Audience, count: int = 12) -> None:
    await audience.grow(count)
    await audience.whole(10.0)
    await asyncio.sleep(3.0)  # the rules may hold for a moment between two changes
