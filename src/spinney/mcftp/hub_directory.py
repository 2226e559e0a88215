"""`HubDirectory`: where a file's unicast fan-out is, for those who know a machine that shares it.

Nobody is asked: the group's token follows from the file, and the hub is the machine that the
link names.  What is claimed here is kept by nobody else, and needs not: tokens of streams are
random, so that no two meet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha256

from spinney.groups.fan_wire import TOKEN_BYTES
from spinney.groups.fanout import address_text
from spinney.mcftp.directory import CLAIM_S, Entry
from spinney.net.host import Address


def token_of(infohash: bytes) -> bytes:
    """Of the management group: whoever knows the file may come in."""
    return sha256(b"spinney fan-out\0" + infohash).digest()[:TOKEN_BYTES]


class HubDirectory:
    """See `GroupDirectory`.  `hubs`: tried in turn; none: we found the group.  `joined`: where the
    group is that we belong to; it stays the answer when its hub has changed."""

    def __init__(
        self,
        infohash: bytes,
        hubs: Sequence[Address],
        joined: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        self._addresses = [address_text(hub, token_of(infohash)) for hub in hubs]
        self._joined = joined
        self._turn = -1

    def known(self, key: bytes) -> Entry | None:
        """Another hub each time, until we belong to one."""
        value = self._joined()
        if value is None and self._addresses:
            self._turn += 1
            value = self._addresses[self._turn % len(self._addresses)]
        return Entry(key, value, b"", CLAIM_S) if value is not None else None

    async def find(self, key: bytes, *, patience_s: float = 0.0) -> Entry | None:
        found = self.known(key)
        if found is None and patience_s > 0:
            await asyncio.sleep(patience_s)
        return found

    async def claim(self, key: bytes, value: bytes, seconds: float = CLAIM_S) -> bool:
        """The file's group is the hub's to found, also when we hold a part."""
        founds = not self._addresses or self._joined() is not None
        return founds or not key.startswith(b"file:")

    async def renew(self, key: bytes, seconds: float = CLAIM_S) -> bool:
        return True

    async def release(self, key: bytes) -> None: ...

    def conflicts(self, key: bytes) -> Entry | None:
        return None
