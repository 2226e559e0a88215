"""A small coverage-guided fuzzer in plain Python, for machines without atheris.

It keeps inputs that reach a line, or a count of a line, that no input reached before, and
changes the kept ones.  Slow (some thousand inputs a second), but it needs nothing.
"""

from __future__ import annotations

import random
import sys
import time
from types import FrameType
from typing import Any

from tests.fuzz.targets import Target

INTERESTING = (
    b"", b"\0", b"\xff", b"0", b"1", b"9", b"-", b":", b"e", b"i0e", b"le", b"de", b"0:", b"\r\n",
    b"99999999999999999999", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"..", b"/", b"%00", b"&",
)  # fmt: skip
MOST_KEPT = 2_000
LONGEST_BYTES = 4_096
SLOW_S = 1.0


class Found(Exception):
    """`data` broke the target; `__cause__` says how."""

    def __init__(self, data: bytes, why: str) -> None:
        super().__init__(f"{why}: {data!r}")
        self.data = data


class Lines:
    """Lines of the watched modules that a call runs through, with coarse counts."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._modules = modules
        self._watched: dict[Any, bool] = {}
        self.counts: dict[tuple[int, int], int] = {}

    def call(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        watched = self._watched.get(code)
        if watched is None:
            name = frame.f_globals.get("__name__", "")
            watched = self._watched[code] = name.startswith(self._modules)
        return self.line if watched else None

    def line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            place = (id(frame.f_code), frame.f_lineno)
            self.counts[place] = self.counts.get(place, 0) + 1
        return self.line

    def taken(self) -> set[tuple[int, int, int]]:
        seen = {(*place, count.bit_length()) for place, count in self.counts.items()}
        self.counts = {}
        return seen


def changed(data: bytes, kept: list[bytes], rng: random.Random) -> bytes:
    row = bytearray(data)
    for _ in range(1 << rng.randrange(4)):
        at = rng.randrange(len(row) + 1)
        match rng.randrange(6):
            case 0:
                row[at:at] = rng.choice(INTERESTING)
            case 1:
                row[at : at + rng.randrange(1, 5)] = rng.choice(INTERESTING)
            case 2:
                row[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                del row[at : at + rng.randrange(1, 9)]
            case 4:
                end = at + rng.randrange(1, 17)
                row[at:at] = row[at:end] * rng.randrange(1, 4)
            case _:
                other = rng.choice(kept)
                begin = rng.randrange(len(other) + 1)
                row[at:at] = other[begin : begin + rng.randrange(1, 33)]
    return bytes(row[:LONGEST_BYTES])


def fuzz(target: Target, seconds: float, seed: int = 1) -> int:
    """Runs for `seconds`; gives the number of inputs tried, or raises `Found`."""
    rng = random.Random(seed)
    lines = Lines(target.modules)
    seen: set[tuple[int, int, int]] = set()
    kept: list[bytes] = []
    ends = time.monotonic() + seconds
    tried = 0
    waiting = list(target.seeds)
    before = sys.gettrace()
    while waiting or time.monotonic() < ends:
        data = waiting.pop() if waiting else changed(rng.choice(kept), kept, rng)
        began = time.process_time()
        sys.settrace(lines.call)
        try:
            target.run(data)
        except Exception as error:
            raise Found(data, repr(error)) from error
        finally:
            sys.settrace(before)
        if time.process_time() - began > SLOW_S:
            raise Found(data, f"took more than {SLOW_S} s")
        tried += 1
        taken = lines.taken()
        if not taken <= seen or not kept:
            seen |= taken
            kept.append(data)
            if len(kept) > MOST_KEPT:
                kept.pop(rng.randrange(len(kept)))
    return tried
