"""Many datagrams by one call: every size and order, two senders, both families, a busy socket."""

from __future__ import annotations

import asyncio
import random

import pytest

from spinney.net.host import Address, Datagram, DatagramOptions, DatagramReceiver
from spinney.net.live.batches import MESSAGES, available
from spinney.net.live.host import LiveHost

BURSTS = DatagramOptions(bursts=True)


class Ear(DatagramReceiver):
    """Keeps what it hears, and how it came."""

    def __init__(self, wanted: int) -> None:
        self.heard: list[tuple[bytes, Address]] = []
        self.bursts = 0
        self.wanted = wanted
        self.done = asyncio.Event()

    def _note(self, data: bytes, remote: Address) -> None:
        self.heard.append((data, remote))
        if len(self.heard) >= self.wanted:
            self.done.set()

    def datagrams_received(self, batch: list[Datagram]) -> None:
        for data, remote, _ in batch:
            self._note(data, remote)

    def burst_received(
        self, data: memoryview, segment_bytes: int, remote: Address, interface: int
    ) -> None:
        self.bursts += 1
        for at in range(0, len(data), segment_bytes):
            self._note(bytes(data[at : at + segment_bytes]), remote)


@pytest.mark.skipif(not available(), reason="this system has no recvmmsg")
@pytest.mark.parametrize("local", ["127.0.0.1", "::1"])
def test_every_datagram_comes_once_whole_and_in_order(local: str) -> None:
    rng = random.Random(1)
    sizes = [1424] * 200 + [0, 1, 60_000, 1424, 1424, 9_000, 2048, 2049, 1423] + [700] * 150
    sent = [rng.randbytes(size) for size in sizes]

    async def main() -> None:
        host = LiveHost("batches")
        ear = Ear(2 * len(sent))
        socket = await host.open_datagrams(ear, (local, 0), BURSTS)
        mouths = [await host.open_datagrams(Ear(0), (local, 0)) for _ in range(2)]
        for number, data in enumerate(sent):
            for mouth in mouths:
                mouth.send(data, socket.local_address[:2])
            if number % 40 == 39:
                await asyncio.sleep(0.001)
        async with asyncio.timeout(10):
            await ear.done.wait()
        for mouth in mouths:
            mine = [data for data, remote in ear.heard if remote == mouth.local_address[:2]]
            assert mine == sent
            mouth.close()
        socket.close()
        host.close()

    asyncio.run(main())


@pytest.mark.skipif(not available(), reason="this system has no recvmmsg")
def test_equal_datagrams_of_one_sender_come_as_bursts_also_after_a_pause() -> None:
    async def main() -> None:
        host = LiveHost("batches")
        ear = Ear(20 * MESSAGES + 1)
        socket = await host.open_datagrams(ear, ("127.0.0.1", 0), BURSTS)
        mouth = await host.open_datagrams(Ear(0), ("127.0.0.1", 0))
        for turn in range(20):
            for number in range(MESSAGES):
                mouth.send(bytes([turn, number]) * 700, socket.local_address)
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.05)  # the socket is looked at less often meanwhile, then waits again
        mouth.send(b"last", socket.local_address)
        async with asyncio.timeout(10):
            await ear.done.wait()
        assert [data[:2] for data, _ in ear.heard[:-1]] == [
            bytes([turn, number]) for turn in range(20) for number in range(MESSAGES)
        ]
        assert ear.bursts >= 15
        socket.close()
        mouth.send(b"nobody", socket.local_address)
        await asyncio.sleep(0.01)
        assert len(ear.heard) == ear.wanted
        mouth.close()
        host.close()

    asyncio.run(main())
