"""Swarms for experiments: a torrent, real nodes with real transfers, and other kinds of node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha1
from random import Random

from spinney.bittorrent.node import BitTorrent
from spinney.bittorrent.settings import Settings
from spinney.bittorrent.swarm import Swarm
from spinney.content.descriptor import Descriptor
from spinney.content.picker import Picker
from spinney.content.store import FolderStore
from spinney.content.transfer import Transfer
from spinney.net.host import Address
from spinney.net.limits import Bucket
from spinney.sim.host import SimHost
from spinney.wire import bencode

PORT = 6881
FILE = "leaf"


class Torrent:
    """One file of made-up bytes."""

    def __init__(self, size_bytes: int, piece_bytes: int, rng: Random) -> None:
        self.data = rng.randbytes(size_bytes)
        pieces = b"".join(
            sha1(self.data[at : at + piece_bytes]).digest()
            for at in range(0, size_bytes, piece_bytes)
        )
        self.info_bytes = bencode.encode(
            {
                b"length": size_bytes,
                b"name": FILE.encode(),
                b"piece length": piece_bytes,
                b"pieces": pieces,
            }
        )
        self.descriptor = Descriptor.from_info(self.info_bytes)
        self.infohash = sha1(self.info_bytes).digest()


class Freeloader(BitTorrent):
    """A node that takes and never gives: its choker has no slots."""

    def __init__(self, host: SimHost, settings: Settings, *, up: Bucket) -> None:
        super().__init__(host, replace(settings, upload_slots=0), up=up)


class RandomChoice(Picker):
    """Begins any piece that the source has, whatever its rarity."""

    def pick(self, has, rng, *, allowed, suggested=(), within=None):  # type: ignore[no-untyped-def]
        if within is not None:
            return super().pick(has, rng, allowed=allowed, suggested=suggested, within=within)
        return self._random(has, rng, allowed, suggested)


class Member:
    """One host with one transfer.  `kind`: the class of its node."""

    def __init__(
        self,
        host: SimHost,
        torrent: Torrent,
        settings: Settings,
        up_bytes_per_s: float,
        *,
        seed: bool = False,
        kind: type[BitTorrent] | type[Freeloader] = BitTorrent,
        random_choice: bool = False,
    ) -> None:
        self.host, self.torrent, self.settings, self.seed = host, torrent, settings, seed
        self.up = Bucket(up_bytes_per_s)
        self.kind = kind
        self.random_choice = random_choice
        self.done = asyncio.Event()
        self.came_at_s = 0.0
        self.done_at_s: float | None = None
        self.transfer: Transfer
        self.node: BitTorrent
        self.swarm: Swarm

    @property
    def address(self) -> Address:
        return self.host.address, PORT

    async def start(self) -> None:
        self.node = self.kind(self.host, self.settings, up=self.up)
        await self.node.start()
        storage = self.host.storage
        if self.seed:
            storage.make_folders("files")
            file = storage.open(f"files/{FILE}", "create")
            file.write(0, [self.torrent.data])
            file.close()
        descriptor = self.torrent.descriptor
        store = FolderStore(storage, descriptor, "files")
        self.transfer = Transfer(self.host, descriptor, store)
        if self.random_choice:
            self.transfer.picker = RandomChoice(descriptor.piece_count)
        await self.transfer.start(trust=self.seed)
        self.transfer.on_complete(self._complete)
        self.swarm = self.node.add(
            (self.torrent.infohash,),
            transfer=self.transfer,
            info_bytes=self.torrent.info_bytes,
        )

    def _complete(self) -> None:
        self.done_at_s = self.host.time()
        self.done.set()

    def knows(self, others: Sequence[Member]) -> None:
        self.swarm.found([other.address for other in others], "user")

    async def close(self) -> None:
        await self.node.close()
        await self.transfer.close()


def settings(*, connections: int, ration: bool) -> Settings:
    """Of a node in an experiment: no exchange of peers, so that the graph is the experiment's."""
    return Settings(
        port=PORT,
        addresses=("0.0.0.0",),
        connections_per_swarm=connections,
        exchange=False,
        ration=ration,
    )


def fluid_bound_s(size_bytes: int, seed_up: float, peer_ups: Sequence[float]) -> float:
    """No way of sharing ends sooner: max(F/u_s, N·F/(u_s + Σu_i)), downloads unlimited."""
    total = seed_up + sum(peer_ups)
    return max(size_bytes / seed_up, len(peer_ups) * size_bytes / total)
