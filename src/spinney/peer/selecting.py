"""`--select`: which files of a descriptor are wanted.  Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from spinney.content.descriptor import Descriptor
from spinney.errors import UsageError

_NUMBERS = re.compile(r"[0-9]{1,8}(-[0-9]{1,8})?(,[0-9]{1,8}(-[0-9]{1,8})?)*")


def selected(descriptor: Descriptor, wishes: Sequence[str]) -> list[int]:
    """The numbers of the files that any wish names; no wish is all files.

    A wish is a name, a path, a pattern, a folder, or numbers from 0 (`0,3-5`, as in BEP 53).
    Raises `UsageError` for one that names nothing.
    """
    if not wishes:
        return list(range(len(descriptor.files)))
    chosen: set[int] = set()
    for wish in wishes:
        found = _by_number(wish, len(descriptor.files)) or _by_name(descriptor, wish)
        if not found:
            raise UsageError(f"no file is called {wish}; see the files with: spinney show LINK")
        chosen |= found
    return sorted(chosen)


def _by_number(wish: str, count: int) -> set[int]:
    if not _NUMBERS.fullmatch(wish):
        return set()
    found: set[int] = set()
    for part in wish.split(","):
        low, _, high = part.partition("-")
        found |= set(range(int(low), min(int(high or low), count - 1) + 1))
    return found


def _by_name(descriptor: Descriptor, wish: str) -> set[int]:
    found: set[int] = set()
    for number, entry in enumerate(descriptor.files):
        full = "/".join(entry.path)
        inner = "/".join(entry.path[1:]) or full
        folder = wish.rstrip("/") + "/"
        names = (full, inner, entry.path[-1])
        if (
            wish in names
            or full.startswith(folder)
            or inner.startswith(folder)
            or any(fnmatchcase(name, wish) for name in names)
        ):
            found.add(number)
    return found
