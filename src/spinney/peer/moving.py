"""What `Sharing` and `Getting` have in common: a swarm, a transfer, and their progress."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from spinney import events
from spinney.bittorrent.swarm import Swarm
from spinney.config import TransferOptions
from spinney.content.descriptor import Descriptor
from spinney.content.transfer import Transfer
from spinney.errors import NetworkError, SpinneyError, TransferError
from spinney.events import Progress
from spinney.net.host import Address
from spinney.net.limits import Bucket
from spinney.peer.ending import end_all, end_together
from spinney.peer.grouping import group_state, receivers_of
from spinney.peer.handle import Moving
from spinney.peer.stopping import SeedWish

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

    from spinney.content.handles import Handles
    from spinney.content.sinks import Sink
    from spinney.mcftp.settings import Settings as GroupSettings
    from spinney.mcftp.view import McftpEvent
    from spinney.peer.multicasting import Multicast, Plan
    from spinney.peer.peer import Peer
    from spinney.peer.publishing import Published
    from spinney.peer.together import Together

log = logging.getLogger("spinney.peer")

PROGRESS_S = 0.5
"""How often progress is told; often enough for people, cheap for programs."""
HASHED_AT_ONCE = 16 << 20
"""Of one job for a worker: some ten milliseconds."""
READ_AT_ONCE = 1 << 18
"""Small enough to be still in the processor's cache when it is hashed."""

R = TypeVar("R")


