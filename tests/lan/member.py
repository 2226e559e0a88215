"""A program on a machine of the laboratory: joins groups, sends and tells what it heard.

One JSON object a line on standard input asks, one on standard output answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from spinney.errors import NetworkError
from spinney.groups.group import GroupReceiver, Sent
from spinney.groups.ip import IpGroup, IpGroups
from spinney.net.host import Address
from spinney.net.live import LiveHost

AT_ONCE = 16
"""Payloads of a burst: what shallow queues take."""


def payload(number: int, size: int) -> bytes:
    """Its number, then bytes that follow from it."""
    return number.to_bytes(4, "big") + bytes([number % 251]) * (size - 4)


class Ear(GroupReceiver):
    def __init__(self) -> None:
        self.count = self.bad = self.bursts = 0
        self.numbers: set[int] = set()
        self.errors: list[int] = []

    def group_received(self, batch: list[Sent]) -> None:
        for data, _ in batch:
            self.count += 1
            number = int.from_bytes(data[:4], "big")
            self.numbers.add(number)
            self.bad += data != payload(number, len(data))

    def group_burst(self, data: memoryview, segment_bytes: int, sender: Address) -> None:
        self.bursts += 1
        super().group_burst(data, segment_bytes, sender)

    def group_error(self, error: OSError) -> None:
        self.errors.append(error.errno or 0)


class Program:
    def __init__(self, words: list[str]) -> None:
        self.host = LiveHost()
        hops = 0 if "inside" in words else 1
        self.groups = IpGroups(self.host, six="six" in words, hops=hops)
        self.rooms: dict[str, tuple[IpGroup, Ear]] = {}

    async def join(self, name: str, address: str, send_only: bool = False) -> dict[str, Any]:
        ear = Ear()
        try:
            group = await self.groups.join(address.encode(), ear, send_only=send_only)
        except NetworkError as error:
            return {"error": str(error)}
        self.rooms[name] = group, ear
        return {"interfaces": group.interfaces}

    async def leave(self, name: str) -> dict[str, Any]:
        self.rooms.pop(name)[0].close()
        return {}

    async def candidate(self) -> dict[str, Any]:
        return {"address": self.groups.candidate(self.host.rng).decode()}

    async def send(
        self, name: str, first: int, count: int, size: int = 200, every_s: float = 0.0
    ) -> dict[str, Any]:
        for number in range(first, first + count):
            self.rooms[name][0].send(payload(number, size))
            if every_s or number % 64 == 63:
                await asyncio.sleep(every_s)
        return {}

    async def burst(
        self, name: str, first: int, count: int, size: int = 1_424, rate: float = 10e6
    ) -> dict[str, Any]:
        group, at, began = self.rooms[name][0], 0, self.host.time()
        while at < count:
            rows = [payload(first + at + n, size) for n in range(min(AT_ONCE, count - at))]
            buffers = [part for row in rows for part in (row[:16], row[16:])]
            taken = group.send_burst(buffers, size)
            at += taken
            if taken < len(rows):
                await group.writable()
            await asyncio.sleep(max(0.0, began + at * size / rate - self.host.time()))
        return {"dropped": group.dropped}

    async def wait(self, name: str, distinct: int, seconds: float = 5.0) -> dict[str, Any]:
        ear, ends = self.rooms[name][1], self.host.time() + seconds
        while len(ear.numbers) < distinct and self.host.time() < ends:
            await asyncio.sleep(0.01)
        return await self.heard(name)

    async def heard(self, name: str) -> dict[str, Any]:
        group, ear = self.rooms[name]
        return {
            "distinct": len(ear.numbers),
            "count": ear.count,
            "bad": ear.bad,
            "bursts": ear.bursts,
            "lost": group.lost,
            "errors": ear.errors,
            "interfaces": group.interfaces,
        }

    async def forget(self, name: str) -> dict[str, Any]:
        self.rooms[name][1].numbers.clear()
        return {}

    async def rejoin(self, name: str) -> dict[str, Any]:
        await self.rooms[name][0].rejoin()
        return {}


async def main() -> None:
    program = Program(sys.argv[1:])
    loop = asyncio.get_running_loop()
    print("{}", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        answer = await getattr(program, asked.pop("do"))(**asked)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
