"""`answered`: a question that is sent again while nobody has answered, and the first answer to it.

A lost datagram costs what is waited until the next one is sent.  The first is not given up then: it
may only be slow, and an answer to either serves.  So every call that is asked so must be one that
may come twice (SEARCH, locks and outcomes by their transaction, TAKEON of who is a child already).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spinney.errors import CallError, NoAnswerError
from spinney.net.host import Address
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import Arguments


class _Asked:
    """One question under way."""

    def __init__(self, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Arguments] = loop.create_future()
        self.until = loop.time() + wait_s
        self._open = 0

    def send(
        self, krpc: Krpc, remote: Address, method: bytes, arguments: Callable[[], Arguments]
    ) -> None:
        left_s = self.until - asyncio.get_running_loop().time()
        try:
            krpc.request(remote, method, arguments(), self._told, left_s)
            self._open += 1
        except NoAnswerError as error:
            if not self._open and not self.answer.done():
                self.answer.set_exception(error)

    def _told(self, values: Arguments | None, error: CallError | NoAnswerError | None) -> None:
        self._open -= 1
        if self.answer.done():
            return
        if values is not None:
            self.answer.set_result(values)
        elif isinstance(error, CallError) or (error is not None and not self._open):
            self.answer.set_exception(error)


async def answered(
    krpc: Krpc,
    remote: Address,
    method: bytes,
    arguments: Callable[[], Arguments],
    *,
    wait_s: float,
    resend_s: float,
    sendings: int,
) -> Arguments:
    """The values of the first answer within `wait_s`.  `arguments` is called for each sending, of
    which there are `sendings` at most, `resend_s` apart.  Raises as `Krpc.call`."""
    asked = _Asked(wait_s)
    asked.send(krpc, remote, method, arguments)
    loop = asyncio.get_running_loop()
    timers = [
        loop.call_later(at * resend_s, asked.send, krpc, remote, method, arguments)
        for at in range(1, sendings)
        if at * resend_s < wait_s
    ]
    try:
        return await asked.answer
    finally:
        for timer in timers:
            timer.cancel()
