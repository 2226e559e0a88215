"""`Evidence`: who sent what into pieces that failed, kept until the right bytes are known.

When a piece fails its hash and several senders had a part in it, nobody is proven guilty yet.
A hash of each range of at most 16 KiB is kept with its sender; when the piece passes later,
ranges that differ from the right bytes name the liar, and the others are cleared.  Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Generic, TypeVar

from spinney.content.openpiece import BLOCK_BYTES

S = TypeVar("S")

MAX_ATTEMPTS = 8
"""Failed attempts remembered for one piece; older ones are given up."""
MAX_RECORDS = 65_536
"""Ranges remembered for all pieces together (about 200 bytes each)."""


def fingerprint(data: memoryview) -> bytes:
    """16 bytes; a liar gains nothing from a collision, so this is ample."""
    return blake2b(data, digest_size=16).digest()


@dataclass(slots=True)
class Record(Generic[S]):
    """What one sender brought for [start, end) of a piece, as a fingerprint."""

    start: int
    end: int
    sender: S
    digest: bytes


def cut(segments: list[tuple[int, int, S]]) -> list[tuple[int, int, S]]:
    """Segments cut at block borders, so that blame falls on no more than 16 KiB at a time."""
    rows: list[tuple[int, int, S]] = []
    for start, end, sender in segments:
        while start < end:
            stop = min(end, (start // BLOCK_BYTES + 1) * BLOCK_BYTES)
            rows.append((start, stop, sender))
            start = stop
    return rows


@dataclass(slots=True)
class Verdict(Generic[S]):
    """Ranges (start, end, sender) by what they proved to be; each byte sent appears once."""

    useful: list[tuple[int, int, S]] = field(default_factory=list)
    duplicate: list[tuple[int, int, S]] = field(default_factory=list)
    bad: list[tuple[int, int, S]] = field(default_factory=list)


class Claims:
    """Which ranges of a piece have been credited already: the first right bytes win."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def split(self, start: int, end: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(new, old) parts of [start, end); the new ones are credited from now on."""
        new: list[tuple[int, int]] = []
        old: list[tuple[int, int]] = []
        at = start
        for begin, stop in self._ranges:
            if stop <= at or begin >= end:
                continue
            if begin > at:
                new.append((at, begin))
            old.append((max(at, begin), min(end, stop)))
            at = min(end, stop)
        if at < end:
            new.append((at, end))
        self._ranges = _merged([*self._ranges, *new])
        return new, old


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    rows: list[tuple[int, int]] = []
    for begin, stop in sorted(ranges):
        if rows and begin <= rows[-1][1]:
            rows[-1] = (rows[-1][0], max(stop, rows[-1][1]))
        else:
            rows.append((begin, stop))
    return rows


def judge(
    records: list[Record[S]], right: list[bytes], final: list[tuple[int, int, S]]
) -> Verdict[S]:
    """Compares what was sent in failed attempts with the fingerprints of the `right` bytes of
    the same ranges; `final` are the segments of the attempt that passed."""
    verdict: Verdict[S] = Verdict()
    claims = Claims()
    for record, digest in zip(records, right, strict=True):
        if record.digest != digest:
            verdict.bad.append((record.start, record.end, record.sender))
            continue
        _credit(verdict, claims, record.start, record.end, record.sender)
    for start, end, sender in final:
        _credit(verdict, claims, start, end, sender)
    return verdict


def _credit(verdict: Verdict[S], claims: Claims, start: int, end: int, sender: S) -> None:
    new, old = claims.split(start, end)
    verdict.useful += [(begin, stop, sender) for begin, stop in new]
    verdict.duplicate += [(begin, stop, sender) for begin, stop in old]


class Evidence(Generic[S]):
    """All open cases: failed attempts by piece, oldest first, bounded."""

    def __init__(self) -> None:
        self._cases: dict[int, list[list[Record[S]]]] = {}
        self._count = 0

    def __contains__(self, piece: int) -> bool:
        return piece in self._cases

    def records(self, piece: int) -> list[Record[S]]:
        return [record for attempt in self._cases.get(piece, ()) for record in attempt]

    def add(self, piece: int, attempt: list[Record[S]]) -> list[Record[S]]:
        """Keeps a failed attempt; returns records given up to keep within the bounds."""
        case = self._cases.setdefault(piece, [])
        case.append(attempt)
        self._count += len(attempt)
        given_up: list[Record[S]] = []
        if len(case) > MAX_ATTEMPTS:
            given_up += case.pop(0)
            self._count -= len(given_up)
        while self._count > MAX_RECORDS and self._cases:
            oldest = next(iter(self._cases))
            dropped = self._cases[oldest].pop(0)
            self._count -= len(dropped)
            given_up += dropped
            if not self._cases[oldest]:
                del self._cases[oldest]
        return given_up

    def close(self, piece: int) -> list[Record[S]]:
        """The piece has passed: takes its records out."""
        records = self.records(piece)
        self._count -= len(records)
        self._cases.pop(piece, None)
        return records
