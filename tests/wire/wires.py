"""Two ends of a wire without a machine: datagrams that arrive on the next turn of the loop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Literal, cast

from spinney.errors import ResolveError
from spinney.net.host import Address, DatagramReceiver, Datagrams, Host
from spinney.net.live.host import LiveHost


class Wire:
    """Carries datagrams between its ends; `lose` decides what does not arrive."""

    def __init__(self) -> None:
        self.ends: dict[Address, DatagramReceiver] = {}
        self.sent: list[tuple[Address, Address, bytes]] = []
        self.lose: Callable[[bytes], bool] = lambda data: False
        self.rng = random.Random(1)

    def host(self) -> Host:
        return cast(Host, self)

    def entropy(self, length: int) -> bytes:
        return self.rng.randbytes(length)

    def end(self, receiver: DatagramReceiver, address: Address) -> Datagrams:
        self.ends[address] = receiver
        return cast(Datagrams, End(self, address))


class End:
    def __init__(self, wire: Wire, address: Address) -> None:
        self.wire = wire
        self.local_address = address

    def send(self, data: Any, remote: Address) -> None:
        data = bytes(data)
        self.wire.sent.append((self.local_address, remote, data))
        receiver = self.wire.ends.get(remote)
        if receiver is not None and not self.wire.lose(data):
            batch = [(data, self.local_address, 0)]
            asyncio.get_running_loop().call_soon(receiver.datagrams_received, batch)


def loopback() -> Host:
    """The real machine, with names that resolve without asking anybody."""
    return Named(seed=2)


class Named(LiveHost):
    async def resolve(self, name: str, port: int, *, family: Literal[0, 4, 6] = 0) -> list[Address]:
        if name == "nowhere.invalid":
            raise ResolveError(f"{name} does not resolve")
        return [("127.0.0.1", port)]
