"""What a start finds: the resume record, files of an earlier run, the room on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinney.content.checking import Progress, check_pieces
from spinney.content.pieces import Bitfield
from spinney.content.resume import decode_note, decode_record
from spinney.errors import DescriptorError, DiskFullError, SpinneyError

if TYPE_CHECKING:
    from spinney.content.transfer import Transfer

SAMPLE_BYTES = 64 << 20
"""Checked on resume after a kill, of what is marked done: enough to notice other files."""


async def take_over(
    transfer: Transfer, check: bool, trust: bool, progress: Progress | None
) -> None:
    """Marks what is verified already: by the record, by its owner's word, or by hashing."""
    descriptor, count = transfer.descriptor, transfer.descriptor.piece_count
    if descriptor.infohash_v1 is None and descriptor.missing_layers:
        raise DescriptorError(
            "the hashes of its pieces are missing: use the .torrent file, not a magnet link",
            "piece-layer-missing",
        )
    good = Bitfield(count, full=trust)
    durable = good
    data = None if trust else await transfer.host.work(transfer.sink.load)
    record = None if data is None else decode_record(data, transfer.infohash, count)
    if not trust:
        fits = False
        if record is not None and not check:
            files = range(len(transfer.descriptor.files))
            fits = record.fits(await transfer.host.work(transfer.sink.stamps, files))
            if fits and not record.clean:
                fits = await _sample(transfer, record.pieces)
        if fits and record is not None:
            durable = record.pieces
            good = durable.copy()
            if not record.clean:
                for piece in await _noted(transfer, durable, progress):
                    good.add(piece)
        else:
            good = await _check(transfer, range(count), progress)
    layout = transfer.sink.layout
    ours = [
        record is not None or any(piece in good for piece in layout.pieces_of(number))
        for number in range(len(transfer.descriptor.files))
    ]
    await transfer.host.work(transfer.sink.adopt, ours)
    for piece in good:
        if piece in durable:
            transfer.keeper.durable.add(piece)
        else:
            transfer.keeper.found(piece)
        transfer.selection.mark(piece)
    zeros = [] if layout.solid else list(transfer.needed)
    zeros = [piece for piece in zeros if not layout.content_bytes(*transfer.extent(piece))]
    for piece in zeros:  # nothing but padding: known, not fetched
        if transfer.descriptor.check_piece(piece, bytes(transfer.descriptor.piece_bytes(piece))):
            transfer.selection.mark(piece)
    transfer.selection.name_empty_files()


async def _check(
    transfer: Transfer, pieces: range | list[int], progress: Progress | None
) -> Bitfield:
    try:
        return await check_pieces(
            transfer.host, transfer.descriptor, transfer.sink, pieces, progress
        )
    except* SpinneyError as group:
        raise next(iter(group.exceptions)) from None


async def _noted(transfer: Transfer, durable: Bitfield, progress: Progress | None) -> Bitfield:
    """After a kill: what was written and not synced, as far as its hash is right."""
    data = await transfer.host.work(transfer.sink.load_note)
    noted = decode_note(data or b"", transfer.infohash, durable.size)
    return await _check(transfer, [piece for piece in noted if piece not in durable], progress)


async def _sample(transfer: Transfer, pieces: Bitfield) -> bool:
    """After a kill the files may have changed since they were noted: look at some."""
    marked = list(pieces)
    number = min(len(marked), max(1, SAMPLE_BYTES // max(1, transfer.piece_length)))
    chosen = sorted(transfer.rng.sample(marked, number)) if marked else []
    good = await _check(transfer, chosen, None)
    return good.count == len(chosen)


async def make_room(transfer: Transfer) -> None:
    """Raises `DiskFullError` now, rather than in the middle."""
    if not transfer.sink.writable or not transfer.selection.left_bytes:
        return
    wanted = transfer.selection.unfinished()
    free = await transfer.host.work(transfer.sink.free_bytes)
    if free is not None and free < transfer.selection.left_bytes:
        raise DiskFullError(
            f"{transfer.selection.left_bytes:,} bytes are needed and {free:,} are free: make "
            "room, or choose another folder with -o"
        )
    await transfer.host.work(transfer.sink.reserve, wanted)
