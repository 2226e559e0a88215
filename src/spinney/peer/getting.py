"""`Getting`: one link being fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from spinney.bittorrent.swarm import PeerSource
from spinney.config import GetOptions
from spinney.content.descriptor import Descriptor
from spinney.content.pipe import Write
from spinney.content.transfer import Settings as TransferSettings
from spinney.content.transfer import Transfer
from spinney.errors import NoPeersError, NotFoundError, NotWritableError
from spinney.events import Done, Ready
from spinney.net.host import Address
from spinney.peer.ending import end_all
from spinney.peer.layering import complete_layers, keep_layers, lacks_layers
from spinney.peer.lingering import Lingering
from spinney.peer.moving import SwarmMoving
from spinney.peer.opening import Opened
from spinney.peer.outputs import Output, choose_output, make_sink
from spinney.peer.selecting import selected
from spinney.peer.stopping import Patience, SeedWish

if TYPE_CHECKING:
    from spinney.peer.peer import Peer

LINGER_LOOK_S = 0.1
WARN_AFTER_S = 20.0
"""Without a new byte for so long, people are told what was tried."""
WARN_AFTER_ALONE_S = 5.0
"""...with multicast only: a group answers within a second."""
DEAF_S = 5.0
DEAF = (
    "nobody of this network is heard by multicast, so the swarm brings it alone;"
    " `spinney doctor` on two machines says why"
)

Preparing = Callable[[int, int], None]
T = TypeVar("T")


class Getting(SwarmMoving[Done]):
    """Made by `Peer.get`.  `wait` gives the `Done` event, or raises what went wrong."""

    def __init__(
        self,
        peer: Peer,
        opened: Opened,
        output: str,
        options: GetOptions,
        given: list[Address],
        on_preparing: Preparing | None,
        stream: Write | None,
    ) -> None:
        super().__init__(peer, opened.transfer, str(opened.magnet), options)
        self._opened = opened
        self._wish = output
        self._options = options
        self._given = given
        self._on_preparing = on_preparing
        self._stream = stream
        self.done = False
        """All is here; it may still stay for others."""
        self._selection: list[int] = []
        self._output: Output | None = None
        self._descriptor = opened.descriptor
        if opened.descriptor is not None:  # so that wrong wishes are told at once
            self._output = self._choose(opened.descriptor)
        give_up = options.get("give_up_s")
        patience_s = WARN_AFTER_ALONE_S if options.get("multicast_only") else WARN_AFTER_S
        self._patience = Patience(patience_s, give_up, peer.host.time())

    def _choose(self, descriptor: Descriptor) -> Output:
        """Raises `UsageError`, `StorageError`."""
        wishes = list(self._options.get("select", ()))
        if not wishes and self._opened.magnet.select is not None:
            wishes = [str(number) for number in self._opened.magnet.select]
        self._selection = selected(descriptor, wishes)
        return choose_output(
            self._host.storage,
            self._wish,
            name=descriptor.files[0].path[-1] if descriptor.files else descriptor.name,
            single_file=descriptor.single_file,
            chosen_files=len(self._selection),
            has_stream=self._stream is not None,
        )

    def _wanted_bytes(self, descriptor: Descriptor) -> int:
        return sum(descriptor.files[number].length for number in self._selection)

    async def _run(self) -> Done:
        began = self._host.time()
        multicast = await self._plan_multicast(self._options, private=self._opened.private)
        assert self._plan is not None
        if self._descriptor is None or not self._plan.only or lacks_layers(self._descriptor):
            await self._join(self._opened.private)
        told = self._peer.addresses()
        self._emit(
            Ready(
                self._host.wall_time(),
                self.transfer,
                self.link,
                self.transfer,
                address=told[0] if told else None,
                port=self._peer.port,
                multicast=multicast,
            )
        )
        self._ticker = asyncio.get_running_loop().create_task(self._tick())
        descriptor = self._descriptor or await self._describe()
        output = self._output
        assert output is not None
        sink = make_sink(self._host, descriptor, output, self._stream)
        asked = lacks_layers(descriptor)
        if asked:
            swarm = self.require_swarm()
            await self._or_ended(complete_layers(self._host, swarm, descriptor, sink))
        transfer = Transfer(
            self._host,
            descriptor,
            sink,
            settings=TransferSettings(in_order=self._options.get("sequential", False)),
            policy=self._make_together(),
        )
        if len(self._selection) < len(descriptor.files):
            wanted = set(self._selection)
            transfer.select({n: 4 if n in wanted else 0 for n in range(len(descriptor.files))})
        self._state = "checking"
        try:
            await transfer.start(progress=self._on_preparing)
        except (NotFoundError, NotWritableError) as error:
            if "-o" in str(error):
                raise
            raise NotWritableError(
                f"cannot write to {output.path}: {error}; choose another place with -o"
            ) from error
        if asked:
            await keep_layers(self._host, descriptor, sink)
        self._state = "downloading"
        had_it = transfer.complete
        self._attend(transfer)
        await self._begin_moving(transfer, descriptor)
        await self._until_ended()
        seconds = self._host.time() - began
        wish = self._seed_wish()
        self._state = "done" if wish.empty else "seeding"
        self._tell_progress()
        sha256 = await self._sha256()
        done = Done(
            self._host.wall_time(),
            self.transfer,
            paths=output.paths(tuple(descriptor.files[n].path for n in self._selection)),
            bytes=self._wanted_bytes(descriptor),
            seconds=round(seconds, 3),
            sha256=sha256,
            sources=transfer.totals(),
            publisher=self._published.publisher if self._published is not None else None,
            signature=self._published.state if self._published is not None else None,
        )
        self._emit(done)
        self.done = True
        if wish.empty:
            await end_all(lambda: self._linger(began, had_it=had_it))
        else:
            await self._serve(wish, forever=False)
        return done

    def _seed_wish(self) -> SeedWish:
        return SeedWish(self._options.get("seed_ratio"), self._options.get("seed_time_s"))

    async def _linger(self, began: float, *, had_it: bool) -> None:
        """Stays for a moment, or while it sends: who comes late is served by more than one."""
        if self._together is None:
            return
        lingering = Lingering(began, self._host.time(), had_it)
        while self._failure is None and not lingering.over(
            self._together.view(), self._together.heard_at, self._host.time()
        ):
            self._state = "lingering"
            await asyncio.sleep(LINGER_LOOK_S)

    async def _begin_moving(self, transfer: Transfer, descriptor: Descriptor) -> None:
        """From now on it is filled, by the group and the swarm."""
        assert self._plan is not None
        if self._together is not None:
            from spinney.mcftp.neighbours import short_id
            from spinney.mcftp.settings import Settings as GroupSettings

            keeps = not transfer.sink.in_order
            stays = not (transfer.complete and self._seed_wish().empty)  # else it goes in a moment
            await self._begin_multicast(
                transfer,
                GroupSettings(
                    may_send=keeps,
                    may_lead=keeps and stays,
                    interested=True,
                    swarm_port=0 if self._plan.only else self._peer.port,
                    swarm_id=b"" if self._plan.only else short_id(self.require_swarm().peer_id),
                ),
                # A torrent names its own publisher: that proves nothing.
                None if self._opened.descriptor else self._opened.magnet.publisher,
                hubs=(*self._given, *self._opened.peers),
            )
        if self._plan.only:
            if self._swarm is not None:  # it has brought the description
                await self._swarm.close()
                self._swarm = None
        else:
            self.require_swarm().begin(transfer, descriptor.info_bytes)

    async def _join(self, private: bool) -> None:
        sources: list[PeerSource] = await self._peer.sources(
            self._opened.magnet.swarm_hashes,
            self._opened.trackers,
            self._options,
            private=private,
        )
        self._swarm = self._peer.node.add(
            self._opened.magnet.swarm_hashes,
            sources=sources,
            private=private,
            up=self._up_bucket,
            down=self._down_bucket,
        )
        if not private:
            self._swarm.found(self._opened.peers, "link")
        self._swarm.found(self._given, "user")

    async def _describe(self) -> Descriptor:
        """The descriptor behind a magnet link, from its peers (BEP 9)."""
        self._state = "metadata"
        swarm = self.require_swarm()
        info = await self._or_ended(swarm.metadata())
        magnet = self._opened.magnet
        descriptor = Descriptor.from_info(
            info,
            trackers=[[url] for url in magnet.trackers],
            web_seeds=magnet.web_seeds,
        )
        self._output = self._choose(descriptor)
        self._descriptor = descriptor
        if descriptor.private:  # now that it is known: its trackers only
            await self._plan_multicast(self._options, private=True)
            await swarm.close()
            await self._join(True)
        return descriptor

    async def _or_ended(self, waited: Coroutine[Any, Any, T]) -> T:
        """Its result, or what ended this before, raised."""
        task = asyncio.ensure_future(waited)
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait([task, ended], return_when=asyncio.FIRST_COMPLETED)
            if self._failure is not None:
                raise self._failure
            return await task
        finally:
            task.cancel()
            ended.cancel()

    def _look(self) -> None:
        super()._look()
        if self._state not in ("metadata", "downloading", "stalled"):
            return
        transfer = self._transfer
        if self._together is not None and self._transfer is not None:
            waited_s = self._host.time() - self._joined_at
            if waited_s >= DEAF_S and self._swarm is not None and self._together.is_deaf:
                self._warn("multicast", DEAF)
        have = int(self.status().have_bytes) if transfer is not None else -1
        verdict = self._patience.look(self._host.time(), have)
        if verdict is None:
            return
        message = self._what_was_tried()
        if verdict == "warn":
            if self._together is not None and self._together.goes_aside:
                return  # which was told
            self._warn("no-peers", f"{message}; still trying")
        else:
            self._fail(NoPeersError(f"{message}; gave up as asked"))

    def _what_was_tried(self) -> str:
        waited = round(self._host.time() - self._patience.since)
        if self._swarm is None:
            return self._what_the_group_said(waited)
        status = self._swarm.status()
        if status.peers and self._transfer is not None:
            copies = self._transfer.availability()
            problem = f"nothing came for {waited} s from {status.peers} peers"
            if copies < 1:
                problem += f" (together they have {100 * copies:.0f} % of it)"
        elif status.peers:
            what = "description" if self._descriptor is None else "piece hashes"
            problem = f"no {what} came for {waited} s from {status.peers} peers"
        else:
            problem = f"no peers after {waited} s"
        tried = list(status.tried)
        given = len(self._given) + len(self._opened.peers)
        if given:
            tried.append(f"{given} given address{'' if given == 1 else 'es'}")
        listed = "; ".join(tried) if tried else "nothing (no tracker, no LAN, no address)"
        return f"{problem}. Tried: {listed}. Add --peer HOST:PORT or --tracker URL"

    def _what_the_group_said(self, waited: int) -> str:
        """With multicast only."""
        view = self._together.view() if self._together is not None else None
        if view is None or not view.group:
            problem = f"no group of this file after {waited} s: does anybody share it on this LAN"
        elif not view.leader:
            problem = f"nobody leads the group after {waited} s: does anybody share it on this LAN"
        elif not view.started:
            return f"the group has waited for {waited} s for its sharer to begin"
        elif self._together is not None and self._together.brings_something:
            problem = f"no whole piece came for {waited} s: is the network so slow"
        elif not view.streams:
            problem = f"nobody in the group has the rest after {waited} s: does anybody share it"
        else:
            problem = f"nothing came by multicast for {waited} s: does the network carry it"
        return f"{problem}? Without --multicast-only the swarm helps"
