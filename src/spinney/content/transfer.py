"""`Transfer`: one descriptor being moved: verified pieces, store, and whatever fills it.

Knows nothing of protocols; sources attach and get a `Feed` (see `source`).  What one source
completes, every other way of sending offers at once.  `choosing` decides what is fetched next,
`intake` verifies and writes, `keeper` makes it durable, `evidence` finds out who lied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from spinney.content.cache import SpanCache
from spinney.content.checking import Progress, check_pieces
from spinney.content.descriptor import Descriptor
from spinney.content.evidence import cut, fingerprint
from spinney.content.feed import Open, TransferFeed
from spinney.content.intake import Intake
from spinney.content.keeper import Keeper
from spinney.content.leases import Leases
from spinney.content.openpiece import BLOCK_BYTES, OpenPiece
from spinney.content.picker import DEFAULT_PRIORITY, Picker
from spinney.content.pieces import Bitfield
from spinney.content.pipe import Pouring
from spinney.content.resume import decode_record
from spinney.content.sinks import Sink
from spinney.content.source import Feed, Policy, Source, TransferLike
from spinney.errors import ChangedFileError, DiskFullError, StorageError
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

MIN_OPEN_PIECES = 8
MAX_BLAMED_KEYS = 4096
"""Addresses remembered as liars for one transfer; the oldest are forgotten."""
ENDGAME_TICK_S = 0.5
"""How often idle sources are asked again during the endgame (rates change)."""
SAMPLE_BYTES = 64 << 20
"""Checked on resume after a kill, of what is marked done: enough to notice other files."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one transfer.

    `open_bytes`: buffers of pieces in progress or being verified, at least 8 pieces.
    `waiting_bytes`: full pieces waiting for hash and disk; beyond, sources are held back.
    `cache_bytes`: verified bytes kept in memory to be served.
    `in_order`: pieces from the first to the last, `window_bytes` ahead (players, pipes).
    """

    open_bytes: int = 256 << 20
    waiting_bytes: int = 32 << 20
    cache_bytes: int = 64 << 20
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
        self.leases: Leases[TransferFeed] = Leases()
        self.feeds: dict[TransferFeed, None] = {}
        self.open_pieces: dict[int, Open] = {}
        self.orphans: dict[int, Open] = {}
        """Pieces in progress that nobody is fetching."""
        self.intake = Intake(self)
        self.keeper = Keeper(self)
        self.pouring = Pouring(self)
        self.cache = SpanCache(self.piece_length, settings.cache_bytes)
        self.running = False
        self.failure: StorageError | None = None
        self.changes = 0
        """Counts whatever may give an idle source something to do."""
        self._policy: Policy = policy or _Everything()
        self._free_policy = policy is None
        self.blocks_per_piece = max(1, -(-self.piece_length // BLOCK_BYTES))
        self._max_open = max(MIN_OPEN_PIECES, settings.open_bytes // max(1, self.piece_length))
        self._tallies: dict[str, Tally] = {}
        self._blamed: dict[str, None] = {}
        self._starved: dict[TransferFeed, None] = {}
        self._wake_handle: asyncio.Handle | None = None
        self._lease_timer: asyncio.TimerHandle | None = None
        self._endgame = False
        self._file_priority = [DEFAULT_PRIORITY] * len(descriptor.files)
        self._finished: dict[int, None] = {}
        self._file_left = [len(sink.layout.pieces_of(n)) for n in range(len(descriptor.files))]
        self._to_finish: list[int] = []
        self._left_bytes = descriptor.total_bytes
        self._next_in_order = 0
        self._completed = False
        self._on_complete: list[Callable[[], None]] = []
        self._on_failure: list[Callable[[StorageError], None]] = []
        self._reads: dict[tuple[int, int], asyncio.Task[memoryview]] = {}
        self._read_lock = asyncio.Lock()

    # -- life ---------------------------------------------------------------------------

    async def start(
        self, *, check: bool = False, trust: bool = False, progress: Progress | None = None
    ) -> None:
        """Opens the store, takes over what is there (`check`: hashes everything; `trust`:
        everything is there, as its owner just hashed it) and begins.

        Raises `StorageError` with a sentence of what to do.
        """
        await self.host.work(self.sink.open)
        try:
            await self._take_over(check, trust, progress)
            await self._make_room()
            await self.finish_files()
        except BaseException:
            await self.host.work(self._close_sink, False)
            raise
        self.running = True
        self.check_complete()
        self.changed()

    async def _take_over(self, check: bool, trust: bool, progress: Progress | None) -> None:
        count = self.descriptor.piece_count
        good = Bitfield(count, full=trust)
        data = None if trust else await self.host.work(self.sink.load)
        record = None if data is None else decode_record(data, self.infohash, count)
        if not trust:
            fits = False
            if record is not None and not check:
                files = range(len(self.descriptor.files))
                fits = record.fits(await self.host.work(self.sink.stamps, files))
                if fits and not record.clean:
                    fits = await self._sample(record.pieces)
            if fits and record is not None:
                good = record.pieces
            else:
                good = await self._check(range(count), progress)
        layout = self.sink.layout
        ours = [
            record is not None or any(piece in good for piece in layout.pieces_of(number))
            for number in range(len(self.descriptor.files))
        ]
        await self.host.work(self.sink.adopt, ours)
        for piece in good:
            self.keeper.durable.add(piece)
            self._mark(piece)
        zeros = [] if layout.solid else list(self.needed)
        zeros = [piece for piece in zeros if not layout.content_bytes(*self._extent(piece))]
        for piece in zeros:  # nothing but padding: known, not fetched
            if self.descriptor.check_piece(piece, bytes(self.descriptor.piece_bytes(piece))):
                self._mark(piece)
        for number, entry in enumerate(self.descriptor.files):
            if not entry.length and self._file_priority[number]:
                self._to_finish.append(number)

    async def _check(self, pieces: range | list[int], progress: Progress | None) -> Bitfield:
        try:
            return await check_pieces(self.host, self.descriptor, self.sink, pieces, progress)
        except* StorageError as group:
            raise next(iter(group.exceptions)) from None

    async def _sample(self, pieces: Bitfield) -> bool:
        """After a kill the files may have changed since they were noted: look at some."""
        marked = list(pieces)
        number = min(len(marked), max(1, SAMPLE_BYTES // max(1, self.piece_length)))
        chosen = sorted(self.rng.sample(marked, number)) if marked else []
        good = await self._check(chosen, None)
        return good.count == len(chosen)

    async def _make_room(self) -> None:
        if not self.sink.writable or not self._left_bytes:
            return
        wanted = [n for n, rank in enumerate(self._file_priority) if rank and self._file_left[n]]
        free = await self.host.work(self.sink.free_bytes)
        if free is not None and free < self._left_bytes:
            raise DiskFullError(
                f"{self._left_bytes:,} bytes are needed and {free:,} are free: make room, or "
                "choose another folder with -o"
            )
        await self.host.work(self.sink.reserve, wanted)

    async def close(self) -> None:
        """Verifies and writes what is whole, syncs, saves the resume record and lets go."""
        if not self.running and self.failure is None:
            return
        await self.intake.drain()
        self.running = False
        for timer in (self._wake_handle, self._lease_timer):
            if timer is not None:
                timer.cancel()
        await self.keeper.stop()
        try:
            await self.pouring.stop()
            if self.sink.writable and not self.sink.in_order:
                await self.keeper.keep(clean=True)
        except StorageError as error:
            if self.failure is None:
                self.failure = error
                raise
        finally:
            done = self.complete and self.failure is None
            await self.host.work(self._close_sink, done)

    def _close_sink(self, done: bool) -> None:
        self.sink.close(done=done)

    def fail(self, error: StorageError) -> None:
        """The disk failed: nothing more is asked for or taken; what is verified stays."""
        if self.failure is None:
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
        return self._left_bytes

    def readable(self, piece: int) -> bool:
        """Can a verified piece be served?  Always, but for an output that keeps nothing: then
        only while it is in memory."""
        if piece not in self.have:
            return False
        return not self.sink.in_order or self.cached(piece * self.piece_length, 1) is not None

    def availability(self) -> float:
        return self.picker.availability()

    def on_complete(self, callback: Callable[[], None]) -> None:
        """Called once when everything wanted is verified and bears its name; at once if so."""
        if self._completed:
            callback()
        else:
            self._on_complete.append(callback)

    def on_failure(self, callback: Callable[[StorageError], None]) -> None:
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

    @property
    def has_room(self) -> bool:
        return len(self.open_pieces) + len(self.intake) < self._max_open

    # -- pieces in progress -------------------------------------------------------------

    def _extent(self, piece: int) -> tuple[int, int]:
        return piece * self.piece_length, self.descriptor.piece_bytes(piece)

    def parts(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """(piece, begin, end) of a range, cut at the ends of pieces."""
        end = offset + length
        while offset < end:
            piece, begin = divmod(offset, self.piece_length)
            stop = min(self.piece_length, begin + end - offset)
            yield piece, begin, stop
            offset += stop - begin

    def begin(self, piece: int, owner: TransferFeed | None) -> Open | None:
        """Opens a piece for an owner, if there is room."""
        if not self.has_room:
            return None
        offset, length = self._extent(piece)
        opened: Open = OpenPiece(
            piece,
            offset,
            length,
            piece * self.blocks_per_piece,
            self.cache.take_buffer(),
            self.sink.layout.padding(offset, length),
        )
        self.picker.withdraw(piece)
        self.open_pieces[piece] = opened
        opened.solo = piece in self.intake.evidence
        if owner is None:
            self.orphans[piece] = opened
        else:
            self.adopt(opened, owner)
        return opened

    def open_unasked(self, piece: int, feed: TransferFeed) -> Open | None:
        """A piece begun by bytes that nobody asked for; None if they are not wanted here."""
        if piece not in self.needed or self.congested:
            return None
        if self.in_order and self.window_is_hard and piece not in self.window():
            return None
        return self.begin(piece, self.leases.holder(piece))

    def adopt(self, opened: Open, feed: TransferFeed) -> None:
        """`feed` fetches this piece from now on."""
        opened.owner = feed
        opened.solo = opened.solo or bool(feed.suspected)
        feed.working[opened.piece] = opened
        self.orphans.pop(opened.piece, None)

    def disown(self, opened: Open) -> None:
        """Its owner fetches it no more."""
        opened.owner = None
        if self.open_pieces.get(opened.piece) is not opened:
            return
        if opened.solo:
            self._abandon(opened)
        elif opened.untouched:
            self.reopen(opened)
        else:
            self.orphans[opened.piece] = opened
        self.changed()

    def _abandon(self, opened: Open) -> None:
        """An attempt that had to be one sender's alone has ended early: as evidence it stays."""
        assert opened.asked_of_nobody(), "whole pieces alone"
        segments = opened.segments()
        prints = [fingerprint(opened.view[a:b]) for a, b, _ in cut(segments)]
        self.reopen(opened)
        if segments:
            self.intake.keep(opened.piece, segments, prints)

    def reopen(self, opened: Open) -> None:
        """The piece must be begun anew."""
        self.open_pieces.pop(opened.piece, None)
        self.orphans.pop(opened.piece, None)
        opened.owner = None
        opened.view.release()
        self.cache.recycle(opened.buffer)
        if self.leases.holder(opened.piece) is None and opened.piece in self.needed:
            self.picker.offer(opened.piece)
        self.changed()

    def all_asked(self) -> bool:
        """Is every wanted block that anybody has asked for?  Then the endgame is on."""
        on = not self.picker.reachable() and not any(
            opened.free and self.leases.holder(piece) is None
            for piece, opened in self.open_pieces.items()
        )
        if on and not self._endgame and self.running and self.needed.count:
            asyncio.get_running_loop().call_later(ENDGAME_TICK_S, self._endgame_tick)
            self._endgame = True
            self.changed()
        return on

    def _endgame_tick(self) -> None:
        self._endgame = False
        if self.running:
            self.changed()

    # -- leases -------------------------------------------------------------------------

    def claim(self, piece: int, feed: TransferFeed, seconds: float) -> bool:
        """A lease on a piece that is wanted and that no other source is fetching."""
        if not 0 <= piece < self.needed.size or piece not in self.needed:
            return False
        opened, holder = self.open_pieces.get(piece), self.leases.holder(piece)
        if self.intake.holds(piece) or (opened is not None and opened.owner not in (None, feed)):
            return False
        if opened is not None and opened.owner is None and not opened.untouched:
            if opened.solo or feed.suspected:
                return False
        if holder is None and opened is None:
            closed = sum(1 for each in self.leases if each not in self.open_pieces)
            if closed + len(self.open_pieces) + len(self.intake) >= self._max_open:
                return False
        if not self.leases.claim(piece, feed, seconds, self.host.time()):
            return False
        self.picker.withdraw(piece)
        if opened is not None and opened.owner is None:
            self.adopt(opened, feed)
        self._watch_leases()
        return True

    def leases_of_others(self, feed: TransferFeed) -> list[int]:
        return [piece for piece in self.leases if self.leases.holder(piece) is not feed]

    def end_lease(self, piece: int) -> None:
        holder = self.leases.end(piece)
        opened = self.open_pieces.get(piece)
        if opened is None:
            if piece in self.needed and not self.intake.holds(piece):
                self.picker.offer(piece)
        elif holder is not None and opened.owner is holder and not holder.fetches(opened):
            self.disown(opened)
        self.changed()

    def _watch_leases(self) -> None:
        end = self.leases.next_end()
        if self._lease_timer is not None:
            self._lease_timer.cancel()
            self._lease_timer = None
        if end is not None:
            delay = max(0.0, end - self.host.time())
            self._lease_timer = asyncio.get_running_loop().call_later(delay, self._leases_ended)

    def _leases_ended(self) -> None:
        self._lease_timer = None
        for piece in self.leases.expired(self.host.time()):
            self.end_lease(piece)
        self._watch_leases()

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
                        self.orphans[opened.piece] = opened
        self.changed()

    # -- verified -----------------------------------------------------------------------

    def verified(self, opened: Open) -> None:
        """A piece passed and was written."""
        piece = opened.piece
        self._mark(piece)
        opened.view.release()
        if self.sink.in_order:
            self.pouring.add(piece, memoryview(opened.buffer)[: opened.length])
        self.cache.put(piece, 0, opened.buffer, opened.length)
        if self.sink.writable and not self.sink.in_order:
            self.keeper.written(piece, opened.length)
        if self.leases.holder(piece) is not None:
            self.end_lease(piece)
        for feed in list(self.feeds):
            if not feed.left:
                feed.source.piece_verified(piece)

    def _mark(self, piece: int) -> None:
        if not self.have.add(piece):
            return
        self.picker.verified(piece)
        layout, extent = self.sink.layout, self._extent(piece)
        if self.needed.discard(piece):
            self._left_bytes -= layout.content_bytes(*extent)
            for feed in self.feeds:
                if piece in feed.has:
                    feed.missing -= 1
        for span in layout.spans(*extent):
            self._file_left[span.file] -= 1
            if not self._file_left[span.file] and self._file_priority[span.file]:
                self._to_finish.append(span.file)

    async def finish_files(self) -> None:
        """Gives whole files their names; then, if all are, tells that it is complete."""
        files, self._to_finish = self._to_finish, []
        if files and self.sink.writable and not self.sink.in_order:
            self._finished.update(dict.fromkeys(files))
            await self.host.work(self.sink.finish, files)
        if self.running:
            self.check_complete()

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
        layout, rows = self.sink.layout, self._file_priority
        for number, priority in priorities.items():
            assert 0 <= priority <= 7, "priorities are 0 to 7"
            rows[number] = priority
        fresh = bytearray(self.needed.size)
        for number, priority in enumerate(rows):
            for piece in layout.pieces_of(number):
                fresh[piece] = max(fresh[piece], priority)
        for piece, priority in enumerate(fresh):
            if priority != self.picker.priority[piece]:
                self._prioritise(piece, priority)
        for number, priority in enumerate(rows):
            if priority and not self._file_left[number] and number not in self._finished:
                self._to_finish.append(number)
        for feed in self.feeds:
            feed.recount()
        self._completed = self._completed and self.complete
        self.changed()

    def _prioritise(self, piece: int, priority: int) -> None:
        content = self.sink.layout.content_bytes(*self._extent(piece))
        self.picker.set_priority(piece, priority)
        if piece in self.have:
            return
        if not priority:
            if self.needed.discard(piece):
                self._left_bytes -= content
            opened = self.open_pieces.get(piece)
            if opened is not None:
                self._drop_unwanted(opened)
            self.picker.withdraw(piece)
        elif self.needed.add(piece):
            self._left_bytes += content
            if not self.intake.holds(piece) and self.leases.holder(piece) is None:
                self.picker.offer(piece)

    def file_wanted(self, number: int) -> bool:
        return self._file_priority[number] > 0

    def _drop_unwanted(self, opened: Open) -> None:
        """A piece in progress is not wanted any more: what came of it is refused."""
        lost = [
            (feed, *feed.lose(opened, block))
            for block, askers in enumerate(opened.askers)
            for feed in askers
        ]
        for start, end, feed in opened.segments():
            feed.count_refused(end - start)
        self.reopen(opened)
        for feed, offset, length in lost:
            feed.source.cancelled(offset, length)

    # -- reading ------------------------------------------------------------------------

    def cached(self, offset: int, length: int) -> memoryview | None:
        piece, begin = divmod(offset, self.piece_length)
        return self.cache.get(piece, begin, length)

    async def read(self, offset: int, length: int) -> memoryview:
        view = self.cached(offset, length)
        if view is not None:
            return view
        whole = bytearray()
        for piece, begin, end in self.parts(offset, length):
            assert piece in self.have, "only verified bytes are read"
            while begin < end:
                start, size = self.cache.span_of(piece, begin, self.descriptor.piece_bytes(piece))
                stop = min(end, start + size)
                part = self.cache.get(piece, begin, stop - begin)
                if part is None:
                    span = await self._span(piece, start, size)
                    part = span[begin - start : stop - start]
                if len(part) == length:
                    return part
                whole += part
                begin = stop
        return memoryview(whole).toreadonly()

    async def _span(self, piece: int, start: int, size: int) -> memoryview:
        """A span from disk, read once for all who wait for it."""
        task = self._reads.get((piece, start))
        if task is None:
            loop = asyncio.get_running_loop()
            task = self._reads[piece, start] = loop.create_task(self._load(piece, start, size))
        return await asyncio.shield(task)

    async def _load(self, piece: int, start: int, size: int) -> memoryview:
        try:
            async with self._read_lock:
                buffer = await self.host.work(self._read_job, piece, start, size)
        except ChangedFileError as error:
            self.fail(error)
            raise
        finally:
            del self._reads[piece, start]
        self.cache.put(piece, start, buffer, size)
        return memoryview(buffer)[:size].toreadonly()

    def _read_job(self, piece: int, start: int, size: int) -> bytearray:
        """In a worker.  A file that changed since its check is believed by hash only."""
        offset, length = self._extent(piece)
        buffer = bytearray(size)
        self.sink.read_into(offset + start, memoryview(buffer))
        if self.sink.doubtful(offset, length):
            whole = memoryview(bytearray(length))
            self.sink.read_into(offset, whole)
            if not self.descriptor.check_piece(piece, whole):
                raise ChangedFileError(
                    "a shared file was changed while in use: put it back, or share it anew"
                )
            buffer[:] = whole[start : start + size]
        return buffer
