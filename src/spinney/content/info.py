"""The info dictionary read: its files in the piece space and their hashes (BEP 3, 47, 52).  Pure.

Piece space: the bytes that pieces are cut from.  In version 1 it is all files one after the
other, padding files included.  In version 2 alone each file begins on a piece; the rest of its
last piece is no part of anything.  A hybrid is both at once, by padding files.
"""

from __future__ import annotations

from dataclasses import dataclass

from spinney.content.names import safe_paths
from spinney.content.rules import MAX_DEPTH, MAX_PATH_PARTS, MAX_PIECE_LENGTH, MAX_PIECES, RULES
from spinney.errors import DescriptorError
from spinney.trust.merkle import HASH_BYTES, LEAF_BYTES
from spinney.wire.bencode import Value

V1_HASH_BYTES = 20
_BITCOMET_PADDING = b"_____padding_file_"
"""BitComet's padding files have no `attr`, only this name."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a descriptor, at `offset` in the piece space.  Padding files are not listed."""

    path: tuple[str, ...]
    """Safe parts below the output folder: of a single file its name, of many files the
    torrent's name and then the parts below it."""
    length: int
    offset: int
    pieces_root: bytes | None = None
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Info:
    """An info dictionary that keeps all rules.  `space_bytes`: the end of its last piece."""

    name: str
    piece_length: int
    files: tuple[FileEntry, ...]
    single_file: bool
    private: bool
    pieces: bytes | None
    version_2: bool
    space_bytes: int
    piece_count: int


@dataclass(frozen=True, slots=True)
class _Raw:
    """A file before its name is made safe."""

    path: tuple[bytes, ...]
    length: int
    offset: int
    executable: bool
    pieces_root: bytes | None = None


def broken(rule: str, detail: str = "") -> DescriptorError:
    """The error for a broken rule, in the rule's own words."""
    return DescriptorError(f"{RULES[rule]}{f' ({detail})' if detail else ''}", rule)


