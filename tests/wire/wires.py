"""Two ends of a wire without a machine: datagrams that arrive on the next turn of the loop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, cast

from spinney.errors import ConnectError, ResolveError
from spinney.net.host import Address, DatagramReceiver, Datagrams, Host


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


class Loopback:
    """The streams of a `Host` over this machine's loopback, as thin as asyncio allows."""

    rng = random.Random(2)

    async def resolve(self, name: str, port: int, *, family: int = 0) -> list[Address]:
        if name == "nowhere.invalid":
            raise ResolveError(f"{name} does not resolve")
        return [("127.0.0.1", port)]

    async def connect(
        self,
        factory: Callable[[], Any],
        remote: Address,
        *,
        local: Address | None = None,
        tls: Any = None,
        server_name: str | None = None,
        timeout_s: float = 20.0,
        **_: object,
    ) -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                return await loop.create_connection(
                    factory, *remote, local_addr=local, ssl=tls, server_hostname=server_name
                )
        except (OSError, TimeoutError) as error:
            raise ConnectError(f"{remote} does not answer: {error}") from None

    async def listen(
        self, factory: Callable[[], Any], local: Address, *, tls: Any = None, **_: object
    ) -> Any:
        server = await asyncio.get_running_loop().create_server(factory, *local, ssl=tls)
        return Listening(server)


class Listening:
    def __init__(self, server: asyncio.Server) -> None:
        self.server = server
        self.addresses = tuple(socket.getsockname()[:2] for socket in server.sockets)

    def close(self) -> None:
        self.server.close()


def loopback() -> Host:
    return cast(Host, Loopback())
