"""Names to addresses, by the system's resolver, in threads that nobody waits for at exit."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from typing import Literal

from spinney.errors import ResolveError
from spinney.net.host import Address
from spinney.net.live.sockets import address_of

RESOLVE_TIMEOUT_S = 15.0
"""The system's resolver may try several servers for longer than anybody wants to wait."""

LOOKUPS_AT_ONCE = 8
"""Each takes a thread, also after it timed out: a dead name server must not eat them all."""

_FAMILIES: dict[int, int] = {0: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


def numeric(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `name` already is, or None."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


class Resolver:
    """Looks names up; each lookup is a daemon thread, so that the program can always end."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(LOOKUPS_AT_ONCE)

    async def resolve(self, name: str, port: int, family: Literal[0, 4, 6]) -> list[Address]:
        """Every address in the system's order (RFC 6724); raises `ResolveError`."""
        address = numeric(name)
        if address is not None:
            if family and address.version != family:
                raise ResolveError(f"{name} is not an IPv{family} address")
            return [(name, port)]
        if not name or "\0" in name:
            raise ResolveError(f"{name!r} is not a host name")
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                rows = await self._lookup(name, port, _FAMILIES[family])
        except TimeoutError:
            raise ResolveError(
                f"no answer about the name {name} within {RESOLVE_TIMEOUT_S:g} s"
            ) from None
        if not rows:
            raise ResolveError(f"the name {name} has no address")
        return rows

    async def _lookup(self, name: str, port: int, family: int) -> list[Address]:
        if not self._free.acquire(blocking=False):
            raise ResolveError(
                f"{LOOKUPS_AT_ONCE} names are being looked up without an answer: "
                "check this machine's name server"
            )
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address]] = loop.create_future()

        def give(rows: list[Address] | None, error: ResolveError | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(rows or [])

        def look() -> None:
            rows, problem = None, None
            try:
                rows = _ask_system(name, port, family)
            except ResolveError as error:
                problem = error
            finally:
                self._free.release()
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(give, rows, problem)

        threading.Thread(target=look, name="spinney-resolve", daemon=True).start()
        return await answer


def _ask_system(name: str, port: int, family: int) -> list[Address]:
    try:
        answers = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ResolveError(f"the name {name} does not resolve: {error.strerror}") from None
    except (UnicodeError, OSError, ValueError, OverflowError) as error:
        raise ResolveError(f"{name!r} cannot be looked up: {error}") from None
    usable = (socket.AF_INET, socket.AF_INET6)
    rows = (address_of(answer[4]) for answer in answers if answer[0] in usable)
    return list(dict.fromkeys(rows))
