"""Keeps a registry's state on disk: read at the start, written now and then and at the end.

FOLDER/registry.state     `registry_snapshot`, replaced in one step
FOLDER/registry.lock      held while a registry runs
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from spinney.errors import InputError, NotFoundError, StorageError, WireError
from spinney.net.host import File, Host, Storage
from spinney.p2pcast import registry_snapshot as snapshot
from spinney.p2pcast.registry import Registry

log = logging.getLogger("spinney.registry")

PEERS_AT_ONCE = 2_000
"""Packed before other work gets its turn: about 5 ms."""
STATE_NAME, LOCK_NAME = "registry.state", "registry.lock"


def _read(storage: Storage, path: str) -> bytes:
    info = storage.info(path, follow=True)
    if info is not None and info.kind != "file":
        raise InputError(f"{path} is not a file")
    file = storage.open(path, "read")
    try:
        size = file.size()
        if size > snapshot.SNAPSHOT_BYTES_MAX:
            raise InputError(f"{path} is too large for a registry's state")
        return file.read(0, size)
    finally:
        file.close()


def _replace(storage: Storage, folder: str, parts: Sequence[bytes]) -> None:
    """The whole file or the old one, whatever happens meanwhile (S5)."""
    path = f"{folder}/{STATE_NAME}"
    fresh = path + ".new"
    file = storage.open(fresh, "create")
    try:
        file.truncate(0)
        file.write(0, parts)
        file.sync()
    finally:
        file.close()
    storage.rename(fresh, path)
    storage.sync_folder(folder)


def _make(storage: Storage, folder: str) -> None:
    """The folder, so that it survives a power cut: the name of each new one is in its parent."""
    fresh, at = [], folder
    while at not in ("/", ".") and storage.info(at, follow=True) is None:
        at = at.rpartition("/")[0] or ("/" if at.startswith("/") else ".")
        fresh.append(at)
    storage.make_folders(folder)
    for parent in fresh:
        storage.sync_folder(parent)


class Keeper:
    """Reads and writes one folder.  Only one save runs at a time: the caller sees to that."""

    def __init__(self, host: Host, folder: str, registry: Registry) -> None:
        self._host = host
        self._folder = folder.rstrip("/") or "/"
        self._registry = registry
        self._failing = False
        self._lock: File | None = None

    async def open(self) -> None:
        """Makes the folder, takes its lock and fills the registry.

        Raises `StorageError`: the folder cannot be made or written, another registry keeps its
        state there, or what lies there is no registry's state.
        """
        storage, work = self._host.storage, self._host.work
        try:
            await work(_make, storage, self._folder)
            self._lock = await work(storage.lock, f"{self._folder}/{LOCK_NAME}")
        except StorageError as error:
            # The plain class: somebody holds the lock; a subclass: it could not even be made.
            told = "another registry may be running with" if type(error) is StorageError else ""
            why = f"{told} this state folder" if told else "cannot keep the state in this folder"
            raise type(error)(
                f"{self._folder}: {why} ({error}); choose another with --state"
            ) from error
        try:
            await self._load()
            await self._write()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """The lock's file stays: to remove it would let two others lock different ones."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def _load(self) -> None:
        """No file: a first start.  A broken one is set aside with a warning."""
        path = f"{self._folder}/{STATE_NAME}"
        try:
            data = await self._host.work(_read, self._host.storage, path)
        except NotFoundError:
            return
        except InputError as error:
            raise self._foreign(path) from error
        if data and not snapshot.is_one(data):
            raise self._foreign(path)
        registry = self._registry
        fresh = Registry(registry.limits, expiry_s=registry.expiry_s, allowed=registry.allowed)
        try:
            snapshot.restore(data, fresh, self._host.time())
        except WireError as error:
            await self._set_aside(path, error)
            return
        registry.take(fresh)
        log.info("%d peers of %d streams are known", fresh.member_count, len(fresh.streams))

    @staticmethod
    def _foreign(path: str) -> StorageError:
        return StorageError(f"{path} exists and is no registry's state: choose another --state")

    async def _set_aside(self, path: str, error: Exception) -> None:
        broken = path + ".broken"
        log.warning(
            "the registry's state in %s cannot be read (%s); it is kept as %s and the registry "
            "starts empty",
            path,
            error,
            broken,
        )
        try:
            await self._host.work(self._host.storage.rename, path, broken)
        except StorageError as problem:
            log.warning("%s could not be set aside: %s", path, problem)

    async def save(self) -> bool:
        """Writes the state.  A disk that is full or read-only is one warning, not an end."""
        try:
            await self._write()
        except StorageError as error:
            if not self._failing:
                log.warning("the registry's state cannot be written: %s", error)
            self._failing = True
            return False
        self._failing = False
        return True

    async def _write(self) -> None:
        now, packed, peers = self._host.time(), [], 0
        for stream_id in list(self._registry.streams):
            stream = self._registry.streams.get(stream_id)
            if stream is None:
                continue
            packed.append(snapshot.pack_stream(stream_id, stream, now))
            peers += len(stream.members)
            if peers >= PEERS_AT_ONCE:
                peers = 0
                await asyncio.sleep(0)
        parts = snapshot.seal(packed)
        await self._host.work(_replace, self._host.storage, self._folder, parts)
