"""`TransferFeed`: one source's place at a transfer: reservations, delivery, accounting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spinney.content import choosing
from spinney.content.openpiece import BLOCK_BYTES, FREE, HELD, MAX_SEGMENTS, OpenPiece
from spinney.content.pieces import Bitfield
from spinney.content.source import MAX_REQUESTS, Source
from spinney.net.host import Buffer

if TYPE_CHECKING:
    from spinney.content.transfer import Transfer

MAX_SUGGESTED = 64
"""Suggestions remembered for one source, the newest first."""
RATE_WINDOW_S = 0.5
MAX_LATE = 2_048
"""Blocks that were asked of one source and given back, and may still be under way: 32 MiB."""

Open = OpenPiece["TransferFeed"]


class TransferFeed:
    """See `source.Feed`; `delivered_bytes` counts everything that was ever handed in."""

    def __init__(self, transfer: Transfer, source: Source) -> None:
        self.source = source
        self.has = Bitfield(transfer.descriptor.piece_count)
        self.delivered_bytes = 0
        self.useful_bytes = 0
        self.duplicate_bytes = 0
        self.bad_bytes = 0
        self.refused_bytes = 0
        self.pending_bytes = 0
        self.missing = 0
        """Pieces that this source has, and that are wanted and not here."""
        self.live = True
        """False once it left or is proven to lie."""
        self.left = False
        self.asked_only = False
        self.forgiving = False
        self.steady = False
        self._late: dict[int, None] = {}
        """Blocks no longer asked of this source: at most `MAX_LATE`."""
        self.suspected: dict[int, None] = {}
        """Failed pieces in which this source had a part that is not cleared yet."""
        self.suggested: list[int] = []
        self.working: dict[int, Open] = {}
        """Pieces that it is fetching and that may have free blocks."""
        self._transfer = transfer
        self._tally = transfer.tally(source.way)
        self._asked: dict[int, tuple[int, int]] = {}
        self._idle_at = -1
        self._rate = 0.0
        self._rate_since: float | None = None
        self._rate_base = 0

    # -- what the source has ------------------------------------------------------------

    def saw_bitfield(self, has: Bitfield) -> None:
        assert has.size == self.has.size, "a bitfield for another torrent"
        if self.left:
            return
        picker = self._transfer.picker
        if self.has.count:
            picker.remove_copies(self.has)
        self.has = has.copy()
        if has.count:
            picker.add_copies(self.has)
        self.recount()
        self._idle_at = -1

    def saw_have(self, piece: int) -> None:
        if self.left or not self.has.add(piece):
            return
        picker = self._transfer.picker
        if self.has.full:
            self.has.discard(piece)
            picker.became_full(self.has)
            self.has.add(piece)
        else:
            picker.add_copy(piece)
        if piece in self._transfer.needed:
            self.missing += 1
            self._idle_at = -1

    def recount(self) -> None:
        self.missing = (self.has.as_int() & self._transfer.needed.as_int()).bit_count()

    def suggest(self, piece: int) -> None:
        if 0 <= piece < self.has.size:
            self.suggested = [piece, *(p for p in self.suggested if p != piece)][:MAX_SUGGESTED]

    @property
    def pending_requests(self) -> int:
        return len(self._asked)

    def interesting(self) -> bool:
        return self.missing > 0 and self.live

    # -- asking -------------------------------------------------------------------------

    def request(
        self, limit_bytes: int, *, pieces: Bitfield | None = None, most: int = MAX_REQUESTS
    ) -> list[tuple[int, int, int]]:
        out: list[tuple[int, int, int]] = []
        transfer = self._transfer
        if not self.live or limit_bytes <= 0 or not transfer.running:
            return out
        if self._idle_at == transfer.changes and pieces is None:
            return out
        if transfer.congested or not transfer.allows_any(self):
            transfer.starve(self)
            return out
        left = limit_bytes
        for piece, opened in list(self.working.items()):
            if not opened.free or transfer.open_pieces.get(piece) is not opened:
                del self.working[piece]
                continue
            allowed = pieces is None or piece in pieces
            if allowed and choosing.usable(transfer, self, opened):
                left = self._take(opened, out, left, most)
                if left <= 0 or len(out) >= most:
                    return out
        while left > 0:
            chosen = choosing.choose(transfer, self, pieces)
            if chosen is None:
                break
            self.working[chosen.piece] = chosen
            left = self._take(chosen, out, left, most)
            if len(out) >= most:
                return out
        if left > 0:
            for opened, block in choosing.endgame(transfer, self, left, pieces):
                if len(out) >= most:
                    return out
                self._reserve(opened, block, out)
                left -= out[-1][2]
        if left > 0:
            if pieces is None:  # a choice from some pieces says nothing of the others
                self._idle_at = transfer.changes
            transfer.starve(self)
        return out

    def _take(self, opened: Open, out: list[tuple[int, int, int]], left: int, most: int) -> int:
        """Reserves free blocks of a piece, in order, until `left` or `most` is used up."""
        room = most - len(out)
        state, askers, asked = opened.state, opened.askers, self._asked
        piece, key, mine, taken, before = opened.piece, opened.key, (self,), 0, left
        find, held, last = state.find, opened.block_held, opened.blocks - 1
        block = find(FREE)
        while block >= 0 and left > 0 and taken < room:
            if held[block] or block == last:
                begin, length = opened.missing(block)
            else:
                begin, length = block * BLOCK_BYTES, BLOCK_BYTES
            state[block] = 1
            askers[block] = mine
            asked[key + block] = (begin, length)
            out.append((piece, begin, length))
            left -= length
            taken += 1
            block = find(FREE, block + 1)
        self.pending_bytes += before - left
        opened.free -= taken
        return left

    def _reserve(self, opened: Open, block: int, out: list[tuple[int, int, int]]) -> None:
        begin, length = opened.missing(block)
        opened.ask(block, self)
        self._asked[opened.key + block] = (begin, length)
        self.pending_bytes += length
        out.append((opened.piece, begin, length))

    def rate(self, now: float) -> float:
        """Bytes a second that this source brought lately; 0.0 while unknown."""
        if self._rate_since is None:
            self._rate_since, self._rate_base = now, self.delivered_bytes
        elif now - self._rate_since >= RATE_WINDOW_S:
            fresh = (self.delivered_bytes - self._rate_base) / (now - self._rate_since)
            self._rate = fresh if not self._rate else (self._rate + fresh) / 2
            self._rate_since, self._rate_base = now, self.delivered_bytes
        return self._rate

    def give_back(self, offset: int, length: int) -> None:
        transfer = self._transfer
        for piece, begin, end in transfer.parts(offset, length):
            opened = transfer.open_pieces.get(piece)
            if opened is None:
                continue
            for block in range(begin // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1):
                if opened.key + block in self._asked:
                    self._release(opened, block)
            self._maybe_let_go(opened)

    def give_back_all(self) -> None:
        transfer = self._transfer
        per_piece = transfer.blocks_per_piece
        touched: dict[int, Open] = dict(self.working)
        for key in list(self._asked):
            piece, block = divmod(key, per_piece)
            touched[piece] = transfer.open_pieces[piece]
            self._release(touched[piece], block)
        self.working.clear()
        for piece, opened in touched.items():
            if transfer.open_pieces.get(piece) is opened:
                self._maybe_let_go(opened)

    def _release(self, opened: Open, block: int) -> None:
        self.pending_bytes -= self._asked.pop(opened.key + block)[1]
        self._may_be_late(opened.key + block)
        self._free_again(opened, block)
        self._transfer.changed()

    def _may_be_late(self, key: int) -> None:
        self._late[key] = None
        if len(self._late) > MAX_LATE:
            del self._late[next(iter(self._late))]

    def _expected(self, piece: int, begin: int, length: int) -> bool:
        """Was every block of this range asked of this source, now or lately?"""
        key, last = piece * self._transfer.blocks_per_piece, (begin + length - 1) // BLOCK_BYTES
        return all(
            key + block in self._asked or key + block in self._late
            for block in range(begin // BLOCK_BYTES, last + 1)
        )

    def _free_again(self, opened: Open, block: int) -> None:
        opened.release(block, self)
        if opened.owner is not None and opened.free:
            opened.owner.working[opened.piece] = opened

    def _maybe_let_go(self, opened: Open) -> None:
        """With nothing reserved any more, a piece is free for others to finish."""
        if opened.owner is not self or self._transfer.leases.holder(opened.piece) is self:
            return
        if not self.fetches(opened):
            self._transfer.progress.disown(opened)

    def fetches(self, opened: Open) -> bool:
        """Has it reserved any block of this piece?"""
        return any(self in row for row in opened.askers)

    # -- bringing -----------------------------------------------------------------------

    def deliver(self, offset: int, data: Buffer) -> None:
        length = len(data)
        self.delivered_bytes += length
        transfer = self._transfer
        piece, begin = divmod(offset, transfer.piece_length)
        opened = transfer.open_pieces.get(piece)
        if opened is not None and not begin % BLOCK_BYTES and begin < opened.length:
            block = begin // BLOCK_BYTES
            askers = opened.askers[block]
            end = begin + length
            if (
                len(askers) == 1
                and askers[0] is self
                and not opened.block_held[block]
                and (length == BLOCK_BYTES or end == opened.length)
                and self._asked.get(opened.key + block) == (begin, length)
            ):
                # The common case: a whole block, asked of this source alone, nothing held yet.
                opened.view[begin:end] = data
                del self._asked[opened.key + block]
                self.pending_bytes -= length
                opened.askers[block] = ()
                opened.state[block] = HELD
                opened.block_held[block] = length
                ends = opened.ends
                if ends and ends[-1] == begin and opened.senders[-1] is self:
                    ends[-1] = end
                    opened.held += length
                else:
                    opened.block_held[block] = 0
                    opened.hold(begin, end, self)
                if opened.held == opened.length:
                    transfer.intake.add(opened)
                return
        if length:
            view = memoryview(data)
            for piece, begin, end in transfer.parts(offset, length):
                at = piece * transfer.piece_length + begin - offset
                self._deliver_part(piece, begin, view[at : at + end - begin])

    def _deliver_part(self, piece: int, begin: int, part: memoryview) -> None:
        """Bytes within one piece, in the general case."""
        transfer = self._transfer
        length = len(part)
        if not self.live or not transfer.running or not 0 <= piece < self.has.size:
            return self.count_refused(length)
        over = begin + length - transfer.descriptor.piece_bytes(piece)
        if over > 0:  # the gap behind a file of v2 is known to be zeros; beyond the end is not
            over = min(over, length)
            if piece == self.has.size - 1:
                self.count_refused(over)
            else:
                self.count_duplicate(over)
            length -= over
            part = part[:length]
            if not length:
                return None
        if piece in transfer.have or transfer.intake.holds(piece):
            return self.count_duplicate(length)
        if self.asked_only and not self._expected(piece, begin, length):
            return self.count_refused(length)
        opened = transfer.open_pieces.get(piece) or transfer.progress.open_unasked(piece, self)
        if opened is None:
            return self.count_refused(length)
        return self._hold(opened, begin, begin + length, part)

    def room(self) -> bytearray:
        return self._transfer.cache.take_buffer()

    def deliver_piece(self, piece: int, room: bytearray) -> bool:
        transfer = self._transfer
        if not self.live or not transfer.running or self.asked_only:
            return False
        if piece in transfer.have or transfer.intake.holds(piece):
            return False
        opened = transfer.open_pieces.get(piece) or transfer.progress.open_unasked(piece, self)
        if opened is None or opened.held or not self._may_push(opened, [(0, opened.length)]):
            return False
        transfer.cache.recycle(opened.move(room))
        self.delivered_bytes += opened.length
        self._hold(opened, 0, opened.length, None)
        return True

    def _hold(self, opened: Open, begin: int, end: int, part: memoryview | None) -> None:
        """Takes a range; `part`: its bytes, if they do not lie in the piece's buffer already."""
        transfer = self._transfer
        asked = self._settle(opened, begin, end)
        gaps = opened.gaps(begin, end)
        fresh = sum(stop - start for start, stop in gaps)
        self.count_duplicate(end - begin - fresh)
        if not asked and fresh and not self._may_push(opened, gaps):
            if opened.owner is None and opened.untouched:
                transfer.progress.reopen(opened)  # it was opened for these bytes
            return self.count_refused(fresh)
        whole: list[int] = []
        for start, stop in gaps:
            if part is not None:
                opened.view[start:stop] = part[start - begin : stop - begin]
            whole += opened.hold(start, stop, self)
        cancelled = []
        for block in whole:
            for other in opened.askers[block]:
                cancelled.append((other, *other.lose(opened, block)))
            opened.askers[block] = ()
        if opened.full:
            transfer.intake.add(opened)
        for other, offset, length in cancelled:
            other.source.cancelled(offset, length)
        return None

    def _may_push(self, opened: Open, gaps: list[tuple[int, int]]) -> bool:
        """May bytes that nobody asked for come in?"""
        if self._transfer.congested:
            return False
        if opened.solo or self.suspected:
            if opened.owner is None and opened.untouched:
                # It stays among the orphans: who asks for it may take it over.
                opened.owner, opened.solo = self, True
            if opened.owner is not self:
                return False
        if len(opened.starts) + len(gaps) > MAX_SEGMENTS:
            return len(gaps) == 1 and not opened.makes_segment(*gaps[0], self)
        return True

    def _settle(self, opened: Open, begin: int, end: int) -> bool:
        """Takes a range that came off this source's reservations; was any of it asked for?"""
        asked = False
        for block in range(begin // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1):
            row = self._asked.get(opened.key + block)
            if row is None or end <= row[0] or begin >= row[0] + row[1]:
                continue
            asked = True
            stop = row[0] + row[1]
            if end < stop:  # parts come in order: what is jumped over counts as given back
                self._asked[opened.key + block] = (end, stop - end)
                self.pending_bytes -= row[1] - (stop - end)
            else:
                del self._asked[opened.key + block]
                self.pending_bytes -= row[1]
                self._free_again(opened, block)
        return asked

    def lose(self, opened: Open, block: int) -> tuple[int, int]:
        """Somebody else brought a block: (offset, length) that need not come any more."""
        begin, length = self._asked.pop(opened.key + block)
        self._may_be_late(opened.key + block)
        self.pending_bytes -= length
        return opened.offset + begin, length

    # -- leases -------------------------------------------------------------------------

    def lease(self, pieces: Sequence[int], seconds: float) -> list[int]:
        if not self.live:
            return []
        return [piece for piece in pieces if self._transfer.leasing.claim(piece, self, seconds)]

    def give_lease_back(self, pieces: Sequence[int]) -> None:
        for piece in pieces:
            if self._transfer.leases.holder(piece) is self:
                self._transfer.leasing.end(piece)

    # -- leaving ------------------------------------------------------------------------

    def leave(self) -> None:
        if self.left:
            return
        self.withdraw()
        self.left = True
        self._transfer.forget(self)

    def withdraw(self) -> None:
        """No reservations, no leases, no more bytes: it left, or is proven to lie."""
        self.live = False
        self.give_lease_back(self._transfer.leases.of(self))
        self.give_back_all()
        for opened in list(self._transfer.progress.orphans.values()):
            if opened.owner is self:
                self._transfer.progress.disown(opened)

    # -- accounting ---------------------------------------------------------------------

    def count_useful(self, length: int) -> None:
        self.useful_bytes += length
        self._tally.useful += length

    def count_duplicate(self, length: int) -> None:
        self.duplicate_bytes += length
        self._tally.duplicate += length

    def count_bad(self, length: int) -> None:
        self.bad_bytes += length
        self._tally.bad += length

    def count_refused(self, length: int) -> None:
        self.refused_bytes += length
        self._tally.refused += length
