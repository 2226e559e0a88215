"""Signed calls between peers: who says it, that it is new, and that nobody changed it.  Pure.

    arguments = {b: body, s: stream, k: public key, n: number, z: signature}

A number is the sender's clock in milliseconds, or one more than its last.  What is older than
`LATE_MS` is refused as late; what was heard before, from another address, as a replay.  The same
call from the same address again is a repeated question: every call of the forest may be repeated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from spinney.errors import CallError, WireError
from spinney.net.host import Address
from spinney.p2pcast.place import SOURCE, SPECIAL, Name
from spinney.p2pcast.trust.identity import Signer
from spinney.wire.krpc_messages import Arguments

UNSIGNED, FORGED, REPLAYED, LATE, NOT_YOURS, NO_TICKETS = 311, 312, 313, 314, 315, 317
CANNOT_CARRY, TOO_OFTEN = 318, 319
"""Codes of refusals, beside those of KRPC (201 to 204) and of the registry (301 to 306)."""

LATE_MS = 30_000
"""Clocks that are set by the registry's differ by less than a second; one that is not may be
wrong by so much."""
SIGNERS_KEPT = 1_024
"""As many as addresses: whose numbers are remembered.  An older call of one who was forgotten is
late soon after."""
NUMBERS_KEPT = 64
"""Of one signer: a peer makes some twenty signed calls to another in a change."""
NUMBER_MAX = (1 << 53) - 1

_CONTEXT = b"spinney p2pcast call 1\0"


class Counter:
    """The one row of numbers of a key: two different calls with one number would prove a cheat."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> int:
        self._last = max(self._last + 1, int(self._clock() * 1_000))
        return self._last


def _text(stream: bytes, method: bytes, number: int, body: bytes) -> bytes:
    return b"%b%b%b\0%b%b" % (_CONTEXT, stream, method, number.to_bytes(8, "big"), body)


def seal(signer: Signer, stream: bytes, method: bytes, number: int, body: bytes) -> Arguments:
    """The arguments of a signed call."""
    signature = signer.sign(_text(stream, method, number, body))
    return {b"b": body, b"k": signer.public, b"n": number, b"s": stream, b"z": signature}


class Heard:
    """Numbers that were heard, by signer."""

    def __init__(self) -> None:
        self._signers: OrderedDict[Name, OrderedDict[int, Address]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._signers)

    def check(self, name: Name, number: int, remote: Address, now_ms: float) -> None:
        """Raises `CallError`: late, or heard before from elsewhere."""
        numbers = self._signers.get(name)
        if abs(number - now_ms) > LATE_MS:
            raise CallError("this call is late, or its sender's clock is wrong", LATE)
        if numbers is None:
            return
        if number in numbers:
            if numbers[number] != remote:
                raise CallError("this call was heard before, from elsewhere", REPLAYED)
        elif len(numbers) >= NUMBERS_KEPT and number < min(numbers):
            raise CallError("this peer has said many newer things since", LATE)

    def note(self, name: Name, number: int, remote: Address) -> None:
        """Of a call whose signature was good."""
        signers = self._signers
        numbers = signers.setdefault(name, OrderedDict())
        signers.move_to_end(name)
        numbers[number] = remote
        while len(numbers) > NUMBERS_KEPT:
            del numbers[min(numbers)]
        while len(signers) > SIGNERS_KEPT:
            signers.popitem(last=False)


def opened(
    signer: Signer,
    heard: Heard,
    stream: bytes,
    method: bytes,
    arguments: Arguments,
    remote: Address,
    now_ms: float,
) -> tuple[Name, bytes]:
    """Who signed a call, and with which key.  Raises `CallError` or `WireError`."""
    public, number, signature = arguments.get(b"k"), arguments.get(b"n"), arguments.get(b"z")
    if public is None and signature is None:
        raise CallError("this call must be signed", UNSIGNED)
    body = arguments.get(b"b")
    if type(public) is not bytes or len(public) != signer.public_bytes or type(body) is not bytes:
        raise WireError("a signed call without a key or a body")
    if type(signature) is not bytes or len(signature) != signer.signature_bytes:
        raise WireError("a signed call without a signature")
    if type(number) is not int or not 0 <= number <= NUMBER_MAX:
        raise WireError("a signed call without a number")
    name = signer.name_of(public)
    heard.check(name, number, remote, now_ms)
    if not signer.verify(public, signature, _text(stream, method, number, body)):
        raise CallError("the signature is false", FORGED)
    heard.note(name, number, remote)
    return name, public


def speaks_for(signed: Name, claimed: Name) -> bool:
    """May the holder of this name speak as that one?  The source keeps the special node."""
    return signed == claimed or (signed == SOURCE and claimed == SPECIAL)
