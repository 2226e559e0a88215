"""The fields of the MC-FTP paper beside `info`, under the key `mc-ftp`.  Pure.

    version        2: of the layout of blocks (`coding.blocks`); others are left out unread
    file id        MD5 of the files one after the other, in torrent order, without padding
    code           `fountain-2`
    symbol size, block size, blocks, symbols
                   the chunk list's redundancy: blocks of this size, so many of them a chunk (or
                   chunks a block, as a negative number), symbols a whole block.  They restate
                   what `info` determines; a torrent where they do not is refused.
    checksums      16 bytes a chunk: c_i = MD5(chunk_i ‖ chunk_(i+1 mod n))
    publisher, signature
                   an Ed25519 key and its signature over infohashes, file id and checksums

A chunk is a piece of the piece space, as long as `Descriptor.piece_bytes` says.  Other programs
leave the key alone.  Nothing that is received rests on it: MD5 can be forged by whoever makes
the file (docs/decisions/mc-ftp.md); acceptance is by the torrent's own hashes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import md5, sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, TypeAlias

from spinney.coding import blocks
from spinney.coding.code import source_symbols
from spinney.coding.fountain import FOUNTAIN
from spinney.content.info import broken
from spinney.errors import DescriptorError, WireError
from spinney.net.host import Buffer
from spinney.trust.keys import PUBLIC_BYTES, SIGNATURE_BYTES, Keys, verify
from spinney.wire.bencode import FILE, Value, decode, encode

if TYPE_CHECKING:
    from hashlib import _Hash

Pairs: TypeAlias = "tuple[list[bytes], _Hash]"
"""The checksums within a run of chunks, and the begun one of its last chunk."""

KEY = b"mc-ftp"
MD5_BYTES = 16
_SIGNED = b"spinney mc-ftp 1"


class Chunked(Protocol):
    """The part of a `Descriptor` that the fields speak about."""

    piece_length: int
    piece_count: int
    infohash_v1: bytes | None
    infohash_v2: bytes | None


@dataclass(frozen=True, slots=True)
class Paper:
    """What the paper's File Descriptor adds to a torrent.  `file_id`: 16 bytes; `checksums`: 16
    for each chunk.  `publisher` (32 bytes) and `signature` (64) are both there or neither."""

    file_id: bytes
    checksums: bytes
    publisher: bytes | None = None
    signature: bytes | None = None

    def checksum(self, chunk: int) -> bytes:
        return self.checksums[chunk * MD5_BYTES : (chunk + 1) * MD5_BYTES]

    def signed(self, keys: Keys, torrent: Chunked) -> Paper:
        """With the key and signature of the publisher of `torrent`."""
        return replace(self, publisher=keys.public, signature=keys.sign(_statement(torrent, self)))

    def holds(self, torrent: Chunked) -> bool:
        """Did `publisher` sign this?  Who `publisher` is, a link must say (`x.pub`)."""
        if self.publisher is None or self.signature is None:
            return False
        return verify(self.publisher, self.signature, _statement(torrent, self))


def _statement(torrent: Chunked, paper: Paper) -> bytes:
    """What a publisher signs.  Each part has one length, or is there or not by the first byte."""
    versions = bool(torrent.infohash_v1) + 2 * bool(torrent.infohash_v2)
    return b"".join(
        (
            _SIGNED,
            bytes([versions]),
            torrent.infohash_v1 or b"",
            torrent.infohash_v2 or b"",
            paper.file_id,
            sha256(paper.checksums).digest(),
        )
    )


def redundancy(piece_length: int) -> dict[bytes, Value]:
    """The chunk list's redundancy: a pure function of the piece length."""
    shape = blocks.shape(piece_length)
    return {
        b"version": blocks.LAYOUT_VERSION,
        b"code": FOUNTAIN.name.encode(),
        b"symbol size": blocks.SYMBOL_BYTES,
        b"block size": shape.block_bytes,
        b"blocks": -shape.pieces_per_block
        if shape.pieces_per_block > 1
        else shape.blocks_per_piece,
        b"symbols": source_symbols(shape.block_bytes, blocks.SYMBOL_BYTES),
    }


def fields(paper: Paper, piece_length: int) -> dict[bytes, Value]:
    """The dictionary under `mc-ftp`."""
    table = redundancy(piece_length)
    table[b"file id"] = paper.file_id
    table[b"checksums"] = paper.checksums
    if paper.publisher is not None and paper.signature is not None:
        table[b"publisher"] = paper.publisher
        table[b"signature"] = paper.signature
    return table


