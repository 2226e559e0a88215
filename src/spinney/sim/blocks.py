"""A file's bytes in blocks: sparse, shared between hosts, and able to lose what was not synced."""

from __future__ import annotations

from random import Random

BLOCK_BYTES = 64 * 1024
SECTOR_BYTES = 512
"""A torn write ends at a sector: what a drive writes as a whole."""

_pool: dict[bytes, bytes] = {}
_POOLED_BLOCKS = 1 << 15
"""At most 2 GiB of distinct blocks are remembered for sharing; then the pool starts anew."""


class Blocks:
    """Contents by blocks of 64 KiB; missing blocks read as zeros.

    A block is `bytes` once it is complete (then equal blocks of several files are one object)
    and a `bytearray` while it is written to.  `_before` keeps what a block was at the last
    sync, for those that changed since.
    """

    __slots__ = ("_before", "_blocks", "_durable_size", "reserved_bytes", "size")

    def __init__(self) -> None:
        self._blocks: dict[int, bytes | bytearray] = {}
        self._before: dict[int, bytes | None] = {}
        self._durable_size = 0
        self.size = 0
        self.reserved_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What the file takes of the disk: its blocks, or what was allocated if that is more."""
        return max(len(self._blocks) * BLOCK_BYTES, self.reserved_bytes)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        length = max(0, min(len(buffer), self.size - offset))
        done = 0
        while done < length:
            number, at = divmod(offset + done, BLOCK_BYTES)
            some = min(length - done, BLOCK_BYTES - at)
            block = self._blocks.get(number)
            if block is None:
                buffer[done : done + some] = bytes(some)
            else:
                buffer[done : done + some] = memoryview(block)[at : at + some]
            done += some
        return length

    def new_bytes(self, offset: int, length: int) -> int:
        """How much more of the disk a write would take."""
        if not length:
            return 0
        first, last = offset // BLOCK_BYTES, (offset + length - 1) // BLOCK_BYTES
        new = sum(1 for number in range(first, last + 1) if number not in self._blocks)
        return max(0, (len(self._blocks) + new) * BLOCK_BYTES - self.held_bytes)

    def write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        done = 0
        while done < len(data):
            number, at = divmod(offset + done, BLOCK_BYTES)
            some = min(len(data) - done, BLOCK_BYTES - at)
            self._remember(number)
            if some == BLOCK_BYTES:
                self._blocks[number] = _shared(bytes(view[done : done + some]))
            else:
                block = self._own(number)
                block[at : at + some] = view[done : done + some]
                if at + some == BLOCK_BYTES:
                    self._blocks[number] = _shared(bytes(block))
            done += some
        self.size = max(self.size, offset + len(data))

    def truncate(self, size: int) -> int:
        """Cuts or lengthens; returns how much of the disk that freed."""
        before = self.held_bytes
        if size < self.size:
            keep, at = divmod(size, BLOCK_BYTES)
            for number in [n for n in self._blocks if n > keep or (n == keep and not at)]:
                self._remember(number)
                del self._blocks[number]
            if at and keep in self._blocks:
                self._remember(keep)
                self._own(keep)[at:] = bytes(BLOCK_BYTES - at)
            self.reserved_bytes = min(self.reserved_bytes, size)
        self.size = size
        return before - self.held_bytes

    def reservation(self, size: int) -> int:
        """How much more of the disk `allocate` would take."""
        whole = -(-size // BLOCK_BYTES) * BLOCK_BYTES
        return max(0, whole - self.held_bytes)

    def allocate(self, size: int) -> None:
        self.reserved_bytes = max(self.reserved_bytes, -(-size // BLOCK_BYTES) * BLOCK_BYTES)
        self.size = max(self.size, size)

    def sync(self) -> None:
        self._before.clear()
        self._durable_size = self.size

    def lose_power(self, rng: Random) -> None:
        """Each block that was not synced is the new one, the old one, or torn between them."""
        if self.size != self._durable_size and rng.random() < 0.5:
            self.size = self._durable_size
        for number in sorted(self._before):
            old = self._before[number]
            new = self._blocks.get(number)
            chance = rng.random()
            if chance < 0.4:
                self._put(number, old)
            elif chance < 0.8:
                torn = bytearray(old or bytes(BLOCK_BYTES))
                for at in range(0, BLOCK_BYTES, SECTOR_BYTES):
                    if rng.random() < 0.5:
                        end = at + SECTOR_BYTES
                        torn[at:end] = new[at:end] if new is not None else bytes(SECTOR_BYTES)
                self._put(number, bytes(torn))
        last, at = divmod(self.size, BLOCK_BYTES)
        for number in [n for n in self._blocks if n > last or (n == last and not at)]:
            del self._blocks[number]
        if at and last in self._blocks:
            self._own(last)[at:] = bytes(BLOCK_BYTES - at)
        self.sync()

    def _put(self, number: int, block: bytes | None) -> None:
        if block is None:
            self._blocks.pop(number, None)
        else:
            self._blocks[number] = block

    def _remember(self, number: int) -> None:
        if number not in self._before:
            block = self._blocks.get(number)
            self._before[number] = None if block is None else bytes(block)

    def _own(self, number: int) -> bytearray:
        """The block as one that may be written to."""
        block = self._blocks.get(number)
        if not isinstance(block, bytearray):
            block = self._blocks[number] = bytearray(block or BLOCK_BYTES)
        return block


def _shared(block: bytes) -> bytes:
    """One object for equal blocks: two hundred hosts hold one copy of a file."""
    if len(_pool) >= _POOLED_BLOCKS:
        _pool.clear()
    return _pool.setdefault(block, block)
