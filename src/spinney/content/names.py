"""File names from descriptors, made safe.  Pure, and the same on every system.

A torrent's author chooses its names; we write files by them.  Each part of a path is either
taken as it is, changed, or refused (`UnsafeNameError`, and with it the whole torrent):

    refused   empty; `.` and `..`; `/`, `\\` or NUL in it; more than 100 parts, or 3,000 bytes
              in all; two files with one path; a path that is a file and also a folder
    changed   bytes that are no UTF-8 become U+FFFD
              control characters, `< > : " | ? *`, and marks that turn the direction of text
              (they hide extensions) become `_`
              dots and spaces at the end become `_` (Windows drops them)
              reserved Windows names (`CON`, `aux.txt`) get a `_` before the first dot
              more than 255 bytes: cut, with `~` and 8 digits of a hash before the extension
              what differs from an earlier path only by case or composition: `~2`, `~3`, ...

What is refused no honest tool makes.  What is changed exists in the wild, and is changed on
every system, so that a folder can move from one to another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from unicodedata import normalize

from spinney.content.rules import MAX_DEPTH, MAX_PATH_BYTES, RULES
from spinney.errors import UnsafeNameError

MAX_PART_BYTES = 255
"""What file systems hold."""
CUT_PART_BYTES = 240
"""What a cut name is cut to: leaves room for `~2` and for `.part`."""
MAX_EXTENSION_BYTES = 20

_CHANGED = re.compile('[\x00-\x1f\x7f-\x9f<>:"|?*\u061c\u2028\u2029\u202a-\u202e\u2066-\u2069]')
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?=$|\.| )", re.IGNORECASE
)


def _refuse(rule: str, part: bytes) -> UnsafeNameError:
    shown = part[:60].decode("utf-8", "backslashreplace")
    return UnsafeNameError(f"unsafe name {shown!r}: {RULES[rule]}", rule)


def safe_part(part: bytes) -> str:
    """One part of a path, safe to create on any system, or `UnsafeNameError`."""
    if not part:
        raise _refuse("name-empty", part)
    if part in (b".", b".."):
        raise _refuse("name-dots", part)
    if b"/" in part or b"\\" in part:
        raise _refuse("name-separator", part)
    if b"\0" in part:
        raise _refuse("name-nul", part)
    name = _CHANGED.sub("_", part.decode("utf-8", "replace"))
    bare = name.rstrip(". ")
    name = bare + "_" * (len(name) - len(bare))
    name = _RESERVED.sub(r"\1_", name, count=1) if _RESERVED.match(name) else name
    if len(name.encode()) > MAX_PART_BYTES:
        name = _with_mark(name, "~" + sha256(part).hexdigest()[:8])
    return name


def _with_mark(name: str, mark: str) -> str:
    """`mark` before the extension, and the name cut to what then fits."""
    stem, dot, extension = name.rpartition(".")
    if not stem.strip("_") or len(extension.encode()) > MAX_EXTENSION_BYTES:
        stem, dot, extension = name, "", ""
    tail = mark + dot + extension
    room = CUT_PART_BYTES - len(tail.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + tail


def _key(name: str) -> str:
    """Equal for names that some file system takes for one."""
    return normalize("NFC", normalize("NFC", name).casefold())


def safe_paths(paths: Sequence[Sequence[bytes]]) -> list[tuple[str, ...]]:
    """Safe paths for a torrent's files, all different on any system, in the same order.

    Each path has one part at least.  Raises `UnsafeNameError` by the rules above.
    """
    names: dict[bytes, str] = {}
    rows: list[tuple[str, ...]] = []
    for raw in paths:
        if len(raw) > MAX_DEPTH:
            raise _refuse("depth", raw[-1])
        row = []
        for part in raw:
            name = names.get(part)
            if name is None:
                name = names[part] = safe_part(part)
            row.append(name)
        if len("/".join(row).encode()) > MAX_PATH_BYTES:
            raise _refuse("path-length", raw[-1])
        rows.append(tuple(row))
    _check_tree(paths)
    return _apart(rows)


def _check_tree(paths: Sequence[Sequence[bytes]]) -> None:
    """No file twice, nothing both file and folder.  Folders have numbers, the root 0, so that
    this is linear in the number of parts."""
    folders: dict[tuple[int, bytes], int] = {}
    files: set[tuple[int, bytes]] = set()
    for raw in paths:
        folder = 0
        for part in raw[:-1]:
            if (folder, part) in files:
                raise _refuse("name-file-and-folder", part)
            folder = folders.setdefault((folder, part), len(folders) + 1)
        place = (folder, raw[-1])
        if place in files:
            raise _refuse("name-twice", raw[-1])
        if place in folders:
            raise _refuse("name-file-and-folder", raw[-1])
        files.add(place)


def _apart(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Files that would fall together, with an earlier file or with a folder, get a number."""
    folders: dict[tuple[int, str], int] = {}
    homes: list[int] = []
    keys: dict[str, str] = {}
    for row in rows:
        folder = 0
        for name in row[:-1]:
            key = keys.get(name)
            if key is None:
                key = keys[name] = _key(name)
            folder = folders.setdefault((folder, key), len(folders) + 1)
        homes.append(folder)
    taken: set[tuple[int, str]] = set()
    numbers: dict[tuple[int, str], int] = {}
    apart: list[tuple[str, ...]] = []
    for row, folder in zip(rows, homes, strict=True):
        name = row[-1]
        place = first = (folder, _key(name))
        while place in taken or place in folders:
            numbers[first] = number = numbers.get(first, 1) + 1
            name = _with_mark(row[-1], f"~{number}")
            place = (folder, _key(name))
        taken.add(place)
        apart.append((*row[:-1], name))
    return apart