def read_paper(outer: Mapping[bytes, Value], torrent: Chunked) -> Paper | None:
    """From what stands beside `info`; None where there is none, or of another version.

    Raises `DescriptorError` for fields that do not fit the torrent."""
    table = outer.get(KEY)
    if table is None:
        return None
    if type(table) is not dict or type(table.get(b"version")) is not int:
        raise broken("mc-ftp")
    if table[b"version"] != blocks.LAYOUT_VERSION:
        return None
    for key, value in redundancy(torrent.piece_length).items():
        if table.get(key) != value:
            raise broken(
                "mc-ftp-layout", f"{key.decode()} is {table.get(key)!r:.40}, not {value!r}"
            )
    file_id, checksums = table.get(b"file id"), table.get(b"checksums")
    if type(file_id) is not bytes or len(file_id) != MD5_BYTES:
        raise broken("mc-ftp")
    if type(checksums) is not bytes or len(checksums) != MD5_BYTES * torrent.piece_count:
        raise broken("mc-ftp-checksums")
    publisher, signature = table.get(b"publisher"), table.get(b"signature")
    if publisher is None and signature is None:
        return Paper(file_id, checksums)
    if type(publisher) is not bytes or len(publisher) != PUBLIC_BYTES:
        raise broken("mc-ftp-publisher")
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise broken("mc-ftp-publisher")
    return Paper(file_id, checksums, publisher, signature)


def published(paper: Paper, torrent: Chunked) -> bytes:
    """The fields as the pages of a group's keep-alives carry them."""
    return encode(fields(paper, torrent.piece_length))


def read_published(blob: bytes, torrent: Chunked, publisher: bytes | None = None) -> Paper | None:
    """What `published` made, if it fits the torrent and its signature holds, by `publisher` if
    that is known.  None for any other bytes; never raises."""
    try:
        table = decode(blob, limits=FILE)
        paper = read_paper({KEY: table}, torrent) if type(table) is dict else None
    except (WireError, DescriptorError):
        return None
    if paper is None or not paper.holds(torrent):
        return None
    return paper if publisher in (None, paper.publisher) else None


class PaperSums:
    """The two kinds of MD5, from runs of chunks that come in order.

    `pairs` may work on several runs at once; `add` takes them in order."""

    def __init__(self) -> None:
        self._file = md5(usedforsecurity=False)
        self._sums: list[bytes] = []
        self._first = b""
        self._open: _Hash | None = None

    @staticmethod
    def pairs(chunks: Sequence[Buffer]) -> Pairs:
        """Of one run, of at least one chunk."""
        sums = []
        for one, other in pairwise(chunks):
            digest = md5(one, usedforsecurity=False)
            digest.update(other)
            sums.append(digest.digest())
        return sums, md5(chunks[-1], usedforsecurity=False)

    def add(self, first: Buffer, pairs: Pairs, contents: Sequence[Buffer]) -> None:
        """The next run: its first chunk, its `pairs`, and its bytes of files."""
        if self._open is None:
            self._first = bytes(first)
        else:
            self._open.update(first)
            self._sums.append(self._open.digest())
        sums, self._open = pairs
        self._sums += sums
        for content in contents:
            self._file.update(content)

    def paper(self) -> Paper:
        """After the last run: the last chunk goes with the first."""
        if self._open is not None:
            self._open.update(self._first)
            self._sums.append(self._open.digest())
            self._open = None
        return Paper(self._file.digest(), b"".join(self._sums))


class Verdict(Enum):
    """What pairs tell of a chunk."""

    GOOD = "good"
    """A pair with it is right."""
    BAD = "bad"
    """A pair with it is wrong, and the other of that pair is good."""
    DOUBTED = "doubted"
    """Its pairs are wrong, and so may be the others of them."""
    UNCHECKED = "unchecked"
    """Neither neighbour is there."""


def judge(pairs: Mapping[int, bool], chunk_count: int, held: Sequence[int]) -> dict[int, Verdict]:
    """What the pairs that could be checked tell of the chunks that are held.

    `pairs`: for chunk i whether the checksum c_i is right, where i and its follower are held.
    """
    good: set[int] = set()
    wrong: dict[int, list[int]] = {}
    for chunk, right in pairs.items():
        follower = (chunk + 1) % chunk_count
        if right:
            good |= {chunk, follower}
        else:
            wrong.setdefault(chunk, []).append(follower)
            wrong.setdefault(follower, []).append(chunk)
    verdicts = {}
    for chunk in held:
        others = wrong.get(chunk)
        if chunk in good:
            verdicts[chunk] = Verdict.GOOD
        elif others is None:
            verdicts[chunk] = Verdict.UNCHECKED
        elif chunk in others or any(other in good for other in others):
            verdicts[chunk] = Verdict.BAD  # or is its own neighbour: the only chunk
        else:
            verdicts[chunk] = Verdict.DOUBTED
    return verdicts


def public_key(seed: bytes) -> bytes:
    """The public key of a publisher's secret."""
    return Keys(seed).public
