"""What a simulated world does not have: the parts of asyncio's loop that raise an error."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn


class NotSimulated(NotImplementedError):
    """A part of asyncio that a simulated world does not have."""

    def __init__(self, name: str, instead: str) -> None:
        super().__init__(f"the simulator's event loop has no {name}: use {instead}")


def _no(name: str, instead: str) -> Any:
    def refused(self: object, *args: object, **kwargs: object) -> NoReturn:
        raise NotSimulated(name, instead)

    refused.__name__ = name
    return refused


_STREAMS = "the host's streams (host.connect, host.listen)"
_DATAGRAMS = "the host's datagrams (host.open_datagrams)"
_NAMES = "the host's names (host.resolve)"
_FILES = "callbacks: there are no file descriptors"
_PROCESSES = "tasks that the world starts and stops"
_WORK = "host.work(function, ...)"


class Refusing(asyncio.AbstractEventLoop):
    """Every method that has no meaning here raises `NotSimulated` and says what to use."""

    create_connection: Any = _no("create_connection", _STREAMS)
    create_server: Any = _no("create_server", _STREAMS)
    create_unix_connection: Any = _no("create_unix_connection", _STREAMS)
    create_unix_server: Any = _no("create_unix_server", _STREAMS)
    connect_accepted_socket: Any = _no("connect_accepted_socket", _STREAMS)
    sock_connect: Any = _no("sock_connect", _STREAMS)
    sock_accept: Any = _no("sock_accept", _STREAMS)
    sock_recv: Any = _no("sock_recv", _STREAMS)
    sock_recv_into: Any = _no("sock_recv_into", _STREAMS)
    sock_sendall: Any = _no("sock_sendall", _STREAMS)
    sock_sendfile: Any = _no("sock_sendfile", _STREAMS)
    sendfile: Any = _no("sendfile", _STREAMS)
    start_tls: Any = _no("start_tls", _STREAMS)
    create_datagram_endpoint: Any = _no("create_datagram_endpoint", _DATAGRAMS)
    sock_recvfrom: Any = _no("sock_recvfrom", _DATAGRAMS)
    sock_recvfrom_into: Any = _no("sock_recvfrom_into", _DATAGRAMS)
    sock_sendto: Any = _no("sock_sendto", _DATAGRAMS)
    getaddrinfo: Any = _no("getaddrinfo", _NAMES)
    getnameinfo: Any = _no("getnameinfo", _NAMES)
    add_reader: Any = _no("add_reader", _FILES)
    remove_reader: Any = _no("remove_reader", _FILES)
    add_writer: Any = _no("add_writer", _FILES)
    remove_writer: Any = _no("remove_writer", _FILES)
    connect_read_pipe: Any = _no("connect_read_pipe", _FILES)
    connect_write_pipe: Any = _no("connect_write_pipe", _FILES)
    add_signal_handler: Any = _no("add_signal_handler", _PROCESSES)
    remove_signal_handler: Any = _no("remove_signal_handler", _PROCESSES)
    subprocess_exec: Any = _no("subprocess_exec", _PROCESSES)
    subprocess_shell: Any = _no("subprocess_shell", _PROCESSES)
    run_in_executor: Any = _no("run_in_executor", _WORK)
    set_default_executor: Any = _no("set_default_executor", _WORK)
