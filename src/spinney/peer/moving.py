"""What `Sharing` and `Getting` have in common: a swarm, a transfer, and their progress."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, TypeVar

from spinney.bittorrent.swarm import Swarm
from spinney.content.descriptor import Descriptor
from spinney.content.transfer import Transfer
from spinney.errors import SpinneyError, TransferError
from spinney.events import Progress
from spinney.net.host import Address
from spinney.peer.handle import Moving
from spinney.peer.stopping import SeedWish

if TYPE_CHECKING:
    from spinney.peer.peer import Peer

PROGRESS_S = 0.5
"""How often progress is told; often enough for people, cheap for programs."""
HASHED_AT_ONCE = 1 << 20

R = TypeVar("R")


class SwarmMoving(Moving[R]):
    """A transfer that a swarm moves."""

    def __init__(self, peer: Peer, transfer: str, link: str) -> None:
        super().__init__(peer.host, transfer, link)
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
        self._warnings_seen = 0

    # -- progress

    def status(self) -> Progress:
        """How far it is, now."""
        swarm, transfer, descriptor = self._swarm, self._transfer, self._descriptor
        now = self._host.time()
        total = self._wanted_bytes(descriptor) if descriptor is not None else None
        wanted_left = transfer.left_bytes if transfer is not None else None
        have = max(0, total - wanted_left) if total and wanted_left is not None else 0
        state = swarm.status() if swarm is not None else None
        down = self._down.measure(now, state.downloaded_bytes if state else 0)
        up = self._up.measure(now, state.uploaded_bytes if state else 0)
        return Progress(
            self._host.wall_time(),
            self.transfer,
            have_bytes=have,
            total_bytes=total,
            down_bytes_per_s=round(down, 1),
            up_bytes_per_s=round(up, 1),
            peers=state.peers if state else 0,
            sources=transfer.totals() if transfer is not None else {},
            sent_bytes=state.uploaded_bytes if state else 0,
            availability=round(transfer.availability(), 3) if transfer is not None else None,
            seconds_left=round(wanted_left / down, 1) if wanted_left and down > 0 else None,
            state=self._state,
        )

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
        assert self._swarm is not None
        assert self._descriptor is not None
        whole_at = self._host.time()
        while True:
            if self._failure is not None:
                raise self._failure
            status = self._swarm.status()
            if not wish.empty and wish.fulfilled(
                sent_bytes=status.uploaded_bytes,
                total_bytes=self._descriptor.total_bytes,
                since_s=self._host.time() - whole_at,
                complete_peers=status.finished_peers,
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
        for begin in range(0, length, HASHED_AT_ONCE):
            part = await transfer.read(at + begin, min(HASHED_AT_ONCE, length - begin))
            await self._host.work(digest.update, part)
        return digest.hexdigest()

    async def _clean_up(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        told, self._state = self._failed or self._state in ("starting", "done"), "stopped"
        try:
            if self._swarm is not None:
                if not told:
                    self._tell_progress()
                await self._swarm.close()
        finally:
            self._peer.forget(self)
            if self._transfer is not None:
                await self._transfer.close()

    def require_swarm(self) -> Swarm:
        if self._swarm is None:
            raise TransferError("this transfer has not begun")
        return self._swarm