def read_info(info: dict[bytes, Value]) -> Info:
    """Everything that the dictionary says, checked; raises `DescriptorError`."""
    version = info.get(b"meta version")
    if version is not None and (type(version) is not int or version != 2):
        raise broken("meta-version", f"here {version!r:.40}")
    has_v1 = b"pieces" in info or b"files" in info or b"length" in info
    if (version == 2) != (b"file tree" in info) or not (has_v1 or version):
        raise broken("versions")
    name = _utf8_variant(info, b"name")
    if type(name) is not bytes or not name:
        raise broken("name")
    piece_length = info.get(b"piece length")
    if type(piece_length) is not int or not 1 <= piece_length <= MAX_PIECE_LENGTH:
        raise broken("piece-length", f"here {piece_length!r:.40}")
    if version and (piece_length < LEAF_BYTES or piece_length & (piece_length - 1)):
        raise broken("piece-length-v2", f"here {piece_length}")
    private = info.get(b"private", 0)
    if type(private) is not int or private not in (0, 1):
        raise broken("private")
    pieces: bytes | None = None
    files: list[_Raw] = []
    piece_count = 0
    single = False
    if version:
        files, space_bytes, piece_count = _read_v2(info, piece_length)
        single = len(files) == 1 and files[0].path == (name,)
    if has_v1:
        files_v2, piece_count_v2 = files, piece_count
        files, space_bytes = _read_v1_files(info, name)
        single = b"length" in info
        piece_count = -(-space_bytes // piece_length)
        _check_count(piece_count)
        pieces = _read_pieces(info, piece_count)
        if version:
            files = _both(files, files_v2)
            if piece_count != piece_count_v2:
                raise broken("hybrid-alignment")
    paths = safe_paths([raw.path if single else (name, *raw.path) for raw in files])
    return Info(
        name=paths[0][0] if paths else safe_paths([(name,)])[0][0],
        piece_length=piece_length,
        files=tuple(
            FileEntry(path, raw.length, raw.offset, raw.pieces_root, raw.executable)
            for path, raw in zip(paths, files, strict=True)
        ),
        single_file=single,
        private=bool(private),
        pieces=pieces,
        version_2=bool(version),
        space_bytes=space_bytes,
        piece_count=piece_count,
    )


def _utf8_variant(table: dict[bytes, Value], key: bytes) -> Value:
    """Old tools put the name in the system's own alphabet beside one in UTF-8."""
    return table.get(key + b".utf-8") or table.get(key)


def _check_count(piece_count: int) -> None:
    if piece_count > MAX_PIECES:
        raise broken("pieces-bound", f"here {piece_count}")


def _length(table: dict[bytes, Value]) -> int:
    length = table.get(b"length")
    if type(length) is not int or length < 0:
        raise broken("length", f"here {length!r:.40}")
    return length


def _attributes(table: dict[bytes, Value]) -> bytes:
    """BEP 47: `p` padding, `l` symbolic link, `x` executable, `h` hidden."""
    attributes = table.get(b"attr", b"")
    if type(attributes) is not bytes:
        raise broken("attributes")
    if b"l" in attributes and table.get(b"length", 0) != 0:
        raise broken("attributes")
    return attributes


def _read_pieces(info: dict[bytes, Value], piece_count: int) -> bytes:
    pieces = info.get(b"pieces")
    if type(pieces) is not bytes or len(pieces) % V1_HASH_BYTES:
        raise broken("pieces")
    if len(pieces) != piece_count * V1_HASH_BYTES:
        raise broken("pieces-count", f"{len(pieces) // V1_HASH_BYTES} for {piece_count}")
    return pieces


def _read_v1_files(info: dict[bytes, Value], name: bytes) -> tuple[list[_Raw], int]:
    """The files of version 1 and the bytes of the piece space.  Links are left out: we never
    make links at a torrent's word, and they hold no bytes."""
    if (b"length" in info) == (b"files" in info):
        raise broken("length-or-files")
    if b"length" in info:
        length = _length(info)
        return [_Raw((name,), length, 0, b"x" in _attributes(info))], length
    entries = info[b"files"]
    if type(entries) is not list or not entries:
        raise broken("files")
    files: list[_Raw] = []
    offset = 0
    for entry in entries:
        if type(entry) is not dict:
            raise broken("files")
        length, attributes = _length(entry), _attributes(entry)
        path = _utf8_variant(entry, b"path")
        padding = b"p" in attributes
        if not (padding and path is None):
            if type(path) is not list or not path:
                raise broken("path")
            if not all(type(part) is bytes for part in path):
                raise broken("path")
            padding = padding or path[-1].startswith(_BITCOMET_PADDING)
        if not padding and b"l" not in attributes:
            files.append(_Raw(tuple(path), length, offset, b"x" in attributes))
        offset += length
    return files, offset


def _read_v2(info: dict[bytes, Value], piece_length: int) -> tuple[list[_Raw], int, int]:
    """The files of version 2 in the tree's order, the piece space and the number of pieces."""
    tree = info[b"file tree"]
    if type(tree) is not dict or not tree:
        raise broken("file-tree")
    files: list[_Raw] = []
    pieces = space_bytes = parts = 0
    stack: list[tuple[tuple[bytes, ...], dict[bytes, Value]]] = [((), tree)]
    while stack:
        path, node = stack.pop()
        if b"" in node:
            entry = node[b""]
            if type(entry) is not dict or len(node) > 1 or not path:
                raise broken("file-tree-file")
            raw = _v2_file(entry, path, pieces * piece_length)
            if b"l" in _attributes(entry):
                continue
            files.append(raw)
            parts += len(path)
            if parts > MAX_PATH_PARTS:
                raise broken("paths-bound")
            if raw.length:
                space_bytes = raw.offset + raw.length
                pieces += -(-raw.length // piece_length)
                _check_count(pieces)
            continue
        if not node or len(path) >= MAX_DEPTH:
            raise broken("depth" if node else "file-tree")
        for part in sorted(node, reverse=True):
            if type(node[part]) is not dict:
                raise broken("file-tree")
            stack.append(((*path, part), node[part]))
    return files, space_bytes, pieces


def _v2_file(entry: dict[bytes, Value], path: tuple[bytes, ...], offset: int) -> _Raw:
    length, root = _length({b"length": 0} | entry if b"l" in _attributes(entry) else entry), None
    if b"pieces root" in entry:
        root = entry[b"pieces root"]
    if length and (type(root) is not bytes or len(root) != HASH_BYTES):
        raise broken("pieces-root")
    if not length and root is not None:
        raise broken("pieces-root")
    return _Raw(path, length, offset, b"x" in _attributes(entry), root)


def _both(files_v1: list[_Raw], files_v2: list[_Raw]) -> list[_Raw]:
    """A hybrid's files: the offsets of version 1 with the roots of version 2."""
    if [(raw.path, raw.length) for raw in files_v1] != [(raw.path, raw.length) for raw in files_v2]:
        raise broken("hybrid-files")
    for one, two in zip(files_v1, files_v2, strict=True):
        if one.length and one.offset != two.offset:
            raise broken("hybrid-alignment")
    return [
        _Raw(one.path, one.length, two.offset, one.executable or two.executable, two.pieces_root)
        for one, two in zip(files_v1, files_v2, strict=True)
    ]
