"""The registry of P2PCast among liars: how long a join, a death and a cheat take, and what a
flood of names gains.

One registry, `peers` honest peers in networks of their own, and one who joins under `names`
names from `networks` networks of eight addresses each.  Then one peer dies and two neighbours
say so; one cheats and three children say so; and all names together accuse a living peer.
`told_share`: of the contacts in honest peers' answers, how many are the flooder's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from spinney.errors import CallError
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.p2pcast.registry import codec
from spinney.p2pcast.registry import messages as m
from spinney.p2pcast.registry.contacts import RegistryContacts
from spinney.p2pcast.registry.link import RegistryPlace
from spinney.p2pcast.registry.node import RegistryNode
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.sim import Link, SimHost, Uniform
from spinney.trust.keys import SEED_BYTES, Keys
from spinney.wire.krpc import Krpc

PORT = 6970
LOOK_S = 0.01
LIMIT_S = 30.0
ANSWERS = 20
"""Answers looked at for the share of the flooder's names."""


class Peer:
    """One name in the stream: it joins, says what it is told to say, and answers if it lives."""

    def __init__(self, host: SimHost, place: RegistryPlace, stream: bytes, keys: Keys) -> None:
        self.host = host
        self.keys = keys
        self.stream = stream
        self.krpc = Krpc(host)
        self.krpc.serve(b"p2pcast", lambda query: codec.answer_alive(keys, stream, query.arguments))
        self.contacts = RegistryContacts(self.krpc, keys, [place])
        self.is_open = False

    async def join(self) -> m.Joined:
        if not self.is_open:
            self.is_open = True
            self.krpc.use(await self.host.open_datagrams(self.krpc, ("0.0.0.0", 0)))
        return await self.contacts.join(self.stream)


def run(trial: Trial) -> Iterator[Row]:
    """One row: seconds and shares."""
    world = trial.world(link=Link(latency=Uniform(0.02, 0.08), loss=trial["loss"]))
    server = world.host("registry", ["20.0.0.1"])
    entropy = trial.rng("keys").randbytes
    source_keys, registry_keys = Keys(entropy(SEED_BYTES)), Keys(entropy(SEED_BYTES))
    stream = m.stream_of(source_keys.public)
    place = RegistryPlace((server.address, PORT), registry_keys.public)
    settings = RegistrySettings(
        addresses=("0.0.0.0",), peers_per_network=trial["per_network"] or None
    )
    row: dict[str, float] = {}

    def peer(name: str, address: str, keys: Keys | None = None) -> Peer:
        return Peer(world.host(name, [address]), place, stream, keys or Keys(entropy(SEED_BYTES)))

    async def until(done: Callable[[], bool]) -> float:
        began = world.loop.time()
        async with asyncio.timeout(LIMIT_S):
            while not done():
                await asyncio.sleep(LOOK_S)
        return world.loop.time() - began

    async def scenario() -> None:
        node = RegistryNode(server, settings, registry_keys)
        await server.start(node.start())
        await peer("source", "20.0.1.1", source_keys).join()
        honest = [peer(f"p{n}", f"21.{n >> 8}.{n & 255}.1") for n in range(trial["peers"])]
        waits = []
        for one in honest:
            began = world.loop.time()
            await one.join()
            waits.append(world.loop.time() - began)
        waits.sort()
        row["join_s"], row["slowest_join_s"] = waits[len(waits) // 2], waits[-1]

        names = []
        for n in range(trial["names"]):
            network = n % trial["networks"]
            name = peer(f"s{n}", f"22.{network >> 8}.{network & 255}.{1 + n // trial['networks']}")
            try:
                await name.join()
            except CallError:
                continue
            names.append(name)
        false = {name.keys.peer for name in names}
        told = [one.peer for _ in range(ANSWERS) for one in (await honest[0].join()).contacts]
        row["names_in"] = len(names)
        row["told_share"] = sum(each in false for each in told) / max(1, len(told))

        registry = node.desk.registry
        dead, cheat, victim, *witnesses = honest
        dead.host.crash()
        began = world.loop.time()
        said = [witnesses[n].contacts.delete(stream, dead.keys.peer, n) for n in range(2)]
        gone = asyncio.ensure_future(until(lambda: registry.member(stream, dead.keys.peer) is None))
        await asyncio.gather(*said)
        row["deleted_s"] = await gone

        def is_out() -> bool:
            member = registry.member(stream, cheat.keys.peer)
            return member is None or member.pool is None

        out = asyncio.ensure_future(until(is_out))
        await asyncio.gather(
            *(witnesses[n].contacts.accuse(stream, cheat.keys.peer, 0) for n in range(2, 5))
        )
        row["cheat_out_s"] = await out

        probes = node.desk.counts["probes"]
        for turn in range(5):
            accusing = [
                name.contacts.delete(stream, victim.keys.peer, (turn + n) % 8)
                for n, name in enumerate(names)
            ]
            await asyncio.gather(*accusing, return_exceptions=True)
            await asyncio.sleep(3.0)
        row["victim_in"] = int(registry.member(stream, victim.keys.peer) is not None)
        row["probes"] = node.desk.counts["probes"] - probes
        await node.close()

    world.run(scenario())
    yield {key: round(value, 4) for key, value in row.items()}


EXPERIMENT = Experiment(
    name="p2pcast-registry",
    doc="A registry among liars: joins, deaths, cheats, and a flood of names",
    parameters={"peers": 40, "names": 64, "networks": 1, "per_network": 8, "loss": 0.01},
    grid={"networks": (1, 4, 16), "per_network": (0, 8)},
    run=run,
    checks=(
        Check(
            "nobody who answers is deleted, whoever says so",
            lambda rows: all(row["victim_in"] == 1 for row in rows),
        ),
        Check(
            "a death that two stripes tell of is believed within five seconds",
            lambda rows: all(row["deleted_s"] <= 5.0 for row in rows),  # type: ignore[operator]
        ),
    ),
    plot=Plot(x="networks", y="told_share", title="What a flood of names is told of"),
    bounds={
        "peers": (8, 10_000),
        "names": (0, 10_000),
        "networks": (1, 10_000),
        "per_network": (0, 10_000),
        "loss": (0.0, 0.5),
    },
)
