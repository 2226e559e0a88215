"""What one gains who joins a P2PCast forest k times (paper, section 10.2), against what it uploads.

`peers` honest peers in networks of their own join by a registry, and one person under `names`
names from `networks` networks.  When all is quiet: what its names upload for each stripe that they
get, and others; how many honest peers it could cut off from more than `parity` stripes by vanishing
at once, and how many as many others could, who do not know each other;
how many have two of its names for parents, or two parents in one of its networks; and the share of
contacts that it has.  With `apart` an orphan takes no second parent from one network if it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from random import Random

from spinney.errors import NoPeersError
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.p2pcast.place import NOBODY, SOURCE, Name, Place
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.viewer import Broadcast, Viewer
from spinney.sim import Constant, Link, SimHost
from spinney.trust.keys import SEED_BYTES, Keys

PORT = 6970
SETTLES_S = 8.0
SAMPLES = 20
"""Of as many honest peers, drawn at random: what position anybody has."""
JOIN_S = 90.0


def above(places: dict[Name, Place], name: Name, tree: int) -> set[Name]:
    """Everybody between a peer and the source in one tree."""
    found: set[Name] = set()
    at = places[name].parents[tree]
    while at in places and at >= 0 and at not in found:
        found.add(at)
        at = places[at].parents[tree]
    return found


def could_cut(places: dict[Name, Place], some: set[Name], stripes: int, parity: int) -> float:
    """The share of the others that would lack more than `parity` stripes, did these vanish."""
    others = [name for name in places if name >= 0 and name not in some]
    hit = [
        sum(bool(above(places, name, tree) & some) for tree in range(stripes)) for name in others
    ]
    return sum(each > parity for each in hit) / max(1, len(others))


def measured(
    places: dict[Name, Place], flood: dict[Name, str], stripes: int, parity: int, rng: Random
) -> Row:
    """The row, from everybody's places; `flood`: the networks of that one person's names."""
    honest = [name for name in places if name >= 0 and name not in flood]
    ours = [places[name] for name in flood if name in places]
    got = sum(parent != NOBODY for place in ours for parent in place.parents)
    sent = sum(places[name].out_degree for name in honest)
    taken = sum(parent != NOBODY for name in honest for parent in places[name].parents)
    samples = [set(rng.sample(honest, min(len(flood), len(honest)))) for _ in range(SAMPLES)]
    by_others = [could_cut(places, some, stripes, parity) for some in samples]
    twice = beside = 0
    for name in honest:
        parents = [parent for parent in places[name].parents if parent in flood]
        twice += len(parents) > 1
        beside += len({flood[parent] for parent in parents}) < len(parents)
    count = max(1, len(honest))
    return {
        "names_in": len(ours),
        "sent_per_stripe_got": round(sum(place.out_degree for place in ours) / max(1, got), 3),
        "others_sent_per_stripe_got": round(sent / max(1, taken), 3),
        "honest_it_could_cut": round(could_cut(places, {*flood}, stripes, parity), 3),
        "as_many_others_could_cut": round(sum(by_others) / SAMPLES, 3),
        "two_parents_its": round(twice / count, 3),
        "two_parents_one_network": round(beside / count, 3),
        "inner_names": sum(bool(place.out_degree) for place in ours),
    }


def run(trial: Trial) -> Iterator[Row]:
    """One row."""
    world = trial.world(link=Link(latency=Constant(trial["hop_s"])))
    entropy, stripes = trial.rng("keys").randbytes, trial["stripes"]
    settings = Settings(parents_apart=bool(trial["apart"]), join_s=JOIN_S)
    server = world.host("source", ["20.0.0.1"])
    viewers: dict[Name, Viewer] = {}
    flood: dict[Name, str] = {}
    refused: list[str] = []
    casts: list[Broadcast] = []

    async def cast() -> None:
        registry = RegistrySettings(peers_per_network=trial["per_network"] or None)
        broadcast = Broadcast(
            server,
            Keys(entropy(SEED_BYTES)),
            stripes=stripes,
            spare=trial["spare"],
            settings=settings,
            registry=registry,
        )
        await broadcast.open((server.address, PORT))
        casts.append(broadcast)

    async def come(host: SimHost, network: str) -> None:
        keys = Keys(entropy(SEED_BYTES))
        viewer = Viewer(host, casts[0].link, keys=keys, settings=settings)
        await viewer.open((host.address, PORT))
        try:
            await viewer.join()
        except NoPeersError as error:
            refused.append(str(error))
            viewer.close()
            return
        viewers[viewer.node.name] = viewer
        if network:
            flood[viewer.node.name] = network

    async def scenario() -> Row:
        await server.start(cast())
        rows = [(f"21.{n >> 8}.{n & 255}.9", "") for n in range(trial["peers"])]
        for n in range(trial["names"]):
            network = f"66.0.{n % trial['networks']}"
            rows.append((f"{network}.{n // trial['networks'] + 1}", network))
        trial.rng("order").shuffle(rows)
        for first in range(0, len(rows), 8):
            tasks = []
            for host, network in rows[first : first + 8]:
                made = world.host(host, [host])
                tasks.append(made.start(come(made, network)))
            await asyncio.gather(*tasks)
        await asyncio.sleep(SETTLES_S)
        places = {name: viewer.node.place for name, viewer in viewers.items()}
        places[SOURCE] = casts[0].source.station.seats[SOURCE].place
        row = measured(places, flood, stripes, trial["parity"], trial.rng("samples"))
        row["refused_names"] = len(refused)
        return row

    yield world.run(scenario())


def _gets_in(rows: Sequence[Row]) -> bool:
    return all(row["names_in"] for row in rows)


EXPERIMENT = Experiment(
    name="p2pcast-sybil",
    doc="P2PCast: what one person gains by joining k times, against what it uploads",
    parameters={
        "peers": 40,
        "names": 8,
        "networks": 1,
        "per_network": 8,
        "stripes": 4,
        "spare": 1,
        "parity": 1,
        "apart": 1,
        "hop_s": 0.05,
    },
    grid={"names": (1, 2, 4, 8), "apart": (0, 1)},
    run=run,
    checks=(Check("it gets in at least once, so there is something to measure", _gets_in),),
    plot=Plot(x="names", y="honest_it_could_cut", by="apart", title="Honest peers it could cut"),
    source="P2PCast paper, section 10.2",
    seeds=5,
    bounds={
        "peers": (8, 1_000),
        "names": (1, 200),
        "networks": (1, 200),
        "per_network": (0, 200),
        "stripes": (2, 16),
        "spare": (0, 16),
        "parity": (0, 8),
        "apart": (0, 1),
        "hop_s": (0.001, 1.0),
    },
)
