"""What the process does that `test_resume_crash` kills."""

from __future__ import annotations

import asyncio
import random

from content.moving import Content, Script, everything
from spinney.content import keeper
from spinney.content.store import FolderStore
from spinney.content.transfer import Transfer
from spinney.net.live.host import LiveHost

KIB = 1024
KILLED = Content([12_000_000, 1_000_000], 32 * KIB, seed=3)


async def write(folder: str, seed: int) -> None:
    """Fetches slowly enough to be killed at any moment, and syncs often."""
    keeper.SYNC_BYTES = 256 * KIB
    rng = random.Random(seed)
    host = LiveHost(seed=seed)
    store = FolderStore(host.storage, KILLED.descriptor, folder)
    transfer = Transfer(host, KILLED.descriptor, store)
    await transfer.start()
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(KILLED))
    print("writing", flush=True)
    while not transfer.complete:
        for piece, begin, length in feed.request(rng.choice([16, 64, 128]) * KIB):
            at = piece * KILLED.piece_length + begin
            feed.deliver(at, KILLED.space[at : at + length])
        await asyncio.sleep(0.001)
