"""`Transfer`: one descriptor being moved: verified pieces, store, and whatever fills it.

Knows nothing of protocols; sources attach and get a `Feed` (see `source`).  What one source
completes, every other way of sending offers at once.  `choosing` decides what is fetched next,
`intake` verifies and writes, `keeper` makes it durable, `evidence` finds out who lied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from spinney.content.checking import Progress
from spinney.content.descriptor import Descriptor
from spinney.content.feed import Open, TransferFeed
from spinney.content.intake import Intake
from spinney.content.keeper import Keeper
from spinney.content.leasing import Leasing
from spinney.content.openpiece import BLOCK_BYTES
from spinney.content.picker import Picker
from spinney.content.pieces import Bitfield
from spinney.content.pipe import Pouring
from spinney.content.progress import MIN_OPEN_PIECES, InProgress
from spinney.content.reading import Reading
from spinney.content.selection import Selection
from spinney.content.sinks import Sink
from spinney.content.source import Feed, Policy, Source, TransferLike
from spinney.content.takeover import make_room, take_over
from spinney.errors import DiskFullError, SpinneyError
from spinney.events import SourceBytes
from spinney.net.host import Host

__all__ = [
    "BLOCK_BYTES",
    "Feed",
    "Policy",
    "Settings",
    "Source",
    "Tally",
    "Transfer",
    "TransferLike",
]

MAX_BLAMED_KEYS = 4096
"""Addresses remembered as liars for one transfer; the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one transfer.

    `open_bytes`: buffers of pieces in progress or being verified, at least 8 pieces.
    `waiting_bytes`: full pieces waiting for hash and disk; beyond, sources are held back.
    `cache_bytes`: verified bytes kept in memory to be served; `idle_bytes`: of those, what
    nobody is in the middle of fetching, if it can be read again.
    `in_order`: pieces from the first to the last, `window_bytes` ahead (players, pipes).
    """

    open_bytes: int = 256 << 20
    waiting_bytes: int = 32 << 20
    cache_bytes: int = 64 << 20
    idle_bytes: int = 4 << 20
    in_order: bool = False
    window_bytes: int = 32 << 20


@dataclass(slots=True)
class Tally:
    """Bytes by one way of moving; outlives the sources that brought them."""

    useful: int = 0
    duplicate: int = 0
    bad: int = 0
    refused: int = 0


class _Everything:
    """The policy that lets everybody fetch everything."""

    def may_request(self, source: Source, piece: int) -> bool:
        return True

    def may_request_any(self, source: Source) -> bool:
        return True


class Transfer:
    """See `TransferLike`.  Lives on one event loop: `start` first, `close` last."""

    def __init__(
        self,
        host: Host,
        descriptor: Descriptor,
        sink: Sink,
        *,
        settings: Settings = Settings(),
        policy: Policy | None = None,
    ) -> None:
        self.host = host
        self.rng = host.rng
        self.descriptor = descriptor
        self.sink = sink
        self.settings = settings
        self.piece_length = descriptor.piece_length
        self.infohash = descriptor.infohash_v2 or descriptor.infohash_v1 or b""
        count = descriptor.piece_count
        self.have = Bitfield(count)
        self.needed = Bitfield(count, full=True)
        """Wanted and not verified."""
        self.picker = Picker(count)
        self.feeds: dict[TransferFeed, None] = {}
        self.progress = InProgress(self)
        self.open_pieces = self.progress.open_pieces
        self.leasing = Leasing(self)
        self.leases = self.leasing.leases
        self.selection = Selection(self)
        self.reading = Reading(self)
        self.cache = self.reading.cache
        self.intake = Intake(self)
        self.keeper = Keeper(self)
        self.pouring = Pouring(self)
        self.running = False
        self.failure: SpinneyError | None = None
        self.changes = 0
        """Counts whatever may give an idle source something to do."""
        self._policy: Policy = policy or _Everything()
        self._free_policy = policy is None
        self.blocks_per_piece = max(1, -(-self.piece_length // BLOCK_BYTES))
        self._tallies: dict[str, Tally] = {}
        self._blamed: dict[str, None] = {}
        self._starved: dict[TransferFeed, None] = {}
        self._wake_handle: asyncio.Handle | None = None
        self._next_in_order = 0
        self._completed = False
        self._on_complete: list[Callable[[], None]] = []
        self._on_failure: list[Callable[[SpinneyError], None]] = []
        self._naming: asyncio.Task[None] | None = None
        self._closed = False

    # -- life ---------------------------------------------------------------------------

    async def start(
        self, *, check: bool = False, trust: bool = False, progress: Progress | None = None
    ) -> None:
        """Opens the store, takes over what is there (`check`: hashes everything; `trust`:
        everything is there, as its owner just hashed it) and begins.

        Raises `StorageError` with a sentence of what to do.
        """
        try:
            await self.host.work(self.sink.open)
            await take_over(self, check, trust, progress)
            await make_room(self)
            if self.sink.writable and not self.complete:
                await self.keeper.keep()  # from now on what lies here is known to be ours
            await self.selection.finish_files()
        except BaseException:
            await self.host.work(self._close_sink, False)
            raise
        self.running = True
        self.check_complete()
        self.changed()

    async def close(self) -> None:
        """Verifies and writes what is whole, syncs, saves the resume record and lets go."""
        if self._closed or (not self.running and self.failure is None):
            return
        self._closed = True
        await self.intake.drain()
        if self._naming is not None:
            await self._naming
        self.running = False
        self.leasing.stop()
        if self._wake_handle is not None:
            self._wake_handle.cancel()
        await self.keeper.stop()
        try:
            await self.pouring.stop()
            if self.sink.writable and not self.sink.in_order:
                await self.keeper.keep(clean=True)
        except SpinneyError as error:
            if self.failure is None:
                self.failure = error
                raise
        finally:
            done = self.complete and self.failure is None
            await self.host.work(self._close_sink, done)

    def _close_sink(self, done: bool) -> None:
        self.sink.close(done=done)

    def fail(self, error: SpinneyError) -> None:
        """The disk failed: nothing more is asked for or taken; what is verified stays."""
        if self.failure is None:
            if isinstance(error, DiskFullError):
                kept = "" if self.sink.in_order else "; what is verified is kept"
                error = DiskFullError(
                    f"the disk is full ({error}): make room, then run the same command again{kept}"
                )
            self.failure = error
            self.running = False
            for callback in list(self._on_failure):
                callback(error)

    # -- what is known ------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        return not self.needed.count

    @property
    def left_bytes(self) -> int:
        return self.selection.left_bytes

    def readable(self, piece: int) -> bool:
        """Can a verified piece be served?  Always, but for an output that keeps nothing: then
        only while it is in memory."""
        if piece not in self.have:
            return False
        return not self.sink.in_order or self.cached(piece * self.piece_length, 1) is not None

    def servable(self) -> Bitfield:
        if not self.sink.in_order:
            return self.have
        servable = Bitfield(self.have.size)
        for piece in self.have:
            if self.readable(piece):
                servable.add(piece)
        return servable

    def availability(self) -> float:
        return self.picker.availability()

    def on_complete(self, callback: Callable[[], None]) -> None:
        """Called once when everything wanted is verified and bears its name; at once if so."""
        if self._completed:
            callback()
        else:
            self._on_complete.append(callback)

    def on_failure(self, callback: Callable[[SpinneyError], None]) -> None:
        """Called once if the disk fails; the transfer has stopped then."""
        self._on_failure.append(callback)

    def totals(self) -> dict[str, SourceBytes]:
        """Bytes by way of moving, also of sources that have left."""
        return {
            way: SourceBytes(tally.useful, tally.duplicate, tally.bad)
            for way, tally in self._tallies.items()
        }

    def tally(self, way: str) -> Tally:
        return self._tallies.setdefault(way, Tally())

    def is_blamed(self, peer_key: str) -> bool:
        """Is somebody under this key proven to have lied?"""
        return peer_key in self._blamed

    # -- sources ------------------------------------------------------------------------

    def attach(self, source: Source) -> TransferFeed:
        feed = TransferFeed(self, source)
        feed.live = source.peer_key not in self._blamed
        self.feeds[feed] = None
        return feed

    def forget(self, feed: TransferFeed) -> None:
        """The feed has left."""
        self.feeds.pop(feed, None)
        self._starved.pop(feed, None)
        if feed.has.count:
            self.picker.remove_copies(feed.has)

    def allows(self, feed: TransferFeed, piece: int) -> bool:
        return self._free_policy or self._policy.may_request(feed.source, piece)

    def allows_any(self, feed: TransferFeed) -> bool:
        return self._free_policy or self._policy.may_request_any(feed.source)

    def starve(self, feed: TransferFeed) -> None:
        """The feed could take more: it is woken when something changes."""
        self._starved[feed] = None

    def changed(self) -> None:
        """Something may be requested again."""
        self.changes += 1
        if self._starved and self._wake_handle is None and self.running:
            self._wake_handle = asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._wake_handle = None
        if self.congested:
            return
        starved, self._starved = self._starved, {}
        for feed in starved:
            if feed.live:
                feed.source.wake()

    @property
    def congested(self) -> bool:
        """More waits for hash and disk than may: everybody waits."""
        return self.intake.waiting_bytes > self.settings.waiting_bytes

    # -- pieces in progress -------------------------------------------------------------

    def extent(self, piece: int) -> tuple[int, int]:
        return piece * self.piece_length, self.descriptor.piece_bytes(piece)

    def parts(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """(piece, begin, end) of a range, cut at the ends of pieces."""
        end = offset + length
        while offset < end:
            piece, begin = divmod(offset, self.piece_length)
            stop = min(self.piece_length, begin + end - offset)
            yield piece, begin, stop
            offset += stop - begin

    # -- blame --------------------------------------------------------------------------

    def suspect(self, feed: TransferFeed, piece: int) -> None:
        """Had a part in a piece that failed: gets whole pieces alone until that is cleared."""
        feed.suspected[piece] = None

    def clear_suspects(self, piece: int) -> None:
        for feed in self.feeds:
            feed.suspected.pop(piece, None)
        self.changed()

    def convict(self, feed: TransferFeed) -> None:
        """Proven to lie: nothing more is asked of it or taken from it."""
        key = feed.source.peer_key
        self._blamed[key] = None
        while len(self._blamed) > MAX_BLAMED_KEYS:
            del self._blamed[next(iter(self._blamed))]
        for each in list(self.feeds):
            if each.source.peer_key == key and each.live:
                each.withdraw()
                for opened in list(self.open_pieces.values()):
                    each.count_refused(opened.drop(each))
                    if opened.owner is None and opened.free:
                        self.progress.orphans[opened.piece] = opened
        self.changed()

    # -- verified -----------------------------------------------------------------------

    def verified(self, opened: Open) -> None:
        """A piece passed and was written."""
        piece = opened.piece
        self.selection.mark(piece)
        opened.view.release()
        if self.sink.in_order:
            self.pouring.add(piece, memoryview(opened.buffer)[: opened.length])
        self.cache.put(piece, 0, opened.buffer, opened.length)
        if self.sink.writable and not self.sink.in_order:
            self.keeper.written(piece, opened.length)
        if self.leases.holder(piece) is not None:
            self.leasing.end(piece)
        for feed in list(self.feeds):
            if not feed.left:
                feed.source.piece_verified(piece)

    def check_complete(self, *, poured: bool = False) -> None:
        """Tells, once, that everything wanted is verified and named (or poured)."""
        whole = self.complete and (poured or self.pouring.empty)
        if whole and not self._completed:
            self._completed = True
            callbacks, self._on_complete = self._on_complete, []
            for callback in callbacks:
                callback()

    # -- order and selection ------------------------------------------------------------

    @property
    def in_order(self) -> bool:
        return self.settings.in_order or self.sink.in_order

    @property
    def window_is_hard(self) -> bool:
        """Pieces beyond the window would have to wait in memory."""
        return self.sink.in_order

    def window(self) -> range:
        """The pieces that are wanted next, in order."""
        at, count = self._next_in_order, self.needed.size
        if self.sink.in_order:
            at = self.pouring.next
        while not self.sink.in_order and at < count and at not in self.needed:
            at += 1
        self._next_in_order = at
        ahead = max(MIN_OPEN_PIECES, self.settings.window_bytes // max(1, self.piece_length))
        return range(at, min(count, at + ahead))

    def select(self, priorities: Mapping[int, int]) -> None:
        """Priorities of files by number: 0 skips, 1 to 7, 4 is usual.  Others stay.

        A piece has the highest priority of the files that it holds bytes of.
        """
        self.selection.select(priorities)
        self._completed = self._completed and self.complete
        if self.running:
            self._naming = asyncio.get_running_loop().create_task(self._name_files())

    async def _name_files(self) -> None:
        try:
            await self.selection.finish_files()
        except SpinneyError as error:
            self.fail(error)

    # -- reading ------------------------------------------------------------------------

    def cached(self, offset: int, length: int) -> memoryview | None:
        return self.reading.cached(offset, length)

    def at_hand(self, offset: int, length: int) -> memoryview | None:
        return self.reading.at_hand(offset, length)

    async def read(self, offset: int, length: int) -> memoryview:
        return await self.reading.read(offset, length)
