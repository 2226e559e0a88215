"""`Descriptor`: what is shared, a `.torrent` of BEP 3, 47, 52.  (Sketch of the public face.)"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a descriptor, at `offset` in the piece space.  Padding files are not listed."""

    path: tuple[str, ...]
    """Safe parts below the output folder (a single file: one part)."""
    length: int
    offset: int
    pieces_root: bytes | None = None


class Descriptor:
    """A torrent.  `info_bytes` are kept exactly, so that the infohash is that of other tools."""

    info_bytes: bytes
    name: str
    piece_length: int
    files: tuple[FileEntry, ...]
    single_file: bool
    private: bool
    infohash_v1: bytes | None
    infohash_v2: bytes | None
    trackers: tuple[tuple[str, ...], ...]
    web_seeds: tuple[str, ...]
    nodes: tuple[tuple[str, int], ...]
    comment: str | None
    created_by: str | None
    creation_date: int | None
    piece_layers: dict[bytes, bytes]

    @classmethod
    def parse(cls, data: bytes) -> Descriptor:
        """Raises `DescriptorError` (with `rule`) or `WireError`."""
        raise NotImplementedError

    @classmethod
    def from_info(cls, info_bytes: bytes, **outer: object) -> Descriptor:
        """A descriptor whose info dictionary came by metadata exchange (BEP 9)."""
        raise NotImplementedError

    def encode(self) -> bytes:
        raise NotImplementedError

    @property
    def infohash(self) -> str:
        """The name in events and links: v1 where there is one, else v2, in hex."""
        raise NotImplementedError

    @property
    def swarm_hashes(self) -> tuple[bytes, ...]:
        """20 bytes each: v1, and v2 cut to 20 bytes."""
        raise NotImplementedError

    @property
    def piece_count(self) -> int:
        raise NotImplementedError

    @property
    def total_bytes(self) -> int:
        """Bytes of the files, without padding."""
        raise NotImplementedError

    def piece_bytes(self, piece: int) -> int:
        """Length of a piece on the wire: `piece_length` but for the last (v2 alone: of a file)."""
        raise NotImplementedError

    def check_piece(self, piece: int, data: bytes | bytearray | memoryview) -> bool:
        """Does this hash to what the descriptor says?  SHA-1, and the SHA-256 tree where known."""
        raise NotImplementedError
