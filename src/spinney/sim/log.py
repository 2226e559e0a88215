"""What a run did, as one digest: every arrival with its time, its place and its bytes."""

from __future__ import annotations

import zlib
from hashlib import sha256
from struct import pack
from typing import Any


class Log:
    """Collects arrivals in arrays and folds them into a hash now and then (`fold`).

    `rows` holds three entries an arrival: when, the number of the socket, the bytes; the
    fastest code of the simulator extends it itself.
    """

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.lost: list[int] = []
        self.arrivals = 0
        self.arrived_bytes = 0
        self.lost_count = 0
        self.lost_bytes = 0
        self._hash = sha256()
        self._numbers = 0

    def number(self) -> int:
        """A number for a socket or a stream, in the order of their making."""
        self._numbers += 1
        return self._numbers

    def arrival(self, when: float, to: int, data: bytes) -> None:
        self.rows.extend((when, to, data))

    def stream(self, when: float, to: int, data: bytes, *, secret: bool) -> None:
        """A part of a stream; of an encrypted one (`secret`) only the length counts."""
        check = 0 if secret else zlib.crc32(data)
        self.arrival(when, to, b"%d %d" % (len(data), check))

    def fold(self) -> None:
        """Takes what was collected into the hash."""
        rows = self.rows
        parts: list[bytes] = rows[2::3]
        joined = b"".join(parts)
        self.arrivals += len(parts)
        self.arrived_bytes += len(joined)
        count = len(parts)
        self._hash.update(pack(f"{count}d", *rows[0::3]))
        self._hash.update(pack(f"{count}I", *rows[1::3]))
        self._hash.update(pack(f"{count}I", *map(len, parts)))
        self._hash.update(joined)
        rows.clear()
        self.lost_count += len(self.lost)
        self.lost_bytes += sum(self.lost)
        self.lost.clear()

    def digest(self) -> str:
        """32 hex digits: equal for equal runs."""
        self.fold()
        final = self._hash.copy()
        final.update(b"lost %d %d" % (self.lost_count, self.lost_bytes))
        return final.hexdigest()[:32]
