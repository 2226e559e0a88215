"""BEP 40: in which order two peers would choose each other, computed alike at both ends."""

from __future__ import annotations

import ipaddress

from spinney.net.host import Address

_POLYNOMIAL = 0x82F63B78


def _table() -> tuple[int, ...]:
    rows = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), which zlib does not have."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


_MASKS4 = (b"\xff\xff\x55\x55", b"\xff\xff\xff\x55", b"\xff\xff\xff\xff")
_MASKS6 = (
    b"\xff\xff\xff\xff\xff\xff" + b"\x55" * 10,
    b"\xff\xff\xff\xff\xff\xff\xff" + b"\x55" * 9,
    b"\xff\xff\xff\xff\xff\xff\xff\xff" + b"\x55" * 8,
)


def canonical_priority(one: Address, other: Address) -> int:
    """Higher is better; the same whichever end computes it.  0 across the two families.

    Same address: over the ports.  Same /24 (IPv6: /56): whole addresses; same /16 (/48): one
    more byte; else only the network part counts whole, so that the graph stays random.
    """
    first = ipaddress.ip_address(one[0].partition("%")[0])
    second = ipaddress.ip_address(other[0].partition("%")[0])
    if first.version != second.version:
        return 0
    if first == second:
        ports = sorted((one[1].to_bytes(2, "big"), other[1].to_bytes(2, "big")))
        return crc32c(b"".join(ports))
    masks, base = (_MASKS4, 2) if first.version == 4 else (_MASKS6, 6)
    same = 0
    while same < 2 and first.packed[: base + same] == second.packed[: base + same]:
        same += 1
    mask = masks[same]
    ends = sorted(
        bytes(a & m for a, m in zip(raw, mask, strict=True))
        for raw in (first.packed, second.packed)
    )
    return crc32c(b"".join(ends))
