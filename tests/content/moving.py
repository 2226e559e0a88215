"""Material of the content tests: made-up content, a plain descriptor of it, a scripted source."""

from __future__ import annotations

import random
from hashlib import sha1
from typing import Any, cast

from spinney.content.descriptor import Descriptor, FileEntry


class Content:
    """Files in a piece space, like a v1 torrent; `padded` aligns each file to a piece (BEP 47)."""

    def __init__(
        self,
        sizes: list[int],
        piece_length: int,
        *,
        seed: int = 1,
        padded: bool = False,
        gaps: bool = False,
        name: str = "wood",
    ) -> None:
        rng = random.Random(seed)
        space = bytearray()
        files = []
        self.data: list[bytes] = []
        for number, size in enumerate(sizes):
            if (padded or gaps) and len(space) % piece_length:
                space += bytes(piece_length - len(space) % piece_length)
            path = (name,) if len(sizes) == 1 else (name, f"leaf{number}")
            files.append(FileEntry(path, size, len(space)))
            self.data.append(rng.randbytes(size))
            space += self.data[-1]
        self.space = bytes(space)
        self.piece_length = piece_length
        self.files = tuple(files)
        self.gaps = gaps
        self.descriptor = cast(Descriptor, PlainDescriptor(self, name, len(sizes) == 1))

    def piece(self, number: int) -> bytes:
        at = number * self.piece_length
        return self.space[at : at + self.descriptor.piece_bytes(number)]


class PlainDescriptor:
    def __init__(self, content: Content, name: str, single: bool) -> None:
        self.info_bytes = b""
        self.name = name
        self.piece_length = content.piece_length
        self.files = content.files
        self.single_file = single
        self.private = False
        self.infohash_v1 = sha1(content.space).digest()
        self.infohash_v2 = None
        self._size = len(content.space)
        self._gaps = content.gaps
        self._hashes = [
            sha1(content.space[at : at + self.piece_bytes(at // content.piece_length)]).digest()
            for at in range(0, self._size, content.piece_length)
        ]

    @property
    def piece_count(self) -> int:
        return -(-self._size // self.piece_length)

    @property
    def total_bytes(self) -> int:
        return sum(entry.length for entry in self.files)

    def piece_bytes(self, piece: int) -> int:
        begin = piece * self.piece_length
        if self._gaps:  # version 2 alone: the last piece of a file ends with it
            for entry in self.files:
                if entry.offset <= begin < entry.offset + entry.length:
                    return min(self.piece_length, entry.offset + entry.length - begin)
        return min(self.piece_length, self._size - begin)

    def can_check(self, piece: int) -> bool:
        return True

    def check_piece(self, piece: int, data: Any) -> bool:
        right = self._hashes[piece]
        return len(data) == self.piece_bytes(piece) and sha1(data).digest() == right


class Script:
    """A source that remembers what it was told."""

    def __init__(self, label: str = "peer", way: str = "swarm", key: str | None = None) -> None:
        self.way = way
        self.label = label
        self.peer_key = key or label
        self.verified: list[int] = []
        self.cancels: list[tuple[int, int]] = []
        self.blames: list[tuple[int, int, int]] = []
        self.woken = 0

    def piece_verified(self, piece: int) -> None:
        self.verified.append(piece)

    def cancelled(self, offset: int, length: int) -> None:
        self.cancels.append((offset, length))

    def blamed(self, piece: int, offset: int, length: int) -> None:
        self.blames.append((piece, offset, length))

    def wake(self) -> None:
        self.woken += 1
