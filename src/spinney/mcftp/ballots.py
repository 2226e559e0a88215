"""What binds a peer in elections, on disk before it is said: its key and its votes.

A peer that restarts is who it was, and votes no second time.  A file that cannot be read is as
none: then the peer is another one, with other keys, and no elector.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from spinney.errors import InputError, StorageError, WireError
from spinney.mcftp.election import REIGNS_KEPT, Votes
from spinney.mcftp.messages import REIGN_BYTES
from spinney.net import whole_files
from spinney.net.host import Storage
from spinney.trust.keys import PEER_ID_BYTES, SEED_BYTES
from spinney.wire import bencode

BYTES_MAX = 64_000
LIVES_MAX = 1 << 22


class Record(NamedTuple):
    """`seed` of the key, secret; how often the peer was started with it; its votes by reign."""

    seed: bytes
    lives: int
    votes: list[tuple[bytes, Votes]]


def path_of(folder: str, key: bytes) -> str:
    """The file of one shared file."""
    return f"{folder}/{key.hex()[:40]}.mcftp"


def load(storage: Storage, path: str) -> Record | None:
    """None if there is nothing that can be read."""
    try:
        return _decoded(whole_files.read(storage, path, BYTES_MAX))
    except (InputError, StorageError, WireError):
        return None


def save(storage: Storage, path: str, record: Record) -> None:
    """Returns when it survives a power cut.  Raises `StorageError`."""
    rows = [[reign, each.term, each.voted_for, *each.version] for reign, each in record.votes]
    data = bencode.encode({b"lives": record.lives, b"seed": record.seed, b"votes": rows})
    whole_files.make_folder(storage, path.rpartition("/")[0])
    whole_files.replace(storage, path, [data])


def forget(storage: Storage, path: str) -> None:
    """A peer that left politely comes back as another one."""
    with suppress(StorageError):
        storage.remove(path)


def _decoded(data: bytes) -> Record:
    table = bencode.decode(data)
    if type(table) is not dict or table.keys() != {b"lives", b"seed", b"votes"}:
        raise WireError("no record of votes")
    seed, lives, rows = table[b"seed"], table[b"lives"], table[b"votes"]
    if type(lives) is not int or not 0 <= lives < LIVES_MAX:
        raise WireError("no record of votes")
    if type(seed) is not bytes or len(seed) != SEED_BYTES:
        raise WireError("no record of votes")
    if type(rows) is not list or len(rows) > REIGNS_KEPT:
        raise WireError("no record of votes")
    return Record(seed, lives, [_votes(row) for row in rows])


def _votes(row: object) -> tuple[bytes, Votes]:
    if type(row) is not list or [type(each) for each in row] != [bytes, int, bytes, int, int]:
        raise WireError("no record of votes")
    reign, term, voted_for, first, second = row
    if len(reign) != REIGN_BYTES or len(voted_for) not in (0, PEER_ID_BYTES):
        raise WireError("no record of votes")
    return reign, Votes(term, voted_for, (first, second))
