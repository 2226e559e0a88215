"""RaptorQ (RFC 6330) by the `raptorq` package, for the laboratory's table only.

Numbers cannot be chosen there: symbols up to the wanted one are made and the front thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spinney.coding.code import source_symbols
from spinney.net.host import Buffer

MOST_REPAIR = 1_000
PREFIX_BYTES = 4
"""Block number, 24 bits of symbol number."""


class RaptorQEncoder:
    def __init__(self, block: Buffer, symbol_bytes: int) -> None:
        from raptorq import Encoder

        self._count = source_symbols(memoryview(block).nbytes, symbol_bytes)
        self._encoder = Encoder.with_defaults(bytes(block), symbol_bytes)
        self._made: list[bytes] = []

    def repair(self, number: int) -> bytes:
        row = number - self._count
        if not 0 <= row < MOST_REPAIR:
            raise ValueError(f"repair symbol {number} of a block of {self._count}")
        if row >= len(self._made):
            packets = self._encoder.get_encoded_packets(max(row + 1, 2 * len(self._made)))
            self._made = [packet[PREFIX_BYTES:] for packet in packets[self._count :]]
        return self._made[row]


class RaptorQ:
    """See `Code`.  Symbols of a multiple of 8 bytes; trusts what it is given."""

    name = "raptorq"
    most_repair = MOST_REPAIR

    def prepare(self) -> None:
        import raptorq  # noqa: F401

    def encoder(self, block: Buffer, symbol_bytes: int) -> RaptorQEncoder:
        return RaptorQEncoder(block, symbol_bytes)

    def recover(
        self,
        block: bytearray | memoryview,
        symbol_bytes: int,
        missing: Sequence[int],
        repairs: Mapping[int, Buffer],
    ) -> int:
        from raptorq import Decoder

        if len(repairs) < len(missing):
            return len(missing) - len(repairs)
        if not missing:
            return 0
        decoder = Decoder.with_defaults(len(block), symbol_bytes)
        lost = set(missing)
        with memoryview(block) as view:
            for at in range(source_symbols(len(view), symbol_bytes)):
                if at not in lost:
                    symbol = bytes(view[at * symbol_bytes : (at + 1) * symbol_bytes])
                    decoder.decode(_packet(at, symbol.ljust(symbol_bytes, b"\0")))
            for number, data in repairs.items():
                whole = decoder.decode(_packet(number, bytes(data)))
                if whole is not None:
                    view[:] = whole
                    return 0
        return 1


def _packet(number: int, symbol: bytes) -> bytes:
    return number.to_bytes(PREFIX_BYTES, "big") + symbol
