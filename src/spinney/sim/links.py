"""Links: latency distributions, loss, duplication, reordering, rates; and the fate of a packet.

A `Link` is what one line does to a packet.  A `Way` is all the links between two interfaces
taken together; it draws the fate of one packet after the other from the world's seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, repeat
from random import Random
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from spinney.sim.flows import Line


class Latency(Protocol):
    """A distribution of one-way delays in seconds, drawn anew for each packet."""

    def draw(self, rng: Random) -> float: ...


@dataclass(frozen=True, slots=True)
class Constant:
    """Always `seconds`: packets keep their order."""

    seconds: float

    def draw(self, rng: Random) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class Uniform:
    """Anything from `low_s` to `high_s`: packets overtake each other."""

    low_s: float
    high_s: float

    def draw(self, rng: Random) -> float:
        return self.low_s + (self.high_s - self.low_s) * rng.random()


@dataclass(frozen=True, slots=True)
class Exponential:
    """`least_s` and an exponential rest of `mean_s`: a queue somewhere on the way."""

    least_s: float
    mean_s: float

    def draw(self, rng: Random) -> float:
        return self.least_s + rng.expovariate(1.0) * self.mean_s


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Delays as measured between homes: a median and a long tail (`sigma`, 0.5 is usual)."""

    median_s: float
    sigma: float = 0.5

    def draw(self, rng: Random) -> float:
        return self.median_s * rng.lognormvariate(0.0, self.sigma)


@dataclass(frozen=True, slots=True)
class Link:
    """One line.

    `loss`, `duplicate`, `reorder`: probabilities for each packet; a reordered one is held back
    by up to `reorder_s` more.  `up_bytes_per_s` and `down_bytes_per_s` (None: no bound) count
    whole packets, headers included, away from and towards the host or network that the link
    belongs to.  `queue_bytes`: what waits in front of a slow line at most; more is dropped.
    `mtu`: bytes of the largest IP packet.
    """

    latency: Latency = Constant(0.0)
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_s: float = 0.05
    up_bytes_per_s: float | None = None
    down_bytes_per_s: float | None = None
    queue_bytes: int = 256 * 1024
    mtu: int = 1500

    def without_rates(self) -> Link:
        """What of this link matters to a `Way`: equal links then share their ways."""
        return replace(self, up_bytes_per_s=None, down_bytes_per_s=None, queue_bytes=0)


INTERNET = Link(latency=Constant(0.02))
LAN = Link(latency=Constant(0.0002))
LOOPBACK = Link(latency=Constant(0.00003), mtu=65536)
ACCESS = Link()

LOST = -1.0
TWICE = -2.0

FATES_DRAWN = (4, 16, 64, 256)
"""How many fates of packets are drawn at once on a way, the last number again and again."""


class Way:
    """The links from one kind of interface to another, as one: `next(fates)` is a packet's fate.

    A fate is the delay in seconds, `LOST`, or `TWICE` (two more fates follow, one a copy).
    """

    __slots__ = ("fates", "latencies", "least_s", "loss", "mtu", "open", "rng")

    def __init__(self, links: tuple[Link, ...], rng: Random, *, is_open: bool = True) -> None:
        self.rng = rng
        self.open = is_open
        self.latencies = tuple(link.latency for link in links if link.latency != Constant(0.0))
        passed = 1.0
        for link in links:
            passed *= 1.0 - link.loss
        self.loss = 1.0 - passed if is_open else 1.0
        self.mtu = min(link.mtu for link in links)
        duplicate = 1.0 - _all(1.0 - link.duplicate for link in links)
        reorder = 1.0 - _all(1.0 - link.reorder for link in links)
        reorder_s = max(link.reorder_s for link in links)
        if not is_open:
            self.fates = _never()
        elif duplicate or reorder:
            self.fates = self._unruly(duplicate, reorder, reorder_s)
        else:
            self.fates = self._plain()

    def delay_s(self) -> float:
        """One delay, for what is never lost (streams)."""
        rng = self.rng
        total = 0.0
        for latency in self.latencies:
            total += latency.draw(rng)
        return total

    def _plain(self) -> Iterator[float]:
        """Fates drawn in blocks, which are small at first: most ways see few packets."""
        return chain.from_iterable(map(self._block, chain(FATES_DRAWN, repeat(FATES_DRAWN[-1]))))

    def _block(self, count: int) -> list[float]:
        rng, loss, latencies = self.rng, self.loss, self.latencies
        random = rng.random
        if not latencies:
            fates = [0.0] * count
        elif len(latencies) == 1 and isinstance(latencies[0], Uniform):
            low, high = latencies[0].low_s, latencies[0].high_s
            spread = high - low
            fates = [low + spread * random() for _ in range(count)]
        else:
            fates = [self.delay_s() for _ in range(count)]
        if loss:
            return [LOST if random() < loss else fate for fate in fates]
        return fates

    def _unruly(self, duplicate: float, reorder: float, reorder_s: float) -> Iterator[float]:
        random = self.rng.random
        plain = self._plain()
        for fate in plain:
            if fate >= 0.0 and reorder and random() < reorder:
                fate += reorder_s * random()
            if fate >= 0.0 and duplicate and random() < duplicate:
                yield TWICE
                yield fate
                fate += self.delay_s() * random()
            yield fate


def _all(factors: Iterator[float]) -> float:
    product = 1.0
    for factor in factors:
        product *= factor
    return product


def _never() -> Iterator[float]:
    while True:
        yield LOST


class Pipe:
    """One direction of a line with a rate: packets wait in line, and too many are dropped.

    `free_at` is when the last accepted byte will have left.  `datagram_bytes` is what packets
    took since a stream was last served: it goes off the streams' share.
    """

    __slots__ = ("datagram_bytes", "free_at", "line", "queue_bytes", "rate_bytes_per_s")

    def __init__(self, rate_bytes_per_s: float, queue_bytes: int) -> None:
        self.rate_bytes_per_s = rate_bytes_per_s
        self.queue_bytes = queue_bytes
        self.free_at = 0.0
        self.datagram_bytes = 0
        self.line: Line | None = None

    def waiting_bytes(self, now: float) -> float:
        return max(0.0, self.free_at - now) * self.rate_bytes_per_s

    def passes_at(self, now: float, size_bytes: int) -> float | None:
        """When a packet of this size has passed; None if the queue is full."""
        start = self.free_at
        if start < now:
            start = now
        elif (start - now) * self.rate_bytes_per_s + size_bytes > self.queue_bytes:
            return None
        self.datagram_bytes += size_bytes
        self.free_at = start + size_bytes / self.rate_bytes_per_s
        return self.free_at
