"""TLS over simulated streams, by asyncio's own `SSLProtocol`.

The system's TLS library draws its own randomness, so the bytes of an encrypted stream differ
from run to run: the digest counts their length only.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spinney.sim.host import SimHost
    from spinney.sim.streams import SimStream


def server_side(
    host: SimHost, protocol: asyncio.BaseProtocol, context: ssl.SSLContext
) -> asyncio.BaseProtocol:
    """The protocol to put on an accepted stream."""
    waiter: Any = None
    made: asyncio.BaseProtocol = sslproto.SSLProtocol(
        host.world.loop, protocol, context, waiter, server_side=True, call_connection_made=True
    )
    return made


async def client_side(
    host: SimHost,
    stream: SimStream,
    protocol: asyncio.BaseProtocol,
    context: ssl.SSLContext,
    server_name: str | None,
) -> asyncio.Transport:
    """Shakes hands over a connected stream; the encrypted transport, or `OSError`."""
    waiter = host.world.loop.create_future()
    made: Any = sslproto.SSLProtocol(
        host.world.loop,
        protocol,
        context,
        waiter,
        server_side=False,
        server_hostname=server_name or stream.get_extra_info("peername")[0],
        call_connection_made=True,
    )
    stream.set_protocol(made)
    stream.begin()
    try:
        await waiter
    except BaseException:
        stream.abort()
        raise
    transport: asyncio.Transport = made._app_transport
    return transport
