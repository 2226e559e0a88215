"""Datagrams through the live host: the draining loop against asyncio's own endpoint, in turns.

    python bench/datagrams.py [--rounds 7]

Counts processor seconds, not the clock's: the socket's buffer is filled first (uncounted), then
the event loop empties it.  Loopback only; about ten seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spinney.net.host import Address, Datagram, DatagramOptions, DatagramReceiver, Datagrams
from spinney.net.live import LiveHost
from spinney.net.live.plain import ENVIRONMENT_NAME

SMALL_BYTES, SMALL_COUNT = 100, 2_000
"""A tracker's or a DHT's datagram; as many as a buffer of 4 MiB keeps (768 bytes charged each)."""
SEGMENT_BYTES, SEGMENTS = 1_400, 46
"""The multicast data path's burst: 46 segments of 1,400 bytes in one call."""
BURSTS = 24
REPEATS = 20


class Counter(DatagramReceiver):
    """Counts datagrams and bytes; ready once `target` have come."""

    def __init__(self) -> None:
        self.count = self.size = self.target = 0
        self.ready = asyncio.Event()

    def datagrams_received(self, batch: list[Datagram]) -> None:
        self.count += len(batch)
        for datagram in batch:
            self.size += len(datagram[0])
        if self.count >= self.target:
            self.ready.set()


class BurstCounter(Counter):
    """Takes merged segments as they come, as the multicast receiver does."""

    def burst_received(
        self, data: memoryview, segment_bytes: int, remote: Address, interface: int
    ) -> None:
        self.count += -(-len(data) // segment_bytes)
        self.size += len(data)
        if self.count >= self.target:
            self.ready.set()


@contextmanager
def io(plain: bool) -> Iterator[None]:
    os.environ[ENVIRONMENT_NAME] = "1" if plain else "0"
    yield
    del os.environ[ENVIRONMENT_NAME]


async def receive(
    host: LiveHost, counter: Counter, options: DatagramOptions, fill: Callable[[Address], int]
) -> float:
    """Processor seconds to take in all that `fill` put into the buffer, `REPEATS` times."""
    opened = await host.open_datagrams(counter, ("127.0.0.1", 0), options)
    spent = 0.0
    for _ in range(REPEATS):
        counter.ready.clear()
        counter.target = counter.count + fill(opened.local_address)
        began = time.process_time()
        await asyncio.wait_for(counter.ready.wait(), 5)
        spent += time.process_time() - began
    opened.close()
    await asyncio.sleep(0)
    return spent


async def send(host: LiveHost, how: str) -> float:
    """Processor seconds for `REPEATS` times `BURSTS` bursts."""
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("127.0.0.1", 0))
    opened: Datagrams = await host.open_datagrams(Counter(), ("127.0.0.1", 0))
    rows = [bytes(16), bytes(SEGMENT_BYTES - 16)] * SEGMENTS
    whole = b"".join(rows[:2])
    to: Address = sink.getsockname()
    began = time.process_time()
    for _ in range(REPEATS * BURSTS):
        if how == "burst":
            opened.send_burst(rows, SEGMENT_BYTES, to)
        else:
            opened.send_many([(whole, to)] * SEGMENTS)
    spent = time.process_time() - began
    opened.close()
    sink.close()
    await asyncio.sleep(0)
    return spent


def fill_small(to: Address) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        for _ in range(SMALL_COUNT):
            mouth.sendto(bytes(SMALL_BYTES), to)
    return SMALL_COUNT


def fill_bursts(to: Address) -> int:
    control = [(17, 103, SEGMENT_BYTES.to_bytes(2, "little"))]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        for _ in range(BURSTS):
            mouth.sendmsg([bytes(SEGMENT_BYTES * SEGMENTS)], control, 0, to)
    return BURSTS * SEGMENTS


async def one_round(host: LiveHost) -> dict[str, float]:
    """Datagrams a processor second, by way."""
    rows: dict[str, float] = {}
    small, bulk = SMALL_COUNT * REPEATS, BURSTS * SEGMENTS * REPEATS
    simple, info = DatagramOptions(), DatagramOptions(packet_info=True)
    bursts = DatagramOptions(bursts=True)
    with io(plain=True):
        rows["receive, asyncio's endpoint"] = small / await receive(
            host, Counter(), simple, fill_small
        )
    with io(plain=False):
        rows["receive, draining loop"] = small / await receive(host, Counter(), simple, fill_small)
        rows["receive, with packet info"] = small / await receive(host, Counter(), info, fill_small)
        rows["receive bulk, one by one"] = bulk / await receive(
            host, Counter(), simple, fill_bursts
        )
        rows["receive bulk, merged"] = bulk / await receive(
            host, BurstCounter(), bursts, fill_bursts
        )
        rows["send bulk, one by one"] = bulk / await send(host, "many")
        rows["send bulk, bursts"] = bulk / await send(host, "burst")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    host = LiveHost("bench")
    rounds = [asyncio.run(one_round(host)) for _ in range(arguments.rounds)]
    host.close()
    print(f"{'datagrams a processor second':32}{'median':>12}{'least':>12}{'most':>12}")
    medians = {}
    for name in rounds[0]:
        values = [row[name] for row in rounds]
        medians[name] = statistics.median(values)
        print(f"{name:32}{medians[name]:12,.0f}{min(values):12,.0f}{max(values):12,.0f}")
    for what, fast, slow in (
        ("draining loop / asyncio", "receive, draining loop", "receive, asyncio's endpoint"),
        ("merged / one by one", "receive bulk, merged", "receive bulk, one by one"),
        ("bursts / one by one", "send bulk, bursts", "send bulk, one by one"),
    ):
        print(f"{what:32}{medians[fast] / medians[slow]:12.2f}")
    size = SEGMENT_BYTES / 1e6
    for name in rounds[0]:
        if "bulk" in name:
            print(f"{name + ', MB':32}{medians[name] * size:12,.0f}")


if __name__ == "__main__":
    main()
