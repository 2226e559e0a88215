"""How long a bad parent is still handed out (P2PCast paper, 1.2: found as soon as possible).

A forest of viewers by a registry; then the peer with most children cheats, in one of three ways:

    shirks    it takes what comes and passes nothing on: its children see that others were served
    lies      it says that it sits just below the source: its tickets show that it does not
    proven    it signs two things with one number, and one who saw both shows them to the registry

Seconds from then: until the first newcomer can no longer be sent to it, until none of its honest
children is left below it, and how many honest peers were taken for cheats by others (whoever sits
below it looks like one for a while) or withheld.  `-1`: not within `watched_s`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.p2pcast.node import ForestNode
from spinney.p2pcast.place import Name
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.viewer import Broadcast, Viewer
from spinney.sim import Constant, Link, SimHost
from spinney.trust import envelope
from spinney.trust.keys import SEED_BYTES, Keys

PORT = 6970
AT_ONCE = 8
SETTLES_S = 8.0


def _shirk(node: ForestNode) -> None:
    pass_on = node.station.pass_on

    def idles(seat: object, tree: int, *, idle: bool = False) -> None:
        pass_on(node.seat, tree, idle=True)

    node.station.pass_on = idles  # type: ignore[method-assign]


def _lie(node: ForestNode) -> None:
    said = node.seat._said
    node.seat._said = lambda tree: replace(said(tree), depth=-1)  # type: ignore[method-assign]
    node.seat._beats = [None] * len(node.seat._beats)


async def _prove(viewer: Viewer, witness: Viewer) -> None:
    """Two envelopes of one key with one number; the witness has seen both."""
    stream = viewer.link.stream
    one, other = (
        envelope.make(viewer.keys, envelope.file_tag(stream), 1 << 40, {b"t": b"join", b"v": at})
        for at in (1, 2)
    )
    await witness.finder.contacts.accuse(stream, viewer.keys.peer, 0, (one, other))


def run(trial: Trial) -> Iterator[Row]:
    """One row."""
    world = trial.world(link=Link(latency=Constant(trial["hop_s"])))
    entropy, settings = trial.rng("keys").randbytes, Settings()
    server = world.host("source", ["20.0.0.1"])
    viewers: dict[Name, tuple[Viewer, SimHost]] = {}
    cast = Broadcast(
        server,
        Keys(entropy(SEED_BYTES)),
        stripes=trial["stripes"],
        spare=trial["spare"],
        settings=settings,
        registry=RegistrySettings(),
    )

    async def come(at: int) -> None:
        host = world.host(f"v{at}", [f"21.{at >> 8}.{at & 255}.9"])
        viewer = Viewer(host, cast.link, keys=Keys(entropy(SEED_BYTES)), settings=settings)

        async def joins() -> None:
            await viewer.open((host.address, PORT))
            await viewer.join()

        await host.start(joins())
        viewers[viewer.node.name] = viewer, host

    async def scenario() -> Row:
        await server.start(cast.open((server.address, PORT)))
        for first in range(0, trial["peers"], AT_ONCE):
            rows = range(first, min(first + AT_ONCE, trial["peers"]))
            await asyncio.gather(*(come(at) for at in rows))
        await asyncio.sleep(SETTLES_S)
        nodes = {name: viewer.node for name, (viewer, _) in viewers.items()}

        def below(name: Name) -> int:
            """Of two with as many children the deeper one, or it would hardly lie."""
            place = nodes[name].place
            deep = nodes[name].seat.limbs[max(place.stripe, 0)].below
            return 10 * place.out_degree + min(deep, 9)

        bad = max(sorted(nodes), key=below)
        children = {child for _, child in nodes[bad].place.edges() if child in nodes}
        began = world.loop.now
        if trial["way"] == "proven":
            witness = min(set(nodes) - {bad})
            viewer, host = viewers[witness]
            await host.start(_prove(viewers[bad][0], viewer))
        else:
            (_shirk if trial["way"] == "shirks" else _lie)(nodes[bad])
        hidden_s = left_s = -1.0
        while world.loop.now - began < trial["watched_s"]:
            passed_s = round(world.loop.now - began, 2)
            if hidden_s < 0 and bad not in cast.source.peers:
                hidden_s = passed_s
            honest = [node for name, node in nodes.items() if name != bad]
            if left_s < 0 and not any(bad in node.place.parents for node in honest):
                left_s = passed_s
            if hidden_s >= 0 and (left_s >= 0 or trial["way"] == "proven"):
                break
            await asyncio.sleep(0.05)
        desk = cast.registry.desk
        wrong = sum(nodes[name].station.distrusts(other) for name in nodes for other in nodes
                    if name != bad and other != bad)  # fmt: skip
        return {
            "children": len(children),
            "hidden_s": hidden_s,
            "left_s": left_s,
            "by_source": cast.source.peers.expelled,  # type: ignore[union-attr]
            "by_witnesses": desk.counts["witnessed bad"],
            "by_proof": desk.counts["proven bad"],
            "accusations": desk.counts["accusations"],
            "honest_distrusted": wrong,
            "honest_withheld": len(set(nodes) - set(cast.source.peers.names) - {bad}),
        }

    yield world.run(scenario())


def _is_found(rows: Sequence[Row]) -> bool:
    return all(row["hidden_s"] != -1.0 for row in rows)


def _nobody_else(rows: Sequence[Row]) -> bool:
    return not any(row["honest_withheld"] for row in rows)


EXPERIMENT = Experiment(
    name="p2pcast-cheat",
    doc="P2PCast: how long a bad parent is still handed out, witnessed or proven",
    parameters={
        "peers": 40,
        "way": "shirks",
        "stripes": 4,
        "spare": 1,
        "hop_s": 0.1,
        "watched_s": 60.0,
    },
    grid={"way": ("shirks", "lies", "proven")},
    run=run,
    checks=(
        Check("it is no longer handed out in the end", _is_found),
        Check("no honest peer is withheld instead", _nobody_else),
    ),
    plot=Plot(x="peers", y="hidden_s", by="way", title="Seconds until it is not handed out"),
    source="P2PCast paper, sections 1.2 and 10.2",
    seeds=5,
    bounds={
        "peers": (12, 500),
        "stripes": (2, 16),
        "spare": (1, 16),
        "hop_s": (0.001, 1.0),
        "watched_s": (1.0, 600.0),
    },
)
