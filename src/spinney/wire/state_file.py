"""Keeps a server's state on disk: read at the start, written now and then and at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from spinney.errors import InputError, NotFoundError, StorageError, WireError
from spinney.net import whole_files
from spinney.net.host import File, Host
from spinney.wire.sealed import Seal

PEERS_AT_ONCE = 2_000
"""Packed before other work gets its turn: 2 to 5 ms."""


class StateFile:
    """One file at `path`, and the lock that keeps a second server from it.

    Only one save runs at a time: the caller sees to that.
    """

    def __init__(self, host: Host, path: str, seal: Seal, log: logging.Logger) -> None:
        self._host = host
        self.path = path
        self._seal = seal
        self._log = log
        self._failing = False
        self._lock: File | None = None

    async def lock(self, path: str) -> None:
        """Raises `StorageError`: another holds it; a subclass: it cannot even be made."""
        self._lock = await self._host.work(self._host.storage.lock, path)

    def unlock(self) -> None:
        """The lock's file stays: to remove it would let two others lock different ones."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def load(self, take: Callable[[bytes], None]) -> None:
        """Hands the file to `take`, which raises `WireError` for what it cannot read.

        No file: a first start.  A broken one is set aside with a warning.  Raises `StorageError`
        for a file that is something else: a slip of the fingers must not cost a film its name.
        """
        most = self._seal.bytes_max
        try:
            data = await self._host.work(whole_files.read, self._host.storage, self.path, most)
        except NotFoundError:
            return
        except InputError as error:
            raise self._foreign() from error
        if data and not self._seal.is_one(data):
            raise self._foreign()
        try:
            take(data)
        except WireError as error:
            await self._set_aside(error)

    def _foreign(self) -> StorageError:
        return StorageError(
            f"{self.path} exists and is no {self._seal.name}'s state: choose another --state"
        )

    async def _set_aside(self, error: WireError) -> None:
        name, broken = self._seal.name, self.path + ".broken"
        self._log.warning(
            "the %s's state in %s cannot be read (%s); it is kept as %s and the %s starts empty",
            name,
            self.path,
            error,
            broken,
            name,
        )
        try:
            await self._host.work(self._host.storage.rename, self.path, broken)
        except StorageError as problem:
            self._log.warning("%s could not be set aside: %s", self.path, problem)

    async def save(self, entries: Iterable[tuple[bytes, int]]) -> bool:
        """`write`; a disk that is full or read-only is one warning, not an end."""
        try:
            await self.write(entries)
        except StorageError as error:
            if not self._failing:
                name = self._seal.name
                self._log.warning(
                    "the %s's state cannot be written to %s: %s", name, self.path, error
                )
            self._failing = True
            return False
        self._failing = False
        return True

    async def write(self, entries: Iterable[tuple[bytes, int]]) -> None:
        """Replaces the file by these bencoded entries; beside each how many peers it holds.

        Others work in between: who gives the entries looks at its state anew for each.
        """
        packed, peers = [], 0
        for entry, count in entries:
            packed.append(entry)
            peers += count
            if peers >= PEERS_AT_ONCE:
                peers = 0
                await asyncio.sleep(0)
        parts = self._seal.parts(packed)
        await self._host.work(whole_files.replace, self._host.storage, self.path, parts)
