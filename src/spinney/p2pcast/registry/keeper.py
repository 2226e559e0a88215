"""Keeps a registry's state on disk: read at the start, written now and then and at the end.

FOLDER/registry.state     `snapshot`, replaced in one step
FOLDER/registry.lock      held while a registry runs
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from spinney.errors import StorageError
from spinney.net import whole_files
from spinney.net.host import Host
from spinney.p2pcast.registry import snapshot
from spinney.p2pcast.registry.streams import Registry
from spinney.wire.state_file import StateFile

log = logging.getLogger("spinney.registry")

STATE_NAME, LOCK_NAME = "registry.state", "registry.lock"


class Keeper:
    """Reads and writes one folder."""

    def __init__(self, host: Host, folder: str, registry: Registry) -> None:
        self._host = host
        self._folder = folder.rstrip("/") or "/"
        self._registry = registry
        self._file = StateFile(host, f"{self._folder}/{STATE_NAME}", snapshot.SEAL, log)

    async def open(self) -> None:
        """Makes the folder, takes its lock and fills the registry.

        Raises `StorageError`: the folder cannot be made or written, another registry keeps its
        state there, or what lies there is no registry's state.
        """
        try:
            await self._host.work(whole_files.make_folder, self._host.storage, self._folder)
            await self._file.lock(f"{self._folder}/{LOCK_NAME}")
        except StorageError as error:
            # The plain class: somebody holds the lock; a subclass: it could not even be made.
            told = "another registry may be running with" if type(error) is StorageError else ""
            why = f"{told} this state folder" if told else "cannot keep the state in this folder"
            raise type(error)(
                f"{self._folder}: {why} ({error}); choose another with --state"
            ) from error
        try:
            await self._file.load(self._take)
            await self._file.write(self._entries(self._host.time()))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Another may have the folder."""
        self._file.unlock()

    async def save(self) -> bool:
        """Writes the state.  A disk that is full or read-only is one warning, not an end."""
        return await self._file.save(self._entries(self._host.time()))

    def _take(self, data: bytes) -> None:
        registry = self._registry
        fresh = Registry(registry.limits, expiry_s=registry.expiry_s, allowed=registry.allowed)
        snapshot.restore(data, fresh, self._host.time())
        registry.take(fresh)
        log.info("%d peers of %d streams are known", fresh.member_count, len(fresh.streams))

    def _entries(self, now: float) -> Iterator[tuple[bytes, int]]:
        for stream_id in list(self._registry.streams):
            stream = self._registry.streams.get(stream_id)
            if stream is not None:
                yield snapshot.pack_stream(stream_id, stream, now), len(stream.members)
