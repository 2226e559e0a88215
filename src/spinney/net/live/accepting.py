"""`Accepting`: a listening socket whose connections become `StreamTransport`s."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from spinney.net.host import Address
from spinney.net.live.sockets import NumericSocket
from spinney.net.live.stream_transport import StreamTransport

AT_ONCE = 64
"""Connections taken before other callbacks get their turn."""
REST_S = 1.0
"""With no descriptor left for a connection, nobody is accepted for so long (as asyncio does):
the listening socket would stay readable and the loop would spin."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Accepting:
    """A `Listener`; the socket is bound and listens already."""

    def __init__(self, sock: NumericSocket, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self.addresses: tuple[Address, ...] = (sock.getsockname(),)
        self._sock = sock
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None
        self._closed = False
        self._watch()

    def _watch(self) -> None:
        self._rest = None
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if self._closed:
                return
            try:
                accepted, remote = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._loop.call_exception_handler(
                    {"message": "no room for another connection", "exception": error}
                )
                self._loop.remove_reader(self._sock.fileno())  # until it has rested
                self._rest = self._loop.call_later(REST_S, self._watch)
                return
            assert isinstance(accepted, NumericSocket)
            accepted.setblocking(False)
            try:
                StreamTransport(self._loop, accepted, self._factory(), remote)
            except BaseException:
                accepted.close()
                raise

    def close(self) -> None:
        """Stops accepting; connections that exist go on."""
        if self._closed:
            return
        self._closed = True
        if self._rest is not None:
            self._rest.cancel()
        else:
            self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
