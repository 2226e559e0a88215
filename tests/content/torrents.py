"""Small torrents of every kind, made by hand, for the tests of descriptors."""

from __future__ import annotations

import random
from hashlib import sha1
from typing import Any

from spinney.trust import merkle
from spinney.wire.bencode import Value, encode

PIECE = 16_384


def v1_single(length: Value = 40_000, **more: Value) -> dict[bytes, Value]:
    """An info dictionary; keyword `piece_length` becomes `piece length`."""
    info: dict[bytes, Value] = {
        b"name": b"file.bin",
        b"piece length": PIECE,
        b"pieces": hashes(length),
    }
    return changed(info, {"length": length} | more)


def hashes(length: Value) -> bytes:
    """As many as the length asks for; three where it makes no sense."""
    small = isinstance(length, int) and 0 < length < 1 << 30
    return b"h" * 20 * (-(-length // PIECE) if small else 3 if length else 0)


def v1_many(
    *files: tuple[list[bytes], int] | dict[bytes, Value], **more: Value
) -> dict[bytes, Value]:
    rows = [row if isinstance(row, dict) else {b"path": row[0], b"length": row[1]} for row in files]
    total = sum(max(0, row.get(b"length", 0)) for row in rows)
    info: dict[bytes, Value] = {
        b"files": rows,
        b"name": b"folder",
        b"piece length": PIECE,
        b"pieces": hashes(total),
    }
    return changed(info, more)


def changed(info: dict[bytes, Value], more: dict[str, Any]) -> dict[bytes, Value]:
    """Keys set (`_` for a space), or taken away where the value is None."""
    for key, value in more.items():
        name = key.replace("_", " ").encode()
        info.pop(name, None)
        if value is not None:
            info[name] = value
    return info


def v2(files: dict[bytes, int], **more: Value) -> tuple[dict[bytes, Value], dict[bytes, bytes]]:
    """(info, piece layers) of files with seeded content, by path with `/`."""
    tree: dict[bytes, Value] = {}
    layers: dict[bytes, bytes] = {}
    for path, length in sorted(files.items(), key=lambda item: item[0].split(b"/")):
        data = content(path, length)
        entry: dict[bytes, Value] = {b"length": length}
        if length:
            entry[b"pieces root"] = root = merkle.file_root(data)
            if length > PIECE:
                layers[root] = b"".join(
                    merkle.piece_hash(data[at : at + PIECE], PIECE)
                    for at in range(0, length, PIECE)
                )
        node = tree
        for part in path.split(b"/")[:-1]:
            node = node.setdefault(part, {})
        node[path.split(b"/")[-1]] = {b"": entry}
    info: dict[bytes, Value] = {
        b"file tree": tree,
        b"meta version": 2,
        b"name": b"folder",
        b"piece length": PIECE,
    }
    return changed(info, more), layers


def hybrid(files: dict[bytes, int], **more: Value) -> tuple[dict[bytes, Value], dict[bytes, bytes]]:
    info, layers = v2(files)
    rows: list[Value] = []
    space = b""
    for path, length in sorted(files.items(), key=lambda item: item[0].split(b"/")):
        if space and len(space) % PIECE and length:
            gap = -len(space) % PIECE
            rows.append({b"attr": b"p", b"length": gap, b"path": [b".pad", b"%d" % gap]})
            space += bytes(gap)
        rows.append({b"length": length, b"path": path.split(b"/")})
        space += content(path, length)
    info[b"files"] = rows
    info[b"pieces"] = b"".join(
        sha1(space[at : at + PIECE]).digest() for at in range(0, len(space), PIECE)
    )
    return changed(info, more), layers


def content(path: bytes, length: int) -> bytes:
    return random.Random(path).randbytes(length)


def torrent(info: Value, layers: dict[bytes, bytes] | None = None, **outer: Value) -> bytes:
    """A `.torrent`; keyword `announce_list` becomes `announce-list` by way of `more`."""
    table: dict[bytes, Value] = {b"info": info}
    if layers is not None:
        table[b"piece layers"] = layers
    for key, value in outer.items():
        table[DASHED.get(key, key.replace("_", " ")).encode()] = value
    return encode(table)


DASHED = {"announce_list": "announce-list", "url_list": "url-list", "mc_ftp": "mc-ftp"}
