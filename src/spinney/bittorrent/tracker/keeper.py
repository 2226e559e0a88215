"""Keeps a tracker's state on disk: read at the start, written now and then and at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from spinney.bittorrent.tracker import snapshot
from spinney.bittorrent.tracker.settings import ALLOWED_BYTES_MAX, parse_allowed
from spinney.bittorrent.tracker.state import TrackerState
from spinney.errors import (
    DiskFullError,
    InputError,
    NotFoundError,
    NotWritableError,
    StorageError,
    WireError,
)
from spinney.net.host import File, Host, Storage

log = logging.getLogger("spinney.tracker")

PEERS_AT_ONCE = 2000
"""Packed before other work gets its turn: about 2 ms."""


def _read(storage: Storage, path: str, most: int) -> bytes:
    info = storage.info(path, follow=True)
    if info is not None and info.kind not in ("file", "folder"):
        raise InputError(f"{path} is not a file")  # a device has no size, and no end
    file = storage.open(path, "read")
    try:
        size = file.size()
        if size > most:
            raise InputError(f"{path} has {size} bytes, more than {most}")
        return file.read(0, size)
    finally:
        file.close()


def _replace(storage: Storage, path: str, parts: Sequence[bytes]) -> None:
    """The whole file or the old one, whatever happens meanwhile (S5)."""
    fresh = path + ".new"
    file = storage.open(fresh, "create")
    try:
        file.truncate(0)
        file.write(0, parts)
        file.sync()
    finally:
        file.close()
    storage.rename(fresh, path)
    storage.sync_folder(path.rpartition("/")[0] or ("/" if path.startswith("/") else "."))


async def read_allowed(host: Host, path: str) -> dict[bytes, str]:
    """The operator's list; `StorageError` or `InputError` says what is wrong with it."""
    data = await host.work(_read, host.storage, path, ALLOWED_BYTES_MAX)
    try:
        return parse_allowed(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


class Keeper:
    """Reads and writes one state file.  Only one save runs at a time: the caller sees to that."""

    def __init__(self, host: Host, path: str, state: TrackerState) -> None:
        self._host = host
        self._path = path
        self._state = state
        self._failing = False
        self._lock: File | None = None

    async def lock(self) -> None:
        """Keeps a second tracker from the state, which would overwrite what this one writes.

        Raises `StorageError`: another holds it.  Where no lock can be made no state can be
        written either, and `save` says so.
        """
        path = self._path + ".lock"
        try:
            self._lock = await self._host.work(self._host.storage.lock, path)
        except (NotFoundError, NotWritableError, DiskFullError):
            return
        except StorageError as error:
            raise StorageError(
                f"another tracker keeps its state in {self._path}: stop it, or choose another "
                f"file with --state ({error})"
            ) from error

    def unlock(self) -> None:
        """The lock's file stays: to remove it would let two others lock different ones."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def load(self) -> None:
        """Fills the state.  No file: a first start.  A broken one is set aside with a warning.

        Raises `StorageError` for a file that is something else: a slip of the fingers must not
        cost a film its name.
        """
        try:
            data = await self._host.work(
                _read, self._host.storage, self._path, snapshot.SNAPSHOT_BYTES_MAX
            )
        except NotFoundError:
            return
        except InputError as error:
            raise self._foreign() from error
        if data and not snapshot.is_one(data):
            raise self._foreign()
        fresh = TrackerState(self._state.limits)
        try:
            snapshot.restore(data, fresh, self._host.time())
        except WireError as error:
            await self._set_aside(error)
            return
        self._state.take(fresh)
        log.info(
            "%d peers of %d torrents are known from before", fresh.peer_count, len(fresh.torrents)
        )

    def _foreign(self) -> StorageError:
        return StorageError(
            f"{self._path} exists and is no tracker's state: choose another file with --state"
        )

    async def _set_aside(self, error: Exception) -> None:
        broken = self._path + ".broken"
        log.warning(
            "the tracker's state in %s cannot be read (%s); it is kept as %s and the tracker "
            "starts empty",
            self._path,
            error,
            broken,
        )
        try:
            await self._host.work(self._host.storage.rename, self._path, broken)
        except StorageError as problem:
            log.warning("%s could not be set aside: %s", self._path, problem)

    async def save(self) -> bool:
        """Writes the state.  A disk that is full or read-only is one warning, not an end."""
        now = self._host.time()
        packed: list[bytes] = []
        peers = 0
        for infohash in list(self._state.torrents):
            torrent = self._state.torrents.get(infohash)
            if torrent is None:
                continue
            packed.append(snapshot.pack_torrent(infohash, torrent, now))
            peers += len(torrent.peers)
            if peers >= PEERS_AT_ONCE:
                peers = 0
                await asyncio.sleep(0)
        parts = snapshot.seal(packed)
        try:
            await self._host.work(_replace, self._host.storage, self._path, parts)
        except StorageError as error:
            if not self._failing:
                log.warning("the tracker's state cannot be written to %s: %s", self._path, error)
            self._failing = True
            return False
        self._failing = False
        return True
