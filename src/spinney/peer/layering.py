"""Piece layers of version 2 where the link has none: from an earlier run, else from the peers.

A magnet link brings none, and some programs write a `.torrent` without them.
"""

from __future__ import annotations

import contextlib

from spinney.bittorrent.swarm import Swarm
from spinney.content.descriptor import Descriptor
from spinney.content.layers import encode_layers, take_layers
from spinney.content.sinks import Sink
from spinney.content.store import FolderStore
from spinney.errors import DescriptorError, StorageError
from spinney.net.host import Host


def lacks_layers(descriptor: Descriptor) -> bool:
    """Can pieces not be checked?  A hybrid's can: by version 1."""
    return descriptor.infohash_v1 is None and bool(descriptor.missing_layers)


def require_layers(descriptor: Descriptor, origin: str) -> Descriptor:
    """For those who have no peers to ask.  Raises `DescriptorError`."""
    if lacks_layers(descriptor):
        raise DescriptorError(
            f"{origin} lacks its piece layers, so that no piece can be checked: "
            "spinney get fetches them from peers",
            "piece-layer-missing",
        )
    return descriptor


async def complete_layers(host: Host, swarm: Swarm, descriptor: Descriptor, sink: Sink) -> None:
    """Waits until `descriptor` has all its piece layers.  Raises `TransferError`."""
    if isinstance(sink, FolderStore):
        kept = await host.work(sink.load_layers)
        if kept is not None:
            await host.work(take_layers, descriptor, kept)
    if descriptor.missing_layers:
        for root, layer in (await swarm.describing.layers(descriptor)).items():
            await host.work(descriptor.add_piece_layer, root, layer)


async def keep_layers(host: Host, descriptor: Descriptor, sink: Sink) -> None:
    """For the next run, beside the output, which is open.  Devices and pipes have no place."""
    if isinstance(sink, FolderStore):
        # A full disk shows itself by the pieces; without this file the peers are asked again.
        with contextlib.suppress(StorageError):
            await host.work(sink.save_layers, encode_layers(descriptor))
