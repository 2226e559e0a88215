"""`Sharing`: a file or folder of this machine being served."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from spinney.bittorrent.swarm import PeerSource
from spinney.config import ShareOptions
from spinney.content.descriptor import Descriptor
from spinney.content.magnet import Magnet
from spinney.content.transfer import Transfer
from spinney.events import Done, Ready
from spinney.net.host import Address
from spinney.peer.moving import SwarmMoving
from spinney.peer.stopping import SeedWish

if TYPE_CHECKING:
    from spinney.peer.peer import Peer


class Sharing(SwarmMoving[Done | None]):
    """Made by `Peer.share`, ready when that returns.

    `wait` ends when it is cancelled, or when as much was served as asked.
    """

    def __init__(
        self,
        peer: Peer,
        transfer: Transfer,
        *,
        torrent: str,
        sha256: str | None,
        options: ShareOptions,
        told: list[Address],
        given: list[Address],
    ) -> None:
        descriptor = transfer.descriptor
        magnet = Magnet.of(descriptor, () if descriptor.private else told)
        super().__init__(peer, descriptor.infohash, str(magnet), options)
        self.descriptor: Descriptor = descriptor
        self.torrent = torrent
        """Path of the `.torrent`."""
        self.sha256 = sha256
        """Of a single file, in hex."""
        self._options = options
        self._told = told
        self._given = given
        self._waits = False
        """The swarm serves nothing yet."""
        self._attend(transfer)

    async def join(self) -> None:
        """Joins the swarm and says `Ready`; then runs on by itself."""
        descriptor, options = self.descriptor, self._options
        multicast = await self._plan_multicast(options, private=descriptor.private)
        sources = await self._join_swarm(options)
        await self._join_group(options)
        self._state = "sharing"
        address = self._told[0] if self._told else None
        self._emit(
            Ready(
                self._host.wall_time(),
                self.transfer,
                self.link,
                self.transfer,
                torrent=self.torrent,
                address=address[0] if address else None,
                port=self._peer.port,
                announces=self._announces(descriptor, sources),
                sha256=self.sha256,
                multicast=multicast,
            )
        )
        self.begin()

    async def _join_swarm(self, options: ShareOptions) -> list[PeerSource]:
        descriptor, transfer = self.descriptor, self._transfer
        assert transfer is not None
        assert self._plan is not None
        self._make_together()
        up, down = self._up_bucket, self._down_bucket
        sources: list[PeerSource] = []
        if not self._plan.only:
            sources = await self._peer.sources(
                descriptor.swarm_hashes, descriptor.trackers, options, private=descriptor.private
            )
        self._swarm = self._peer.node.add(
            descriptor.swarm_hashes,
            sources=sources,
            private=descriptor.private,
            up=up,
            down=down,
        )
        self._swarm.finishing.wanted = options.get("until_complete") is not None
        self._waits = self._together is not None and bool(options.get("wait_for"))
        if self._plan.only or self._waits:
            # No data by the swarm; but who has a magnet link gets its description.
            self._swarm.describing.take_info(descriptor.info_bytes)
            self._swarm.describing.serve(descriptor)
        else:
            self._swarm.begin(transfer, descriptor.info_bytes)
        self._swarm.found(() if self._plan.only else self._given, "user")
        return sources

    def _look(self) -> None:
        """The swarm waits as the group does: what is to be sent once is not sent before."""
        super()._look()
        waited_s = self._host.time() - self._joined_at
        view = self._together.view() if self._waits and self._together is not None else None
        if view is not None and (
            view.started or waited_s > self._options.get("wait_at_most_s", float("inf"))
        ):
            self._begin_swarm()

    def _begin_swarm(self) -> None:
        if self._waits and self._plan is not None and not self._plan.only:
            assert self._transfer is not None
            self.require_swarm().begin(self._transfer, self.descriptor.info_bytes)
        self._waits = False

    async def _join_group(self, options: ShareOptions) -> None:
        if self._together is None:
            return
        from spinney.mcftp.neighbours import short_id
        from spinney.mcftp.settings import Settings as GroupSettings

        transfer = self._transfer
        assert transfer is not None
        await self._begin_multicast(
            transfer,
            GroupSettings(
                wait_for=options.get("wait_for", 0),
                wait_at_most_s=options.get("wait_at_most_s", float("inf")),
                send_only=True,
                interested=False,
                swarm_port=self._peer.port,
                swarm_id=short_id(self.require_swarm().peer_id),
            ),
        )

    def start_sending(self) -> None:
        """The group begins now, whoever has joined."""
        if self._together is not None:
            self._together.begin()
        self._begin_swarm()

    def _announces(self, descriptor: Descriptor, sources: list[PeerSource]) -> tuple[str, ...]:
        lan = ["the LAN"] if any(source.name == "lan" for source in sources) else []
        return (*lan, *(url for tier in descriptor.trackers for url in tier))

    async def _run(self) -> Done | None:
        began = self._host.time()
        self._ticker = asyncio.get_running_loop().create_task(self._tick())
        options = self._options
        wish = SeedWish(
            options.get("seed_ratio"), options.get("seed_time_s"), options.get("until_complete")
        )
        self._ended.clear()  # it is whole from the start
        await self._serve(wish, forever=True)
        done = Done(
            self._host.wall_time(),
            self.transfer,
            paths=(),
            bytes=self.descriptor.total_bytes,
            seconds=round(self._host.time() - began, 3),
            sha256=self.sha256,
            sources=self._transfer.totals() if self._transfer is not None else {},
        )
        self._tell_progress()
        self._emit(done)
        return done
