"""The resume record: what is marked done in it was on disk, synced, before it was marked.

A bencoded dictionary in a hidden file beside the output: `spinney` (version 1), `infohash`,
`pieces` (a bitfield), `files` (size and time of each, as the system told after the sync), and
`clean` (1: the transfer was closed, nothing was written afterwards).

Beside it lies the note: `spinney`, `infohash` and `unsynced` (numbers of pieces, 4 bytes each),
which were verified and written, and perhaps not synced.  It is a hint: a hash decides.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from spinney.content.pieces import Bitfield
from spinney.errors import WireError
from spinney.wire import bencode

VERSION = 1
LIMITS = bencode.Limits(depth=3, tokens=4_000_000, length_bytes=64 << 20)
"""A million files of two numbers each, and two million pieces: more than a torrent may have."""
MAX_NOTED_PIECES = 16_384
"""256 MiB of the smallest pieces, four batches of the keeper; of more, the newest are noted."""
MAX_NOTE_BYTES = 4 * MAX_NOTED_PIECES + 256
NOTE_LIMITS = bencode.Limits(depth=2, tokens=16, length_bytes=MAX_NOTE_BYTES)
Stamp = tuple[int, int]
"""(size in bytes, modified in ns); (-1, 0) for a file that is not there."""


@dataclass(frozen=True, slots=True)
class ResumeRecord:
    infohash: bytes
    pieces: Bitfield
    files: tuple[Stamp, ...]
    clean: bool

    def encode(self) -> bytes:
        return bencode.encode(
            {
                b"clean": int(self.clean),
                b"files": [[size, modified] for size, modified in self.files],
                b"infohash": self.infohash,
                b"pieces": bytes(self.pieces),
                b"spinney": VERSION,
            }
        )

    def fits(self, stamps: list[Stamp]) -> bool:
        """Are the files those that the record speaks of?

        After a clean end size and time must be the same.  After a kill the files may have
        been written since: they may be longer and newer, never shorter or older.
        """
        if len(stamps) != len(self.files):
            return False
        if self.clean:
            return all(now == then for now, then in zip(stamps, self.files, strict=True))
        return all(
            now[0] >= then[0] and now[1] >= then[1]
            for now, then in zip(stamps, self.files, strict=True)
        )


def decode_record(data: bytes, infohash: bytes, piece_count: int) -> ResumeRecord | None:
    """The record, or None if these bytes are no record of this content (torn, foreign)."""
    try:
        row = bencode.decode(data, limits=LIMITS)
        if not isinstance(row, dict) or row.get(b"spinney") != VERSION:
            return None
        if row.get(b"infohash") != infohash:
            return None
        bits, files = row.get(b"pieces"), row.get(b"files")
        if not isinstance(bits, bytes) or not isinstance(files, list):
            return None
        stamps: list[Stamp] = []
        for item in files:
            if not isinstance(item, list) or len(item) != 2:
                return None
            size, modified = item
            if not isinstance(size, int) or not isinstance(modified, int):
                return None
            stamps.append((size, modified))
        pieces = Bitfield.from_bytes(bits, piece_count)
    except WireError:
        return None
    return ResumeRecord(infohash, pieces, tuple(stamps), row.get(b"clean") == 1)


def encode_note(infohash: bytes, pieces: Sequence[int]) -> bytes:
    assert len(pieces) <= MAX_NOTED_PIECES, "a note is small"
    return bencode.encode(
        {
            b"infohash": infohash,
            b"spinney": VERSION,
            b"unsynced": struct.pack(f">{len(pieces)}I", *pieces),
        }
    )


def decode_note(data: bytes, infohash: bytes, piece_count: int) -> list[int]:
    """The pieces it names, ascending, each once; none if it is no note of this content."""
    try:
        row = bencode.decode(data, limits=NOTE_LIMITS)
    except WireError:
        return []
    if not isinstance(row, dict) or row.get(b"spinney") != VERSION:
        return []
    packed = row.get(b"unsynced")
    if row.get(b"infohash") != infohash or not isinstance(packed, bytes) or len(packed) % 4:
        return []
    return sorted({piece for (piece,) in struct.iter_unpack(">I", packed) if piece < piece_count})
