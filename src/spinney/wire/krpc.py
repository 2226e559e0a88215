"""`Krpc`: calls and answers over a host's datagrams (BEP 5's KRPC), for every room of a peer.

    krpc = Krpc(host)
    krpc.use(await host.open_datagrams(krpc, ("0.0.0.0", 6881)))
    krpc.serve(b"chord", handler)            # chord.find, chord.notify, ...
    values = await krpc.call(remote, b"chord.find", {b"key": key}, timeout_s=2)

Queries go to the room named before the dot of `q` (no dot: the room served as `b""`, the DHT).
Answers are matched by (address, transaction) in one table of outstanding calls.  Transactions
are 4 bytes of the host's entropy: who cannot see our datagrams cannot answer them.

`call` is awaited, `ask` gives a future, and `request` calls back: a lookup that has a hundred
calls under way spends neither a task nor a turn of the event loop on each.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from math import ceil, inf
from typing import TypeAlias

from spinney.errors import CallError, NoAnswerError, WireError
from spinney.net.host import Address, Datagram, DatagramReceiver, Datagrams, Host
from spinney.wire.bencode import Value
from spinney.wire.krpc_messages import (
    MAX_SENT_BYTES,
    METHOD_UNKNOWN,
    PROTOCOL,
    Arguments,
    Query,
    answer_overhead_bytes,
    decode_message,
    encode_answer,
    encode_error,
    encode_query,
    read_error,
)

Handler: TypeAlias = Callable[[Query], Arguments | None]
"""Gives the answer's values at once, or None and later `Krpc.answer`, or nothing at all.
Raises `CallError` to refuse; a `WireError` becomes error 203."""

Told: TypeAlias = Callable[[Arguments | None, CallError | NoAnswerError | None], None]
"""Hears how a call ended: its values and None, or None and the error.  Once for each call."""

_Call: TypeAlias = tuple[Address, float, Told]
"""An outstanding call: who was asked, until when we wait, who is told."""

MAX_OUTSTANDING = 4_096
"""Calls that wait for an answer: a lookup has some ten, a busy node some hundred."""
MAX_PROVEN = 8_192
"""Addresses known to receive what we send them ; the oldest are forgotten."""
TICK_S = 1 / 16
"""Time limits are rounded up to it: one timer serves all calls, and runs this often at most."""
ENTROPY_BYTES = 1_024
TRANSACTION_BYTES = 4


_make = tuple.__new__


class Krpc(DatagramReceiver):
    """The calls of one UDP port.  `dropped` counts datagrams by why they were dropped."""

    def __init__(self, host: Host, *, read_only: bool = False) -> None:
        self.host = host
        self.read_only = read_only
        self.dropped: Counter[str] = Counter()
        self._datagrams: Datagrams | None = None
        self._closed = False
        self._handlers: dict[bytes, tuple[Handler, float]] = {}
        self._calls: dict[bytes, _Call] = {}
        self._proven: dict[Address, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = inf
        self._entropy = b""
        self._entropy_at = 0
        self._loop = asyncio.get_running_loop()

    def use(self, datagrams: Datagrams) -> None:
        """Sends through this socket from now on."""
        self._datagrams = datagrams
        self._closed = False

    def serve(self, prefix: bytes, handler: Handler, *, amplification: float = 3.0) -> None:
        """Queries `prefix.*` go to `handler`; `b""`: those without a dot.

        An answer to an address that has not proven that it receives what we send is at most
        `amplification` times as large as its query (forged senders would aim us at others).
        """
        self._handlers[prefix] = (handler, amplification)

    def stop_serving(self, prefix: bytes) -> None:
        self._handlers.pop(prefix, None)

    @property
    def outstanding(self) -> int:
        return len(self._calls)

    async def call(
        self,
        remote: Address,
        method: bytes,
        arguments: Arguments,
        *,
        timeout_s: float = 2.0,
        attempts: int = 1,
    ) -> Arguments:
        """The values that `remote` answers.

        Raises `NoAnswerError` when nothing came within `timeout_s` after each of `attempts`
        sendings, or too many calls are outstanding; `CallError` when it answered an error.
        """
        for attempt in range(1, attempts + 1):
            try:
                return await self.ask(remote, method, arguments, timeout_s)
            except NoAnswerError:
                if attempt == attempts:
                    raise
        raise AssertionError("a call is attempted once at least")

    def ask(
        self, remote: Address, method: bytes, arguments: Arguments, timeout_s: float = 2.0
    ) -> asyncio.Future[Arguments]:
        """Sends one query and returns the future of its answer: `call`, without a coroutine."""
        answer: asyncio.Future[Arguments] = self._loop.create_future()
        try:
            self.request(remote, method, arguments, partial(_settle, answer), timeout_s)
        except NoAnswerError as error:
            answer.set_exception(error)
        return answer

    def request(
        self,
        remote: Address,
        method: bytes,
        arguments: Arguments,
        told: Told,
        timeout_s: float = 2.0,
    ) -> None:
        """Sends one query; `told` hears its end, never from within `request`.

        Raises `NoAnswerError` when too many calls are outstanding, or after `close`; `told`
        then hears nothing.
        """
        datagrams, calls = self._datagrams, self._calls
        if datagrams is None:
            assert self._closed, "use() comes first"
            raise NoAnswerError("this port is closed")
        if len(calls) >= MAX_OUTSTANDING:
            raise NoAnswerError(f"{MAX_OUTSTANDING} calls wait for answers already")
        at = self._entropy_at
        transaction = self._entropy[at : at + TRANSACTION_BYTES]
        self._entropy_at = at + TRANSACTION_BYTES
        if not transaction or transaction in calls:
            transaction = self._fresh_transaction()
        data = encode_query(transaction, method, arguments, read_only=self.read_only)
        if len(data) > MAX_SENT_BYTES:
            raise ValueError(f"{method!r} takes {len(data)} bytes: page it, or use a stream")
        ends_at = self._loop.time() + timeout_s
        calls[transaction] = (remote, ends_at, told)
        if ends_at < self._wakes_at:
            self._arm(ends_at)
        datagrams.send(data, remote)

    def tell(self, remote: Address, method: bytes, arguments: Arguments) -> None:
        """Sends a query whose answer nobody waits for."""
        assert self._datagrams is not None, "use() comes first"
        transaction = self._fresh_transaction()
        data = encode_query(transaction, method, arguments, read_only=self.read_only)
        if len(data) > MAX_SENT_BYTES:
            raise ValueError(f"{method!r} takes {len(data)} bytes: page it, or use a stream")
        self._datagrams.send(data, remote)

    def answer(self, query: Query, values: Arguments) -> None:
        """The late answer to a query whose handler returned None."""
        if self._datagrams is None:
            return
        data = encode_answer(query.transaction, values)
        allowed = query.room_bytes + answer_overhead_bytes(query.transaction)
        if len(data) > allowed:
            # The rule holds even where a handler forgot it.
            self.dropped["answer too large"] += 1
            self.refuse(query, CallError("the answer is too large for one datagram", PROTOCOL))
            return
        self._datagrams.send(data, query.remote)

    def refuse(self, query: Query, error: CallError) -> None:
        """The late refusal of a query whose handler returned None."""
        if self._datagrams is not None:
            # 12: what an error spends beside its text more than an answer beside its values.
            text = str(error)[: max(0, query.room_bytes - 12)]
            self._datagrams.send(encode_error(query.transaction, error.code, text), query.remote)

    def proven(self, remote: Address) -> bool:
        """Has this address answered a call of ours lately (so that it is not forged)?"""
        return remote in self._proven

    def close(self) -> None:
        """Ends all calls with `NoAnswerError`.  The socket belongs to who opened it."""
        self._datagrams = None
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wakes_at = inf
        ended = list(self._calls.values())
        self._calls.clear()
        for remote, _, told in ended:
            self._tell(told, None, NoAnswerError(f"closed before {remote[0]} answered"))

    # Receiving.

    def datagrams_received(self, batch: list[Datagram]) -> None:
        for data, remote, _ in batch:
            try:
                kind, transaction, message = decode_message(data)
            except WireError:
                self.dropped["no KRPC message"] += 1
                continue
            if kind == b"q":
                self._queried(data, transaction, message, remote)
            else:
                self._answered(kind, transaction, message, remote)

    def _answered(
        self, kind: bytes, transaction: bytes, message: dict[bytes, Value], remote: Address
    ) -> None:
        waiting = self._calls.get(transaction)
        if waiting is None or waiting[0] != remote:
            self.dropped["answer to no call"] += 1
            return
        del self._calls[transaction]
        proven = self._proven
        if remote not in proven:
            if len(proven) >= MAX_PROVEN:
                del proven[next(iter(proven))]
            proven[remote] = None
        if kind == b"r":
            self._tell(waiting[2], message[b"r"], None)
        else:
            code, text = read_error(message)
            self._tell(waiting[2], None, CallError(f"{remote[0]} answered: {text}", code))

    def _tell(
        self, told: Told, values: Arguments | None, error: CallError | NoAnswerError | None
    ) -> None:
        try:
            told(values, error)
        except Exception as mistake:  # our own: said aloud, and the other calls go on
            self._loop.call_exception_handler(
                {"message": "who waited for an answer failed", "exception": mistake}
            )

    def _queried(
        self, data: bytes, transaction: bytes, message: dict[bytes, Value], remote: Address
    ) -> None:
        method: bytes = message[b"q"]
        if self.read_only or self._datagrams is None:
            self.dropped["query to a read-only node"] += 1
            return
        prefix, dot, _ = method.partition(b".")
        serving = self._handlers.get(prefix if dot else b"")
        allowed = MAX_SENT_BYTES
        if remote not in self._proven:
            allowed = min(allowed, int(len(data) * (3.0 if serving is None else serving[1])))
        room_bytes = allowed - 18 - len(transaction)
        asks_only = message.get(b"ro") == 1
        # `Query(...)` without the Python function that a named tuple puts before its making.
        query = _make(Query, (method, message[b"a"], remote, transaction, asks_only, room_bytes))
        if serving is None:
            self.refuse(query, CallError("method unknown", METHOD_UNKNOWN))
            return
        try:
            values = serving[0](query)
        except CallError as error:
            self.refuse(query, error)
        except WireError as error:
            self.refuse(query, CallError(str(error), PROTOCOL))
        except Exception as error:  # our own mistake: said aloud, and the node lives on
            self._loop.call_exception_handler(
                {"message": f"the handler of {method!r} failed", "exception": error}
            )
        else:
            if values is not None:
                self.answer(query, values)

    # Time limits: one timer for the call that ends first; calls that were answered cost it nothing.

    def _fresh_transaction(self) -> bytes:
        while True:
            at = self._entropy_at
            if at >= len(self._entropy):
                self._entropy, at = self.host.entropy(ENTROPY_BYTES), 0
            self._entropy_at = at + TRANSACTION_BYTES
            transaction = self._entropy[at : at + TRANSACTION_BYTES]
            if transaction not in self._calls:
                return transaction

    def _arm(self, ends_at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = wakes_at = ceil(ends_at / TICK_S) * TICK_S
        self._timer = self._loop.call_at(wakes_at, self._tick)

    def _tick(self) -> None:
        now, calls = self._wakes_at, self._calls
        self._timer, self._wakes_at = None, inf
        for transaction in [each for each, call in calls.items() if call[1] <= now]:
            call = calls.pop(transaction, None)
            if call is not None:
                remote, _, told = call
                said = f"no answer from {remote[0]} port {remote[1]}"
                self._tell(told, None, NoAnswerError(said))
        if self._calls:
            ends_at = min(call[1] for call in self._calls.values())
            if ends_at < self._wakes_at:
                self._arm(ends_at)


def _settle(
    answer: asyncio.Future[Arguments],
    values: Arguments | None,
    error: CallError | NoAnswerError | None,
) -> None:
    if answer.done():
        return
    if error is None:
        assert values is not None
        answer.set_result(values)
    else:
        answer.set_exception(error)
