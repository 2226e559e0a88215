"""What a run did, as one digest: every arrival with its time, its place and its bytes."""

from __future__ import annotations

import zlib
from array import array
from hashlib import blake2b


class Log:
    """Collects arrivals in arrays and folds them into a hash now and then (`fold`).

    `when`, `to` and `data` are appended to by the fastest code of the simulator itself.
    """

    def __init__(self) -> None:
        self.when = array("d")
        self.to = array("q")
        self.data: list[bytes] = []
        self.lost: list[int] = []
        self.arrivals = 0
        self.arrived_bytes = 0
        self.lost_count = 0
        self.lost_bytes = 0
        self._hash = blake2b(digest_size=16)
        self._numbers = 0

    def number(self) -> int:
        """A number for a socket or a stream, in the order of their making."""
        self._numbers += 1
        return self._numbers

    def arrival(self, when: float, to: int, data: bytes) -> None:
        self.when.append(when)
        self.to.append(to)
        self.data.append(data)

    def stream(self, when: float, to: int, data: bytes, *, secret: bool) -> None:
        """A part of a stream; of an encrypted one (`secret`) only the length counts."""
        check = 0 if secret else zlib.crc32(data)
        self.arrival(when, to, b"%d %d" % (len(data), check))

    def fold(self) -> None:
        """Takes what was collected into the hash."""
        joined = b"".join(self.data)
        self.arrivals += len(self.data)
        self.arrived_bytes += len(joined)
        self._hash.update(self.when.tobytes())
        self._hash.update(self.to.tobytes())
        self._hash.update(array("q", map(len, self.data)).tobytes())
        self._hash.update(joined)
        del self.when[:], self.to[:], self.data[:]
        self.lost_count += len(self.lost)
        self.lost_bytes += sum(self.lost)
        self.lost.clear()

    def digest(self) -> str:
        """32 hex digits: equal for equal runs."""
        self.fold()
        final = self._hash.copy()
        final.update(b"lost %d %d" % (self.lost_count, self.lost_bytes))
        return final.hexdigest()
