"""`Layout`: where the bytes of the piece space lie in files.  Pure.

A piece may hold several files, a file several pieces; what no file covers (padding files of
BEP 47, the gap after the last piece of a file in v2) is known to be zeros and is never stored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from spinney.content.descriptor import Descriptor


class Span(NamedTuple):
    """`length` bytes at `file_offset` of file number `file`, `at` bytes into what was asked."""

    file: int
    file_offset: int
    at: int
    length: int


class Layout:
    """The map between piece space and files.  `size_bytes`: the end of the last piece."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.files = descriptor.files
        self.piece_length = descriptor.piece_length
        self.piece_count = descriptor.piece_count
        self._last_bytes = descriptor.piece_bytes(self.piece_count - 1) if self.piece_count else 0
        self.size_bytes = max(0, self.piece_count - 1) * self.piece_length + self._last_bytes
        self._filled = sorted(
            (number for number, entry in enumerate(self.files) if entry.length),
            key=lambda number: self.files[number].offset,
        )
        self.solid: bool = sum(entry.length for entry in self.files) == self.size_bytes
        self._starts = [self.files[number].offset for number in self._filled]

    def spans(self, offset: int, length: int) -> list[Span]:
        """The parts of files in this range, in order; padding and gaps are left out."""
        rows: list[Span] = []
        end = offset + length
        at = max(0, bisect_right(self._starts, offset) - 1)
        while at < len(self._filled):
            entry = self.files[self._filled[at]]
            if entry.offset >= end:
                break
            start, stop = max(offset, entry.offset), min(end, entry.offset + entry.length)
            if start < stop:
                rows.append(
                    Span(self._filled[at], start - entry.offset, start - offset, stop - start)
                )
            at += 1
        return rows

    def padding(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Ranges (begin, end), relative to `offset`, that no file covers."""
        rows: list[tuple[int, int]] = []
        if self.solid:
            return rows
        at = 0
        for span in self.spans(offset, length):
            if span.at > at:
                rows.append((at, span.at))
            at = span.at + span.length
        if at < length:
            rows.append((at, length))
        return rows

    def content_bytes(self, offset: int, length: int) -> int:
        """How many bytes of files lie in this range."""
        return sum(span.length for span in self.spans(offset, length))

    def pieces_of(self, file: int) -> range:
        """The pieces that hold bytes of a file; empty for an empty file."""
        entry = self.files[file]
        if not entry.length:
            return range(0)
        last = (entry.offset + entry.length - 1) // self.piece_length
        return range(entry.offset // self.piece_length, last + 1)

    def files_of(self, pieces: Iterable[int]) -> list[int]:
        """The files that hold bytes of these pieces, each once."""
        rows: dict[int, None] = {}
        for piece in pieces:
            for span in self.spans(piece * self.piece_length, self.piece_length):
                rows[span.file] = None
        return list(rows)
