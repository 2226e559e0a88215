"""Streams: our own transport for plain TCP, asyncio's for TLS and for plain I/O."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

from spinney.errors import ConnectError, NetworkError
from spinney.net.address import format_address
from spinney.net.host import Address, Listener, P
from spinney.net.live.accepting import Accepting
from spinney.net.live.plain import plain_io
from spinney.net.live.sockets import (
    NumericSocket,
    SocketMaker,
    bind,
    bind_error,
    connect_error,
    family_of,
    set_quietly,
    system_address,
)
from spinney.net.live.stream_transport import StreamTransport

IP_BIND_ADDRESS_NO_PORT = 24  # <linux/in.h>

TLS_HANDSHAKE_S = 20.0
"""A client that connects and never finishes the handshake holds a socket for this long."""


def _reuse(sock: socket.socket, reuse_port: bool) -> None:
    if hasattr(socket, "SO_REUSEADDR") and not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port and not (
        hasattr(socket, "SO_REUSEPORT")
        and set_quietly(sock, socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    ):
        raise NetworkError("this system cannot share a port between connections")


async def connect(
    make: SocketMaker,
    factory: Callable[[], P],
    remote: Address,
    *,
    local: Address | None,
    reuse_port: bool,
    tls: ssl.SSLContext | None,
    server_name: str | None,
    timeout_s: float,
) -> tuple[asyncio.Transport, P]:
    """One connection, TLS included, within `timeout_s`; raises `NetworkError`."""
    loop = asyncio.get_running_loop()
    target = system_address(remote)
    sock = make(family_of(remote[0]), socket.SOCK_STREAM)
    handed_over = False
    try:
        if local is not None:
            _reuse(sock, reuse_port)
            if not local[1]:
                # The port is then chosen by `connect`, which knows the other end: else all
                # connections from one address share its 28,000 free ports.
                set_quietly(sock, socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            bind(sock, local)
        async with asyncio.timeout(timeout_s):
            try:
                await loop.sock_connect(sock, target)
            except OSError as error:
                raise connect_error(error, remote) from error
            protocol = factory()
            handed_over = True  # from here a transport owns the socket and closes it
            return await _dress(loop, sock, protocol, remote, tls, server_name, timeout_s)
    except TimeoutError:
        where = format_address(remote)
        raise ConnectError(f"no answer from {where} within {timeout_s:g} s") from None
    finally:
        if not handed_over:
            sock.close()


async def _dress(
    loop: asyncio.AbstractEventLoop,
    sock: NumericSocket,
    protocol: P,
    remote: Address,
    tls: ssl.SSLContext | None,
    server_name: str | None,
    timeout_s: float,
) -> tuple[asyncio.Transport, P]:
    """Makes a connected socket into a transport and its protocol."""
    where = format_address(remote)
    if tls is None and not plain_io():
        ours = StreamTransport(loop, sock, protocol)
        try:
            await ours.made
        except BaseException:
            ours.abort()
            raise
        return ours, protocol
    try:
        if tls is None:
            transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
        else:
            transport, _ = await loop.create_connection(
                lambda: protocol,
                sock=sock,
                ssl=tls,
                server_hostname=server_name or remote[0].partition("%")[0],
                ssl_handshake_timeout=timeout_s,
            )
    except ssl.SSLCertVerificationError as error:
        name = server_name or remote[0]
        raise ConnectError(
            f"the certificate of {name} at {where} is not to be trusted: {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        raise ConnectError(f"{where} does not speak TLS with us: {error.reason}") from error
    except OSError as error:
        raise connect_error(error, remote) from error
    return transport, protocol


class LiveListener:
    """A listening socket of asyncio's `Server`."""

    def __init__(self, server: asyncio.Server, addresses: tuple[Address, ...]) -> None:
        self.addresses = addresses
        self._server = server

    def close(self) -> None:
        """Stops accepting; connections that exist go on."""
        self._server.close()


async def listen(
    make: SocketMaker,
    factory: Callable[[], asyncio.BaseProtocol],
    local: Address,
    *,
    reuse_port: bool,
    backlog: int,
    tls: ssl.SSLContext | None,
) -> Listener:
    """Listens on one address; raises `PortTakenError` or `NetworkError`."""
    loop = asyncio.get_running_loop()
    sock = make(family_of(local[0]), socket.SOCK_STREAM)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(sock.close)
        _reuse(sock, reuse_port)
        bind(sock, local)
        if tls is None and not plain_io():
            try:
                sock.listen(backlog)
            except OSError as error:
                raise bind_error(error, local, socket.SOCK_STREAM) from error
            listener = Accepting(sock, factory)
            on_failure.pop_all()
            return listener
        try:
            server = await loop.create_server(
                factory,
                sock=sock,
                backlog=backlog,
                ssl=tls,
                ssl_handshake_timeout=TLS_HANDSHAKE_S if tls else None,
            )
        except OSError as error:
            raise bind_error(error, local, socket.SOCK_STREAM) from error
        on_failure.pop_all()
    return LiveListener(server, (sock.getsockname(),))
