"""The resume record: what is marked done in it was on disk, synced, before it was marked.

A bencoded dictionary in a hidden file beside the output: `spinney` (version 1), `infohash`,
`pieces` (a bitfield), `files` (size and time of each, as the system told after the sync), and
`clean` (1: the transfer was closed, nothing was written afterwards).
"""

from __future__ import annotations

from dataclasses import dataclass

from spinney.content.pieces import Bitfield
from spinney.errors import WireError
from spinney.wire import bencode

VERSION = 1
LIMITS = bencode.Limits(depth=3, tokens=4_000_000, length_bytes=64 << 20)
"""A million files of two numbers each, and two million pieces: more than a torrent may have."""
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
