"""`Bitfield`: which pieces somebody has, in the wire's order (BEP 3: high bit first)."""

from __future__ import annotations

from collections.abc import Iterator

from spinney.errors import WireError


class Bitfield:
    """A set of piece numbers below `size`, with its count kept."""

    __slots__ = ("_bits", "count", "size")

    def __init__(self, size: int, *, full: bool = False) -> None:
        self.size = size
        self.count = size if full else 0
        self._bits = bytearray((b"\xff" if full else b"\x00") * ((size + 7) // 8))
        if full and size % 8:
            self._bits[-1] = 0xFF00 >> (size % 8) & 0xFF

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, size: int) -> Bitfield:
        """Raises `WireError` if the length is wrong or a spare bit is set."""
        if len(data) != (size + 7) // 8:
            raise WireError(f"a bitfield of {len(data)} bytes for {size} pieces")
        field = cls(size)
        field._bits[:] = data
        if size % 8 and field._bits[-1] & (0xFF >> (size % 8)):
            raise WireError("a bitfield with spare bits set")
        field.count = int.from_bytes(field._bits, "big").bit_count()
        return field

    def __bytes__(self) -> bytes:
        return bytes(self._bits)

    def as_int(self) -> int:
        """All bits as one number (piece 0 highest of the padded length): for set algebra."""
        return int.from_bytes(self._bits, "big")

    def __contains__(self, piece: int) -> bool:
        return bool(self._bits[piece >> 3] & (0x80 >> (piece & 7)))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        for index, byte in enumerate(self._bits):
            if byte:
                for bit in range(8):
                    if byte & (0x80 >> bit):
                        yield index * 8 + bit

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bitfield):
            return NotImplemented
        return self.size == other.size and self._bits == other._bits

    __hash__ = None  # type: ignore[assignment]

    def add(self, piece: int) -> bool:
        """True if it was not there before."""
        mask = 0x80 >> (piece & 7)
        if self._bits[piece >> 3] & mask:
            return False
        self._bits[piece >> 3] |= mask
        self.count += 1
        return True

    def discard(self, piece: int) -> bool:
        """True if it was there."""
        mask = 0x80 >> (piece & 7)
        if not self._bits[piece >> 3] & mask:
            return False
        self._bits[piece >> 3] &= ~mask
        self.count -= 1
        return True

    def copy(self) -> Bitfield:
        other = Bitfield(self.size)
        other._bits[:] = self._bits
        other.count = self.count
        return other

    @property
    def full(self) -> bool:
        return self.count == self.size
