"""What a source is asked for next, in this order:

1. pieces that it is already fetching (and those it leased);
2. pieces that somebody began and nobody fetches any more;
3. a new piece, as `picker` chooses, while there is room for one;
4. a piece that another source is fetching, the slowest one's first: only if there is nothing
   else for this source, so that a fast peer helps a slow one out;
5. the endgame: when every wanted block that anybody has is asked for, a second copy of what
   slower sources were asked for.

Pieces in order (players, pipes): the lowest wanted one that the source has, shared freely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinney.content.openpiece import ASKED, BLOCK_BYTES, FREE, OpenPiece
from spinney.content.pieces import Bitfield

if TYPE_CHECKING:
    from spinney.content.feed import TransferFeed
    from spinney.content.transfer import Transfer

Open = OpenPiece["TransferFeed"]


def may_take(transfer: Transfer, feed: TransferFeed, piece: int) -> bool:
    """Has this source the piece, and may it be asked of it, as far as policy and leases go?"""
    if piece not in feed.has or not transfer.allows(feed, piece):
        return False
    holder = transfer.leases.holder(piece)
    return holder is None or holder is feed


def usable(transfer: Transfer, feed: TransferFeed, opened: Open) -> bool:
    """May this source bring blocks of this piece in progress at all?"""
    if not may_take(transfer, feed, opened.piece):
        return False
    if opened.solo or feed.suspected:  # whole pieces alone
        return opened.owner is feed or (opened.owner is None and opened.untouched)
    return True


def choose(transfer: Transfer, feed: TransferFeed, pieces: Bitfield | None) -> Open | None:
    """A piece in progress with free blocks for this source, begun now if need be."""
    for piece in transfer.leases.of(feed) if len(transfer.leases) else ():
        if piece not in feed.has or not (pieces is None or piece in pieces):
            continue
        if not transfer.intake.holds(piece):
            leased = transfer.open_pieces.get(piece) or transfer.progress.begin(piece, feed)
            if leased is not None and leased.free:
                return leased
    if transfer.in_order:
        found = _in_order(transfer, feed, pieces)
        if found is not None or transfer.window_is_hard:
            return found
    for opened in list(transfer.progress.orphans.values()):
        if not opened.free or not (pieces is None or opened.piece in pieces):
            continue
        if usable(transfer, feed, opened):
            transfer.progress.adopt(opened, feed)
            return opened
        if opened.solo and may_take(transfer, feed, opened.piece):
            transfer.progress.disown(opened)  # pushed by one who promised nothing: begun anew
            return transfer.progress.begin(opened.piece, feed)
    if transfer.progress.has_room:
        piece_or_none = transfer.picker.pick(
            feed.has,
            transfer.rng,
            allowed=lambda piece: transfer.allows(feed, piece),
            suggested=feed.suggested,
            within=pieces,
        )
        if piece_or_none is not None:
            return transfer.progress.begin(piece_or_none, feed)
    return _shared(transfer, feed, pieces)


def _shared(transfer: Transfer, feed: TransferFeed, pieces: Bitfield | None) -> Open | None:
    best: Open | None = None
    best_rate = 0.0
    now = transfer.host.time()
    for opened in transfer.open_pieces.values():
        if not opened.free or opened.owner is feed:
            continue
        if (pieces is None or opened.piece in pieces) and usable(transfer, feed, opened):
            rate = opened.owner.rate(now) if opened.owner is not None else 0.0
            if best is None or rate < best_rate:
                best, best_rate = opened, rate
    return best


def _in_order(transfer: Transfer, feed: TransferFeed, pieces: Bitfield | None) -> Open | None:
    for piece in transfer.window():
        if piece not in feed.has or (pieces is not None and piece not in pieces):
            continue
        opened = transfer.open_pieces.get(piece)
        if opened is not None:
            if opened.free and usable(transfer, feed, opened):
                if opened.owner is None:
                    transfer.progress.adopt(opened, feed)
                return opened
        elif piece in transfer.picker.candidates and transfer.allows(feed, piece):
            return transfer.progress.begin(piece, feed) if transfer.progress.has_room else None
    return None


def endgame(
    transfer: Transfer, feed: TransferFeed, limit_bytes: int, pieces: Bitfield | None
) -> list[tuple[Open, int]]:
    """Blocks of which this source may bring a second copy, those of slow sources first."""
    if feed.suspected or not transfer.progress.all_asked():
        return []
    now = transfer.host.time()
    rows: list[tuple[float, Open, int]] = []
    for piece in transfer.leasing.of_others(feed):
        if piece in feed.has and piece not in transfer.open_pieces:
            holder = transfer.leases.holder(piece)
            if holder is not None and not holder.steady:
                transfer.progress.begin(piece, holder)
    for opened in transfer.open_pieces.values():
        if opened.solo or opened.piece not in feed.has:
            continue
        if (pieces is not None and opened.piece not in pieces) or not transfer.allows(
            feed, opened.piece
        ):
            continue
        holder = transfer.leases.holder(opened.piece)
        if holder is not None and holder is not feed and holder.steady:
            continue
        state = FREE if holder is not None and holder is not feed else ASKED
        block = opened.state.find(state)
        while block >= 0:
            other = holder if state == FREE else opened.askers[block][0]
            if other is not None and other is not feed and _sooner(feed, other, now):
                rows.append((other.rate(now), opened, block))
            block = opened.state.find(state, block + 1)
    rows.sort(key=lambda row: row[0])
    return [(opened, block) for _, opened, block in rows[: -(-limit_bytes // BLOCK_BYTES)]]


def _sooner(feed: TransferFeed, other: TransferFeed, now: float) -> bool:
    """Would a block asked of `feed` now come before the one that `other` owes?"""
    mine, theirs = feed.rate(now), other.rate(now)
    if not mine or not theirs:
        return True
    return (feed.pending_bytes + BLOCK_BYTES) / mine < other.pending_bytes / theirs
