"""A codec with a planted bug: a fuzzer that does not find it finds nothing."""

from __future__ import annotations

from tests.fuzz.targets import Target

from spinney.errors import WireError


def decode(data: bytes) -> list[bytes]:
    """Parts, each behind the byte of its length, after a mark; forgets to look at one length."""
    if data[:1] != b"C":
        raise WireError("no mark")
    if data[1:2] != b"A":
        raise WireError("half a mark")
    parts = []
    at = 2
    while at < len(data):
        length = data[at]
        if length == 0:
            # The bug: the byte behind a zero may be missing.
            length = data[at + 1]
            at += 1
        if at + 1 + length > len(data):
            raise WireError("cut short")
        parts.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    return parts


def canary(data: bytes) -> None:
    try:
        decode(data)
    except WireError:
        return


TARGETS = {"canary": Target(canary, (b"hello",), ("tests.fuzz.canary",))}
