"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def size(count: float) -> str:
    """`0 B`, `999 B`, `1.5 kB`, `64.0 MB`: powers of 1,000."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        count /= 1000
        if count < 999.95 or unit == "PB":
            return f"{count:.1f} {unit}"
    raise AssertionError("unreachable")


def binary_size(count: int) -> str:
    """`16 KiB`, `1 MiB`: piece lengths are powers of two."""
    for unit, one in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= one and count % one == 0:
            return f"{count // one} {unit}"
    return f"{count} B"


def rate(bytes_per_s: float) -> str:
    return f"{size(bytes_per_s)}/s"


def duration(seconds: float) -> str:
    """`4.2 s`, `3:07`, `2:03:07`, `4 d 02 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    if whole < 86400:
        return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{whole // 86400} d {whole // 3600 % 24:02d} h"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 file`, `3 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def ranges(numbers: Sequence[int], most: int = 12) -> str:
    """`0-3, 7, 9-11`: sorted numbers, at most `most` ranges, then how many more."""
    rows: list[list[int]] = []
    for number in numbers:
        if rows and rows[-1][1] == number - 1:
            rows[-1][1] = number
        else:
            rows.append([number, number])
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in rows[:most])
    rest = sum(b - a + 1 for a, b in rows[most:])
    return f"{text} and {rest:,} more" if rest else text


def printable(text: str) -> str:
    """Names from the network, without what would drive a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
