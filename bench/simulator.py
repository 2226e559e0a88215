"""How fast the simulator is: datagrams delivered a second of processor time, and memory.

    python bench/simulator.py                       all figures, each in a process of its own
    python bench/simulator.py bytes 10000           one of them: bytes, krpc or streams

`bytes` and `krpc`: nodes that ask a random other node and answer, each request with a timeout,
over links with latency and loss, digest on.  `bytes` nodes speak bare bytes through the Host
and set an asyncio timer for each request; `krpc` nodes use `wire/krpc.py`, with what its coding
alone costs printed beside it.  `streams`: peers that pass data on over links with bandwidth
and queues, with a datagram for each block.  One core; memory is the process's peak.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import subprocess
import sys
import time
from typing import Any

from spinney.net.host import Address, Datagram, DatagramReceiver
from spinney.sim import Link, SimHost, Uniform, World

INTERNET = Link(latency=Uniform(0.02, 0.12), loss=0.01)
TIMEOUT_S = 2.0
PORT = 4000
GOALS = {
    ("bytes", 1_000): 150_000,
    ("bytes", 10_000): 80_000,
    ("krpc", 1_000): 60_000,
    ("krpc", 10_000): 40_000,
}


class BytesNode(DatagramReceiver):
    """Asks and answers with 64 bytes; two requests under way at a time."""

    PADDING = bytes(55)

    def __init__(self, host: SimHost, everybody: list[Address]) -> None:
        self.host = host
        self.everybody = everybody
        self.waiting: dict[bytes, asyncio.TimerHandle] = {}
        self.loop = asyncio.get_running_loop()
        self.asked = self.answered = self.expired = 0
        self.pick = host.rng.random

    async def start(self) -> None:
        self.socket = await self.host.open_datagrams(self, ("0.0.0.0", PORT))
        self.send = self.socket.send

    def ask(self) -> None:
        everybody = self.everybody
        self.asked += 1
        key = self.asked.to_bytes(8, "big")
        self.waiting[key] = self.loop.call_later(TIMEOUT_S, self.expire, key)
        self.send(b"q" + key + self.PADDING, everybody[int(self.pick() * len(everybody))])

    def expire(self, key: bytes) -> None:
        del self.waiting[key]
        self.expired += 1
        self.ask()

    def datagrams_received(self, batch: list[Datagram]) -> None:
        for data, remote, _ in batch:
            if data[0] == 113:
                self.send(b"r" + data[1:], remote)
            else:
                timer = self.waiting.pop(data[1:9], None)
                if timer is not None:
                    timer.cancel()
                    self.answered += 1
                    self.ask()


class KrpcNode:
    """Asks by KRPC for a node and answers with what a node of the DHT would."""

    VALUES = {b"id": bytes(20), b"nodes": bytes(range(208))}  # noqa: RUF012

    def __init__(self, host: SimHost, everybody: list[Address]) -> None:
        from spinney.wire.krpc import Krpc

        self.host = host
        self.everybody = everybody
        self.krpc = Krpc(host)
        self.krpc.serve(b"bench", self.answer)
        self.asked = self.answered = self.expired = 0
        self.pick = host.rng.random

    async def start(self) -> None:
        self.krpc.use(await self.host.open_datagrams(self.krpc, ("0.0.0.0", PORT)))

    def answer(self, query: Any) -> Any:
        return self.VALUES

    def ask(self) -> None:
        everybody = self.everybody
        self.asked += 1
        remote = everybody[int(self.pick() * len(everybody))]
        arguments = {b"id": bytes(20), b"target": bytes(20)}
        self.krpc.request(remote, b"bench.find", arguments, self.told, TIMEOUT_S)

    def told(self, values: Any, error: Exception | None) -> None:
        if error is None:
            self.answered += 1
        else:
            self.expired += 1
        self.ask()


async def chatter(world: World, kind: Any, count: int, seconds: float) -> list[Any]:
    everybody: list[Address] = []
    nodes = []
    for number in range(count):
        host = world.host(f"n{number}")
        everybody.append((host.address, PORT))
        nodes.append(kind(host, everybody))
    for node in nodes:
        await node.start()
    for node in nodes:
        node.ask()
        node.ask()
    await asyncio.sleep(seconds)
    return nodes


def datagrams(kind: Any, count: int, deliveries: int) -> dict[str, Any]:
    """Runs until about so many datagrams were delivered."""
    world = World(seed=1, link=INTERNET)
    round_trip_s = 0.14 + 0.02 * TIMEOUT_S
    seconds = deliveries / (2 * 2 * count / round_trip_s)
    began = time.process_time()
    world.run(chatter(world, kind, count, 0.0))
    built = time.process_time()
    world.run(asyncio.sleep(seconds))  # type: ignore[arg-type]
    digest = world.digest()
    took = time.process_time() - built
    log = world.log
    return {
        "datagrams": log.arrivals,
        "per_s": round(log.arrivals / took),
        "cpu_s": round(took, 2),
        "build_s": round(built - began, 2),
        "events": world.loop.events,
        "virtual_s": round(world.loop.now, 2),
        "lost": log.lost_count,
        "digest": digest,
    }


def coding_s() -> float:
    """Processor seconds that coding and decoding one request and its answer take."""
    from spinney.wire.krpc_messages import decode_message, encode_answer, encode_query

    arguments = {b"id": bytes(20), b"target": bytes(20)}
    rounds = 5_000
    best = 1e9
    for _ in range(3):
        began = time.process_time()
        for _ in range(rounds):
            query = encode_query(b"abcd", b"bench.find", arguments, read_only=False)
            decode_message(query)
            decode_message(encode_answer(b"abcd", KrpcNode.VALUES))  # type: ignore[arg-type]
        best = min(best, time.process_time() - began)
    return best / rounds


class Peer(asyncio.Protocol):
    """Passes on every block that it has not had, to the neighbours that it was given."""

    BLOCK_BYTES = 16 * 1024

    def __init__(self, host: SimHost, blocks: int) -> None:
        self.host = host
        self.blocks = blocks
        self.have: set[int] = set()
        self.below: list[asyncio.Transport] = []
        self.done = asyncio.get_running_loop().create_future()
        self.received = bytearray()
        self.told = 0

    async def start(self) -> None:
        await self.host.listen(lambda: self, ("0.0.0.0", PORT))
        ear = DatagramReceiver()
        ear.datagrams_received = self.hear  # type: ignore[method-assign]
        self.socket = await self.host.open_datagrams(ear, ("0.0.0.0", PORT))

    async def feed(self, other: Peer) -> None:
        transport, _ = await self.host.connect(asyncio.Protocol, (other.host.address, PORT))
        self.below.append(transport)

    def hear(self, batch: list[Datagram]) -> None:
        self.told += len(batch)

    def data_received(self, data: bytes) -> None:
        self.received += data
        while len(self.received) >= self.BLOCK_BYTES:
            block = bytes(self.received[: self.BLOCK_BYTES])
            del self.received[: self.BLOCK_BYTES]
            self.pass_on(block)

    def pass_on(self, block: bytes) -> None:
        self.have.add(int.from_bytes(block[:8], "big"))
        for transport in self.below:
            transport.write(block)
            self.socket.send(block[:40], (transport.get_extra_info("peername")[0], PORT))
        if len(self.have) == self.blocks:
            self.done.set_result(None)


def streams(count: int, size: int = 4 << 20) -> dict[str, Any]:
    """A tree of fan-out two over lines of 1 MB/s with queues; a datagram beside each block."""
    line = Link(up_bytes_per_s=1e6, down_bytes_per_s=4e6)
    world = World(seed=1, link=INTERNET)
    blocks = size // Peer.BLOCK_BYTES
    began = time.process_time()

    async def main() -> list[Peer]:
        peers = [Peer(world.host(f"p{n}", link=line), blocks) for n in range(count)]
        for peer in peers:
            await peer.start()
        for number, peer in enumerate(peers[1:], 1):
            await peers[(number - 1) // 2].feed(peer)
        for number in range(blocks):
            peers[0].pass_on(number.to_bytes(8, "big") + bytes(Peer.BLOCK_BYTES - 8))
        await asyncio.gather(*(peer.done for peer in peers))
        return peers

    peers = world.run(main())
    digest = world.digest()
    took = time.process_time() - began
    moved = (count - 1) * size
    return {
        "stream_mb": round(moved / 1e6),
        "stream_mb_per_s": round(moved / 1e6 / took),
        "datagrams": sum(peer.told for peer in peers),
        "arrivals_per_s": round(world.log.arrivals / took),
        "cpu_s": round(took, 2),
        "events": world.loop.events,
        "virtual_s": round(world.loop.now, 2),
        "digest": digest,
    }


def measure(what: str, count: int) -> dict[str, Any]:
    gc.collect()
    if what == "streams":
        row = streams(count)
    else:
        kind = BytesNode if what == "bytes" else KrpcNode
        deliveries = 600_000 if what == "bytes" else 300_000
        row = datagrams(kind, count, max(deliveries, count * 40))
        if what == "krpc":
            row["coding_us_a_pair"] = round(coding_s() * 1e6, 1)
            row["coding_share"] = round(coding_s() / 2 * row["per_s"], 2)
    row["memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    goal = GOALS.get((what, count))
    return {"what": what, "nodes": count, **row, **({"goal_per_s": goal} if goal else {})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["bytes", "krpc", "streams"])
    parser.add_argument("count", nargs="?", type=int, default=1_000)
    chosen = parser.parse_args()
    if chosen.what:
        print(json.dumps(measure(chosen.what, chosen.count)))
        return
    for what, count in [*GOALS, ("streams", 200)]:
        subprocess.run([sys.executable, __file__, what, str(count)], check=True)


if __name__ == "__main__":
    main()
