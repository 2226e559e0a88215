"""Simulated worlds with a registry and peers, for the tests of both."""

from __future__ import annotations

from tests.p2pcast.registries import PORT, REGISTRY, SOURCE, STREAM, OnHost

from spinney.p2pcast.registry.link import RegistryPlace
from spinney.p2pcast.registry.node import RegistryNode
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.sim import Link, SimHost, Uniform, World
from spinney.trust.keys import Keys

SEEDS = range(5)
WILD = Link(latency=Uniform(0.01, 0.15), loss=0.05, duplicate=0.05, reorder=0.05)
FOLDER = "registry"
SETTINGS = RegistrySettings(
    addresses=("0.0.0.0",), state_folder=FOLDER, state_every_s=5.0, peers_per_network=None
)


def place(host: SimHost, keys: Keys | None = REGISTRY) -> RegistryPlace:
    return RegistryPlace((host.address, PORT), None if keys is None else keys.public)


async def open_registry(
    host: SimHost, settings: RegistrySettings = SETTINGS, keys: Keys | None = REGISTRY
) -> RegistryNode:
    node = RegistryNode(host, settings, keys)
    await host.start(node.start())
    return node


async def open_peers(
    world: World, names: list[str], places: list[RegistryPlace], keys: Keys | None = None
) -> list[OnHost]:
    """Peers in networks of their own."""
    peers = []
    for name in names:
        number = len(world.hosts)
        host = world.host(name, [f"20.{number >> 8}.{number & 255}.9"])
        peers.append(await OnHost(host, name, places, keys=keys).open())
    return peers


async def open_source(world: World, places: list[RegistryPlace]) -> OnHost:
    (source,) = await open_peers(world, ["source"], places, SOURCE)
    await source.join()
    source.host.start(source.contacts.stay(STREAM))  # type: ignore[attr-defined]
    return source


def known(node: RegistryNode) -> set[bytes]:
    stream = node.desk.registry.streams.get(STREAM)
    return set(stream.members) if stream else set()
