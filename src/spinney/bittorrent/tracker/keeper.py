"""Keeps a tracker's state on disk: read at the start, written now and then and at the end."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from spinney.bittorrent.tracker import snapshot
from spinney.bittorrent.tracker.settings import ALLOWED_BYTES_MAX, parse_allowed
from spinney.bittorrent.tracker.state import TrackerState
from spinney.errors import (
    DiskFullError,
    InputError,
    NotFoundError,
    NotWritableError,
    StorageError,
)
from spinney.net import whole_files
from spinney.net.host import Host
from spinney.wire.state_file import StateFile

log = logging.getLogger("spinney.tracker")


async def read_allowed(host: Host, path: str) -> dict[bytes, str]:
    """The operator's list; `StorageError` or `InputError` says what is wrong with it."""
    data = await host.work(whole_files.read, host.storage, path, ALLOWED_BYTES_MAX)
    try:
        return parse_allowed(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


class Keeper:
    """Reads and writes one state file; beside it, `path`.lock is held while a tracker runs."""

    def __init__(self, host: Host, path: str, state: TrackerState) -> None:
        self._host = host
        self._state = state
        self._file = StateFile(host, path, snapshot.SEAL, log)

    async def lock(self) -> None:
        """Keeps a second tracker from the state, which would overwrite what this one writes.

        Raises `StorageError`: another holds it.  Where no lock can be made no state can be
        written either, and `save` says so.
        """
        path = self._file.path
        try:
            await self._file.lock(path + ".lock")
        except (NotFoundError, NotWritableError, DiskFullError):
            return
        except StorageError as error:
            raise StorageError(
                f"another tracker keeps its state in {path}: stop it, or choose another "
                f"file with --state ({error})"
            ) from error

    def unlock(self) -> None:
        """Another may have the state."""
        self._file.unlock()

    async def load(self) -> None:
        """Fills the state.  Raises `StorageError` for a file that is something else."""
        await self._file.load(self._take)

    def _take(self, data: bytes) -> None:
        fresh = TrackerState(self._state.limits)
        snapshot.restore(data, fresh, self._host.time())
        self._state.take(fresh)
        log.info(
            "%d peers of %d torrents are known from before", fresh.peer_count, len(fresh.torrents)
        )

    async def save(self) -> bool:
        """Writes the state.  A disk that is full or read-only is one warning, not an end."""
        return await self._file.save(self._entries(self._host.time()))

    def _entries(self, now: float) -> Iterator[tuple[bytes, int]]:
        for infohash in list(self._state.torrents):
            torrent = self._state.torrents.get(infohash)
            if torrent is not None:
                yield snapshot.pack_torrent(infohash, torrent, now), len(torrent.peers)
