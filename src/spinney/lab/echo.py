"""The smallest experiment: what loss does to a request with a time limit.

A template for others: build a world, run real nodes on its hosts, yield rows, state checks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.net.host import Address, Datagram, DatagramReceiver, Host
from spinney.sim import Link, Uniform

PORT = 7


class Server(DatagramReceiver):
    """Sends everything back."""

    def __init__(self, host: Host) -> None:
        self.host = host

    async def start(self) -> None:
        self.socket = await self.host.open_datagrams(self, ("0.0.0.0", PORT))

    def datagrams_received(self, batch: list[Datagram]) -> None:
        for data, remote, _ in batch:
            self.socket.send(data, remote)


class Client(DatagramReceiver):
    """Asks one request after the other; asks again after a time limit, `attempts` times."""

    def __init__(self, host: Host, server: Address, timeout_s: float, attempts: int) -> None:
        self.host = host
        self.server = server
        self.timeout_s = timeout_s
        self.attempts = attempts
        self.answered = self.failed = self.sent = 0
        self.delays_s: list[float] = []
        self._waiting: dict[bytes, asyncio.Future[None]] = {}

    def datagrams_received(self, batch: list[Datagram]) -> None:
        for data, _, _ in batch:
            answer = self._waiting.get(data)
            if answer is not None and not answer.done():
                answer.set_result(None)

    async def run(self, requests: int) -> None:
        self.socket = await self.host.open_datagrams(self, ("0.0.0.0", 0))
        for number in range(requests):
            if await self._ask(number.to_bytes(8, "big")):
                self.answered += 1
            else:
                self.failed += 1
        self.socket.close()

    async def _ask(self, key: bytes) -> bool:
        began = self.host.time()
        answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            for _ in range(self.attempts):
                self.sent += 1
                self.socket.send(key, self.server)
                await asyncio.wait((answer,), timeout=self.timeout_s)
                if answer.done():
                    self.delays_s.append(self.host.time() - began)
                    return True
            return False
        finally:
            del self._waiting[key]


def run(trial: Trial) -> Iterator[Row]:
    """Builds the world, lets the clients ask, and yields a row for each of them."""
    world = trial.world(link=Link(latency=Uniform(0.01, 0.1), loss=trial["loss"]))
    server = world.host("server")
    clients = [
        Client(world.host(f"client {n}"), (server.address, PORT), 0.5, trial["attempts"])
        for n in range(trial["clients"])
    ]

    async def scenario() -> None:
        await Server(server).start()
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(trial["requests"]))

    world.run(scenario())
    for number, client in enumerate(clients):
        yield {
            "client": number,
            "asked": trial["requests"],
            "answered": client.answered,
            "failed": client.failed,
            "sent": client.sent,
            "delay_s": round(sum(client.delays_s) / max(1, len(client.delays_s)), 6),
        }


EXPERIMENT = Experiment(
    name="echo",
    doc="What loss does to a request with a time limit",
    parameters={"clients": 10, "requests": 50, "loss": 0.05, "attempts": 4},
    grid={"loss": (0.0, 0.05, 0.2)},
    run=run,
    checks=(
        Check(
            "every request ends",
            lambda rows: all(row["answered"] + row["failed"] == row["asked"] for row in rows),  # type: ignore[operator]
        ),
    ),
    plot=Plot(x="loss", y="delay_s", title="Mean time to an answer"),
    bounds={
        "clients": (1, 100_000),
        "requests": (1, 1_000_000),
        "loss": (0.0, 1.0),
        "attempts": (1, 100),
    },
)