class SwarmMoving(Moving[R]):
    """A transfer that a swarm moves."""

    def __init__(self, peer: Peer, transfer: str, link: str, options: TransferOptions) -> None:
        super().__init__(peer.host, transfer, link)
        self._up_bucket = Bucket(options.get("up_bytes_per_s"))
        self._down_bucket = Bucket(options.get("down_bytes_per_s"))
        """Of this transfer alone, whatever moves it."""
        self._peer = peer
        self._swarm: Swarm | None = None
        self._transfer: Transfer | None = None
        self._descriptor: Descriptor | None = None
        self._ended = asyncio.Event()
        """Whole, or failed: look again."""
        self._failure: SpinneyError | None = None
        self._state = "starting"
        self._given: list[Address] = []
        self._ticker: asyncio.Task[None] | None = None
        self._plan: Plan | None = None
        self._multicast: Multicast | None = None
        self._together: Together | None = None
        self._published: Published | None = None
        self._joined_at = 0.0
        self._wait_for = 0

    # -- progress

    def status(self) -> Progress:
        """How far it is, now."""
        swarm, transfer, descriptor = self._swarm, self._transfer, self._descriptor
        now = self._host.time()
        total = self._wanted_bytes(descriptor) if descriptor is not None else None
        wanted_left = transfer.left_bytes if transfer is not None else None
        have = max(0, total - wanted_left) if total and wanted_left is not None else 0
        state = swarm.status() if swarm is not None else None
        sources = transfer.totals() if transfer is not None else {}
        came = sum(way.useful + way.duplicate for name, way in sources.items() if name != "swarm")
        down = self._down.measure(now, came + (state.downloaded_bytes if state else 0))
        up = self._up.measure(now, self.sent_bytes)
        view = self._together.view() if self._together is not None else None
        return Progress(
            self._host.wall_time(),
            self.transfer,
            have_bytes=have,
            total_bytes=total,
            down_bytes_per_s=round(down, 1),
            up_bytes_per_s=round(up, 1),
            peers=state.peers if state else 0,
            sources=sources,
            sent_bytes=self.sent_bytes,
            availability=round(transfer.availability(), 3) if transfer is not None else None,
            seconds_left=round(wanted_left / down, 1) if wanted_left and down > 0 else None,
            state=self._state,
            group=group_state(view, self._wait_for, self.complete_peers)
            if view is not None
            else None,
            receivers=receivers_of(view, descriptor) if view is not None and descriptor else None,
        )

    @property
    def sent_bytes(self) -> int:
        """By all ways together."""
        by_swarm = self._swarm.status().uploaded_bytes if self._swarm is not None else 0
        return by_swarm + (self._together.sent_bytes if self._together is not None else 0)

    @property
    def complete_peers(self) -> int:
        """Who has got everything, by the swarm or the group, each once."""
        counted = self._swarm.finishing.peer_ids if self._swarm is not None else []
        return len(counted) if self._together is None else self._together.finished(counted)

    def _wanted_bytes(self, descriptor: Descriptor) -> int:
        return descriptor.total_bytes

    def _tell_progress(self) -> None:
        self._emit(self.status())

    async def _tick(self) -> None:
        while True:
            self._tell_warnings()
            self._tell_progress()
            self._look()
            await asyncio.sleep(PROGRESS_S)

    def _look(self) -> None:
        """Once a second, after the progress."""
        failure = self._swarm.failure if self._swarm is not None else None
        if failure is not None:
            self._fail(failure)

    def _tell_warnings(self) -> None:
        if self._swarm is not None:
            for message in self._swarm.status().warnings:
                self._warn("tracker" if "tracker" in message else "peer", message)

    # -- multicast

    async def _plan_multicast(self, options: TransferOptions, *, private: bool) -> events.Multicast:
        """Whether and how; for people.  Raises `UsageError`, and `NetworkError` where it was
        asked for and cannot be."""
        from spinney.peer.multicasting import plan_for

        plan = plan_for(self._peer.settings, options, self._host.interfaces(), private=private)
        self._plan, self._multicast = plan, None
        if not plan.on:
            return events.Multicast(off=plan.off or None)
        try:
            multicast = await self._peer.multicast(plan.group)
            multicast.for_group(plan.group, founds=True)
            self._multicast = multicast
        except NetworkError as error:
            if plan.asked:
                raise
            self._plan = replace(plan, on=False)
            return events.Multicast(off=f"{error}: the swarm only")
        return events.Multicast(multicast.interfaces, multicast.groups.hops, plan.rate_bytes_per_s)

    def _make_together(self) -> Together | None:
        """The policy of a transfer that uses multicast."""
        if self._multicast is None:
            return None
        from spinney.peer.together import Together

        up, down = self._peer.limits(self._up_bucket, self._down_bucket)
        self._together = Together(self._host, up, down)
        return self._together

    async def _begin_multicast(
        self,
        transfer: Transfer,
        settings: GroupSettings,
        publisher: bytes | None = None,
        hubs: Sequence[Address] = (),
    ) -> None:
        """`hubs`: machines to go to if no multicast comes here."""
        if self._together is None:
            return
        assert self._plan is not None
        assert self._multicast is not None
        from spinney.peer.publishing import Published

        self._joined_at = self._host.time()
        self._wait_for = settings.wait_for
        self._published = Published(transfer.descriptor, publisher)
        await self._together.start(
            transfer,
            self._multicast,
            self._plan,
            settings,
            self._group_event,
            self._published.publishing,
            await self._peer.fan_out(),
            hubs if self._plan.only else (),
        )

    def _group_event(self, event: McftpEvent) -> None:
        log.info("multicast: %s %s", event.what, event.detail)
        if event.what == "warning":
            self._warn("multicast", event.detail)
        elif event.what == "started" and self._together is not None:
            view = self._together.view()
            self._emit(
                events.Started(
                    self._host.wall_time(),
                    self.transfer,
                    view.joined if view is not None else 0,
                    round(self._host.time() - self._joined_at, 3),
                )
            )

    # -- life

    def _fail(self, error: SpinneyError) -> None:
        if self._failure is None:
            self._failure = error
            self._ended.set()

    def _attend(self, transfer: Transfer) -> None:
        """From now on, `_ended` is set when it is whole or its disk fails."""
        self._transfer = transfer
        self._descriptor = transfer.descriptor
        transfer.on_complete(self._ended.set)
        transfer.on_failure(self._fail)

    async def _until_ended(self) -> None:
        """Raises what ended it."""
        await self._ended.wait()
        self._ended.clear()
        if self._failure is not None:
            raise self._failure

    async def _serve(self, wish: SeedWish, *, forever: bool) -> None:
        """Serves until the wish is fulfilled, the disk fails, or it is cancelled."""
        if wish.empty and not forever:
            return
        assert self._descriptor is not None
        whole_at = self._host.time()
        while True:
            if self._failure is not None:
                raise self._failure
            if not wish.empty and wish.fulfilled(
                sent_bytes=self.sent_bytes,
                total_bytes=self._descriptor.total_bytes,
                since_s=self._host.time() - whole_at,
                complete_peers=self.complete_peers,
            ):
                return
            try:
                async with asyncio.timeout(PROGRESS_S / 4):
                    await self._ended.wait()
                    self._ended.clear()
            except TimeoutError:
                continue

    async def _sha256(self) -> str | None:
        """Of a single file, read back from where it lies."""
        transfer, descriptor = self._transfer, self._descriptor
        assert transfer is not None
        assert descriptor is not None
        if not descriptor.single_file or transfer.sink.in_order or not transfer.complete:
            return None
        digest = hashlib.sha256()
        length, at = descriptor.files[0].length, descriptor.files[0].offset
        handles = transfer.sink.handles()  # of its own: others may read meanwhile
        try:
            for begin in range(0, length, HASHED_AT_ONCE):
                end = min(begin + HASHED_AT_ONCE, length)
                await self._host.work(_hash, digest, transfer.sink, handles, at + begin, at + end)
        finally:
            handles.close()
        return digest.hexdigest()

    async def _clean_up(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        told, self._state = self._failed or self._state in ("starting", "done"), "stopped"
        moves = self._swarm is not None or self._together is not None
        parts = [part.close for part in (self._together, self._swarm) if part is not None]
        await end_all(
            *([self._tell_progress] if moves and not told else []),
            lambda: end_together(*parts),
            lambda: self._peer.forget(self),
            *([self._transfer.close] if self._transfer is not None else []),
        )

    def require_swarm(self) -> Swarm:
        if self._swarm is None:
            raise TransferError("this transfer has not begun")
        return self._swarm


def _hash(digest: Hash, sink: Sink, handles: Handles, begin: int, end: int) -> None:
    """In a worker: adds what lies from `begin` to `end` of piece space."""
    buffer = memoryview(bytearray(READ_AT_ONCE))
    for at in range(begin, end, READ_AT_ONCE):
        part = buffer[: min(READ_AT_ONCE, end - at)]
        sink.read_into(at, part, handles)
        digest.update(part)
