"""Radio as multicast meets it: a slow basic rate, and nobody acknowledges.

An access point sends frames to a group at a basic rate, since all must understand it, and sends
them once: who does not hear one has lost it.  Frames to one station go at that station's rate and
are repeated until acknowledged.  So on a radio unicast may be ten times as fast as multicast.

Not modelled: that both share the air.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from spinney.sim.links import Pipe


@dataclass(frozen=True, slots=True)
class Radio:
    """A segment's radio.

    `multicast_bytes_per_s`: the basic rate, for all groups together; frames wait for it in
    `queue_bytes`, more is dropped.  `multicast_loss`: the probability that one station does not
    hear one frame.
    """

    multicast_bytes_per_s: float
    multicast_loss: float
    queue_bytes: int = 256 * 1024


class Air:
    """The state of one radio."""

    def __init__(self, radio: Radio, rng: Random) -> None:
        self._pipe = Pipe(radio.multicast_bytes_per_s, radio.queue_bytes)
        self._loss = radio.multicast_loss
        self._rng = rng

    def passes_at(self, now: float, size: int) -> float | None:
        """When a frame to a group was sent, or None for one that found the queue full."""
        return self._pipe.passes_at(now, size)

    def is_heard(self) -> bool:
        """Whether the next station hears the frame."""
        return self._rng.random() >= self._loss
