"""The rules that a descriptor keeps, by name: `DescriptorError.rule` is one of these words.

`tests/torture` holds torrents that break each of them.  Numbers that bound something are the
ones that other clients settled on (reference: libtorrent's limits), so that whatever they
read we read too.
"""

from __future__ import annotations

MAX_TORRENT_BYTES = 10_000_000
MAX_PIECES = 2_097_152
MAX_PIECE_LENGTH = 128 << 20
"""A piece is held in memory until it is verified."""
MAX_DEPTH = 100
"""Folders in a path, the torrent's own included."""
MAX_PATH_PARTS = 3_000_000
"""Over all files: a tree names a folder once, and each of its files would repeat it."""
MAX_PATH_BYTES = 3_000
"""Of a whole path: leaves room for the output folder below Linux's 4,096."""
MAX_TRACKERS = 100
"""Each costs announces; more are left out."""
MAX_WEB_SEEDS = 100
MAX_NODES = 100
MAX_URL_BYTES = 2_048

RULES: dict[str, str] = {
    # The file as a whole.
    "bencode": "A torrent is one bencoded dictionary: complete, bounded, no key twice.",
    "torrent-bytes": "A torrent is at most 10,000,000 bytes long.",
    "info": "`info` is a dictionary.",
    # Beside the info dictionary.
    "announce": "`announce` is a URL.",
    "announce-list": "`announce-list` is a list of lists of URLs.",
    "url-list": "`url-list` is a URL or a list of URLs.",
    "nodes": "`nodes` is a list of pairs of a host and a port from 1 to 65535.",
    "url": "A URL is UTF-8 without spaces or control characters, at most 2,048 bytes.",
    "mc-ftp": "`mc-ftp` is a dictionary with a version, and a `file id` of 16 bytes.",
    "mc-ftp-layout": "The chunk list of `mc-ftp` restates what `info` determines.",
    "mc-ftp-checksums": "`mc-ftp` has a checksum of 16 bytes for each chunk.",
    "mc-ftp-publisher": "`mc-ftp` has a publisher of 32 bytes and a signature of 64, or neither.",
    # The info dictionary.
    "name": "`name` is a string that is not empty.",
    "piece-length": "`piece length` is an integer from 1 to 134,217,728.",
    "private": "`private` is 0 or 1.",
    "meta-version": "`meta version` is 2 where it is present.",
    "versions": "An info dictionary holds the fields of version 1, of version 2 or of both.",
    # Version 1 (BEP 3, 47).
    "pieces": "`pieces` is a string whose length is a multiple of 20.",
    "pieces-count": "There is exactly one hash for each piece.",
    "length": "A length is an integer that is not negative.",
    "length-or-files": "There is either `length` or `files`, not both.",
    "files": "`files` is a list of dictionaries that is not empty.",
    "path": "`path` is a list of strings that is not empty.",
    "attributes": "`attr` is a string; a symbolic link has no bytes of its own.",
    # Version 2 (BEP 52).
    "piece-length-v2": "In version 2 `piece length` is a power of two of at least 16 KiB.",
    "file-tree": "`file tree` is a dictionary of dictionaries that is not empty.",
    "file-tree-file": "A file in the tree is a dictionary under an empty name, and alone there.",
    "pieces-root": "A file that is not empty has a `pieces root` of 32 bytes, an empty one none.",
    "piece-layers": "`piece layers` is a dictionary of 32-byte roots to strings.",
    "piece-layer-missing": "Each file longer than a piece has its piece layer.",
    "piece-layer-length": "A piece layer has 32 bytes for each piece of its file.",
    "piece-layer-root": "A piece layer hashes to the root that it stands under.",
    "piece-layer-unknown": "A piece layer belongs to a file of the torrent.",
    # Hybrids.
    "hybrid-files": "Both versions of a hybrid name the same files, lengths and order.",
    "hybrid-alignment": "In a hybrid each file begins on a piece, by padding files.",
    # Bounds.
    "pieces-bound": "There are at most 2,097,152 pieces.",
    "depth": "A path is at most 100 folders deep.",
    "paths-bound": "The paths of all files have at most 3,000,000 parts together.",
    "path-length": "A path is at most 3,000 bytes long.",
    # Names that are refused (names.py says which are changed instead).
    "name-empty": "No part of a path is empty.",
    "name-dots": "No part of a path is `.` or `..`.",
    "name-separator": "No part of a path holds `/` or `\\`.",
    "name-nul": "No part of a path holds a NUL.",
    "name-twice": "No two files have the same path.",
    "name-file-and-folder": "No path is both a file and a folder.",
    # Magnet links (BEP 9, 53).
    "magnet": "A magnet link begins with `magnet:?` and is at most 65,536 characters long.",
    "magnet-topic": "A magnet link names an infohash: `xt=urn:btih:` or `xt=urn:btmh:1220`.",
    "magnet-btih": "`btih` is 40 hexadecimal digits or 32 of base 32.",
    "magnet-btmh": "`btmh` is `1220` and 64 hexadecimal digits.",
    "magnet-topics": "A magnet link names at most one infohash of each version.",
    "magnet-peer": "`x.pe` is HOST:PORT with a port from 1 to 65535.",
    "magnet-publisher": "`x.pub` is 64 hexadecimal digits or 52 of base 32, and there once.",
    "magnet-select": "`so` is a list of file numbers and ranges, at most 100,000 files.",
}
