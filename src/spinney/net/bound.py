"""`BoundHost`: a host whose connections leave from chosen addresses (`--interface`).

A machine with several addresses is known to others by the one that it calls from: a tracker
hands out the address that it saw.  So who listens on one interface must also call from it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Literal

from spinney.net.address import is_loopback
from spinney.net.host import (
    Address,
    DatagramOptions,
    DatagramReceiver,
    Datagrams,
    Host,
    Interface,
    Listener,
    P,
    R,
    Ts,
)

_PLAIN_OPTIONS = DatagramOptions()


class BoundHost:
    """`host`, but `connect` without `local` leaves from one of `addresses`.

    Loopback addresses are still called from loopback, and `0.0.0.0` or `::` leave the choice
    to the system.
    """

    def __init__(self, host: Host, addresses: Sequence[str]) -> None:
        self._host = host
        self._addresses = [one for one in addresses if one not in ("0.0.0.0", "::")]
        self.name = host.name
        self.rng = host.rng
        self.storage = host.storage
        self.time = host.time
        self.wall_time = host.wall_time
        self.entropy = host.entropy

    def leaves_from(self, remote: Address) -> Address | None:
        """The address that a connection to `remote` is bound to; None: the system's choice."""
        for own in self._addresses:
            same_family = (":" in own) == (":" in remote[0])
            if same_family and is_loopback(own) == is_loopback(remote[0]):
                return own, 0
        return None

    async def work(self, function: Callable[[*Ts], R], *args: *Ts) -> R:
        return await self._host.work(function, *args)

    def interfaces(self) -> list[Interface]:
        return self._host.interfaces()

    async def resolve(self, name: str, port: int, *, family: Literal[0, 4, 6] = 0) -> list[Address]:
        return await self._host.resolve(name, port, family=family)

    async def connect(
        self,
        factory: Callable[[], P],
        remote: Address,
        *,
        local: Address | None = None,
        reuse_port: bool = False,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        timeout_s: float = 20.0,
    ) -> tuple[asyncio.Transport, P]:
        return await self._host.connect(
            factory,
            remote,
            local=local or self.leaves_from(remote),
            reuse_port=reuse_port,
            tls=tls,
            server_name=server_name,
            timeout_s=timeout_s,
        )

    async def listen(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        local: Address,
        *,
        reuse_port: bool = False,
        backlog: int = 128,
        tls: ssl.SSLContext | None = None,
    ) -> Listener:
        return await self._host.listen(
            factory, local, reuse_port=reuse_port, backlog=backlog, tls=tls
        )

    async def open_datagrams(
        self,
        receiver: DatagramReceiver,
        local: Address,
        options: DatagramOptions = _PLAIN_OPTIONS,
    ) -> Datagrams:
        return await self._host.open_datagrams(receiver, local, options)
