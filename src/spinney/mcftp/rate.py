"""How fast a sender sends: a rate that was given, or one that is found.  Pure.  (RFC 6817 and PCC
are the models in spirit: trials, not a formula of loss and round trip.)
"""

from __future__ import annotations

from typing import Protocol


class Rate(Protocol):
    """Says the rate, and hears what became of it."""

    @property
    def bytes_per_s(self) -> float:
        """Payload, headers excluded."""

    def heard(self, loss: float, now: float) -> None:
        """A receiver reported so much loss (0 to 1) of what was sent lately."""

    def sent(self, size_bytes: int, now: float) -> None:
        """So much was handed to the network."""


class FixedRate:
    """The user's or the leader's."""

    def __init__(self, bytes_per_s: float) -> None:
        assert bytes_per_s > 0
        self.bytes_per_s = float(bytes_per_s)

    def heard(self, loss: float, now: float) -> None: ...

    def sent(self, size_bytes: int, now: float) -> None: ...
