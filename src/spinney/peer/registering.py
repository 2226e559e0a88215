"""`run_registry`: a registry of one's own, for the streams of others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from spinney.errors import UsageError
from spinney.net.host import Host
from spinney.p2pcast.registry.link import RegistryPlace
from spinney.p2pcast.registry.messages import STREAM_BYTES
from spinney.p2pcast.registry.node import RegistryNode
from spinney.p2pcast.registry.settings import (
    DEFAULT_PORT,
    PEERS_PER_NETWORK,
    RegistrySettings,
)
from spinney.peer.local import given_or_live
from spinney.peer.reachable import listening_addresses, told_addresses
from spinney.trust.keys import SEED_BYTES, Keys

OnReady = Callable[[list[str], str, int], None]
"""(where to find it, as `KEY@HOST:PORT` for a link, the likeliest first; its address; its port)."""


async def run_registry(
    *,
    port: int = DEFAULT_PORT,
    interface: str | None = None,
    state: str | None = None,
    seed: bytes | None = None,
    streams: Sequence[str] = (),
    peers_per_network: int | None = PEERS_PER_NETWORK,
    on_ready: OnReady | None = None,
    host: Host | None = None,
) -> None:
    """Serves until cancelled.  `state`: a folder that keeps what it knows over a restart.
    `seed`: 32 secret bytes, the registry's key; None: a fresh one, so that links to it end with
    it.  `streams`: their names in hex; all others are refused.  `peers_per_network`: None for no
    limit.

    Raises `PortTakenError`, `UsageError` (no such interface, no name of a stream),
    `StorageError`.
    """
    allowed = frozenset(_stream(name) for name in streams) or None
    with given_or_live(host) as machine:
        listening = listening_addresses(machine.interfaces(), interface)
        settings = RegistrySettings(
            port=port,
            addresses=listening,
            streams=allowed,
            peers_per_network=peers_per_network,
            state_folder=state,
        )
        keys = Keys(seed or machine.entropy(SEED_BYTES))
        node = RegistryNode(machine, settings, keys)
        await node.start()
        try:
            told = told_addresses(machine.interfaces(), listening)
            places = [str(RegistryPlace((each, node.port), keys.public)) for each in told]
            if on_ready is not None:
                on_ready(places, told[0], node.port)
            await asyncio.get_running_loop().create_future()  # until cancelled
        finally:
            await node.close()


def _stream(name: str) -> bytes:
    try:
        stream = bytes.fromhex(name)
    except ValueError:
        stream = b""
    if len(stream) != STREAM_BYTES:
        raise UsageError(f"{name!r} names no stream: 64 hexadecimal digits")
    return stream
