"""How a node comes to a group (`find_or_found`) and keeps what it claimed (`Reservations`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from spinney.mcftp.directory import GroupDirectory, file_key, group_key
from spinney.mcftp.settings import Settings
from spinney.mcftp.view import McftpEvent
from spinney.net.host import Host

if TYPE_CHECKING:
    from spinney.mcftp.node import McftpNode

ADDRESS_TRIES = 8
CHECK_S = 1.0
"""How often it is looked whether somebody has won a claim from us."""


class Reservations:
    """What one node claims in the directory: renewed until it is dropped."""

    def __init__(self, host: Host, directory: GroupDirectory, settings: Settings) -> None:
        self._host = host
        self._directory = directory
        self._settings = settings
        self._claims: dict[bytes, float] = {}
        """When each is to be renewed."""
        self._wanted: dict[bytes, tuple[bytes, Callable[[bytes], None]]] = {}
        self._lost: list[tuple[Callable[[bytes], None], bytes]] = []
        self._task: asyncio.Task[None] | None = None
        self._dropped: list[bytes] = []

    async def claim(self, key: bytes, value: bytes) -> bool:
        """Ours, or held up by us together with others."""
        if not await self._directory.claim(key, value, self._settings.reserve_s):
            return False
        self._claims[key] = self._host.time() + self._settings.renew_s
        self._begin()
        return True

    def want(self, key: bytes, value: bytes, lost: Callable[[bytes], None]) -> None:
        """Claims it soon and keeps it; `lost(value)` when another value holds the key."""
        if self._wanted.get(key, (b"",))[0] != value:
            self._wanted[key] = (value, lost)
            self._begin()

    def drop_later(self, key: bytes) -> None:
        self._dropped.append(key)
        self._begin()

    async def drop(self, key: bytes) -> None:
        self._wanted.pop(key, None)
        self._claims.pop(key, None)
        await self._directory.release(key)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for key in [*self._claims, *self._dropped]:
            await self._directory.release(key)
        self._claims.clear()

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="reservations")

    async def _keep(self) -> None:
        while True:
            for key in self._dropped:
                self._claims.pop(key, None)
                await self._directory.release(key)
            self._dropped.clear()
            for key, (value, lost) in list(self._wanted.items()):
                await self._hold(key, value, lost)
            now = self._host.time()
            for key, due in list(self._claims.items()):
                if now >= due:
                    self._claims[key] = now + self._settings.renew_s
                    if not await self._directory.renew(key, self._settings.reserve_s):
                        del self._claims[key]
            await asyncio.sleep(CHECK_S)

    async def _hold(self, key: bytes, value: bytes, lost: Callable[[bytes], None]) -> None:
        taken = self._directory.conflicts(key)
        if taken is None and key in self._claims:
            return
        if taken is None and await self.claim(key, value):
            return
        found = taken or await self._directory.find(key)
        self._claims.pop(key, None)
        if found is not None and found.value != value and self._wanted.get(key) == (value, lost):
            del self._wanted[key]
            lost(found.value)


async def find_or_found(node: McftpNode, reservations: Reservations) -> tuple[bytes, bool]:
    """(address of the file's group, whether we are to found it).  Ends when there is one."""
    directory, groups, settings = node.directory, node.groups, node.settings
    key = file_key(node.key)
    waits = list(settings.find_again_s)
    patience_s = 0.0
    asked = False
    while True:
        entry = directory.known(key)
        provides = settings.may_lead and node.reporting.held_blocks > 0 and node.leaderships.room
        if entry is None and not (provides and not asked):
            # Who provides claims at once: its probes are questions, too.
            entry = await directory.find(key, patience_s=patience_s)
        asked = True
        if entry is not None and groups.valid(entry.value):
            return entry.value, False
        if provides and entry is None:
            for _ in range(ADDRESS_TRIES):
                address, spare = (groups.candidate(node.host.rng) for _ in range(2))
                free, ours, first = await asyncio.gather(
                    reservations.claim(group_key(address), node.file),
                    reservations.claim(key, address),
                    reservations.claim(group_key(spare), node.file),
                )
                if free and ours:
                    if first:
                        node.spare.append(spare)
                    return address, True
                rows = ((group_key(address), free), (key, ours), (group_key(spare), first))
                for one, claimed in rows:
                    if claimed:
                        await reservations.drop(one)
                if not ours:
                    break  # somebody else founds it
            continue
        if not patience_s:
            node.tell(McftpEvent("searching"))
        wait = waits.pop(0) if len(waits) > 1 else waits[0]
        patience_s = wait * node.host.rng.uniform(0.75, 1.25)
