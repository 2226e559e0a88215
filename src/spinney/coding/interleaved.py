"""`Interleaved`: a code for small blocks made one for large blocks.  Pure.

Symbol i belongs to part i mod n, so that a burst of losses is shared by the parts; repair
symbol K + r is that of part r mod n.  A part can only mend what was lost in it: that is the
price against a code over the whole block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spinney.coding.code import Code, Encoder, source_symbols
from spinney.net.host import Buffer


class InterleavedEncoder:
    """The repair symbols of the parts of one block."""

    def __init__(self, code: Code, block: Buffer, symbol_bytes: int, parts: int) -> None:
        view = memoryview(block)
        self._count = source_symbols(len(view), symbol_bytes)
        self._most_repair = code.most_repair * parts
        self._parts: list[tuple[Encoder, int]] = []
        for part in range(parts):
            content = _part(view, symbol_bytes, part, parts)
            first = source_symbols(len(content), symbol_bytes)
            self._parts.append((code.encoder(content, symbol_bytes), first))

    def repair(self, number: int) -> bytes:
        if not self._count <= number < self._count + self._most_repair:
            raise ValueError(f"repair symbol {number} of a block of {self._count}")
        row, part = divmod(number - self._count, len(self._parts))
        encoder, first = self._parts[part]
        return encoder.repair(first + row)


def _part(view: memoryview, symbol_bytes: int, part: int, parts: int) -> bytearray:
    starts = range(part * symbol_bytes, len(view), parts * symbol_bytes)
    return bytearray().join(view[at : at + symbol_bytes] for at in starts)


class Interleaved:
    """See `Code`.  `parts`: how many; `code` sees every `parts`th symbol as a block."""

    def __init__(self, code: Code, parts: int) -> None:
        if parts < 1:
            raise ValueError(f"{parts} parts: at least one")
        self.name = f"{code.name}-by-{parts}"
        self.most_repair = code.most_repair * parts
        self._code = code
        self._parts = parts

    def prepare(self) -> None:
        self._code.prepare()

    def encoder(self, block: Buffer, symbol_bytes: int) -> InterleavedEncoder:
        return InterleavedEncoder(self._code, block, symbol_bytes, self._parts)

    def recover(
        self,
        block: bytearray | memoryview,
        symbol_bytes: int,
        missing: Sequence[int],
        repairs: Mapping[int, Buffer],
    ) -> int:
        """As `Code.recover`.  Every part that can be mended is, also when others cannot."""
        parts = self._parts
        count = source_symbols(len(block), symbol_bytes)
        lost: dict[int, list[int]] = {}
        for symbol in missing:
            lost.setdefault(symbol % parts, []).append(symbol)
        lacking = 0
        with memoryview(block) as view:
            for part, symbols in lost.items():
                content = _part(view, symbol_bytes, part, parts)
                first = source_symbols(len(content), symbol_bytes)
                theirs = {
                    first + (number - count) // parts: data
                    for number, data in repairs.items()
                    if (number - count) % parts == part
                }
                within = [symbol // parts for symbol in symbols]
                lacks = self._code.recover(content, symbol_bytes, within, theirs)
                lacking += lacks
                for at, symbol in zip(within, symbols, strict=True) if not lacks else ():
                    piece = content[at * symbol_bytes : (at + 1) * symbol_bytes]
                    view[symbol * symbol_bytes : symbol * symbol_bytes + len(piece)] = piece
        return lacking
