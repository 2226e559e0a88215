"""`Descriptor`: what is shared, a `.torrent` of BEP 3, 5, 12, 19, 27, 47, 52; v1, v2 or hybrid.

The exact bytes of `info` are kept: their hash is the infohash, whoever made the torrent.  What
stands beside them is kept too, known or not, so that `encode(parse(data)) == data` for every
canonical torrent, and `edited` changes only what it is asked to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from hashlib import sha1, sha256
from typing import Any

from spinney.content import outer as beside
from spinney.content.info import V1_HASH_BYTES, FileEntry, broken, read_info
from spinney.content.paper import KEY as PAPER_KEY
from spinney.content.paper import fields, read_paper
from spinney.content.rules import MAX_TORRENT_BYTES
from spinney.errors import DescriptorError, WireError
from spinney.net.host import Address
from spinney.trust import merkle
from spinney.wire.bencode import FILE, Value, decode, decode_spans, encode

__all__ = ["Descriptor", "FileEntry"]


class Descriptor:
    """A torrent.  Does not change, but for `add_piece_layer`, which completes it.

    `piece_layers` maps the `pieces root` of a file longer than a piece to the concatenated
    hashes of its pieces.  Version 2 alone cannot check such a file's pieces without them
    (`missing_layers`); they come with the torrent, or from peers (BEP 52), not with a magnet
    link.
    """

    def __init__(self, info_bytes: bytes, outer: dict[bytes, Value]) -> None:
        """Use `parse` or `from_info`.  `outer`: all keys but `info` and `piece layers`."""
        try:
            table = decode(info_bytes, limits=FILE, canonical=False)
        except WireError as error:
            raise DescriptorError(f"the info dictionary: {error}", "bencode") from None
        if type(table) is not dict:
            raise broken("info")
        info = read_info(table)
        self.info_bytes = info_bytes
        self.name = info.name
        self.piece_length = info.piece_length
        self.files: tuple[FileEntry, ...] = info.files
        self.single_file = info.single_file
        self.private = info.private
        self.piece_count = info.piece_count
        self.space_bytes = info.space_bytes
        """The end of the last piece in the piece space."""
        self.total_bytes = sum(entry.length for entry in info.files)
        """Bytes of the files, without padding."""
        self.infohash_v1 = None if info.pieces is None else sha1(info_bytes).digest()
        self.infohash_v2 = sha256(info_bytes).digest() if info.version_2 else None
        self.piece_layers: dict[bytes, bytes] = {}
        self._pieces = info.pieces
        self._outer = outer
        self.trackers = beside.read_tiers(outer)
        self.web_seeds = beside.read_web_seeds(outer)
        self.nodes = beside.read_nodes(outer)
        self.comment = beside.read_text(outer, b"comment")
        self.created_by = beside.read_text(outer, b"created by")
        self.creation_date = beside.read_date(outer)
        self.paper = read_paper(outer, self)
        self._filled: list[FileEntry] = []
        self._first_pieces: list[int] = []
        self._layered: dict[bytes, int] = {}
        self._writes_layers = info.version_2
        if info.version_2:
            self._filled = [entry for entry in info.files if entry.length]
            self._first_pieces = [entry.offset // self.piece_length for entry in self._filled]
            for entry in self._filled:
                if entry.length > self.piece_length and entry.pieces_root is not None:
                    pieces = -(-entry.length // self.piece_length)
                    if self._layered.setdefault(entry.pieces_root, pieces) != pieces:
                        raise broken("pieces-root", "one root for two lengths")

    @classmethod
    def parse(cls, data: bytes, *, allow_missing_layers: bool = False) -> Descriptor:
        """A `.torrent`.  Raises `DescriptorError`, whose `rule` is a word of `rules.RULES`.

        The piece layers of version 2 are checked against their roots, and must all be there
        unless version 1 or `allow_missing_layers` makes up for it.
        """
        if len(data) > MAX_TORRENT_BYTES:
            raise broken("torrent-bytes", f"here {len(data)}")
        try:
            outer, spans = decode_spans(bytes(data), limits=FILE, canonical=False)
        except WireError as error:
            raise DescriptorError(f"not a torrent: {error}", "bencode") from None
        if type(outer.pop(b"info", None)) is not dict:
            raise broken("info")
        start, end = spans[b"info"]
        layers = outer.pop(b"piece layers", {})
        descriptor = cls(bytes(data[start:end]), outer)
        descriptor._writes_layers = b"piece layers" in spans
        if type(layers) is not dict:
            raise broken("piece-layers")
        for root, layer in layers.items():
            descriptor.add_piece_layer(root, layer)
        if descriptor.infohash_v1 is None and not allow_missing_layers:
            missing = descriptor.missing_layers
            if missing:
                raise broken("piece-layer-missing", f"{len(missing)} missing")
        return descriptor

    @classmethod
    def from_info(
        cls,
        info_bytes: bytes,
        *,
        trackers: Sequence[Sequence[str]] = (),
        web_seeds: Sequence[str] = (),
        nodes: Sequence[Address] = (),
        comment: str | None = None,
        created_by: str | None = None,
        creation_date: int | None = None,
        piece_layers: dict[bytes, bytes] | None = None,
    ) -> Descriptor:
        """A descriptor whose info dictionary was made here or came from peers (BEP 9).

        Raises `DescriptorError`.  `missing_layers` tells what may be missing.
        """
        if len(info_bytes) > MAX_TORRENT_BYTES:
            raise broken("torrent-bytes", f"here {len(info_bytes)}")
        outer: dict[bytes, Value] = {}
        beside.write_tiers(outer, trackers)
        beside.write_web_seeds(outer, web_seeds)
        beside.write_nodes(outer, nodes)
        beside.write_text(outer, b"comment", comment)
        beside.write_text(outer, b"created by", created_by)
        beside.write_date(outer, creation_date)
        descriptor = cls(bytes(info_bytes), outer)
        for root, layer in (piece_layers or {}).items():
            descriptor.add_piece_layer(root, layer)
        return descriptor

    def edited(self, **changes: Any) -> Descriptor:
        """A copy with other `trackers`, `web_seeds`, `nodes`, `comment`, `created_by`,
        `creation_date` or `paper`.  The info dictionary, and so the infohash, stays."""
        outer = dict(self._outer)
        for field, value in changes.items():
            if field == "trackers":
                beside.write_tiers(outer, value)
            elif field == "web_seeds":
                beside.write_web_seeds(outer, value)
            elif field == "nodes":
                beside.write_nodes(outer, value)
            elif field == "creation_date":
                beside.write_date(outer, value)
            elif field == "paper":
                beside.write_table(outer, PAPER_KEY, value and fields(value, self.piece_length))
            elif field in ("comment", "created_by"):
                beside.write_text(outer, field.replace("_", " ").encode(), value)
            else:
                raise TypeError(f"a descriptor's {field!r} cannot be edited")
        copy = Descriptor(self.info_bytes, outer)
        copy.piece_layers = dict(self.piece_layers)
        copy._writes_layers = self._writes_layers
        return copy

    def encode(self) -> bytes:
        """The `.torrent`: canonical but for the bytes of `info`, which are kept as they are."""
        parts = {key: encode(value) for key, value in self._outer.items()}
        parts[b"info"] = self.info_bytes
        if self._writes_layers or self.piece_layers:
            parts[b"piece layers"] = encode(self.piece_layers)
        return b"d%be" % b"".join(encode(key) + parts[key] for key in sorted(parts))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Descriptor):
            return NotImplemented
        return self.encode() == other.encode()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Descriptor {self.infohash} {self.name!r}, {self.total_bytes} bytes>"

    @property
    def infohash(self) -> str:
        """The name in events and links: v1 where there is one, else v2, in hex."""
        return (self.infohash_v1 or self.infohash_v2 or b"").hex()

    @property
    def publisher(self) -> bytes | None:
        """The key in the torrent whose signature there holds.  Whose key it is, a link says."""
        return self.paper.publisher if self.paper is not None and self.paper.holds(self) else None

    @property
    def swarm_hashes(self) -> tuple[bytes, ...]:
        """20 bytes each: v1, and v2 cut to 20 bytes."""
        return tuple(
            digest[:V1_HASH_BYTES] for digest in (self.infohash_v1, self.infohash_v2) if digest
        )

    def piece_bytes(self, piece: int) -> int:
        """Length of a piece on the wire: `piece_length`, but for the last, and in version 2
        alone for the last of each file."""
        begin = piece * self.piece_length
        if self._pieces is not None:
            return min(self.piece_length, self.space_bytes - begin)
        entry = self._filled[bisect_right(self._first_pieces, piece) - 1]
        return min(self.piece_length, entry.offset + entry.length - begin)

    # Checking pieces.

    def can_check(self, piece: int) -> bool:
        """Is any hash of this piece known?  Always, but for `missing_layers` of version 2."""
        return self._pieces is not None or self._hash_v2(piece) is not None

    def check_piece(self, piece: int, data: bytes | bytearray | memoryview) -> bool:
        """Is `data` this piece?  Every hash that is known must agree: SHA-1, and for version 2
        the SHA-256 tree.  False too if the length is wrong.  `can_check` comes first."""
        if len(data) != self.piece_bytes(piece):
            return False
        pieces = self._pieces
        if pieces is not None:
            expected = pieces[piece * V1_HASH_BYTES : (piece + 1) * V1_HASH_BYTES]
            if sha1(data).digest() != expected:
                return False
        if self.infohash_v2 is None:
            return True
        known = self._hash_v2(piece)
        if known is None:
            assert pieces is not None, "can_check comes first"
            return True
        entry = self._filled[bisect_right(self._first_pieces, piece) - 1]
        end = entry.offset + entry.length - piece * self.piece_length
        content = memoryview(data)[: min(end, self.piece_length)]
        if entry.length > self.piece_length:
            return merkle.piece_hash(content, self.piece_length) == known
        return merkle.file_root(content) == known

    def _hash_v2(self, piece: int) -> bytes | None:
        """The node of the tree that covers this piece, if it is known."""
        if self.infohash_v2 is None:
            return None
        at = bisect_right(self._first_pieces, piece) - 1
        entry = self._filled[at]
        root = entry.pieces_root
        assert root is not None
        if entry.length <= self.piece_length:
            return root
        layer = self.piece_layers.get(root)
        if layer is None:
            return None
        begin = (piece - self._first_pieces[at]) * merkle.HASH_BYTES
        return layer[begin : begin + merkle.HASH_BYTES]

    @property
    def missing_layers(self) -> tuple[bytes, ...]:
        """Roots of files longer than a piece whose layers are not known."""
        return tuple(self.missing_sizes)

    @property
    def missing_sizes(self) -> dict[bytes, int]:
        """`missing_layers`, each with the number of its pieces."""
        rows = self._layered.items()
        return {root: pieces for root, pieces in rows if root not in self.piece_layers}

    def add_piece_layer(self, root: bytes, layer: bytes) -> None:
        """Takes the hashes of a file's pieces, checked against its root; `DescriptorError`."""
        if type(layer) is not bytes or len(root) != merkle.HASH_BYTES:
            raise broken("piece-layers")
        pieces = self._layered.get(root)
        if pieces is None:
            raise broken("piece-layer-unknown", root.hex())
        if len(layer) != pieces * merkle.HASH_BYTES:
            raise broken("piece-layer-length", f"{len(layer)} bytes for {pieces} pieces")
        if merkle.layer_root(merkle.split_layer(layer), self.piece_length) != root:
            raise broken("piece-layer-root", root.hex())
        self.piece_layers[root] = layer
