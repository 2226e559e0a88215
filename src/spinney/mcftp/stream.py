"""What one data group carries, as the leader's keep-alive tells it: who sends what, how fast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stream:
    """One data group.

    `number`: names it within a reign; data and marks carry it.  `address`: the group's.
    `sender`: the sender's peer id, 20 bytes, and `sender_number` 0 to 255: its share of the
    repair symbols (see `mcftp.layout`).  `blocks`: source blocks in the order in which they are
    sent, as (first, count) runs.  `rate_bytes_per_s`: payload, headers excluded.
    """

    number: int
    address: bytes
    sender: bytes
    sender_number: int
    rate_bytes_per_s: int
    blocks: tuple[tuple[int, int], ...]

    @property
    def block_count(self) -> int:
        return sum(count for _, count in self.blocks)
